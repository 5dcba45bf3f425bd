// A program file: a header, the names of its operators, words that describe buffers and operators, and weights. It is
// written by export/native/program.py. Everything is validated here, so that nothing outside the file is read.
#pragma once

#include <string>
#include <vector>

#include "kernels/operator.h"

namespace native {

// A file mapped read-only: processes that open the same one share its memory.
class Mapping {
 public:
  explicit Mapping(const char* path);
  ~Mapping();
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

  const char* at(int64_t offset) const { return memory_ + offset; }
  int64_t bytes() const { return bytes_; }

 private:
  const char* memory_ = nullptr;
  int64_t bytes_ = 0;
};

class ProgramFile {
 public:
  // Throws Failure if the file cannot be opened or is not a program for this engine.
  explicit ProgramFile(const char* path);

  const std::vector<std::string>& names() const { return names_; }
  const int64_t* words() const { return words_; }
  int64_t word_count() const { return word_count_; }
  const float* weights() const { return weights_; }
  int64_t weight_count() const { return weight_count_; }

 private:
  bool inside(int64_t first, int64_t count, int64_t size) const;
  void read_names(int64_t bytes);

  Mapping file_;
  std::vector<std::string> names_;
  const int64_t* words_ = nullptr;
  const float* weights_ = nullptr;
  int64_t word_count_ = 0, weight_count_ = 0;
};

}  // namespace native
