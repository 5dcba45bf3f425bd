// Convolutions over time of three taps as Winograd's F(2, 3) (Lavin & Gray 2016).
#include "registry.h"
#include "tile.h"

namespace native {
namespace {

// Four products of transformed inputs (4, tiles, K), as the norm writes them, with transformed weights (panels, 4, K,
// kPanel) give two outputs per tile, where a direct convolution needs six products.
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
      Prefetch prefetch(w + 4 * size, 4 * size, frame.rows * tiles_of(tiles()) * 4 * k_);
      const int64_t column = panel * kPanel, columns = std::min<int64_t>(kPanel, n_ - column);
      for (int64_t r = 0; r < frame.rows; r++)
        for_each_tile(tiles(), [&](int64_t first, int64_t rows) {
          for (int64_t i = 0; i < 4; i++)
            multiply(prefetch.with({a.row(r) + (i * tiles() + first) * k_, k_, w + i * size, kPanel, k_,
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

REGISTER_OPERATOR("convolution", Convolution)

}  // namespace
}  // namespace native
