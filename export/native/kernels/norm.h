// Group norm with what surrounds it, and layer norm. Channels lie together, (T, C).
#pragma once

#include <cmath>

#include "simd.h"

namespace native {

// Where group norm writes to.
enum class Layout : int64_t {
  kPlain = 0,     // (T, C)
  kPadded = 1,    // (pad + T + pad, C), zeros around
  kWinograd = 2,  // (4, (T + 1) / 2, C): the inputs of F(2, 3), Lavin & Gray 2016
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

// Scale and shift of each channel of one or two maps side by side; `scratch` has 4 * channels + kLanes floats.
struct GroupNorm {
  int64_t frames, channels, groups;
  float eps;
  const float *gamma, *beta;

  void statistics(const float* const* maps, const int64_t* widths, int count, const float* scale, const float* shift,
                  float* a, float* b, float* scratch) const {
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

// silu(a x + b) of one map (T, width), into columns of an output of `channels`.
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

// (x - mean) / deviation of every position of (T, C); gain and bias are in the weights that follow.
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

}  // namespace native
