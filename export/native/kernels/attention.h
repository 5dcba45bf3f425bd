// Attention of one head, all of it in the first-level cache.
#pragma once

#include "product.h"

namespace native {

constexpr float kMasked = -1e4f;   // added to the scores of keys that do not exist: choreo.models.layers.MASKED
constexpr float kNoKey = -1e30f;   // of columns that only fill up a vector

inline int64_t whole(int64_t n) { return (n + kLanes - 1) / kLanes * kLanes; }

// keys (count, d) at stride ldk -> (d, whole(count)).
inline void transpose(const float* keys, int64_t ldk, int64_t count, int64_t d, float* out) {
  const int64_t ldo = whole(count);
  for (int64_t m = 0; m < count; m += kLanes)
    for (int64_t c = 0; c < d; c += kLanes) {
      const int64_t rows = std::min<int64_t>(kLanes, count - m), columns = std::min<int64_t>(kLanes, d - c);
      Vec block[kLanes];
      for (int64_t i = 0; i < kLanes; i++) block[i] = i < rows ? load(keys + (m + i) * ldk + c, columns) : Vec{};
      // Swap off-diagonal halves, then quarters, and so on.
#pragma GCC unroll 5
      for (int s = 1; s < kLanes; s *= 2) {
        Int low, high;
        for (int j = 0; j < kLanes; j++) {
          low[j] = j & s ? kLanes + j - s : j;
          high[j] = j & s ? kLanes + j : j + s;
        }
#pragma GCC unroll 16
        for (int i = 0; i < kLanes; i++) {
          if (i & s) continue;
          const Vec a = block[i], b = block[i + s];
          block[i] = __builtin_shuffle(a, b, low);
          block[i + s] = __builtin_shuffle(a, b, high);
        }
      }
      for (int64_t j = 0; j < columns; j++) store(out + (c + j) * ldo + m, block[j]);
    }
}

// Weights of the keys in place of scores (queries, whole(keys)).
inline void softmax(float* scores, int64_t queries, int64_t width) {
  for (int64_t i = 0; i < queries; i++, scores += width) {
    Vec top = load(scores);
    for (int64_t c = kLanes; c < width; c += kLanes) {
      const Vec v = load(scores + c);
      top = v > top ? v : top;
    }
    const float most = largest(top);
    Vec total{};
    for (int64_t c = 0; c < width; c += kLanes) {
      const Vec e = exponential(load(scores + c) - most);
      total += e;
      store(scores + c, e);
    }
    const float inverse = 1.0f / sum(total);
    for (int64_t c = 0; c < width; c += kLanes) store(scores + c, load(scores + c) * inverse);
  }
}

struct Head {
  const float* q;     // (queries, d) at stride ldq, scaled
  int64_t ldq, queries, d, keys;
  const float* kt;    // (d, whole(keys))
  const float* v;     // (keys, whole(d)) at stride ldv
  int64_t ldv;
  const float* bias;  // (whole(keys))
  float* out;         // (queries, d) at stride ldo
  int64_t ldo;
  const float* next = nullptr;  // keys and values of the head after it, if they are to be fetched
  int64_t next_floats = 0;
};

// `scores` has queries * whole(keys) floats.
inline void attend(const Head& head, float* scores) {
  const int64_t width = whole(head.keys), steps = (width + kPanel - 1) / kPanel * pieces(head.queries) * head.d;
  Ahead ahead(head.next, head.next_floats, steps);
  for (int64_t column = 0; column < width; column += kPanel)
    split(head.queries, [&](int64_t first, int64_t rows) {
      const int64_t columns = std::min<int64_t>(kPanel, width - column);
      multiply(ahead.with({head.q + first * head.ldq, head.ldq, head.kt + column, width, head.d,
                           scores + first * width + column, width, columns, head.bias + column, nullptr, 0, nullptr, 0}),
               rows);
    });
  softmax(scores, head.queries, width);
  for (int64_t column = 0; column < head.d; column += kPanel)
    split(head.queries, [&](int64_t first, int64_t rows) {
      const int64_t columns = std::min<int64_t>(kPanel, head.d - column);
      multiply(Tile{scores + first * width, width, head.v + column, head.ldv, head.keys,
                    head.out + first * head.ldo + column, head.ldo, columns, nullptr, nullptr, 0, nullptr, 0},
               rows);
    });
}

}  // namespace native
