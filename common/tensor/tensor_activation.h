/*
 * What stands between the products of a feed-forward, beside SiLU (tensor_ops.h). Own exponential,
 * one order of operations: the same bits on all instruction sets. Distances are from the exact
 * function of the f32 argument.
 */
#ifndef TENSOR_ACTIVATION_H
#define TENSOR_ACTIVATION_H

#include <stddef.h>

/* y[i] = gelu(gate[i]) * up[i], gelu(z) = z / 2 * (1 + tanh(sqrt(2/pi) (z + 0.044715 z^3))), within
 * 2e-6 of it relatively where z > -5, 1e-9 absolutely below.  [count] f32; y may be gate. */
void tensor_gelu_mul(const float *gate, const float *up, size_t count, float *y);

/* y[i] = x[i] / 2 * (1 + erf(x[i] / sqrt(2))), within 2e-7 * max(|x|, 1).  [count] f32; y may be
 * x. */
void tensor_gelu_erf(const float *x, size_t count, float *y);

/* y[i] = g / (1 + exp(-1.702 g)) * (u + 1), g = min(gate[i], 7), u = min(max(up[i], -7), 7): the
 * gate of gpt-oss.  [count] f32; y may be gate. */
void tensor_swiglu_clamped(const float *gate, const float *up, size_t count, float *y);

#endif
