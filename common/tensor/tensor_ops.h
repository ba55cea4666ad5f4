/*
 * Everything of a transformer block that is no matrix product. Each has one order of operations
 * whatever the batch, threads or instruction set (see tensor_matrix.h); sums over a row use 16
 * partial lanes (element i in lane i % 16) and the tree lane j += lane j+8, +4, +2, +1.
 */
#ifndef TENSOR_OPS_H
#define TENSOR_OPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* y[i] = x[i] / sqrt(mean(x^2) + epsilon) * weight[i].  x, weight, y [count] f32; y may be x. */
void tensor_rms_norm(const float *x, const float *weight, size_t count, float epsilon, float *y);

/* y[i] = (x[i] - mean(x)) / sqrt(variance(x) + epsilon) * weight[i] + bias[i].  All [count] f32;
 * y may be x. */
void tensor_layer_norm(
    const float *x, const float *weight, const float *bias, size_t count, float epsilon, float *y);

/* y[i] = x[i] * factor.  [count] f32; y may be x. */
void tensor_scale(const float *x, size_t count, float factor, float *y);

/* y[i] += x[i].  [count] f32 */
void tensor_add(const float *x, size_t count, float *y);

/* y[i] = silu(gate[i]) * up[i], silu(z) = z / (1 + exp(-z)).  [count] f32; y may be gate. */
void tensor_silu_mul(const float *gate, const float *up, size_t count, float *y);

/* exp(x) by a polynomial of our own: at most 2 ulp from exact, 0 below -87.3, the same on all ISAs. */
float tensor_exp(float x);

/* y[i] = cap * tanh(x[i] / cap) with our own exp, cap > 0.  x, y [count] f32; y may be x. */
void tensor_softcap(const float *x, size_t count, float cap, float *y);

/* ln(x), 1 <= x < 2^64, within 1e-14 relatively; own code, the same everywhere. */
double tensor_log(double x);

/* y[i] = exp(x[i] - shift), returns the sum of y over 16 lanes: the numerator and the denominator
 * of a softmax with shift = max(x).  x, y [count] f32; y may be x; shift finite. */
float tensor_exp_row(const float *x, size_t count, float shift, float *y);

/* Order-fixed max (NaN is skipped) and ln(sum(exp(x))).  x [count] f32, count >= 1 */
float tensor_max(const float *x, size_t count);
float tensor_log_sum_exp(const float *x, size_t count);

/* sum_i a[i] * b[i], 16 lanes of fma.  [count] f32 */
float tensor_dot(const float *a, const float *b, size_t count);

/* y[i] = fma(a, x[i], y[i]).  [count] f32 */
void tensor_axpy(float a, const float *x, size_t count, float *y);

/*
 * Rotary embedding in place on one token's heads.
 *   x         [head_count, head_dim] f32
 *   cos_sin   [2, rotary_dim] f32 for this position: of each element its pair's cosine, then its
 *             pair's sine, negative for the first of a pair; see tensor_rope_angle()
 * adjacent: pairs (2i, 2i+1); else pairs (i, i + rotary_dim / 2). Dims >= rotary_dim pass.
 */
void tensor_rope(float *x, size_t head_count, size_t head_dim, size_t rotary_dim,
    const float *cos_sin, bool adjacent);
/* Puts the cosine and sine of one pair, below rotary_dim / 2, into cos_sin. */
void tensor_rope_angle(
    float *cos_sin, size_t rotary_dim, bool adjacent, size_t pair, float cosine, float sine);

/* The top_count largest of x, descending, lower index first on ties.
 *   x [count] f32;  ret_index, ret_value [top_count];  top_count <= count. NaN sorts last. */
void tensor_top(
    const float *x, size_t count, size_t top_count, uint32_t *ret_index, float *ret_value);

#endif
