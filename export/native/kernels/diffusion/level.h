// The signal level of a row's timestep.
#pragma once

#include <cmath>

#include "../embedding.h"

namespace native {

struct Level {
  float a, root, rest;  // abar (alphas_cumprod), its square root, 1 - abar

  Level(float t, const float* table, int64_t steps) : a(std::isnan(t) ? t : table[step_of(t, steps)]) {
    root = std::sqrt(a);
    rest = 1 - a;
  }
};

}  // namespace native
