// Operators of networks other than products: norms, padding, embeddings, self-attention.
#pragma once

#include "attention.h"
#include "norm.h"
#include "program.h"

namespace native {

// Group norm of one or two maps side by side, scale and shift from an embedding if there are any, SiLU.
class NormAndSilu final : public Operator {
 public:
  explicit NormAndSilu(Reader& r) {
    norm_.frames = r.count(1);
    norm_.groups = r.count(1);
    norm_.eps = r.number();
    count_ = r.count(1, 2);
    for (int64_t i = 0; i < count_; i++) {
      maps_[i] = r.source();
      widths_[i] = r.count(1);
      norm_.channels += widths_[i];
      fits(maps_[i], 0, norm_.frames * widths_[i]);
    }
    const int64_t channels = norm_.channels;
    require(channels % norm_.groups == 0, "groups do not divide channels");
    norm_.gamma = r.weights(channels);
    norm_.beta = r.weights(channels);
    modulated_ = !r.absent();
    if (modulated_) {
      modulation_ = r.source();
      modulation_at_ = r.count();
      fits(modulation_, modulation_at_, 2 * channels);
    }
    const int64_t layout = r.count(0, 2);
    layout_ = static_cast<Layout>(layout);
    pad_ = r.count(0);
    out_ = r.target();
    const int64_t written = layout_ == Layout::kWinograd ? 4 * ((norm_.frames + 1) / 2)
                            : layout_ == Layout::kPadded ? norm_.frames + 2 * pad_
                                                         : norm_.frames;
    fits(out_, 0, written * channels);
  }

  int64_t scratch() const override { return 4 * (norm_.channels + kLanes); }

  void run(const Frame& frame) override {
    const Rows out = frame.rows_of(out_);
    const Rows modulation = modulated_ ? frame.rows_of(modulation_) : Rows{};
    const int64_t channels = norm_.channels;
    float *a = frame.scratch, *b = a + channels + kLanes, *sums = b + channels + kLanes;
    for (int64_t r = 0; r < frame.rows; r++) {
      const float* maps[2];
      for (int64_t i = 0; i < count_; i++) maps[i] = frame.rows_of(maps_[i]).row(r);
      const float* scale = modulated_ ? modulation.row(r) + modulation_at_ : nullptr;
      norm_.statistics(maps, widths_, int(count_), scale, scale ? scale + channels : nullptr, a, b, sums);
      for (int64_t i = 0, c = 0; i < count_; c += widths_[i++])
        normalise(maps[i], norm_.frames, widths_[i], a + c, b + c, layout_, pad_, out.row(r) + c, channels);
    }
  }

 private:
  GroupNorm norm_{};
  int64_t count_ = 0, widths_[2] = {};
  Buffer maps_[2], modulation_, out_;
  bool modulated_ = false;
  int64_t modulation_at_ = 0, pad_ = 0;
  Layout layout_ = Layout::kPlain;
};

class LayerNorm final : public Operator {
 public:
  explicit LayerNorm(Reader& r)
      : in_(r.source()), frames_(r.count(1)), channels_(r.count(1)), eps_(r.number()), out_(r.target()) {
    fits(in_, 0, frames_ * channels_);
    fits(out_, 0, frames_ * channels_);
  }
  void run(const Frame& frame) override {
    const Rows in = frame.rows_of(in_), out = frame.rows_of(out_);
    for (int64_t r = 0; r < frame.rows; r++) layer_norm(in.row(r), frames_, channels_, eps_, out.row(r));
  }

 private:
  Buffer in_;
  int64_t frames_, channels_;
  float eps_;
  Buffer out_;
};

// (T, C) -> (before + T + after, C) with zeros around.
class Pad final : public Operator {
 public:
  explicit Pad(Reader& r)
      : in_(r.source()), frames_(r.count(1)), channels_(r.count(1)), before_(r.count()), after_(r.count()),
        out_(r.target()) {
    fits(in_, 0, frames_ * channels_);
    fits(out_, 0, (before_ + frames_ + after_) * channels_);
  }
  void run(const Frame& frame) override {
    const Rows in = frame.rows_of(in_), out = frame.rows_of(out_);
    for (int64_t r = 0; r < frame.rows; r++) {
      float* to = out.row(r);
      std::fill_n(to, before_ * channels_, 0.0f);
      std::copy_n(in.row(r), frames_ * channels_, to + before_ * channels_);
      std::fill_n(to + (before_ + frames_) * channels_, after_ * channels_, 0.0f);
    }
  }

 private:
  Buffer in_;
  int64_t frames_, channels_, before_, after_;
  Buffer out_;
};

class Silu final : public Operator {
 public:
  explicit Silu(Reader& r) : in_(r.source()), floats_(r.count(1)), out_(r.target()) {
    fits(in_, 0, floats_);
    fits(out_, 0, floats_);
  }
  void run(const Frame& frame) override {
    const Rows in = frame.rows_of(in_), out = frame.rows_of(out_);
    for (int64_t r = 0; r < frame.rows; r++)
      for (int64_t c = 0; c < floats_; c += kLanes)
        store(out.row(r) + c, silu(load(in.row(r) + c, floats_ - c)), floats_ - c);
  }

 private:
  Buffer in_;
  int64_t floats_;
  Buffer out_;
};

// The row of a table that a timestep stands for; NaN steps have NaN rows, others are held within the table.
inline int64_t step_of(float t, int64_t steps) {
  return t >= 0 ? int64_t(std::min(t, float(steps - 1))) : 0;
}

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

// Mean of the tokens that there are, and the last token: (L, D), (L) -> (2 D).
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

// Which keys exist, as what is added to their scores: every `stride`-th of a mask of `count`.
struct KeyMask {
  Buffer mask;
  int64_t stride, count;

  explicit KeyMask(Reader& r) : mask(r.source()), stride(r.count(1)), count(r.count(1)) { fits(mask, 0, count); }

  void bias(const Frame& frame, int64_t r, int64_t keys, float* out) const {
    const float* m = frame.rows_of(mask).row(r);
    for (int64_t i = 0; i < whole(keys); i++) {
      const float there = i * stride < count ? m[i * stride] : 0.0f;
      out[i] = i < keys ? (1 - there) * kMasked : kNoKey;
    }
  }
};

// Self-attention of a row's positions: queries, keys and values (T, 3 C) side by side, heads within each.
class SelfAttention final : public Operator {
 public:
  explicit SelfAttention(Reader& r)
      : in_(r.source()), frames_(r.count(1)), heads_(r.count(1)), d_(r.count(1)), mask_(r), out_(r.target()) {
    require(heads_ * d_ <= kMost, "an operator's size is out of range");
    fits(in_, 0, frames_ * 3 * heads_ * d_);
    fits(out_, 0, frames_ * heads_ * d_);
  }
  int64_t scratch() const override {
    return whole(frames_) * (1 + d_ + frames_) + frames_ * whole(d_) + kLanes;
  }
  void run(const Frame& frame) override {
    const Rows in = frame.rows_of(in_), out = frame.rows_of(out_);
    const int64_t c = heads_ * d_, ld = 3 * c, width = whole(frames_);
    float *bias = frame.scratch, *kt = bias + width, *scores = kt + width * d_, *values = scores + width * frames_;
    for (int64_t r = 0; r < frame.rows; r++) {
      mask_.bias(frame, r, frames_, bias);
      for (int64_t h = 0; h < heads_; h++) {
        const float *q = in.row(r) + h * d_, *k = q + c, *v = k + c;
        transpose(k, ld, frames_, d_, kt);
        int64_t ldv = ld;
        if (d_ % kLanes) {  // whole vectors would reach into the next head, and past the end in the last
          ldv = whole(d_);
          for (int64_t t = 0; t < frames_; t++) std::copy_n(v + t * ld, d_, values + t * ldv);
          v = values;
        }
        attend(Head{q, ld, frames_, d_, frames_, kt, v, ldv, bias, out.row(r) + h * d_, c}, scores);
      }
    }
  }

 private:
  Buffer in_;
  int64_t frames_, heads_, d_;
  KeyMask mask_;
  Buffer out_;
};

}  // namespace native
