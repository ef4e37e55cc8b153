// Eight float lanes with the few operations that rasterising needs. GCC/Clang vector extensions carry the arithmetic
// to any instruction set; only the lane test has an AVX form, because compilers turn the portable one into many moves.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>
#if defined(__AVX__)
#include <immintrin.h>
#endif

namespace legs4d {

constexpr int kLanes = 8;
typedef float floatv __attribute__((vector_size(32)));
typedef int32_t intv __attribute__((vector_size(32)));  // as a mask: 0 or -1 per lane

inline floatv splat(float value) { return floatv{} + value; }

inline floatv load(const float* from) {
  floatv v;
  std::memcpy(&v, from, sizeof v);
  return v;
}

inline void store(float* to, floatv v) { std::memcpy(to, &v, sizeof v); }

inline floatv select(intv mask, floatv yes, floatv no) { return mask ? yes : no; }

// A bit for each lane of a mask that is set, the first lane's lowest.
inline uint32_t lanes_set(intv mask) {
#if defined(__AVX__)
  return static_cast<uint32_t>(_mm256_movemask_ps((__m256)mask));
#else
  uint32_t bits = 0;
  for (int i = 0; i < kLanes; ++i) bits |= mask[i] ? 1u << i : 0u;
  return bits;
#endif
}

inline uint32_t lowest_bit(uint32_t bits) { return __builtin_ctz(bits); }

inline bool any(intv mask) {
#if defined(__AVX__)
  return _mm256_movemask_ps((__m256)mask) != 0;
#else
  int32_t bits = 0;
  for (int i = 0; i < kLanes; ++i) bits |= mask[i];
  return bits != 0;
#endif
}

inline float sum(floatv v) {
  float s01 = v[0] + v[4], s23 = v[1] + v[5], s45 = v[2] + v[6], s67 = v[3] + v[7];
  return (s01 + s23) + (s45 + s67);
}

inline floatv sqrt(floatv v) {
  floatv root;
  for (int i = 0; i < kLanes; ++i) root[i] = std::sqrt(v[i]);
  return root;
}

inline floatv min(floatv x, floatv y) { return x < y ? x : y; }

// exp(x) for -87 <= x <= 0: 2^n · 2^f with a minimax polynomial of 2^f on |f| <= 1/2; relative error under 2e-7.
inline floatv exp_negative(floatv x) {
  const float round_to_int = 12582912.0f;  // 1.5 · 2^23: adding it leaves the nearest integer in the low mantissa bits
  floatv scaled = x * 1.44269504088896f;
  floatv shifted = scaled + round_to_int;
  floatv f = scaled - (shifted - round_to_int);
  floatv p = splat(1.53388991e-4f);
  p = p * f + 1.33952698e-3f;
  p = p * f + 9.61800736e-3f;
  p = p * f + 5.55036604e-2f;
  p = p * f + 2.40226509e-1f;
  p = p * f + 6.93147182e-1f;
  p = p * f + 1.0f;
  intv exponent = ((intv)shifted << 23);  // the integer sits in the low bits; the shift drops the magic number
  return (floatv)((intv)p + exponent);
}

}  // namespace legs4d
