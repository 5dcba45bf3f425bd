// Evaluates the operators of a program in the thread that calls it.
#pragma once

#include <cstdlib>
#include <memory>
#include <mutex>
#include <vector>

#include "kernels/operator.h"
#include "program_file.h"

namespace native {

class Engine {
 public:
  // Throws Failure if the file is not a program that this engine can run, and names the operators it does not know.
  explicit Engine(const char* path);

  // Evaluate rows: each input is (rows, ...) and so is the output. Calls from several threads take turns.
  void run(int64_t rows, const float* const* inputs, float* output);

  int64_t inputs() const { return inputs_; }
  // Floats per row of an input; of the output for the index behind the last input.
  int64_t floats(int64_t index) const { return buffers_[index].floats; }
  // Rows that go through the network together.
  int64_t block_rows() const { return block_rows_; }

  // Add the seconds spent in each operator since the last call to `seconds`. The first call starts the measurement.
  // Returns the number of operators.
  int64_t profile(double* seconds, int64_t count);

 private:
  struct Free {
    void operator()(float* p) const { std::free(p); }
  };
  using Memory = std::unique_ptr<float, Free>;
  using Operators = std::vector<std::unique_ptr<Operator>>;

  static Memory zeros(int64_t floats);
  void read_buffers(WordReader& words);
  Operators read_operators(WordReader& words, bool per_call);
  void run_rows(int64_t rows, const float* const* inputs, float* output);
  void run_all(const Operators& operators, const Frame& frame, double* spent);

  ProgramFile file_;
  int64_t inputs_ = 0, block_floats_ = 0, call_floats_ = 0, block_rows_ = 1;
  std::vector<Buffer> buffers_;  // inputs, the output, those of blocks and calls
  SharedState shared_;
  Operators call_operators_, block_operators_;
  Memory scratch_, block_, call_;
  std::mutex mutex_;
  std::vector<double> spent_;
  bool profiled_ = false;
};

}  // namespace native
