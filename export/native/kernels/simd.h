// Vectors of the machine's full width, written once for all instruction sets with GCC's vector extension.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

namespace native {

#if defined(__AVX512F__)
constexpr int kLanes = 16, kTileRows = 13;  // 26 accumulators, 2 vectors of weights, 1 of inputs: 29 of 32 registers
#elif defined(__AVX__)
constexpr int kLanes = 8, kTileRows = 6;
#else
constexpr int kLanes = 4, kTileRows = 6;
#endif
constexpr int kPanel = 2 * kLanes;  // columns of a panel of packed weights

typedef float Vec __attribute__((vector_size(4 * kLanes)));
typedef int32_t Int __attribute__((vector_size(4 * kLanes)));
typedef float Loose __attribute__((vector_size(4 * kLanes), aligned(4), may_alias));

inline Vec load(const float* p) { return *reinterpret_cast<const Loose*>(p); }
inline void store(float* p, Vec v) { *reinterpret_cast<Loose*>(p) = v; }
// x in all lanes. x - 0 equals x for both zeros, so this is one broadcast; 0 + x would need an addition.
inline Vec all(float x) { return x - Vec{}; }

// The first n floats; the other lanes are zero.
inline Vec load(const float* p, int64_t n) {
  if (n >= kLanes) return load(p);
  Vec v{};
  std::memcpy(&v, p, n * sizeof(float));
  return v;
}

inline void store(float* p, Vec v, int64_t n) {
  if (n >= kLanes) return store(p, v);
  std::memcpy(p, &v, n * sizeof(float));
}

// The lanes that a shuffle selects, as a constant in memory: filled in a loop it would be assembled lane by lane.
struct Order {
  int32_t lanes[kLanes];
  Int vector() const {
    Int out;
    std::memcpy(&out, lanes, sizeof out);
    return out;
  }
};

constexpr Order mirrored(int width) {
  Order out{};
  for (int i = 0; i < kLanes; i++) out.lanes[i] = i ^ width;
  return out;
}

template <int W = kLanes / 2, class F>
inline float reduce(Vec v, F&& f) {
  static constexpr Order other = mirrored(W);
  v = f(v, __builtin_shuffle(v, other.vector()));
  if constexpr (W > 1) return reduce<W / 2>(v, f);
  return v[0];
}

inline float sum(Vec v) {
  return reduce(v, [](Vec a, Vec b) { return a + b; });
}

// The larger of both; if one is NaN, either of them.
inline Vec larger(Vec a, Vec b) {
#if defined(__AVX512F__)
  return _mm512_max_ps(a, b);
#else
  return b > a ? b : a;
#endif
}

inline float largest(Vec v) {
  return reduce(v, [](Vec a, Vec b) { return larger(a, b); });
}

// e^x within 2 ulp for x in [-87, 87], clamped to that range outside; NaN stays NaN. Range reduction and polynomial are
// those of expf in Cephes (Moshier 1989).
inline Vec exponential(Vec x) {
#if defined(__AVX512F__)  // if one operand is NaN these return the second, which is x
  x = _mm512_min_ps(all(87.0f), _mm512_max_ps(all(-87.0f), x));
#else
  x = x < -87.0f ? all(-87.0f) : x;
  x = x > 87.0f ? all(87.0f) : x;
#endif
  const Vec magic = all(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer in the low bits
  const Vec shifted = x * 1.44269504088896341f + magic;
  const Vec n = shifted - magic;
  x = x - n * 0.693359375f;
  x = x - n * -2.12194440e-4f;
  Vec p = all(1.9875691500e-4f);
  p = p * x + 1.3981999507e-3f;
  p = p * x + 8.3334519073e-3f;
  p = p * x + 4.1665795894e-2f;
  p = p * x + 1.6666665459e-1f;
  p = p * x + 5.0000001201e-1f;
  p = p * (x * x) + x + 1.0f;
#if defined(__AVX512F__)
  return _mm512_scalef_ps(p, n);
#else
  const Vec out = reinterpret_cast<Vec>(reinterpret_cast<Int>(p) + (reinterpret_cast<Int>(shifted) << 23));
  return x == x ? out : x;
#endif
}

inline Vec reciprocal(Vec x) {
#if defined(__AVX512F__)
  const Vec guess = _mm512_rcp14_ps(x);
  return guess * (2.0f - x * guess);
#else
  return 1.0f / x;
#endif
}

inline Vec root(Vec x) {
#if defined(__AVX512F__)
  return _mm512_sqrt_ps(x);
#else
  for (int i = 0; i < kLanes; i++) x[i] = __builtin_sqrtf(x[i]);
  return x;
#endif
}

// Keeps the compiler from fusing the operation that computed x with the operations that use it.
inline void opaque(Vec& x) {
#if defined(__AVX512F__)
  asm("" : "+v"(x));
#elif defined(__SSE2__)
  asm("" : "+x"(x));
#else
  asm("" : "+m"(x));
#endif
}

inline Vec silu(Vec x) { return x * reciprocal(1.0f + exponential(-x)); }

}  // namespace native
