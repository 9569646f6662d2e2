/* convert.h - one number at a time between binary16, bfloat16 and binary32, for any processor. */
#ifndef ZEB_CPU_CONVERT_H
#define ZEB_CPU_CONVERT_H

#include <stdint.h>
#include <string.h>

static inline float cpu_float_of_bits(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline uint32_t cpu_bits_of_float(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline float cpu_float_of_bf16(uint16_t half) {
    return cpu_float_of_bits((uint32_t)half << 16);
}

/* Round to nearest, ties to even; a NaN stays a (quiet) NaN. */
static inline uint16_t cpu_bf16_of_float(float value) {
    const uint32_t bits = cpu_bits_of_float(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return (uint16_t)(bits >> 16 | 0x40u);
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

static inline float cpu_float_of_f16(uint16_t half) {
    const uint32_t sign = (uint32_t)(half & 0x8000u) << 16;
    const uint32_t exponent = half >> 10 & 31u, fraction = half & 0x3ffu;
    if (exponent == 31) return cpu_float_of_bits(sign | 0x7f800000u | fraction << 13);
    if (exponent != 0) return cpu_float_of_bits(sign | (exponent + 112u) << 23 | fraction << 13);
    const float tiny = (float)fraction * 0x1p-24f; /* subnormal, exact */
    return cpu_float_of_bits(sign | cpu_bits_of_float(tiny));
}

#endif
