// Known frames of choreo.generators.unet.denoiser.Denoiser: how they enter and leave the network.
#include <algorithm>
#include <cmath>

#include "../registry.h"
#include "level.h"

namespace native {
namespace {

// x with known frames at the noise level of t but without noise. Frames after the last real one are replaced by those
// before it, reflected back and forth.
class ClampKnownFrames final : public Operator {
 public:
  explicit ClampKnownFrames(Reader& r)
      : x_(r.source()), t_(r.source()), known_(r.source()), known_mask_(r.source()), frame_mask_(r.source()),
        frames_(r.count(1)), channels_(r.count(1)), steps_(r.count(1)), levels_(r.weights(steps_)), out_(r.target()) {
    for (const Buffer& each : {x_, known_, known_mask_, out_}) fits(each, 0, frames_ * channels_);
    fits(t_, 0, 1);
    fits(frame_mask_, 0, frames_);
  }
  void run(const Frame& frame) override {
    for (int64_t r = 0; r < frame.rows; r++) {
      const float *x = frame.rows_of(x_).row(r), *known = frame.rows_of(known_).row(r);
      const float *is_known = frame.rows_of(known_mask_).row(r), *real = frame.rows_of(frame_mask_).row(r);
      const float root = Level(*frame.rows_of(t_).row(r), levels_, steps_).root;
      float total = 0;
      for (int64_t t = 0; t < frames_; t++) total += real[t];
      const int64_t count = total >= 1 ? int64_t(std::min(total, float(frames_))) : 1;
      float* out = frame.rows_of(out_).row(r);
      for (int64_t t = 0; t < frames_; t++, out += channels_) {
        const int64_t place = t % (2 * count), from = std::min(place, 2 * count - 1 - place) * channels_;
        for (int64_t c = 0; c < channels_; c++)
          out[c] = is_known[from + c] * root * known[from + c] + (1 - is_known[from + c]) * x[from + c];
      }
    }
  }

 private:
  Buffer x_, t_, known_, known_mask_, frame_mask_;
  int64_t frames_, channels_, steps_;
  const float* levels_;
  Buffer out_;
};

// Known frames as they were given, the others from x0, masked ones zero; with `eps`, the noise that this x0 implies.
class RestoreKnownFrames final : public Operator {
 public:
  explicit RestoreKnownFrames(Reader& r)
      : x0_(r.source()), x_(r.source()), t_(r.source()), known_(r.source()), known_mask_(r.source()),
        frame_mask_(r.source()), frames_(r.count(1)), channels_(r.count(1)), eps_(r.count(0, 1)), steps_(r.count(1)),
        levels_(r.weights(steps_)), out_(r.target()) {
    for (const Buffer& each : {x0_, x_, known_, known_mask_, out_}) fits(each, 0, frames_ * channels_);
    fits(t_, 0, 1);
    fits(frame_mask_, 0, frames_);
  }
  void run(const Frame& frame) override {
    for (int64_t r = 0; r < frame.rows; r++) {
      const float *x0 = frame.rows_of(x0_).row(r), *x = frame.rows_of(x_).row(r), *known = frame.rows_of(known_).row(r);
      const float *is_known = frame.rows_of(known_mask_).row(r), *real = frame.rows_of(frame_mask_).row(r);
      const Level level(*frame.rows_of(t_).row(r), levels_, steps_);
      const float deviation = std::sqrt(level.rest);
      float* out = frame.rows_of(out_).row(r);
      for (int64_t t = 0; t < frames_; t++)
        for (int64_t i = t * channels_; i < (t + 1) * channels_; i++) {
          const float clean = (is_known[i] * known[i] + (1 - is_known[i]) * x0[i]) * real[t];
          out[i] = eps_ ? (x[i] - level.root * clean) / deviation * real[t] : clean;
        }
    }
  }

 private:
  Buffer x0_, x_, t_, known_, known_mask_, frame_mask_;
  int64_t frames_, channels_, eps_, steps_;
  const float* levels_;
  Buffer out_;
};

REGISTER_OPERATOR("clamp_known_frames", ClampKnownFrames)
REGISTER_OPERATOR("restore_known_frames", RestoreKnownFrames)

}  // namespace
}  // namespace native
