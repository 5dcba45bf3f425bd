#include "interface.h"

#include <cstdio>
#include <exception>

#include "worker_pool.h"

namespace {

using native::WorkerPool;

WorkerPool* pool(void* handle) { return static_cast<WorkerPool*>(handle); }

// 0, or 1 with the message of what was thrown.
template <class F>
int guarded(char* error, int64_t size, F&& f) {
  try {
    f();
    return 0;
  } catch (const std::exception& failure) {
    if (error && size > 0) std::snprintf(error, size_t(size), "%s", failure.what());
    return 1;
  }
}

}  // namespace

int64_t choreo_native_lanes() { return native::kLanes; }

void* choreo_native_open(const char* path, int64_t workers, char* error, int64_t size) {
  void* handle = nullptr;
  guarded(error, size, [&] { handle = new WorkerPool(path, workers); });
  return handle;
}

int64_t choreo_native_inputs(void* handle) { return pool(handle)->inputs(); }

int64_t choreo_native_floats(void* handle, int64_t index) {
  return index >= 0 && index <= pool(handle)->inputs() ? pool(handle)->floats(index) : 0;
}

int choreo_native_run(void* handle, int64_t rows, const float* const* inputs, float* output, char* error,
                      int64_t size) {
  return guarded(error, size, [&] { pool(handle)->run(rows, inputs, output); });
}

int64_t choreo_native_profile(void* handle, double* seconds, int64_t count) {
  return pool(handle)->profile(seconds, count);
}

void choreo_native_close(void* handle) { delete pool(handle); }
