#include "worker_pool.h"

#include <algorithm>
#include <exception>

namespace native {

WorkerPool::WorkerPool(const char* program, int64_t workers) {
  require(workers >= 1 && workers <= 1024, "the number of workers is not between 1 and 1024");
  for (int64_t i = 0; i < workers; i++) {
    engines_.push_back(std::make_unique<Engine>(program));
    idle_.push_back(engines_.back().get());
  }
  try {
    // The thread that calls `run` is the remaining worker.
    for (int64_t i = 1; i < workers; i++) threads_.emplace_back([this] { work(); });
  } catch (...) {
    stop();
    throw;
  }
}

WorkerPool::~WorkerPool() { stop(); }

void WorkerPool::stop() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void WorkerPool::run(int64_t rows, const float* const* inputs, float* output) {
  if (rows <= 0) return;
  Call call{inputs, output, 0, {}};
  std::unique_lock<std::mutex> lock(mutex_);
  call.left = parts_of(rows);
  for (int64_t i = 0, n = call.left; i < n; i++) parts_.push_back({&call, rows * i / n, rows * (i + 1) / n});
  if (call.left > 1) changed_.notify_all();
  while (call.left > 0) {
    // Only parts of this call: one of another call may take longer than the rest of this one.
    if (can_evaluate() && parts_.front().call == &call)
      evaluate_next(lock);
    else
      changed_.wait(lock);
  }
  if (!call.error.empty()) throw Failure(call.error);
}

int64_t WorkerPool::profile(double* seconds, int64_t count) {
  std::fill_n(seconds, count, 0.0);
  int64_t operators = 0;
  for (const auto& engine : engines_) operators = engine->profile(seconds, count);
  return operators;
}

// One for each worker if all of them are idle; otherwise parts of one block, so that calls that wait soon get their turn.
int64_t WorkerPool::parts_of(int64_t rows) const {
  const int64_t workers = int64_t(engines_.size()), block = engines_[0]->block_rows();
  const bool idle = parts_.empty() && int64_t(idle_.size()) == workers;
  return std::min(rows, idle ? workers : (rows + block - 1) / block);
}

void WorkerPool::work() {
  std::unique_lock<std::mutex> lock(mutex_);
  while (!ending_) {
    if (can_evaluate())
      evaluate_next(lock);
    else
      changed_.wait(lock);
  }
}

void WorkerPool::evaluate_next(std::unique_lock<std::mutex>& lock) {
  const Part part = parts_.front();
  parts_.pop_front();
  Engine* engine = idle_.back();
  idle_.pop_back();
  lock.unlock();
  const std::string error = evaluate(*engine, part);
  lock.lock();
  idle_.push_back(engine);
  if (!error.empty()) part.call->error = error;
  // The call may be complete, or a part of another call can be evaluated now.
  if (--part.call->left == 0 || !parts_.empty()) changed_.notify_all();
}

std::string WorkerPool::evaluate(Engine& engine, const Part& part) const {
  try {
    std::vector<const float*> from(part.call->inputs, part.call->inputs + engine.inputs());
    for (int64_t i = 0; i < engine.inputs(); i++) from[i] += part.first * engine.floats(i);
    engine.run(part.last - part.first, from.data(), part.call->output + part.first * engine.floats(engine.inputs()));
    return {};
  } catch (const std::exception& error) {
    return *error.what() ? error.what() : "the engine failed";
  }
}

}  // namespace native
