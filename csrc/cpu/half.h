// Half precision. The processor converts where it can (F16C, or the compiler's own type); elsewhere the bits are moved.
#pragma once
#include <cstdint>
#include <cstring>
#if defined(__F16C__)
#include <immintrin.h>
#endif

#include "simd.h"

namespace legs4d {

inline float half_to_float(uint16_t bits) {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000) << 16, magnitude = bits & 0x7fff;
  float value;
  if (magnitude >= 0x7c00) {  // infinity or not a number
    const uint32_t special = sign | 0x7f800000 | (magnitude & 0x3ff) << 13;
    std::memcpy(&value, &special, 4);
    return value;
  }
  // As the bits of a float it is 2^-112 of what it should be; that also holds for what has no leading 1.
  const uint32_t small = magnitude << 13;
  std::memcpy(&value, &small, 4);
  value *= 5.192296858534828e33f;  // 2^112
  return sign ? -value : value;
}

// Of 0 ≤ value ≤ 1, to the nearest, ties to even.
inline uint16_t unit_to_half(float value) {
  const float scaled = value * 1.9259299443872359e-34f;  // 2^-112: its float exponent is then that of the half
  uint32_t bits;
  std::memcpy(&bits, &scaled, 4);
  return static_cast<uint16_t>((bits + 0xfff + (bits >> 13 & 1)) >> 13);
}

// The first `count` of 8 values in 0 .. 1.
inline void store_unit_halves(floatv values, int count, uint16_t* to) {
#if defined(__F16C__)
  if (count == kLanes) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm256_cvtps_ph((__m256)values, _MM_FROUND_TO_NEAREST_INT));
    return;
  }
#endif
  for (int i = 0; i < count; ++i) to[i] = unit_to_half(values[i]);
}

inline floatv load_halves(const uint16_t* from) {
#if defined(__F16C__)
  return (floatv)_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
#else
  floatv v;
  for (int i = 0; i < kLanes; ++i) v[i] = half_to_float(from[i]);
  return v;
#endif
}

}  // namespace legs4d
