// Threads that evaluate rows, as many as there are cores to use. Calls are cut into parts, and whoever is free takes the
// next one: a lone call is done by all of them, and of many none waits for a core while another has two calls.
#pragma once

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "engine.h"

namespace native {

class Crew {
 public:
  // `floats` of a row: those of the inputs, and last of the output.
  Crew(const char* program, int64_t workers, std::vector<int64_t> floats) : floats_(std::move(floats)) {
    for (int64_t i = 0; i < workers; i++) engines_.push_back(opened(program));
    if (choreo_native_inputs(engines_[0].get()) + 1 != int64_t(floats_.size()))
      throw std::runtime_error("the program has another number of inputs");
    block_rows_ = choreo_native_block_rows(engines_[0].get());
    for (const Handle& engine : engines_) threads_.emplace_back([this, &engine] { work(engine.get()); });
  }

  ~Crew() {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      ending_ = true;
    }
    wake_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }

  // Evaluate rows and wait for it. May be called from several threads at a time.
  void run(int64_t rows, const std::vector<const float*>& inputs, float* output) {
    if (rows <= 0) return;
    Call call{&inputs, output, 0, {}, {}};
    std::unique_lock<std::mutex> lock(mutex_);
    call.left = parts_of(rows);
    for (int64_t i = 0, n = call.left; i < n; i++) parts_.push_back({&call, rows * i / n, rows * (i + 1) / n});
    wake_.notify_all();
    call.done.wait(lock, [&] { return call.left == 0; });
    if (!call.error.empty()) throw std::runtime_error(call.error);
  }

 private:
  struct Close {
    void operator()(void* engine) const { choreo_native_close(engine); }
  };
  using Handle = std::unique_ptr<void, Close>;
  struct Call {
    const std::vector<const float*>* inputs;
    float* output;
    int64_t left;
    std::string error;
    std::condition_variable done;
  };
  struct Part {
    Call* call;
    int64_t first, last;
  };

  static Handle opened(const char* program) {
    char error[256] = "";
    Handle engine(choreo_native_open(program, error, sizeof error));
    if (!engine) throw std::runtime_error(error);
    return engine;
  }

  // Blocks as the engine makes them; where nobody else has work for the others, as many for each of them.
  int64_t parts_of(int64_t rows) const {
    const int64_t workers = int64_t(engines_.size());
    int64_t parts = (rows + block_rows_ - 1) / block_rows_;
    if (busy_ == 0 && parts_.empty()) parts = (parts + workers - 1) / workers * workers;
    return std::min(parts, rows);
  }

  void work(void* engine) {
    std::unique_lock<std::mutex> lock(mutex_);
    for (;;) {
      wake_.wait(lock, [&] { return ending_ || !parts_.empty(); });
      if (parts_.empty()) return;
      const Part part = parts_.front();
      parts_.pop_front();
      busy_++;
      lock.unlock();
      const std::string error = evaluate(engine, part);
      lock.lock();
      busy_--;
      if (!error.empty()) part.call->error = error;
      // Under the lock: the call is gone as soon as the one who waits for it sees that nothing is left.
      if (--part.call->left == 0) part.call->done.notify_one();
    }
  }

  std::string evaluate(void* engine, const Part& part) const {
    const size_t inputs = floats_.size() - 1;
    std::vector<const float*> from(inputs);
    for (size_t i = 0; i < inputs; i++) from[i] = (*part.call->inputs)[i] + part.first * floats_[i];
    char error[256] = "";
    float* to = part.call->output + part.first * floats_[inputs];
    if (choreo_native_run(engine, part.last - part.first, from.data(), to, error, sizeof error) == 0) return {};
    return *error ? error : "the engine failed";
  }

  const std::vector<int64_t> floats_;
  std::vector<Handle> engines_;
  int64_t block_rows_ = 1;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Part> parts_;
  int64_t busy_ = 0;
  bool ending_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace native
