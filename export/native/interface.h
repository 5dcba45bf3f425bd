// The C interface of the library: see export/native/loader.py.
#pragma once

#include <cstdint>

#pragma GCC visibility push(default)
extern "C" {

// Floats per vector, for which programs must be packed.
int64_t choreo_native_lanes();

// A program, ready to run on `workers` cores; null with a message in `error` if it cannot be run.
void* choreo_native_open(const char* path, int64_t workers, char* error, int64_t size);

// Number of inputs of the program; floats per row of an input, or of the output for the index behind the last input.
int64_t choreo_native_inputs(void* handle);
int64_t choreo_native_floats(void* handle, int64_t index);

// Evaluate rows: each input is (rows, ...) and so is the output. 0, or 1 with a message. May be called from several
// threads at the same time.
int choreo_native_run(void* handle, int64_t rows, const float* const* inputs, float* output, char* error, int64_t size);

// Seconds spent in each operator since the last call, over all workers; the first call starts the measurement. Returns
// the number of operators.
int64_t choreo_native_profile(void* handle, double* seconds, int64_t count);

// Calls must have ended.
void choreo_native_close(void* handle);
}
#pragma GCC visibility pop
