// Operators with packed weights: products, and convolutions of width three as Winograd's F(2, 3).
#pragma once

#include "product.h"
#include "program.h"

namespace native {

constexpr int64_t kInputFloats = 128 << 10;  // half a megabyte

// out (P, N) = a (P, K) w + bias + table + residual, for each row. Weights are panels of (K, kPanel). Overlapping or
// skipping rows of `a` (lda other than K) make it a convolution. Where `sparse`, a row whose inputs are all zero is left
// as it is: `out` is then the residual as well, so that there is nothing to be done.
class Product final : public Operator {
 public:
  explicit Product(Reader& r)
      : a_(r.source()), a_at_(r.count()), lda_(r.count()), positions_(r.count(1)), k_(r.count(1)), n_(r.count(1)),
        panels_((n_ + kPanel - 1) / kPanel), w_(r.weights(panels_ * kPanel * k_)),
        bias_(r.optional_weights(panels_ * kPanel)), table_(r.optional_weights(positions_ * panels_ * kPanel)) {
    has_residual_ = !r.absent();
    if (has_residual_) {
      residual_ = r.source();
      ldr_ = n_;
      fits(residual_, 0, positions_ * n_);
    }
    out_ = r.target();
    out_at_ = r.count();
    ldo_ = r.count();
    sparse_ = r.count(0, 1) == 1;
    fits(a_, a_at_, extent(positions_, lda_, k_));
    fits(out_, out_at_, extent(positions_, ldo_, n_));
  }

  void run(const Frame& frame) override {
    const Rows a = frame.rows_of(a_), out = frame.rows_of(out_);
    const Rows residual = has_residual_ ? frame.rows_of(residual_) : Rows{};
    int64_t outer = frame.rows, inner = positions_;
    if (!sparse_ && a.floats == inner * lda_ && out.floats == inner * ldo_ && !table_ &&
        (!has_residual_ || residual.floats == inner * ldr_)) {
      inner *= outer;
      outer = 1;
    }
    // Rows whose inputs stay in the second-level cache beside the weights, while all panels of these go over them.
    bool needed[kMostRows];
    for (int64_t r = 0; r < outer; r++) needed[r] = !sparse_ || !zero(a.row(r) + a_at_, extent(positions_, lda_, k_));
    const int64_t some = kInputFloats / std::max<int64_t>(1, inner * lda_) + 1;
    for (int64_t begin = 0; begin < outer; begin += some) {
      const int64_t end = std::min(outer, begin + some);
      for (int64_t panel = 0; panel < panels_; panel++) {
        const float* w = w_ + panel * kPanel * k_;
        Ahead ahead(w + kPanel * k_, kPanel * k_, (end - begin) * pieces(inner) * k_);
        const int64_t column = panel * kPanel, columns = std::min<int64_t>(kPanel, n_ - column);
        for (int64_t r = begin; r < end; r++) {
          if (!needed[r]) continue;
          split(inner, [&](int64_t first, int64_t rows) {
            multiply(ahead.with({a.row(r) + a_at_ + first * lda_, lda_, w, kPanel, k_,
                                 out.row(r) + out_at_ + first * ldo_ + column, ldo_, columns,
                                 bias_ ? bias_ + column : nullptr,
                                 table_ ? table_ + first * panels_ * kPanel + column : nullptr, panels_ * kPanel,
                                 has_residual_ ? residual.row(r) + first * ldr_ + column : nullptr, ldr_}),
                     rows);
          });
        }
      }
    }
  }

 private:
  static bool zero(const float* x, int64_t floats) {
    int64_t i = 0;
    for (; i + 4 * kLanes <= floats; i += 4 * kLanes) {
      // The signs do not matter, and whatever has another bit is not zero, NaN included.
      Int bits{};
      for (int64_t j = 0; j < 4 * kLanes; j += kLanes) bits |= reinterpret_cast<Int>(load(x + i + j));
      if (sum(__builtin_convertvector((bits & 0x7fffffff) != 0, Vec)) != 0) return false;
    }
    for (; i < floats; i++)
      if (!(x[i] == 0)) return false;
    return true;
  }

  Buffer a_;
  int64_t a_at_, lda_, positions_, k_, n_, panels_;
  const float *w_, *bias_, *table_;
  bool has_residual_ = false, sparse_ = false;
  Buffer residual_, out_;
  int64_t ldr_ = 0, out_at_ = 0, ldo_ = 0;
};

// A convolution of three taps: four products of transformed inputs (4, tiles, K) with weights (panels, 4, K, kPanel)
// give two outputs each, where six would be needed directly.
class Convolution final : public Operator {
 public:
  explicit Convolution(Reader& r)
      : a_(r.source()), frames_(r.count(1)), k_(r.count(1)), n_(r.count(1)), panels_((n_ + kPanel - 1) / kPanel),
        w_(r.weights(4 * panels_ * kPanel * k_)), bias_(r.weights(panels_ * kPanel)) {
    has_residual_ = !r.absent();
    if (has_residual_) {
      residual_ = r.source();
      fits(residual_, 0, frames_ * n_);
    }
    out_ = r.target();
    fits(a_, 0, 4 * tiles() * k_);
    fits(out_, 0, frames_ * n_);
  }

  int64_t scratch() const override { return 4 * kTileRows * kPanel; }

  void run(const Frame& frame) override {
    const Rows a = frame.rows_of(a_), out = frame.rows_of(out_);
    const Rows residual = has_residual_ ? frame.rows_of(residual_) : Rows{};
    const int64_t part = kTileRows * kPanel, size = kPanel * k_;
    for (int64_t panel = 0; panel < panels_; panel++) {
      const float* w = w_ + panel * 4 * size;
      Ahead ahead(w + 4 * size, 4 * size, frame.rows * pieces(tiles()) * 4 * k_);
      const int64_t column = panel * kPanel, columns = std::min<int64_t>(kPanel, n_ - column);
      for (int64_t r = 0; r < frame.rows; r++)
        split(tiles(), [&](int64_t first, int64_t rows) {
          for (int64_t i = 0; i < 4; i++)
            multiply(ahead.with({a.row(r) + (i * tiles() + first) * k_, k_, w + i * size, kPanel, k_,
                                 frame.scratch + i * part, kPanel, kPanel, nullptr, nullptr, 0, nullptr, 0}),
                     rows);
          combine(frame.scratch, first, rows, column, columns, has_residual_ ? residual.row(r) : nullptr, out.row(r));
        });
    }
  }

 private:
  int64_t tiles() const { return (frames_ + 1) / 2; }

  void combine(const float* products, int64_t first, int64_t rows, int64_t column, int64_t columns,
               const float* residual, float* out) const {
    const int64_t part = kTileRows * kPanel;
    for (int64_t q = 0; q < rows; q++)
      for (int64_t c = 0; c < columns; c += kLanes) {
        const float* m = products + q * kPanel + c;
        const Vec m0 = load(m), m1 = load(m + part), m2 = load(m + 2 * part), m3 = load(m + 3 * part);
        const Vec bias = load(bias_ + column + c);
        const int64_t t = 2 * (first + q), at = t * n_ + column + c, left = columns - c;
        Vec even = m0 + m1 + m2 + bias, odd = m1 - m2 - m3 + bias;
        if (residual) even += load(residual + at, left);
        store(out + at, even, left);
        if (t + 1 == frames_) continue;
        if (residual) odd += load(residual + at + n_, left);
        store(out + at + n_, odd, left);
      }
  }

  Buffer a_;
  int64_t frames_, k_, n_, panels_;
  const float *w_, *bias_;
  bool has_residual_ = false;
  Buffer residual_, out_;
};

// out (M, N) = left (M, K) b (K, N) with a constant left operand, for each row.
class LeftProduct final : public Operator {
 public:
  explicit LeftProduct(Reader& r)
      : m_(r.count(1)), k_(r.count(1)), left_(r.weights(m_ * k_)), b_(r.source()), b_at_(r.count()), ldb_(r.count()),
        n_(r.count(1)), out_(r.target()), out_at_(r.count()), ldo_(r.count()) {
    fits(b_, b_at_, extent(k_, ldb_, (n_ + kLanes - 1) / kLanes * kLanes));
    fits(out_, out_at_, extent(m_, ldo_, n_));
  }

  void run(const Frame& frame) override {
    const Rows b = frame.rows_of(b_), out = frame.rows_of(out_);
    for (int64_t r = 0; r < frame.rows; r++)
      multiply_left(left_, m_, k_, b.row(r) + b_at_, ldb_, n_, out.row(r) + out_at_, ldo_);
  }

 private:
  int64_t m_, k_;
  const float* left_;
  Buffer b_;
  int64_t b_at_, ldb_, n_;
  Buffer out_;
  int64_t out_at_, ldo_;
};

}  // namespace native
