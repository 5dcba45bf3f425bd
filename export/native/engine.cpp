// Runs program files: a list of operators over buffers, see kernels/. The interface is C; a call is one thread.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <new>

#include "engine.h"
#include "kernels/blocks.h"
#include "kernels/condition.h"
#include "kernels/linear.h"
#include "kernels/posterior.h"
#include "kernels/program.h"

#if defined(__SSE2__)
#include <xmmintrin.h>
#endif

namespace native {
namespace {

// Numbers that nobody sees are not worth a hundred cycles each: denormals are zero while this lives.
class FlushDenormals {
#if defined(__SSE2__)
 public:
  FlushDenormals() : before_(_mm_getcsr()) { _mm_setcsr(before_ | 0x8040); }
  ~FlushDenormals() { _mm_setcsr(before_); }

 private:
  unsigned before_;
#endif
};

struct Free {
  void operator()(float* p) const { std::free(p); }
};
using Memory = std::unique_ptr<float, Free>;

Memory zeros(int64_t floats) {
  require(floats >= 0 && floats <= int64_t(1) << 34, "the program needs too much memory");
  const size_t bytes = (size_t(floats) * sizeof(float) + 4095) / 4096 * 4096 + 4096;
  Memory memory(static_cast<float*>(std::aligned_alloc(4096, bytes)));
  if (!memory) throw std::bad_alloc();
  std::memset(memory.get(), 0, bytes);
  return memory;
}

class Engine {
 public:
  explicit Engine(const char* path) : file_(path) {
    const Header& header = file_.checked();
    const auto* words = reinterpret_cast<const int64_t*>(file_.at(header.words_at));
    const auto* weights = reinterpret_cast<const float*>(file_.at(header.weights_at));
    const std::vector<Buffer> none;
    Reader sizes(words, header.words, none, weights, header.weights, true);
    inputs_ = sizes.count(1, 256);
    for (int64_t i = 0; i < inputs_; i++) buffers_.push_back({sizes.count(1), Buffer::Scope::kInput, i});
    buffers_.push_back({sizes.count(1), Buffer::Scope::kOutput, 0});
    block_floats_ = sizes.count(0);
    call_floats_ = sizes.count(0);
    block_rows_ = sizes.count(1, kMostRows);
    for (int64_t left = sizes.count(0, 1 << 16); left; left--) {
      const bool call = sizes.count(0, 1) == 1;
      const int64_t floats = sizes.count(1), place = sizes.count(0);
      require(place + floats <= (call ? call_floats_ : block_floats_), "a buffer lies outside the workspace");
      buffers_.push_back({floats, call ? Buffer::Scope::kCall : Buffer::Scope::kBlock, place});
    }
    read(sizes, header, weights, true, call_operators_);
    read(sizes, header, weights, false, block_operators_);
    sizes.done();
    int64_t scratch = 0;
    for (const auto* list : {&call_operators_, &block_operators_})
      for (const auto& one : *list) scratch = std::max(scratch, one->scratch());
    spent_.resize(call_operators_.size() + block_operators_.size());
    scratch_ = zeros(scratch);
    block_ = zeros(block_floats_ * block_rows_);
    call_ = zeros(call_floats_ * kMostRows);
  }

  void run(int64_t rows, const float* const* inputs, float* output) {
    require(rows >= 0, "the number of rows is negative");
    const std::lock_guard<std::mutex> alone(mutex_);
    const FlushDenormals flush;
    std::vector<const float*> from(inputs, inputs + inputs_);
    for (int64_t done = 0; done < rows; done += kMostRows) {
      const int64_t some = std::min(rows - done, kMostRows);
      run_some(some, from.data(), output);
      for (int64_t i = 0; i < inputs_; i++) from[i] += some * buffers_[i].floats;
      output += some * buffers_[inputs_].floats;
    }
  }

  int64_t inputs() const { return inputs_; }
  int64_t block_rows() const { return block_rows_; }

  int64_t profile(double* seconds, int64_t count) {
    for (int64_t i = 0; i < std::min<int64_t>(count, spent_.size()); i++) seconds[i] = spent_[i];
    std::fill(spent_.begin(), spent_.end(), 0.0);
    profiled_ = true;
    return int64_t(spent_.size());
  }

 private:
  using Operators = std::vector<std::unique_ptr<Operator>>;

  void read(Reader& r, const Header& header, const float* weights, bool call, Operators& to) {
    for (int64_t left = r.count(0, 1 << 16); left; left--) {
      const int64_t kind = r.word(), count = r.count(0, 1 << 16);
      // The words of an operator are read through a reader of their own, which cannot leave them.
      std::vector<int64_t> own(count);
      for (int64_t& word : own) word = r.word();
      Reader of(own.data(), count, buffers_, weights, header.weights, call);
      to.push_back(make(kind, of));
      of.done();
    }
  }

  std::unique_ptr<Operator> make(int64_t kind, Reader& r) {
    switch (kind) {
      case 0: return std::make_unique<Product>(r);
      case 1: return std::make_unique<Convolution>(r);
      case 2: return std::make_unique<LeftProduct>(r);
      case 3: return std::make_unique<NormAndSilu>(r);
      case 4: return std::make_unique<LayerNorm>(r);
      case 5: return std::make_unique<Pad>(r);
      case 6: return std::make_unique<Silu>(r);
      case 7: return std::make_unique<Embedding>(r);
      case 8: return std::make_unique<Pool>(r);
      case 9: return std::make_unique<SelfAttention>(r);
      case 10: return std::make_unique<Condition>(r, conditions_);
      case 11: return std::make_unique<CrossAttention>(r, conditions_);
      case 12: return std::make_unique<Held>(r);
      case 13: return std::make_unique<Fold>(r);
      case 14: return std::make_unique<Unfold>(r);
      case 15: return std::make_unique<Posterior>(r);
      case 16: return std::make_unique<Corrected>(r);
      case 17: return std::make_unique<Assembled>(r);
      case 18: return std::make_unique<Finished>(r);
      default: throw Failure("the program has an operator of a kind that this engine does not know");
    }
  }

  void run_some(int64_t rows, const float* const* inputs, float* output) {
    Frame frame{inputs, output, block_.get(), call_.get(), scratch_.get(), 0, rows, block_rows_, kMostRows};
    run_all(call_operators_, frame, spent_.data());
    for (frame.first = 0; frame.first < rows; frame.first += frame.rows) {
      // Blocks as equal as can be: a last one of a single row would pay for all weights alone.
      const int64_t left = rows - frame.first, blocks = (left + block_rows_ - 1) / block_rows_;
      frame.rows = (left + blocks - 1) / blocks;
      run_all(block_operators_, frame, spent_.data() + call_operators_.size());
    }
  }

  void run_all(const Operators& operators, const Frame& frame, double* spent) {
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

  File file_;
  int64_t inputs_ = 0, block_floats_ = 0, call_floats_ = 0, block_rows_ = 1;
  std::vector<Buffer> buffers_;
  Conditions conditions_;
  Operators call_operators_, block_operators_;
  Memory scratch_, block_, call_;
  std::mutex mutex_;
  std::vector<double> spent_;
  bool profiled_ = false;
};

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
}  // namespace native

int64_t choreo_native_version() { return native::kVersion; }
int64_t choreo_native_lanes() { return native::kLanes; }

void* choreo_native_open(const char* path, char* error, int64_t size) {
  void* handle = nullptr;
  native::guarded(error, size, [&] { handle = new native::Engine(path); });
  return handle;
}

int choreo_native_run(void* handle, int64_t rows, const float* const* inputs, float* output, char* error,
                      int64_t size) {
  return native::guarded(error, size, [&] { static_cast<native::Engine*>(handle)->run(rows, inputs, output); });
}

int64_t choreo_native_inputs(void* handle) { return static_cast<native::Engine*>(handle)->inputs(); }
int64_t choreo_native_block_rows(void* handle) { return static_cast<native::Engine*>(handle)->block_rows(); }

int64_t choreo_native_profile(void* handle, double* seconds, int64_t count) {
  return static_cast<native::Engine*>(handle)->profile(seconds, count);
}

void choreo_native_close(void* handle) { delete static_cast<native::Engine*>(handle); }
