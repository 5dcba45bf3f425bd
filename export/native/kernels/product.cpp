// Matrix products with constant operands.
#include "registry.h"
#include "tile.h"

namespace native {
namespace {

constexpr int64_t kInputFloats = 128 << 10;  // 512 KiB

// out (P, N) = a (P, K) w + bias + table + residual, for each row. Weights are panels of (K, kPanel). With overlapping or
// strided rows of `a` (lda other than K) it is a convolution. If `sparse`, `out` is left unchanged for rows whose inputs
// are all zero; it must then be the residual too.
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
    bool needed[kMaxRows];
    for (int64_t r = 0; r < outer; r++) needed[r] = !sparse_ || !zero(a.row(r) + a_at_, extent(positions_, lda_, k_));
    // As many rows at a time as stay in the second-level cache together with the weights while all panels are applied.
    const int64_t step = kInputFloats / std::max<int64_t>(1, inner * lda_) + 1;
    for (int64_t begin = 0; begin < outer; begin += step) {
      const int64_t end = std::min(outer, begin + step);
      for (int64_t panel = 0; panel < panels_; panel++) {
        const float* w = w_ + panel * kPanel * k_;
        Prefetch prefetch(w + kPanel * k_, kPanel * k_, (end - begin) * tiles_of(inner) * k_);
        const int64_t column = panel * kPanel, columns = std::min<int64_t>(kPanel, n_ - column);
        for (int64_t r = begin; r < end; r++) {
          if (!needed[r]) continue;
          for_each_tile(inner, [&](int64_t first, int64_t rows) {
            multiply(prefetch.with({a.row(r) + a_at_ + first * lda_, lda_, w, kPanel, k_,
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
      // All bits but the sign: only zeros have none of them set. NaN is not zero.
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

// out (M, N) = left (M, K) b (K, N) with a constant left operand, for each row. b is padded to whole vectors.
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
      for (int64_t column = 0; column < n_; column += kPanel)
        for_each_tile(m_, [&](int64_t first, int64_t rows) {
          multiply(Tile{left_ + first * k_, k_, b.row(r) + b_at_ + column, ldb_, k_,
                        out.row(r) + out_at_ + first * ldo_ + column, ldo_, std::min<int64_t>(kPanel, n_ - column),
                        nullptr, nullptr, 0, nullptr, 0},
                   rows);
        });
  }

 private:
  int64_t m_, k_;
  const float* left_;
  Buffer b_;
  int64_t b_at_, ldb_, n_;
  Buffer out_;
  int64_t out_at_, ldo_;
};

REGISTER_OPERATOR("product", Product)
REGISTER_OPERATOR("left_product", LeftProduct)

}  // namespace
}  // namespace native
