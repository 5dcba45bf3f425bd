// Tables with one entry per timestep.
#pragma once

#include <algorithm>
#include <cstdint>

namespace native {

// The entry of a timestep, clamped to the table. Entry 0 for NaN, whose rows callers have to make NaN themselves.
inline int64_t step_of(float t, int64_t steps) {
  return t >= 0 ? int64_t(std::min(t, float(steps - 1))) : 0;
}

}  // namespace native
