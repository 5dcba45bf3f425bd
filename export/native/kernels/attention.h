// Attention of one head, all of it in the first-level cache.
#pragma once

#include "product.h"

namespace native {

constexpr float kMasked = -1e4f;   // added to the scores of keys that do not exist: choreo.models.layers.MASKED
constexpr float kNoKey = -1e30f;   // of columns that only fill up a vector

inline int64_t whole(int64_t n) { return (n + kLanes - 1) / kLanes * kLanes; }

// For two rows S apart of a block: which lanes of both are the one's, or the other's, after swapping.
constexpr Order swapped(int s, bool second) {
  Order out{};
  for (int j = 0; j < kLanes; j++) out.lanes[j] = (j & s ? kLanes + j - s : j) + (second ? s : 0);
  return out;
}

// Swap the off-diagonal parts of all squares of 2 S, and then of larger ones.
template <int S = 1>
inline void transpose(Vec (&block)[kLanes]) {
  static constexpr Order low = swapped(S, false), high = swapped(S, true);
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; i++) {
    if (i & S) continue;
    const Vec a = block[i], b = block[i + S];
    block[i] = __builtin_shuffle(a, b, low.vector());
    block[i + S] = __builtin_shuffle(a, b, high.vector());
  }
  if constexpr (2 * S < kLanes) transpose<2 * S>(block);
}

// keys (count, d) at stride ldk -> (d, whole(count)).
inline void transpose(const float* keys, int64_t ldk, int64_t count, int64_t d, float* out) {
  const int64_t ldo = whole(count);
  for (int64_t m = 0; m < count; m += kLanes)
    for (int64_t c = 0; c < d; c += kLanes) {
      const int64_t rows = std::min<int64_t>(kLanes, count - m), columns = std::min<int64_t>(kLanes, d - c);
      Vec block[kLanes];
      for (int64_t i = 0; i < kLanes; i++) block[i] = i < rows ? load(keys + (m + i) * ldk + c, columns) : Vec{};
      transpose(block);
      for (int64_t j = 0; j < columns; j++) store(out + (c + j) * ldo + m, block[j]);
    }
}

// Weights of the keys in place of scores (queries, W vectors); W in registers where it is known.
template <int W>
inline void softmax(float* scores, int64_t queries) {
#pragma GCC unroll 2
  for (int64_t i = 0; i < queries; i++, scores += W * kLanes) {
    Vec row[W], top;
#pragma GCC unroll 8
    for (int c = 0; c < W; c++) {
      row[c] = load(scores + c * kLanes);
      top = c ? larger(top, row[c]) : row[c];
    }
    const float most = largest(top);
    Vec total{};
#pragma GCC unroll 8
    for (int c = 0; c < W; c++) {
      row[c] = exponential(row[c] - most);
      total += row[c];
    }
    const float inverse = 1.0f / sum(total);
#pragma GCC unroll 8
    for (int c = 0; c < W; c++) store(scores + c * kLanes, row[c] * inverse);
  }
}

inline void softmax(float* scores, int64_t queries, int64_t width) {
  switch (width / kLanes) {
    case 1: return softmax<1>(scores, queries);
    case 2: return softmax<2>(scores, queries);
    case 3: return softmax<3>(scores, queries);
    case 4: return softmax<4>(scores, queries);
    case 7: return softmax<7>(scores, queries);
  }
  for (int64_t i = 0; i < queries; i++, scores += width) {
    Vec top = load(scores), total{};
    for (int64_t c = kLanes; c < width; c += kLanes) top = larger(top, load(scores + c));
    const float most = largest(top);
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
