// Embeddings of a network's conditions: of timesteps from a table, of token sequences by pooling.
#include <algorithm>
#include <cmath>

#include "embedding.h"
#include "registry.h"

namespace native {
namespace {

// The row of a constant table (steps, width) for the timestep t; NaN for NaN.
class Embedding final : public Operator {
 public:
  explicit Embedding(Reader& r)
      : t_(r.source()), steps_(r.count(1)), width_(r.count(1)), table_(r.weights(steps_ * width_)), out_(r.target()) {
    fits(t_, 0, 1);
    fits(out_, 0, width_);
  }
  void run(const Frame& frame) override {
    const Rows t = frame.rows_of(t_), out = frame.rows_of(out_);
    for (int64_t r = 0; r < frame.rows; r++) {
      const float step = *t.row(r);
      const float* from = table_ + step_of(step, steps_) * width_;
      for (int64_t c = 0; c < width_; c++) out.row(r)[c] = std::isnan(step) ? step : from[c];
    }
  }

 private:
  Buffer t_;
  int64_t steps_, width_;
  const float* table_;
  Buffer out_;
};

// The mean of the unmasked tokens, followed by the last token: (L, D), mask (L) -> (2 D).
class Pool final : public Operator {
 public:
  explicit Pool(Reader& r)
      : tokens_(r.source()), mask_(r.source()), count_(r.count(1)), width_(r.count(1)), out_(r.target()) {
    fits(tokens_, 0, count_ * width_);
    fits(mask_, 0, count_);
    fits(out_, 0, 2 * width_);
  }
  void run(const Frame& frame) override {
    const Rows tokens = frame.rows_of(tokens_), mask = frame.rows_of(mask_), out = frame.rows_of(out_);
    for (int64_t r = 0; r < frame.rows; r++) {
      const float *x = tokens.row(r), *m = mask.row(r);
      float* to = out.row(r);
      float total = 0;
      for (int64_t i = 0; i < count_; i++) total += m[i];
      total = total < 1 ? 1 : total;
      std::fill_n(to, width_, 0.0f);
      for (int64_t i = 0; i < count_; i++)
        for (int64_t c = 0; c < width_; c++) to[c] += x[i * width_ + c] * m[i];
      for (int64_t c = 0; c < width_; c++) to[c] /= total;
      std::copy_n(x + (count_ - 1) * width_, width_, to + width_);
    }
  }

 private:
  Buffer tokens_, mask_;
  int64_t count_, width_;
  Buffer out_;
};

REGISTER_OPERATOR("embedding", Embedding)
REGISTER_OPERATOR("pool", Pool)

}  // namespace
}  // namespace native
