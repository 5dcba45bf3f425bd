// Matrix products: one register tile for all of them. Every element is one chain of fused multiply-adds over k in order,
// whatever tile it is computed in, so the result of a row does not depend on the rows computed with it.
#pragma once

#include <algorithm>

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
  const float* prefetch = nullptr;  // read ahead meanwhile, `stride` floats with every k; or null
  int64_t stride = 0;
};

void multiply(const Tile& tile, int64_t rows);

inline int64_t tiles_of(int64_t count) { return (count + kTileRows - 1) / kTileRows; }

// Divide `count` rows into tiles of at most kTileRows rows and nearly equal size: calls f(first, rows) for each.
template <class F>
inline void for_each_tile(int64_t count, F&& f) {
  for (int64_t first = 0, left = tiles_of(count); left; left--) {
    const int64_t rows = (count - first + left - 1) / left;
    f(first, rows);
    first += rows;
  }
}

// Weights are stored in the order in which they are used, so the next ones are fetched into the second-level cache while
// the tiles that follow are computed: evenly, because a burst of requests would stall everything else.
class Prefetch {
 public:
  // `floats` at `next`, over `steps` steps of the tiles that follow.
  Prefetch(const float* next, int64_t floats, int64_t steps) : next_(next), stride_((floats + steps - 1) / steps) {}
  Tile with(Tile tile) {
    tile.prefetch = next_;
    tile.stride = stride_;
    next_ += stride_ * tile.k;
    return tile;
  }

 private:
  const float* next_;
  int64_t stride_;
};

}  // namespace native
