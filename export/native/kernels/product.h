// Products of matrices: one register tile for all of them. Every element is one chain of fused multiply-adds over k in
// order, whatever tile it falls into, so a row's result does not depend on the rows beside it.
#pragma once

#include <algorithm>
#include <array>
#include <utility>

#include "simd.h"

namespace native {

// out = a b (+ bias) (+ table) (+ residual), for at most kTileRows rows and kPanel columns.
struct Tile {
  const float* a;         // (rows, k) at stride lda
  int64_t lda;
  const float* b;         // (k, columns) at stride ldb; whole vectors are read
  int64_t ldb;
  int64_t k;
  float* out;             // (rows, columns) at stride ldo; only `columns` are written
  int64_t ldo;
  int64_t columns;
  const float* bias;      // (columns) or null; whole vectors are read
  const float* table;     // (rows, columns) at stride ldt or null; whole vectors are read
  int64_t ldt;
  const float* residual;  // (rows, columns) at stride ldr or null
  int64_t ldr;
  const float* ahead = nullptr;  // fetched meanwhile, `stride` floats with every k, or null
  int64_t stride = 0;
};

template <int M, int V>
__attribute__((noinline)) void multiply(const Tile& tile) {
  Vec sums[M][V];
#pragma GCC unroll 16
  for (int i = 0; i < M; i++)
#pragma GCC unroll 2
    for (int v = 0; v < V; v++) sums[i][v] = Vec{};
  const float *a = tile.a, *b = tile.b;
  const int64_t lda = tile.lda, ldb = tile.ldb;
  // An address that is not mapped would cost a search in the page tables every time.
  const float* ahead = tile.ahead ? tile.ahead : b;
  for (int64_t k = tile.k; k; k--, a++, b += ldb, ahead += tile.stride) {
    __builtin_prefetch(ahead, 0, 2);
    Vec w[V];
#pragma GCC unroll 2
    for (int v = 0; v < V; v++) w[v] = load(b + v * kLanes);
#pragma GCC unroll 16
    for (int i = 0; i < M; i++) {
      const Vec x = all(a[i * lda]);
#pragma GCC unroll 2
      for (int v = 0; v < V; v++) sums[i][v] += x * w[v];
    }
  }
  if (tile.bias) {
    Vec bias[V];
#pragma GCC unroll 2
    for (int v = 0; v < V; v++) bias[v] = load(tile.bias + v * kLanes);
#pragma GCC unroll 16
    for (int i = 0; i < M; i++)
#pragma GCC unroll 2
      for (int v = 0; v < V; v++) sums[i][v] += bias[v];
  }
  if (tile.table) {
#pragma GCC unroll 16
    for (int i = 0; i < M; i++)
#pragma GCC unroll 2
      for (int v = 0; v < V; v++) sums[i][v] += load(tile.table + i * tile.ldt + v * kLanes);
  }
  if (tile.columns == V * kLanes) {
    if (tile.residual) {
#pragma GCC unroll 16
      for (int i = 0; i < M; i++)
#pragma GCC unroll 2
        for (int v = 0; v < V; v++) sums[i][v] += load(tile.residual + i * tile.ldr + v * kLanes);
    }
#pragma GCC unroll 16
    for (int i = 0; i < M; i++)
#pragma GCC unroll 2
      for (int v = 0; v < V; v++) store(tile.out + i * tile.ldo + v * kLanes, sums[i][v]);
    return;
  }
#pragma GCC unroll 16
  for (int i = 0; i < M; i++)
#pragma GCC unroll 2
    for (int v = 0; v < V; v++) {
      const int64_t first = v * kLanes, n = std::min<int64_t>(kLanes, tile.columns - first);
      if (n <= 0) break;
      Vec value = sums[i][v];
      if (tile.residual) value += load(tile.residual + i * tile.ldr + first, n);
      store(tile.out + i * tile.ldo + first, value, n);
    }
}

using Multiply = void (*)(const Tile&);

template <int V, int... M>
constexpr std::array<Multiply, sizeof...(M)> tiles(std::integer_sequence<int, M...>) {
  return {multiply<M + 1, V>...};
}

inline void multiply(const Tile& tile, int64_t rows) {
  static constexpr auto one = tiles<1>(std::make_integer_sequence<int, kTileRows>());
  static constexpr auto two = tiles<2>(std::make_integer_sequence<int, kTileRows>());
  (tile.columns > kLanes ? two : one)[rows - 1](tile);
}

// `count` rows in pieces of at most kTileRows, as equal as can be: calls piece(first, rows).
template <class Piece>
inline void split(int64_t count, Piece&& piece) {
  for (int64_t first = 0, left = (count + kTileRows - 1) / kTileRows; left; left--) {
    const int64_t rows = (count - first + left - 1) / left;
    piece(first, rows);
    first += rows;
  }
}

inline int64_t pieces(int64_t count) { return (count + kTileRows - 1) / kTileRows; }

// Weights lie in the order in which they are used, so what comes next is fetched into the second-level cache while this
// is worked on: evenly, because a burst of requests would stop everything else.
class Ahead {
 public:
  // `floats` at `next`, over `steps` steps of the tiles that follow.
  Ahead(const float* next, int64_t floats, int64_t steps) : next_(next), stride_((floats + steps - 1) / steps) {}
  Tile with(Tile tile) {
    tile.ahead = next_;
    tile.stride = stride_;
    next_ += stride_ * tile.k;
    return tile;
  }

 private:
  const float* next_;
  int64_t stride_;
};

// out (m, n) = left (m, k) b (k, n) with a constant left operand; b and out have strides of whole vectors.
inline void multiply_left(const float* left, int64_t m, int64_t k, const float* b, int64_t ldb, int64_t n, float* out,
                          int64_t ldo) {
  for (int64_t column = 0; column < n; column += kPanel)
    split(m, [&](int64_t first, int64_t rows) {
      const int64_t columns = std::min<int64_t>(kPanel, n - column);
      multiply(Tile{left + first * k, k, b + column, ldb, k, out + first * ldo + column, ldo, columns, nullptr, nullptr,
                    0, nullptr, 0},
               rows);
    });
}

}  // namespace native
