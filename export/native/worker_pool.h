// Divides the rows of calls over cores. A call is cut into parts, and whoever is free evaluates the next one: a lone call
// uses all cores, and of several calls none waits while a core is idle.
#pragma once

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "engine.h"

namespace native {

class WorkerPool {
 public:
  // `workers`: parts that are evaluated at the same time. Throws Failure if the program cannot be run.
  WorkerPool(const char* program, int64_t workers);
  // Calls must have ended.
  ~WorkerPool();

  // Evaluate rows and wait for the result. May be called from several threads at the same time.
  void run(int64_t rows, const float* const* inputs, float* output);

  int64_t inputs() const { return engines_[0]->inputs(); }
  int64_t floats(int64_t index) const { return engines_[0]->floats(index); }
  int64_t profile(double* seconds, int64_t count);

 private:
  struct Call {
    const float* const* inputs;
    float* output;
    int64_t left;  // parts that are not evaluated yet
    std::string error;
  };
  struct Part {
    Call* call;
    int64_t first, last;
  };

  int64_t parts_of(int64_t rows) const;
  bool can_evaluate() const { return !parts_.empty() && !idle_.empty(); }
  void evaluate_next(std::unique_lock<std::mutex>& lock);
  std::string evaluate(Engine& engine, const Part& part) const;
  void work();
  void stop();

  std::vector<std::unique_ptr<Engine>> engines_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Engine*> idle_;
  std::deque<Part> parts_;
  bool ending_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace native
