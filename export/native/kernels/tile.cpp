#include "tile.h"

#include <array>
#include <utility>

namespace native {
namespace {

template <int M, int V>
__attribute__((noinline)) void multiply_tile(const Tile& tile) {
  Vec sums[M][V];
#pragma GCC unroll 16
  for (int i = 0; i < M; i++)
#pragma GCC unroll 2
    for (int v = 0; v < V; v++) sums[i][v] = Vec{};
  const float *a = tile.a, *b = tile.b;
  const int64_t lda = tile.lda, ldb = tile.ldb;
  // Prefetching an address that is not mapped would cost a page table walk every time.
  const float* ahead = tile.prefetch ? tile.prefetch : b;
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
  return {multiply_tile<M + 1, V>...};
}

}  // namespace

void multiply(const Tile& tile, int64_t rows) {
  static constexpr auto one = tiles<1>(std::make_integer_sequence<int, kTileRows>());
  static constexpr auto two = tiles<2>(std::make_integer_sequence<int, kTileRows>());
  (tile.columns > kLanes ? two : one)[rows - 1](tile);
}

}  // namespace native
