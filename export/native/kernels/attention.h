// Attention of one head, small enough for the first-level cache.
#pragma once

#include "operator.h"
#include "tile.h"

namespace native {

constexpr float kMasked = -1e4f;  // added to the scores of masked keys: choreo.models.layers.MASKED
constexpr float kNoKey = -1e30f;  // added in columns that only complete a vector

// n rounded up to whole vectors.
inline int64_t padded(int64_t n) { return (n + kLanes - 1) / kLanes * kLanes; }

// For two rows of a block that are s apart: the lanes of both that form the first or the second row after swapping.
constexpr Order swapped(int s, bool second) {
  Order out{};
  for (int j = 0; j < kLanes; j++) out.lanes[j] = (j & s ? kLanes + j - s : j) + (second ? s : 0);
  return out;
}

// Transpose a square block: swap the off-diagonal quarters of all squares of size 2 S, then of larger squares.
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

// keys (count, d) at stride ldk -> (d, padded(count)).
inline void transpose(const float* keys, int64_t ldk, int64_t count, int64_t d, float* out) {
  const int64_t ldo = padded(count);
  for (int64_t m = 0; m < count; m += kLanes)
    for (int64_t c = 0; c < d; c += kLanes) {
      const int64_t rows = std::min<int64_t>(kLanes, count - m), columns = std::min<int64_t>(kLanes, d - c);
      Vec block[kLanes];
      for (int64_t i = 0; i < kLanes; i++) block[i] = i < rows ? load(keys + (m + i) * ldk + c, columns) : Vec{};
      transpose(block);
      for (int64_t j = 0; j < columns; j++) store(out + (c + j) * ldo + m, block[j]);
    }
}

// Softmax over the scores (queries, W vectors) in place; with a constant W they stay in registers.
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
  const float* kt;    // (d, padded(keys))
  const float* v;     // (keys, padded(d)) at stride ldv
  int64_t ldv;
  const float* bias;  // (padded(keys))
  float* out;         // (queries, d) at stride ldo
  int64_t ldo;
  const float* next = nullptr;  // keys and values of the next head, to be prefetched; or null
  int64_t next_floats = 0;
};

// Scaled dot-product attention of one head. `scores` has room for queries * padded(keys) floats.
inline void attend(const Head& head, float* scores) {
  const int64_t width = padded(head.keys), steps = (width + kPanel - 1) / kPanel * tiles_of(head.queries) * head.d;
  Prefetch prefetch(head.next, head.next_floats, steps);
  for (int64_t column = 0; column < width; column += kPanel)
    for_each_tile(head.queries, [&](int64_t first, int64_t rows) {
      const int64_t columns = std::min<int64_t>(kPanel, width - column);
      multiply(prefetch.with({head.q + first * head.ldq, head.ldq, head.kt + column, width, head.d,
                           scores + first * width + column, width, columns, head.bias + column, nullptr, 0, nullptr, 0}),
               rows);
    });
  softmax(scores, head.queries, width);
  for (int64_t column = 0; column < head.d; column += kPanel)
    for_each_tile(head.queries, [&](int64_t first, int64_t rows) {
      const int64_t columns = std::min<int64_t>(kPanel, head.d - column);
      multiply(Tile{scores + first * width, width, head.v + column, head.ldv, head.keys,
                    head.out + first * head.ldo + column, head.ldo, columns, nullptr, nullptr, 0, nullptr, 0},
               rows);
    });
}

// What a mask adds to the scores of keys: key i is masked by entry i * stride of `count` entries.
struct KeyMask {
  Buffer mask;
  int64_t stride, count;

  explicit KeyMask(Reader& r) : mask(r.source()), stride(r.count(1)), count(r.count(1)) { fits(mask, 0, count); }

  void bias(const Frame& frame, int64_t r, int64_t keys, float* out) const {
    const float* m = frame.rows_of(mask).row(r);
    for (int64_t i = 0; i < padded(keys); i++) {
      const float exists = i * stride < count ? m[i * stride] : 0.0f;
      out[i] = i < keys ? (1 - exists) * kMasked : kNoKey;
    }
  }
};

}  // namespace native
