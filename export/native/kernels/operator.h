// What operators are made of: buffers, the parameters of a program file, and the frame that they run in. Whatever a
// program file says, no operator built from it reads or writes outside its buffers and weights.
#pragma once

#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <typeindex>
#include <vector>

#include "simd.h"

namespace native {

constexpr int64_t kMaxRows = 64;       // rows of a call or block
constexpr int64_t kMaxSize = 1 << 24;  // of any dimension in a program, so that the product of two cannot overflow

struct Failure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

inline void require(bool holds, const char* what) {
  if (!holds) throw Failure(what);
}

// Where a tensor is stored: its size per row, and which memory its rows are in.
struct Buffer {
  int64_t floats = 0;
  enum class Scope : int64_t { kInput, kOutput, kBlock, kCall } scope = Scope::kInput;
  int64_t place = 0;  // input: its number; block and call: offset, in floats per row of the block or call
};

// A buffer's rows of the current call or block.
struct Rows {
  float* base;
  int64_t floats;
  float* row(int64_t r) const { return base + r * floats; }
};

// The memory and the rows that an operator runs on.
struct Frame {
  const float* const* inputs;
  float* output;
  float *block, *call, *scratch;
  int64_t first, rows;            // of the call
  int64_t block_rows, call_rows;  // capacity of `block` and `call`

  Rows rows_of(const Buffer& buffer) const {
    switch (buffer.scope) {
      case Buffer::Scope::kInput:
        return {const_cast<float*>(inputs[buffer.place]) + first * buffer.floats, buffer.floats};
      case Buffer::Scope::kOutput:
        return {output + first * buffer.floats, buffer.floats};
      case Buffer::Scope::kBlock:
        return {block + buffer.place * block_rows, buffer.floats};
      default:
        return {call + buffer.place * call_rows + first * buffer.floats, buffer.floats};
    }
  }
};

// State that operators of one program share, one object per type; the first operator that asks for it creates it.
struct State {
  virtual ~State() = default;
};

class SharedState {
 public:
  template <class T>
  T& get() {
    std::unique_ptr<State>& state = states_[std::type_index(typeid(T))];
    if (!state) state = std::make_unique<T>();
    return static_cast<T&>(*state);
  }

 private:
  std::map<std::type_index, std::unique_ptr<State>> states_;
};

// Reads words one after the other, each checked against its range.
class WordReader {
 public:
  WordReader(const int64_t* words, int64_t count) : next_(words), end_(words + count) {}

  int64_t word() {
    require(next_ < end_, "an operator has too few parameters");
    return *next_++;
  }
  int64_t count(int64_t min = 0, int64_t max = kMaxSize) {
    const int64_t n = word();
    require(n >= min && n <= max, "an operator's size is out of range");
    return n;
  }
  void done() const { require(next_ == end_, "an operator has too many parameters"); }

 protected:
  const int64_t *next_, *end_;
};

// The parameters of one operator, in the order in which its constructor asks for them.
class Reader : public WordReader {
 public:
  // `per_call`: the operator runs once for all rows of a call, and so may not use buffers of a block.
  Reader(const int64_t* words, int64_t count, const std::vector<Buffer>& buffers, const float* weights, int64_t floats,
         bool per_call, SharedState& shared)
      : WordReader(words, count), buffers_(buffers), weights_(weights), floats_(floats), per_call_(per_call),
        shared_(shared) {}

  bool per_call() const { return per_call_; }

  float number() {
    const int64_t bits = word();
    double value;
    std::memcpy(&value, &bits, 8);
    return static_cast<float>(value);
  }
  // A buffer that is read or written. Inputs are never written and the output is never read.
  Buffer source() {
    const Buffer& buffer = any();
    require(buffer.scope != Buffer::Scope::kOutput, "an operator reads the output");
    return buffer;
  }
  Buffer target() {
    const Buffer& buffer = any();
    require(buffer.scope != Buffer::Scope::kInput, "an operator writes an input");
    return buffer;
  }
  // Whether an optional buffer or weight is left out; if so, moves on to the next parameter.
  bool absent() {
    require(next_ < end_, "an operator has too few parameters");
    if (*next_ != -1) return false;
    next_++;
    return true;
  }
  const float* weights(int64_t floats) {
    const int64_t first = word();
    require(first >= 0 && first % kLanes == 0 && floats >= 0 && first <= floats_ && floats <= floats_ - first,
            "an operator's weights lie outside the program");
    return weights_ + first;
  }
  const float* optional_weights(int64_t floats) { return absent() ? nullptr : weights(floats); }

  template <class T>
  T& shared() {
    return shared_.get<T>();
  }

 private:
  const Buffer& any() {
    const int64_t i = word();
    require(i >= 0 && i < int64_t(buffers_.size()), "an operator refers to a buffer that does not exist");
    require(!per_call_ || buffers_[i].scope != Buffer::Scope::kBlock, "an operator of a call uses a buffer of a block");
    return buffers_[i];
  }
  const std::vector<Buffer>& buffers_;
  const float* weights_;
  int64_t floats_;
  bool per_call_;
  SharedState& shared_;
};

// Require that `offset` + `floats` lie within a row of the buffer.
inline void fits(const Buffer& buffer, int64_t offset, int64_t floats) {
  require(offset >= 0 && floats >= 0 && offset <= buffer.floats && floats <= buffer.floats - offset,
          "an operator reaches outside a buffer");
}

// Floats from the first to the last element of (rows, columns) at stride ld.
inline int64_t extent(int64_t rows, int64_t ld, int64_t columns) { return rows ? (rows - 1) * ld + columns : 0; }

struct Operator {
  virtual ~Operator() = default;
  virtual void run(const Frame& frame) = 0;
  virtual int64_t scratch() const { return 0; }  // floats of temporary memory that `run` needs
};

}  // namespace native
