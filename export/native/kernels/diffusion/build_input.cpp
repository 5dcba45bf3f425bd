// The input of the U-Net (choreo.generators.unet.network.MotionUNet).
#include <algorithm>

#include "../registry.h"

namespace native {
namespace {

// In three parts of T frames, padded to `padded` frames: two views of x_t, from the transforms of their modes (T, 2 C) at
// stride ld, with the rhythm, (T, 2 C + R); the known mask, (T, C); the prior with its mask, (T, C + 1). Frames that are
// not real are zero.
class BuildInput final : public Operator {
 public:
  explicit BuildInput(Reader& r)
      : views_(r.source()), known_mask_(r.source()), prior_(r.source()), rhythm_(r.source()), frame_mask_(r.source()),
        frames_(r.count(1)), padded_(r.count(frames_)), channels_(r.count(1)), rhythm_channels_(r.count(0)),
        ld_(r.count()), views_out_(r.target()), known_out_(r.target()), prior_out_(r.target()) {
    fits(views_, 0, extent(frames_, ld_, 2 * channels_));
    fits(known_mask_, 0, frames_ * channels_);
    fits(prior_, 0, frames_ * (channels_ + 1));
    fits(rhythm_, 0, frames_ * rhythm_channels_);
    fits(frame_mask_, 0, frames_);
    fits(views_out_, 0, padded_ * (2 * channels_ + rhythm_channels_));
    fits(known_out_, 0, padded_ * channels_);
    fits(prior_out_, 0, padded_ * (channels_ + 1));
  }
  void run(const Frame& frame) override {
    for (int64_t r = 0; r < frame.rows; r++) {
      const float* real = frame.rows_of(frame_mask_).row(r);
      write_views(frame, r, real);
      mask(frame.rows_of(known_mask_).row(r), channels_, real, frame.rows_of(known_out_).row(r));
      const float* prior = frame.rows_of(prior_).row(r);
      float* out = frame.rows_of(prior_out_).row(r);
      for (int64_t t = 0; t < frames_; t++, prior += channels_ + 1, out += channels_ + 1) {
        const float weight = prior[channels_] * real[t];
        for (int64_t c = 0; c < channels_; c++) out[c] = prior[c] * weight;
        out[channels_] = weight;
      }
      std::fill_n(out, (padded_ - frames_) * (channels_ + 1), 0.0f);
    }
  }

 private:
  void write_views(const Frame& frame, int64_t r, const float* real) const {
    const int64_t half = frames_ / 2, odd = frames_ - half, c2 = 2 * channels_;
    const float *views = frame.rows_of(views_).row(r), *rhythm = frame.rows_of(rhythm_).row(r);
    float* out = frame.rows_of(views_out_).row(r);
    for (int64_t t = 0; t < frames_; t++, out += c2 + rhythm_channels_) {
      const bool first = t < odd;
      const int64_t mirrored = first ? t : frames_ - 1 - t;
      const float sign = mirrored == half ? 0.0f : first ? 1.0f : -1.0f;
      const float *e = views + mirrored * ld_, *o = sign == 0 ? e : views + (odd + mirrored) * ld_;
      for (int64_t c = 0; c < c2; c++) out[c] = (e[c] + sign * o[c]) * real[t];
      for (int64_t c = 0; c < rhythm_channels_; c++) out[c2 + c] = rhythm[t * rhythm_channels_ + c] * real[t];
    }
    std::fill_n(out, (padded_ - frames_) * (c2 + rhythm_channels_), 0.0f);
  }

  void mask(const float* x, int64_t width, const float* real, float* out) const {
    for (int64_t t = 0; t < frames_; t++, x += width, out += width)
      for (int64_t c = 0; c < width; c++) out[c] = x[c] * real[t];
    std::fill_n(out, (padded_ - frames_) * width, 0.0f);
  }

  Buffer views_, known_mask_, prior_, rhythm_, frame_mask_;
  int64_t frames_, padded_, channels_, rhythm_channels_, ld_;
  Buffer views_out_, known_out_, prior_out_;
};

REGISTER_OPERATOR("build_input", BuildInput)

}  // namespace
}  // namespace native
