// Operators of choreo.generators.unet.denoiser.Denoiser: known frames, the cosine transform in its even and odd half, and the
// posterior of the Gaussian model of motion (choreo.generators.unet.gaussian.GaussianModel). Modes have their even frequencies
// first, then the odd ones.
#pragma once

#include "blocks.h"

namespace native {

// The signal level of a row's timestep.
struct Level {
  float a, root, rest;  // abar, its root, 1 - abar

  Level(float t, const float* table, int64_t steps) : a(std::isnan(t) ? t : table[step_of(t, steps)]) {
    root = std::sqrt(a);
    rest = 1 - a;
  }
};

// a v + 1 - a in the order and rounding of torch: for directions of nearly no variance little is left of it, and a
// contracted multiply-add would leave something else.
inline Vec spread(float a, Vec variance) {
  Vec product = variance * a;
  opaque(product);
  return product + 1.0f - a;
}

// x with known frames in it and, after the last real frame, the frames before it back and forth.
class Held final : public Operator {
 public:
  explicit Held(Reader& r)
      : x_(r.source()), t_(r.source()), known_(r.source()), known_mask_(r.source()), frame_mask_(r.source()),
        frames_(r.count(1)), channels_(r.count(1)), steps_(r.count(1)), levels_(r.weights(steps_)), out_(r.target()) {
    for (const Buffer& each : {x_, known_, known_mask_, out_}) fits(each, 0, frames_ * channels_);
    fits(t_, 0, 1);
    fits(frame_mask_, 0, frames_);
  }
  void run(const Frame& frame) override {
    for (int64_t r = 0; r < frame.rows; r++) {
      const float *x = frame.rows_of(x_).row(r), *known = frame.rows_of(known_).row(r);
      const float *held = frame.rows_of(known_mask_).row(r), *real = frame.rows_of(frame_mask_).row(r);
      const float root = Level(*frame.rows_of(t_).row(r), levels_, steps_).root;
      float total = 0;
      for (int64_t t = 0; t < frames_; t++) total += real[t];
      const int64_t count = total >= 1 ? int64_t(std::min(total, float(frames_))) : 1;
      float* out = frame.rows_of(out_).row(r);
      for (int64_t t = 0; t < frames_; t++, out += channels_) {
        const int64_t place = t % (2 * count), from = std::min(place, 2 * count - 1 - place) * channels_;
        for (int64_t c = 0; c < channels_; c++)
          out[c] = held[from + c] * root * known[from + c] + (1 - held[from + c]) * x[from + c];
      }
    }
  }

 private:
  Buffer x_, t_, known_, known_mask_, frame_mask_;
  int64_t frames_, channels_, steps_;
  const float* levels_;
  Buffer out_;
};

// (T, C) -> sums, then differences, of frames that mirror each other: (ceil(T / 2) + floor(T / 2), ld).
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

// Its inverse on transforms: (T, ld) -> (T, C).
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

// What all that works with posteriors has: modes (T, C) at stride ld, their variances, and the timestep.
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

// Posterior mean and whitened modes side by side, (T, 2 C) at stride ldo.
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

// Posterior mean plus a correction (T, C) in units of the posterior deviation; all at stride ld.
class Corrected final : public Operator {
 public:
  explicit Corrected(Reader& r) : in_(r), correction_(r.source()), out_(r.target()) {
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

// The network's input: two views of x_t from the transforms of their modes (T, 2 C) at stride ld, and rhythm, (padded T,
// 2 C + R); the known mask, (padded T, C); prior and its mask, (padded T, C + 1). Frames that are not real are zero.
class Assembled final : public Operator {
 public:
  explicit Assembled(Reader& r)
      : views_(r.source()), known_mask_(r.source()), prior_(r.source()), rhythm_(r.source()), frame_mask_(r.source()),
        frames_(r.count(1)), padded_(r.count(frames_)), channels_(r.count(1)), beats_(r.count(0)), ld_(r.count()),
        seen_out_(r.target()), known_out_(r.target()), prior_out_(r.target()) {
    fits(views_, 0, extent(frames_, ld_, 2 * channels_));
    fits(known_mask_, 0, frames_ * channels_);
    fits(prior_, 0, frames_ * (channels_ + 1));
    fits(rhythm_, 0, frames_ * beats_);
    fits(frame_mask_, 0, frames_);
    fits(seen_out_, 0, padded_ * (2 * channels_ + beats_));
    fits(known_out_, 0, padded_ * channels_);
    fits(prior_out_, 0, padded_ * (channels_ + 1));
  }
  void run(const Frame& frame) override {
    for (int64_t r = 0; r < frame.rows; r++) {
      const float* real = frame.rows_of(frame_mask_).row(r);
      see(frame, r, real);
      mask(frame.rows_of(known_mask_).row(r), channels_, real, frame.rows_of(known_out_).row(r));
      const float* prior = frame.rows_of(prior_).row(r);
      float* out = frame.rows_of(prior_out_).row(r);
      for (int64_t t = 0; t < frames_; t++, prior += channels_ + 1, out += channels_ + 1) {
        const float there = prior[channels_] * real[t];
        for (int64_t c = 0; c < channels_; c++) out[c] = prior[c] * there;
        out[channels_] = there;
      }
      std::fill_n(out, (padded_ - frames_) * (channels_ + 1), 0.0f);
    }
  }

 private:
  void see(const Frame& frame, int64_t r, const float* real) const {
    const int64_t half = frames_ / 2, odd = frames_ - half, c2 = 2 * channels_;
    const float *views = frame.rows_of(views_).row(r), *rhythm = frame.rows_of(rhythm_).row(r);
    float* out = frame.rows_of(seen_out_).row(r);
    for (int64_t t = 0; t < frames_; t++, out += c2 + beats_) {
      const bool first = t < odd;
      const int64_t mirrored = first ? t : frames_ - 1 - t;
      const float sign = mirrored == half ? 0.0f : first ? 1.0f : -1.0f;
      const float *e = views + mirrored * ld_, *o = sign == 0 ? e : views + (odd + mirrored) * ld_;
      for (int64_t c = 0; c < c2; c++) out[c] = (e[c] + sign * o[c]) * real[t];
      for (int64_t c = 0; c < beats_; c++) out[c2 + c] = rhythm[t * beats_ + c] * real[t];
    }
    std::fill_n(out, (padded_ - frames_) * (c2 + beats_), 0.0f);
  }

  void mask(const float* x, int64_t width, const float* real, float* out) const {
    for (int64_t t = 0; t < frames_; t++, x += width, out += width)
      for (int64_t c = 0; c < width; c++) out[c] = x[c] * real[t];
    std::fill_n(out, (padded_ - frames_) * width, 0.0f);
  }

  Buffer views_, known_mask_, prior_, rhythm_, frame_mask_;
  int64_t frames_, padded_, channels_, beats_, ld_;
  Buffer seen_out_, known_out_, prior_out_;
};

// Known frames as they are given, others as x0 says, masked ones zero; as noise where that is what is predicted.
class Finished final : public Operator {
 public:
  explicit Finished(Reader& r)
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
      const float *held = frame.rows_of(known_mask_).row(r), *real = frame.rows_of(frame_mask_).row(r);
      const Level level(*frame.rows_of(t_).row(r), levels_, steps_);
      const float deviation = std::sqrt(level.rest);
      float* out = frame.rows_of(out_).row(r);
      for (int64_t t = 0; t < frames_; t++)
        for (int64_t i = t * channels_; i < (t + 1) * channels_; i++) {
          const float clean = (held[i] * known[i] + (1 - held[i]) * x0[i]) * real[t];
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

}  // namespace native
