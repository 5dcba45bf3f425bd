// Group norm fused with modulation and activation, and layer norm. Channels are contiguous: (T, C).
#include <cmath>

#include "registry.h"
#include "simd.h"

namespace native {
namespace {

// The layout that group norm writes its output in.
enum class Layout : int64_t {
  kPlain = 0,     // (T, C)
  kPadded = 1,    // (pad + T + pad, C), padded with zeros
  kWinograd = 2,  // (4, (T + 1) / 2, C): the transformed inputs of F(2, 3), Lavin & Gray 2016
};

// Sum over t of f(x[t]) for each channel of (T, C).
template <class F>
inline void channel_sums(const float* x, int64_t frames, int64_t channels, float* sums, F&& f) {
  for (int64_t c = 0; c < channels; c += kLanes) {
    const int64_t n = std::min<int64_t>(kLanes, channels - c);
    Vec a{}, b{};
    int64_t t = 0;
    if (n == kLanes) {
      for (; t + 1 < frames; t += 2) {
        a += f(load(x + t * channels + c), c);
        b += f(load(x + (t + 1) * channels + c), c);
      }
    }
    for (; t < frames; t++) a += f(load(x + t * channels + c, n), c);
    store(sums + c, a + b, n);
  }
}

// Group norm of one or two maps with concatenated channels, as a factor a and an offset b for each channel. With `scale`
// and `shift`: norm(x) * (1 + scale) + shift. `scratch` has 2 * (channels + kLanes) floats.
struct GroupNorm {
  int64_t frames, channels, groups;
  float eps;
  const float *gamma, *beta;

  // Not inlined: which operations are fused into multiply-adds, and so the last bit, would depend on the caller.
  __attribute__((noinline)) void statistics(const float* const* maps, const int64_t* widths, int count,
                                            const float* scale, const float* shift, float* a, float* b,
                                            float* scratch) const {
    float *mean = scratch, *sums = scratch + channels + kLanes;
    const int64_t width = channels / groups;
    const float share = 1.0f / static_cast<float>(width * frames);
    for (int64_t i = 0, c = 0; i < count; c += widths[i++])
      channel_sums(maps[i], frames, widths[i], sums + c, [](Vec v, int64_t) { return v; });
    for (int64_t g = 0; g < groups; g++) {
      float total = 0;
      for (int64_t c = g * width; c < (g + 1) * width; c++) total += sums[c];
      for (int64_t c = g * width; c < (g + 1) * width; c++) mean[c] = total * share;
    }
    for (int64_t i = 0, c = 0; i < count; c += widths[i++]) {
      const float* centre = mean + c;
      channel_sums(maps[i], frames, widths[i], sums + c, [centre](Vec v, int64_t at) {
        const Vec d = v - load(centre + at);
        return d * d;
      });
    }
    for (int64_t g = 0; g < groups; g++) {
      float total = 0;
      for (int64_t c = g * width; c < (g + 1) * width; c++) total += sums[c];
      const float inverse = 1.0f / std::sqrt(total * share + eps);
      for (int64_t c = g * width; c < (g + 1) * width; c++) {
        const float gain = scale ? 1.0f + scale[c] : 1.0f;
        a[c] = gamma[c] * inverse * gain;
        b[c] = (beta[c] - mean[c] * gamma[c] * inverse) * gain + (shift ? shift[c] : 0.0f);
      }
    }
  }
};

// silu(a x + b) of one map (T, width), into a slice of the columns of an output of `channels`.
inline void normalise(const float* x, int64_t frames, int64_t width, const float* a, const float* b, Layout layout,
                      int64_t pad, float* out, int64_t channels) {
  for (int64_t c = 0; c < width; c += kLanes) {
    const int64_t n = std::min<int64_t>(kLanes, width - c);
    const Vec gain = load(a + c, n), offset = load(b + c, n);
    const auto at = [&](int64_t t) {
      return t < frames ? silu(load(x + t * width + c, n) * gain + offset) : Vec{};
    };
    if (layout == Layout::kWinograd) {
      const int64_t tiles = (frames + 1) / 2, plane = tiles * channels;
      Vec d0{}, d1 = at(0);
      for (int64_t q = 0; q < tiles; q++) {
        const Vec d2 = at(2 * q + 1), d3 = at(2 * q + 2);
        float* to = out + q * channels + c;
        store(to, d0 - d2, n);
        store(to + plane, d1 + d2, n);
        store(to + 2 * plane, d2 - d1, n);
        store(to + 3 * plane, d1 - d3, n);
        d0 = d2;
        d1 = d3;
      }
      continue;
    }
    const int64_t before = layout == Layout::kPadded ? pad : 0;
    for (int64_t t = 0; t < before; t++) {
      store(out + t * channels + c, Vec{}, n);
      store(out + (before + frames + t) * channels + c, Vec{}, n);
    }
    for (int64_t t = 0; t < frames; t++) store(out + (before + t) * channels + c, at(t), n);
  }
}

// (x - mean) / sqrt(variance + eps) of every position of (T, C); gain and bias are part of the weights that follow.
inline void layer_norm(const float* x, int64_t frames, int64_t channels, float eps, float* out) {
  const float share = 1.0f / static_cast<float>(channels);
  for (int64_t t = 0; t < frames; t++, x += channels, out += channels) {
    Vec total{}, squares{};
    for (int64_t c = 0; c < channels; c += kLanes) total += load(x + c, channels - c);
    const float mean = sum(total) * share;
    for (int64_t c = 0; c < channels; c += kLanes) {
      const int64_t n = std::min<int64_t>(kLanes, channels - c);
      Vec d = load(x + c, n) - mean;
      if (n < kLanes) d = load(reinterpret_cast<const float*>(&d), n);
      squares += d * d;
    }
    const float inverse = 1.0f / std::sqrt(sum(squares) * share + eps);
    for (int64_t c = 0; c < channels; c += kLanes)
      store(out + c, (load(x + c, channels - c) - mean) * inverse, channels - c);
  }
}

// Group norm of one or two concatenated maps, modulated by an embedding if there is one, and SiLU.
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

REGISTER_OPERATOR("norm_and_silu", NormAndSilu)
REGISTER_OPERATOR("layer_norm", LayerNorm)

}  // namespace
}  // namespace native
