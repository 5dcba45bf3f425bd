// A program file: operators as words, weights behind them. Whatever is in the file, nothing outside it is read, and no
// operator that is built from it reaches outside its buffers.
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <stdexcept>
#include <string>
#include <vector>

#include "simd.h"

namespace native {

constexpr char kMagic[8] = {'C', 'H', 'O', 'R', 'E', 'O', 'N', 'P'};
constexpr uint32_t kVersion = 1;
constexpr int64_t kMostRows = 64;  // of a call or block
constexpr int64_t kMost = 1 << 24;  // of any size in a program: the product of two is far from overflow

struct Failure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

inline void require(bool holds, const char* what) {
  if (!holds) throw Failure(what);
}

struct Header {
  char magic[8];
  uint32_t version, lanes;
  int64_t words_at, words, weights_at, weights, file_bytes, reserved;
};
static_assert(sizeof(Header) == 64);

// The file, mapped read-only: processes that open the same one share its memory.
class File {
 public:
  explicit File(const char* path) {
    const int descriptor = ::open(path, O_RDONLY | O_CLOEXEC);
    require(descriptor >= 0, "the program file cannot be opened");
    struct stat info {};
    const bool known = fstat(descriptor, &info) == 0 && S_ISREG(info.st_mode);
    bytes_ = known ? info.st_size : 0;
    // Filled in at once, so that the first call is not slower than the others.
    const int flags = MAP_SHARED | MAP_POPULATE;
    void* memory = bytes_ >= int64_t(sizeof(Header)) ? mmap(nullptr, bytes_, PROT_READ, flags, descriptor, 0)
                                                     : MAP_FAILED;
    ::close(descriptor);
    require(memory != MAP_FAILED, "the program file is too short or cannot be mapped");
    memory_ = static_cast<const char*>(memory);
  }
  ~File() { munmap(const_cast<char*>(memory_), bytes_); }
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  const Header& checked() const {
    const Header& header = *reinterpret_cast<const Header*>(memory_);
    require(std::memcmp(header.magic, kMagic, sizeof kMagic) == 0, "the file is not a program");
    require(header.version == kVersion, "the program is of another version");
    require(header.lanes == kLanes, "the program was packed for vectors of another width");
    require(header.file_bytes == bytes_, "the program file is truncated");
    require(inside(header.words_at, header.words, 8) && inside(header.weights_at, header.weights, 4),
            "the program's sections lie outside its file");
    return header;
  }
  const char* at(int64_t offset) const { return memory_ + offset; }

 private:
  bool inside(int64_t first, int64_t count, int64_t size) const {
    return first >= 0 && first % 64 == 0 && first <= bytes_ && count >= 0 && count <= (bytes_ - first) / size;
  }
  const char* memory_ = nullptr;
  int64_t bytes_ = 0;
};

// Where a tensor lies: floats per row, and how rows follow each other.
struct Buffer {
  int64_t floats = 0;
  enum class Scope : int64_t { kInput, kOutput, kBlock, kCall } scope = Scope::kInput;
  int64_t place = 0;  // input: its number; block and call: offset, in floats per row of the block or call
};

// A buffer with the rows of one call or block behind it.
struct Rows {
  float* base;
  int64_t floats;
  float* row(int64_t r) const { return base + r * floats; }
};

// What operators find while they run.
struct Frame {
  const float* const* inputs;
  float* output;
  float *block, *call, *scratch;
  int64_t first, rows;            // of the call
  int64_t block_rows, call_rows;  // that there is room for

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

// Parameters of one operator, in the order in which it asks for them.
class Reader {
 public:
  // `call`: the operator is of all rows of a call, for which buffers of a block have no room.
  Reader(const int64_t* words, int64_t count, const std::vector<Buffer>& buffers, const float* weights, int64_t floats,
         bool call)
      : words_(words), end_(words + count), buffers_(buffers), weights_(weights), floats_(floats), call_(call) {}

  bool of_call() const { return call_; }

  int64_t word() {
    require(words_ < end_, "an operator has too few parameters");
    return *words_++;
  }
  int64_t count(int64_t least = 0, int64_t most = kMost) {
    const int64_t n = word();
    require(n >= least && n <= most, "an operator's size is out of range");
    return n;
  }
  float number() {
    const int64_t bits = word();
    double value;
    std::memcpy(&value, &bits, 8);
    return static_cast<float>(value);
  }
  // A buffer that is read, or written; inputs are not written and the output is not read.
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
  bool absent() {
    require(words_ < end_, "an operator has too few parameters");
    if (*words_ != -1) return false;
    words_++;
    return true;
  }
  const float* weights(int64_t floats) {
    const int64_t first = word();
    require(first >= 0 && first % kLanes == 0 && floats >= 0 && first <= floats_ && floats <= floats_ - first,
            "an operator's weights lie outside the program");
    return weights_ + first;
  }
  const float* optional_weights(int64_t floats) { return absent() ? nullptr : weights(floats); }
  void done() const { require(words_ == end_, "an operator has too many parameters"); }

 private:
  const Buffer& any() {
    const int64_t i = word();
    require(i >= 0 && i < int64_t(buffers_.size()), "an operator names a buffer that there is not");
    require(!call_ || buffers_[i].scope != Buffer::Scope::kBlock, "an operator of a call names a buffer of a block");
    return buffers_[i];
  }
  const int64_t *words_, *end_;
  const std::vector<Buffer>& buffers_;
  const float* weights_;
  int64_t floats_;
  bool call_;
};

// `offset` + `floats` lie within a row of the buffer.
inline void fits(const Buffer& buffer, int64_t offset, int64_t floats) {
  require(offset >= 0 && floats >= 0 && offset <= buffer.floats && floats <= buffer.floats - offset,
          "an operator reaches outside a buffer");
}

// Floats from the first to the last element of (rows, columns) at stride ld.
inline int64_t extent(int64_t rows, int64_t ld, int64_t columns) { return rows ? (rows - 1) * ld + columns : 0; }

struct Operator {
  virtual ~Operator() = default;
  virtual void run(const Frame& frame) = 0;
  virtual int64_t scratch() const { return 0; }  // floats
};

}  // namespace native
