#include "engine.h"

#include <algorithm>
#include <chrono>
#include <new>
#include <string>

#include "kernels/registry.h"

#if defined(__SSE2__)
#include <xmmintrin.h>
#endif

namespace native {
namespace {

// Arithmetic on denormals is a hundred times slower, and they are too small to matter: zero while this object lives.
class FlushDenormals {
#if defined(__SSE2__)
 public:
  FlushDenormals() : before_(_mm_getcsr()) { _mm_setcsr(before_ | 0x8040); }
  ~FlushDenormals() { _mm_setcsr(before_); }

 private:
  unsigned before_;
#endif
};

void require_known(const std::vector<std::string>& names) {
  std::string unknown;
  for (const std::string& name : names)
    if (!find_operator(name)) unknown += (unknown.empty() ? "" : ", ") + name;
  if (!unknown.empty()) throw Failure("the program has operators that this engine does not know: " + unknown);
}

}  // namespace

Engine::Engine(const char* path) : file_(path) {
  require_known(file_.names());
  WordReader words(file_.words(), file_.word_count());
  read_buffers(words);
  call_operators_ = read_operators(words, true);
  block_operators_ = read_operators(words, false);
  words.done();
  int64_t scratch = 0;
  for (const auto* list : {&call_operators_, &block_operators_})
    for (const auto& one : *list) scratch = std::max(scratch, one->scratch());
  spent_.resize(call_operators_.size() + block_operators_.size());
  scratch_ = zeros(scratch);
  block_ = zeros(block_floats_ * block_rows_);
  call_ = zeros(call_floats_ * kMaxRows);
}

Engine::Memory Engine::zeros(int64_t floats) {
  require(floats >= 0 && floats <= int64_t(1) << 34, "the program needs too much memory");
  const size_t bytes = (size_t(floats) * sizeof(float) + 4095) / 4096 * 4096 + 4096;
  Memory memory(static_cast<float*>(std::aligned_alloc(4096, bytes)));
  if (!memory) throw std::bad_alloc();
  std::memset(memory.get(), 0, bytes);
  return memory;
}

void Engine::read_buffers(WordReader& words) {
  inputs_ = words.count(1, 256);
  for (int64_t i = 0; i < inputs_; i++) buffers_.push_back({words.count(1), Buffer::Scope::kInput, i});
  buffers_.push_back({words.count(1), Buffer::Scope::kOutput, 0});
  block_floats_ = words.count(0);
  call_floats_ = words.count(0);
  block_rows_ = words.count(1, kMaxRows);
  for (int64_t left = words.count(0, 1 << 16); left; left--) {
    const bool call = words.count(0, 1) == 1;
    const int64_t floats = words.count(1), place = words.count(0);
    require(place + floats <= (call ? call_floats_ : block_floats_), "a buffer lies outside the workspace");
    buffers_.push_back({floats, call ? Buffer::Scope::kCall : Buffer::Scope::kBlock, place});
  }
}

Engine::Operators Engine::read_operators(WordReader& words, bool per_call) {
  Operators operators;
  for (int64_t left = words.count(0, 1 << 16); left; left--) {
    const int64_t name = words.word(), count = words.count(0, 1 << 16);
    require(name >= 0 && name < int64_t(file_.names().size()), "an operator's name is not in the program");
    // Every operator gets a reader of its own words, which it cannot leave.
    std::vector<int64_t> own(count);
    for (int64_t& word : own) word = words.word();
    Reader reader(own.data(), count, buffers_, file_.weights(), file_.weight_count(), per_call, shared_);
    operators.push_back(find_operator(file_.names()[name])(reader));
    reader.done();
  }
  return operators;
}

void Engine::run(int64_t rows, const float* const* inputs, float* output) {
  require(rows >= 0, "the number of rows is negative");
  const std::lock_guard<std::mutex> lock(mutex_);
  const FlushDenormals flush;
  std::vector<const float*> from(inputs, inputs + inputs_);
  for (int64_t done = 0; done < rows; done += kMaxRows) {
    const int64_t count = std::min(rows - done, kMaxRows);
    run_rows(count, from.data(), output);
    for (int64_t i = 0; i < inputs_; i++) from[i] += count * floats(i);
    output += count * floats(inputs_);
  }
}

void Engine::run_rows(int64_t rows, const float* const* inputs, float* output) {
  Frame frame{inputs, output, block_.get(), call_.get(), scratch_.get(), 0, rows, block_rows_, kMaxRows};
  run_all(call_operators_, frame, spent_.data());
  for (frame.first = 0; frame.first < rows; frame.first += frame.rows) {
    // Blocks of nearly equal size: a last block of one row would read all weights for that row alone.
    const int64_t left = rows - frame.first, blocks = (left + block_rows_ - 1) / block_rows_;
    frame.rows = (left + blocks - 1) / blocks;
    run_all(block_operators_, frame, spent_.data() + call_operators_.size());
  }
}

void Engine::run_all(const Operators& operators, const Frame& frame, double* spent) {
  if (!profiled_) {
    for (const auto& one : operators) one->run(frame);
    return;
  }
  for (const auto& one : operators) {
    const auto began = std::chrono::steady_clock::now();
    one->run(frame);
    *spent++ += std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  }
}

int64_t Engine::profile(double* seconds, int64_t count) {
  const std::lock_guard<std::mutex> lock(mutex_);
  for (int64_t i = 0; i < std::min<int64_t>(count, spent_.size()); i++) seconds[i] += spent_[i];
  std::fill(spent_.begin(), spent_.end(), 0.0);
  profiled_ = true;
  return int64_t(spent_.size());
}

}  // namespace native
