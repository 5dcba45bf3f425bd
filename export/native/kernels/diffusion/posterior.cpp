// The posterior of the Gaussian model of motion (choreo.generators.unet.gaussian.GaussianModel). Modes have their even
// frequencies first, then the odd ones.
#include <cmath>

#include "../registry.h"
#include "level.h"

namespace native {
namespace {

// a v + 1 - a in torch's order and rounding: for directions with almost no variance nearly everything cancels, and a fused
// multiply-add would leave a different remainder.
inline Vec spread(float a, Vec variance) {
  Vec product = variance * a;
  opaque(product);
  return product + 1.0f - a;
}

// The parameters of all posterior operators: modes (T, C) at stride ld, their variances, and the timestep.
struct Modes {
  Buffer modes, t;
  int64_t frames, channels, ld, steps;
  const float *variances, *levels;

  explicit Modes(Reader& r)
      : modes(r.source()), t(r.source()), frames(r.count(1)), channels(r.count(1)), ld(r.count(channels)),
        steps(r.count(1)), variances(r.weights(frames * channels)), levels(r.weights(steps)) {
    fits(modes, 0, extent(frames, ld, channels));
    fits(t, 0, 1);
  }
};

// The posterior mean and the whitened modes, concatenated: (T, 2 C) at stride ldo.
class Posterior final : public Operator {
 public:
  explicit Posterior(Reader& r) : in_(r), ldo_(r.count(2 * in_.channels)), out_(r.target()) {
    fits(out_, 0, extent(in_.frames, ldo_, 2 * in_.channels));
  }
  void run(const Frame& frame) override {
    for (int64_t r = 0; r < frame.rows; r++) {
      const Level level(*frame.rows_of(in_.t).row(r), in_.levels, in_.steps);
      const float* modes = frame.rows_of(in_.modes).row(r);
      float* out = frame.rows_of(out_).row(r);
      for (int64_t f = 0; f < in_.frames; f++) {
        const float *y = modes + f * in_.ld, *variance = in_.variances + f * in_.channels;
        float *mean = out + f * ldo_, *white = mean + in_.channels;
        for (int64_t c = 0; c < in_.channels; c += kLanes) {
          const int64_t n = in_.channels - c;
          const Vec v = load(variance + c, n), white_gain = 1.0f / root(spread(level.a, v)), x = load(y + c, n);
          store(mean + c, level.root * v * white_gain * white_gain * x, n);
          store(white + c, white_gain * x, n);
        }
      }
    }
  }

 private:
  Modes in_;
  int64_t ldo_;
  Buffer out_;
};

// The posterior mean plus a correction (T, C) in units of the posterior deviation; all at stride ld.
class ApplyPosteriorCorrection final : public Operator {
 public:
  explicit ApplyPosteriorCorrection(Reader& r) : in_(r), correction_(r.source()), out_(r.target()) {
    fits(correction_, 0, extent(in_.frames, in_.ld, in_.channels));
    fits(out_, 0, extent(in_.frames, in_.ld, in_.channels));
  }
  void run(const Frame& frame) override {
    for (int64_t r = 0; r < frame.rows; r++) {
      const Level level(*frame.rows_of(in_.t).row(r), in_.levels, in_.steps);
      const float *modes = frame.rows_of(in_.modes).row(r), *correction = frame.rows_of(correction_).row(r);
      float* out = frame.rows_of(out_).row(r);
      for (int64_t f = 0; f < in_.frames; f++) {
        const float *y = modes + f * in_.ld, *z = correction + f * in_.ld, *variance = in_.variances + f * in_.channels;
        for (int64_t c = 0; c < in_.channels; c += kLanes) {
          const int64_t n = in_.channels - c;
          const Vec v = load(variance + c, n), gain = 1.0f / root(spread(level.a, v));
          const Vec mean = level.root * v * gain * gain * load(y + c, n);
          store(out + f * in_.ld + c, mean + root(v * level.rest) * gain * load(z + c, n), n);
        }
      }
    }
  }

 private:
  Modes in_;
  Buffer correction_, out_;
};

REGISTER_OPERATOR("posterior", Posterior)
REGISTER_OPERATOR("apply_posterior_correction", ApplyPosteriorCorrection)

}  // namespace
}  // namespace native
