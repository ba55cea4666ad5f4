/*
 * Sixteen lanes in plain C: the reference that the vector versions must equal bit for bit.
 * tensor_products_body.h is written over this set of types and functions; each instruction set
 * has the same set with its own registers.
 */
#ifndef TENSOR_PRODUCTS_LANES_H
#define TENSOR_PRODUCTS_LANES_H

#include "base_bytes.h"
#include "tensor_type.h"
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define TENSOR_TOKEN_TILE         1
#define TENSOR_SCALES_CODES       false /* whether codes_scale() exists */
#define TENSOR_SCALES_SUMS        false /* whether sums_dot() multiplies by scales */
#define TENSOR_PEAKS              tensor_peaks_scalar
#define TENSOR_PRODUCT_NAME(type) tensor_product_scalar_##type
#define TENSOR_KEEP_LOOPS         /* nothing here lives in registers, so unrolling would only be long */

struct product_floats {
    float f[16];
};

struct product_ints {
    int32_t i[16];
};

/* Four bytes per lane. */
struct product_codes {
    uint8_t u[64];
};

#define FLOATS struct product_floats
#define INTS   struct product_ints
#define CODES  struct product_codes
#define SUMS   struct product_ints

/* Calls rather than copies where sanitizers make each access long. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define INLINE static __attribute__((noinline, unused))
#else
#define INLINE static inline __attribute__((unused))
#endif

#define EACH_LANE for (size_t j = 0; j < 16; j++)

INLINE FLOATS floats_set(const float *p)
{
    FLOATS r;
    EACH_LANE r.f[j] = *p;
    return r;
}

INLINE FLOATS floats_zero(void)
{
    return (FLOATS){0};
}

INLINE FLOATS floats_load(const float *p)
{
    FLOATS r;
    memcpy(r.f, p, sizeof(r.f));
    return r;
}

INLINE FLOATS floats_load_f16(const uint8_t *p)
{
    FLOATS r;
    EACH_LANE r.f[j] = tensor_f16_to_f32(base_load_u16(p + 2 * j));
    return r;
}

/* One of the two columns of a packed pair. */
INLINE FLOATS floats_load_bf16(const uint8_t *p, bool odd)
{
    FLOATS r;
    EACH_LANE r.f[j] = tensor_bf16_to_f32(base_load_u16(p + 4 * j + (odd ? 2 : 0)));
    return r;
}

/* 2^(exponent - 128) */
INLINE FLOATS floats_load_e8m0(const uint8_t *p)
{
    FLOATS r;
    EACH_LANE r.f[j] = tensor_e8m0_half(p[j]);
    return r;
}

INLINE void floats_store(float *p, FLOATS a)
{
    memcpy(p, a.f, sizeof(a.f));
}

INLINE FLOATS floats_mul(FLOATS a, FLOATS b)
{
    EACH_LANE a.f[j] *= b.f[j];
    return a;
}

/* a * b + c, and a * b - c, rounded once */
INLINE FLOATS floats_fma(FLOATS a, FLOATS b, FLOATS c)
{
    EACH_LANE c.f[j] = fmaf(a.f[j], b.f[j], c.f[j]);
    return c;
}

INLINE FLOATS floats_fms(FLOATS a, FLOATS b, FLOATS c)
{
    EACH_LANE c.f[j] = fmaf(a.f[j], b.f[j], -c.f[j]);
    return c;
}

INLINE FLOATS floats_of_ints(INTS a)
{
    FLOATS r;
    EACH_LANE r.f[j] = (float)a.i[j];
    return r;
}

INLINE INTS ints_zero(void)
{
    return (INTS){0};
}

INLINE INTS ints_set(const int32_t *p)
{
    INTS r;
    EACH_LANE r.i[j] = *p;
    return r;
}

/* Where registers are few: keeps sums in memory until they are wanted. */
INLINE void ints_put_away(INTS *sums)
{
    (void)sums;
}

INLINE INTS ints_load_u8(const uint8_t *p)
{
    INTS r;
    EACH_LANE r.i[j] = p[j];
    return r;
}

INLINE INTS ints_load_s8(const uint8_t *p)
{
    INTS r;
    EACH_LANE r.i[j] = (int8_t)p[j];
    return r;
}

INLINE INTS ints_load_u16(const uint8_t *p)
{
    INTS r;
    EACH_LANE r.i[j] = base_load_u16(p + 2 * j);
    return r;
}

INLINE INTS ints_add(INTS a, INTS b)
{
    EACH_LANE a.i[j] += b.i[j];
    return a;
}

INLINE INTS ints_mul(INTS a, INTS b)
{
    EACH_LANE a.i[j] *= b.i[j];
    return a;
}

INLINE INTS ints_and(INTS a, int mask)
{
    EACH_LANE a.i[j] &= mask;
    return a;
}

INLINE INTS ints_or(INTS a, INTS b)
{
    EACH_LANE a.i[j] |= b.i[j];
    return a;
}

/* a * 2^bits */
INLINE INTS ints_shift_left(INTS a, int bits)
{
    EACH_LANE a.i[j] = (int32_t)((uint32_t)a.i[j] << bits);
    return a;
}

INLINE INTS ints_shift_right(INTS a, int bits)
{
    EACH_LANE a.i[j] = (int32_t)((uint32_t)a.i[j] >> bits);
    return a;
}

/* a / 2^bits, which is whole */
INLINE INTS ints_shift_right_signed(INTS a, int bits)
{
    EACH_LANE a.i[j] /= 1 << bits;
    return a;
}

/* Where a sum of codes_signed() or codes_lookup() codes starts, if they are 128 too high. */
INLINE INTS ints_offset_128(INTS start)
{
    return start;
}

/* ... and of codes_scale() codes with a third bit. */
INLINE INTS ints_start_scaled(const int32_t *minus_sum)
{
    return ints_set(minus_sum);
}

INLINE CODES codes_load_bytes(const uint8_t *p)
{
    CODES r;
    memcpy(r.u, p, sizeof(r.u));
    return r;
}

/* Codes of eight bits as sums_dot() wants them. */
INLINE CODES codes_signed(CODES a)
{
    return a;
}

/* (a >> shift) & mask, 0 <= shift, byte by byte: the mask has no bit from a neighbour */
INLINE CODES codes_field(CODES a, int shift, int mask)
{
    for (size_t j = 0; j < 64; j++)
        a.u[j] = (uint8_t)(a.u[j] >> shift & mask);
    return a;
}

/* a | (b shifted right, left if negative) & mask */
INLINE CODES codes_merge(CODES a, CODES b, int shift, int mask)
{
    for (size_t j = 0; j < 64; j++)
        a.u[j] |= (uint8_t)((shift < 0 ? b.u[j] << -shift : b.u[j] >> shift) & mask);
    return a;
}

/* What the codes of IQ4 stand for, as codes of eight bits, or those of MXFP4, plus 16. */
INLINE CODES codes_lookup(CODES a, bool mxfp4)
{
    const int8_t *table = mxfp4 ? tensor_mxfp4_values : tensor_iq4_values;

    for (size_t j = 0; j < 64; j++)
        a.u[j] = (uint8_t)(table[a.u[j]] + (mxfp4 ? 16 : 128));
    return a;
}

/* Codes of two or three bits (less 4) times their row's scale, plus 124 for three bits. */
INLINE CODES codes_scale(CODES a, INTS scale, bool third_bit)
{
    (void)scale;
    (void)third_bit;
    return a;
}

INLINE SUMS sums_start(INTS start)
{
    return start;
}

/*
 * Lane j += sum over four columns, a step: code[j][i] * q[i]
 * bits: of a code; eight of codes_signed() or codes_lookup()
 * left: how many steps follow before sums_end() or another scale
 * scale: multiplies the products if TENSOR_SCALES_SUMS, as two equal int16 to a lane
 */
INLINE SUMS sums_dot(SUMS sum, CODES codes, const int8_t *q, INTS scale, uint32_t bits, size_t left)
{
    (void)scale;
    (void)bits;
    (void)left;
    EACH_LANE
    {
        for (size_t i = 0; i < 4; i++)
            sum.i[j] += codes.u[4 * j + i] * q[i];
    }
    return sum;
}

INLINE INTS sums_end(SUMS sum)
{
    return sum;
}

/* Lane j += low halves' product + high halves' product, all int16. */
INLINE INTS ints_dot_pairs(INTS sum, INTS pairs, const int32_t *q)
{
    int32_t low = (int16_t)(*q & 0xffff), high = *q >> 16;

    EACH_LANE sum.i[j] += (int16_t)(pairs.i[j] & 0xffff) * low + (pairs.i[j] >> 16) * high;
    return sum;
}

/* What the processor is told before and after products that have no subnormals. */
INLINE unsigned int flush_subnormals_begin(void)
{
    return 0;
}

INLINE void flush_subnormals_end(unsigned int before)
{
    (void)before;
}

/* a, or a zero of its sign if it is subnormal */
INLINE float without_subnormal(float a)
{
    uint32_t bits;

    memcpy(&bits, &a, sizeof(bits));
    if ((bits & 0x7f800000u) == 0)
        bits &= 0x80000000u;
    memcpy(&a, &bits, sizeof(bits));
    return a;
}

INLINE float fma_bf16(uint32_t a, uint32_t b, float c)
{
    float x = without_subnormal(tensor_bf16_to_f32((uint16_t)a));
    float y = without_subnormal(tensor_bf16_to_f32((uint16_t)b));
    return without_subnormal(fmaf(x, y, c));
}

/* Lane j: two bfloat16 weights times two activations, the second first, as vdpbf16ps. */
INLINE FLOATS floats_dot_bf16(FLOATS sum, CODES w, const uint32_t *x)
{
    EACH_LANE
    {
        uint32_t both = base_load_u32(w.u + 4 * j);
        sum.f[j] = fma_bf16(both >> 16, *x >> 16, sum.f[j]);
        sum.f[j] = fma_bf16(both & 0xffff, *x & 0xffff, sum.f[j]);
    }
    return sum;
}

#endif
