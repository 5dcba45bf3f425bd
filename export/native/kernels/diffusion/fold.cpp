// The cosine transform's symmetry: its rows are even or odd around the middle, so both halves of the frames share one
// product of half the size (choreo.generators.unet.gaussian.GaussianModel).
#include <algorithm>

#include "../registry.h"

namespace native {
namespace {

// (T, C) -> the sums, then the differences, of mirrored frames: (ceil(T / 2) + floor(T / 2), ld).
class Fold final : public Operator {
 public:
  explicit Fold(Reader& r)
      : in_(r.source()), frames_(r.count(1)), channels_(r.count(1)), ld_(r.count(channels_)), out_(r.target()) {
    fits(in_, 0, frames_ * channels_);
    fits(out_, 0, frames_ * ld_);
  }
  void run(const Frame& frame) override {
    const int64_t half = frames_ / 2, odd = frames_ - half;
    for (int64_t r = 0; r < frame.rows; r++) {
      const float* in = frame.rows_of(in_).row(r);
      float* out = frame.rows_of(out_).row(r);
      for (int64_t t = 0; t < half; t++) {
        const float *a = in + t * channels_, *b = in + (frames_ - 1 - t) * channels_;
        for (int64_t c = 0; c < channels_; c++) {
          out[t * ld_ + c] = a[c] + b[c];
          out[(odd + t) * ld_ + c] = a[c] - b[c];
        }
      }
      if (odd > half) std::copy_n(in + half * channels_, channels_, out + half * ld_);
    }
  }

 private:
  Buffer in_;
  int64_t frames_, channels_, ld_;
  Buffer out_;
};

// Its counterpart after an inverse transform: (T, ld) -> (T, C).
class Unfold final : public Operator {
 public:
  explicit Unfold(Reader& r)
      : in_(r.source()), frames_(r.count(1)), channels_(r.count(1)), ld_(r.count(channels_)), out_(r.target()) {
    fits(in_, 0, frames_ * ld_);
    fits(out_, 0, frames_ * channels_);
  }
  void run(const Frame& frame) override {
    const int64_t half = frames_ / 2, odd = frames_ - half;
    for (int64_t r = 0; r < frame.rows; r++) {
      const float* in = frame.rows_of(in_).row(r);
      float* out = frame.rows_of(out_).row(r);
      for (int64_t t = 0; t < half; t++) {
        const float *e = in + t * ld_, *o = in + (odd + t) * ld_;
        for (int64_t c = 0; c < channels_; c++) {
          out[t * channels_ + c] = e[c] + o[c];
          out[(frames_ - 1 - t) * channels_ + c] = e[c] - o[c];
        }
      }
      if (odd > half) std::copy_n(in + half * ld_, channels_, out + half * channels_);
    }
  }

 private:
  Buffer in_;
  int64_t frames_, channels_, ld_;
  Buffer out_;
};

REGISTER_OPERATOR("fold", Fold)
REGISTER_OPERATOR("unfold", Unfold)

}  // namespace
}  // namespace native
