/*
 * Sixteen lanes in plain C: the reference that the vector versions must equal bit for bit.
 * tensor_kernels_body.h is written over this set of types and functions; each instruction set
 * defines the same set with its own registers before including it.
 */
#ifndef TENSOR_KERNELS_LANES_H
#define TENSOR_KERNELS_LANES_H

#include "base_bytes.h"
#include "tensor_type.h"
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define TENSOR_TABLE              tensor_kernels_scalar
#define TENSOR_PRODUCTS           tensor_products_scalar
#define TENSOR_PEAKS              tensor_peaks_scalar
#define TENSOR_PRODUCT_BF16_EXACT tensor_product_scalar_BF16_exact
#define TENSOR_ATTENTION          tensor_attention_scalar
#define TENSOR_TABLE_NAME         "scalar"
#define TENSOR_TOKEN_TILE         1
#define TENSOR_KEEP_LOOPS         /* nothing here lives in registers, so unrolling would only be long */

struct tensor_lanes {
    float f[16];
};

#define LANES struct tensor_lanes

/* Calls rather than copies where sanitizers make each access long. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define TENSOR_LANE_FUNCTION static __attribute__((noinline, unused))
#else
#define TENSOR_LANE_FUNCTION static inline
#endif

#define TENSOR_EACH_LANE for (size_t j = 0; j < 16; j++)

TENSOR_LANE_FUNCTION LANES lanes_set(float value)
{
    LANES r;
    TENSOR_EACH_LANE r.f[j] = value;
    return r;
}

TENSOR_LANE_FUNCTION LANES lanes_load(const float *p)
{
    LANES r;
    memcpy(r.f, p, sizeof(r.f));
    return r;
}

/* Elements from count on are fill. */
TENSOR_LANE_FUNCTION LANES lanes_load_part(const float *p, size_t count, float fill)
{
    LANES r = lanes_set(fill);
    memcpy(r.f, p, count * sizeof(float));
    return r;
}

TENSOR_LANE_FUNCTION LANES lanes_load_f16(const uint8_t *p)
{
    LANES r;
    TENSOR_EACH_LANE r.f[j] = tensor_f16_to_f32(base_load_u16(p + 2 * j));
    return r;
}

TENSOR_LANE_FUNCTION void lanes_store(float *p, LANES a)
{
    memcpy(p, a.f, sizeof(a.f));
}

TENSOR_LANE_FUNCTION void lanes_store_part(float *p, LANES a, size_t count)
{
    memcpy(p, a.f, count * sizeof(float));
}

TENSOR_LANE_FUNCTION LANES lanes_add(LANES a, LANES b)
{
    TENSOR_EACH_LANE a.f[j] += b.f[j];
    return a;
}

TENSOR_LANE_FUNCTION LANES lanes_sub(LANES a, LANES b)
{
    TENSOR_EACH_LANE a.f[j] -= b.f[j];
    return a;
}

TENSOR_LANE_FUNCTION LANES lanes_mul(LANES a, LANES b)
{
    TENSOR_EACH_LANE a.f[j] *= b.f[j];
    return a;
}

TENSOR_LANE_FUNCTION LANES lanes_div(LANES a, LANES b)
{
    TENSOR_EACH_LANE a.f[j] /= b.f[j];
    return a;
}

/* a * b + c, rounded once */
TENSOR_LANE_FUNCTION LANES lanes_fma(LANES a, LANES b, LANES c)
{
    TENSOR_EACH_LANE c.f[j] = fmaf(a.f[j], b.f[j], c.f[j]);
    return c;
}

/* Lanes 2j and 2j + 1 change places. */
TENSOR_LANE_FUNCTION LANES lanes_swap_pairs(LANES a)
{
    LANES r;
    TENSOR_EACH_LANE r.f[j] = a.f[j ^ 1];
    return r;
}

/* a > b ? a : b, so b where one is NaN */
TENSOR_LANE_FUNCTION LANES lanes_max(LANES a, LANES b)
{
    TENSOR_EACH_LANE a.f[j] = a.f[j] > b.f[j] ? a.f[j] : b.f[j];
    return a;
}

/* Lane j += lane j + 8, then + 4, + 2, + 1. */
TENSOR_LANE_FUNCTION float lanes_tree_sum(LANES a)
{
    for (size_t half = 8; half != 0; half /= 2) {
        for (size_t j = 0; j < half; j++)
            a.f[j] += a.f[j + half];
    }
    return a.f[0];
}

TENSOR_LANE_FUNCTION float lanes_tree_max(LANES a)
{
    for (size_t half = 8; half != 0; half /= 2) {
        for (size_t j = 0; j < half; j++)
            a.f[j] = a.f[j] > a.f[j + half] ? a.f[j] : a.f[j + half];
    }
    return a.f[0];
}

/* value * 2^n where n is in the low 9 bits of t; the result must be a normal number. */
TENSOR_LANE_FUNCTION LANES lanes_scale(LANES value, LANES t)
{
    TENSOR_EACH_LANE
    {
        base_store_u32(&value.f[j], base_load_u32(&value.f[j]) + (base_load_u32(&t.f[j]) << 23));
    }
    return value;
}

/* Per lane: x itself if NaN, infinity if x > high, 0 if x < low, else value. */
TENSOR_LANE_FUNCTION LANES lanes_in_range(LANES x, LANES value, float low, float high)
{
    TENSOR_EACH_LANE
    {
        float v = x.f[j] > high ? INFINITY : value.f[j];
        v = x.f[j] < low ? 0.0f : v;
        value.f[j] = x.f[j] != x.f[j] ? x.f[j] : v;
    }
    return value;
}

/* Largest bit pattern of |a|, |b|: orders finite < infinity < NaN. */
TENSOR_LANE_FUNCTION uint32_t lanes_abs_max_bits(LANES a, LANES b)
{
    uint32_t most = 0;
    TENSOR_EACH_LANE
    {
        uint32_t u = base_load_u32(&a.f[j]) & 0x7fffffffu;
        uint32_t v = base_load_u32(&b.f[j]) & 0x7fffffffu;
        u = u > v ? u : v;
        most = u > most ? u : most;
    }
    return most;
}

/* Rounds to nearest even, |a| <= 127, stores 16 bytes, returns their sum. */
TENSOR_LANE_FUNCTION int32_t lanes_store_s8(int8_t *p, LANES a)
{
    int32_t sum = 0;
    TENSOR_EACH_LANE
    {
        int32_t v = (int32_t)lrintf(a.f[j]);
        p[j] = (int8_t)v;
        sum += v;
    }
    return sum;
}

#endif
