#include "tensor_activation.h"

#include "tensor_ops.h"
#include <math.h>

/* Exponentials are taken of this many values at a time. */
#define PART 64u

void tensor_gelu_mul(const float *gate, const float *up, size_t count, float *y)
{
    float e[PART];

    for (size_t first = 0; first < count; first += PART) {
        size_t part = count - first < PART ? count - first : PART;
        /* 1 + tanh(u) = 2 / (1 + exp(-2 u)) */
        for (size_t i = 0; i < part; i++) {
            float z = gate[first + i];
            e[i] = -1.59576912160573f * (z + 0.044715f * z * z * z);
        }
        (void)tensor_exp_row(e, part, 0, e);
        for (size_t i = 0; i < part; i++)
            y[first + i] = gate[first + i] / (1.0f + e[i]) * up[first + i];
    }
}

/* 1 - erf(a), a >= 0, by Abramowitz and Stegun 7.1.26; exponential: exp(-a^2). */
static float erf_rest(float a, float exponential)
{
    float t = 1.0f / (1.0f + 0.3275911f * a);

    return t *
           (0.254829592f +
               t * (-0.284496736f + t * (1.421413741f + t * (-1.453152027f + t * 1.061405429f)))) *
           exponential;
}

void tensor_gelu_erf(const float *x, size_t count, float *y)
{
    float e[PART];

    for (size_t first = 0; first < count; first += PART) {
        size_t part = count - first < PART ? count - first : PART;
        for (size_t i = 0; i < part; i++)
            e[i] = -0.5f * x[first + i] * x[first + i];
        (void)tensor_exp_row(e, part, 0, e);
        for (size_t i = 0; i < part; i++) {
            float z = x[first + i];
            float rest = 0.5f * z * erf_rest(fabsf(z) * 0.707106781f, e[i]);
            y[first + i] = z < 0 ? rest : z - rest;
        }
    }
}

void tensor_swiglu_clamped(const float *gate, const float *up, size_t count, float *y)
{
    float e[PART];

    for (size_t first = 0; first < count; first += PART) {
        size_t part = count - first < PART ? count - first : PART;
        for (size_t i = 0; i < part; i++) {
            float g = gate[first + i] > 7.0f ? 7.0f : gate[first + i];
            e[i] = -1.702f * g;
        }
        (void)tensor_exp_row(e, part, 0, e);
        for (size_t i = 0; i < part; i++) {
            float g = gate[first + i] > 7.0f ? 7.0f : gate[first + i];
            float u = up[first + i] > 7.0f ? 7.0f : up[first + i];
            u = u < -7.0f ? -7.0f : u;
            y[first + i] = g / (1.0f + e[i]) * (u + 1.0f);
        }
    }
}
