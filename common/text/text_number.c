#include "text_number.h"

#include <string.h>

void text_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t ret[4])
{
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    uint32_t k0 = key[0], k1 = key[1];

    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xd2511f53u * c0;
        uint64_t p1 = (uint64_t)0xcd9e8d57u * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1;
        c3 = (uint32_t)p0;
        k0 += 0x9e3779b9u;
        k1 += 0xbb67ae85u;
    }
    ret[0] = c0;
    ret[1] = c1;
    ret[2] = c2;
    ret[3] = c3;
}

/* 1 / 13!, 1 / 12! ... 1 / 0!: the Taylor series of exp in Horner form. |r| <= 0.35, so the first term
 * that is left out is below 1e-17. */
#define SERIES_FIRST (1.0 / 87178291200.0)
static const double series[] = {1.0 / 6227020800.0, 1.0 / 479001600.0, 1.0 / 39916800.0,
    1.0 / 3628800.0, 1.0 / 362880.0, 1.0 / 40320.0, 1.0 / 5040.0, 1.0 / 720.0, 1.0 / 120.0,
    1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0};
enum { SERIES_TERMS = sizeof(series) / sizeof(series[0]) };

/* x = k ln 2 + r. */
static inline double exp_reduce(double x, int *ret_k)
{
    /* ln 2 in two parts, so that k * high is exact for the k that occur. */
    static const double high = 6.93147180369123816490e-01, low = 1.90821492927058770002e-10;
    static const double per_ln2 = 1.44269504088896338700e+00;

    x = x >= -708.0 ? x : 0.0;
    x = x > 0.0 ? 0.0 : x;
    *ret_k = (int)(x * per_ln2 - 0.5); /* towards zero: the nearest integer */
    return (x - *ret_k * high) - *ret_k * low;
}

/* 2^k e^r for the x that was reduced. */
static inline double exp_scale(double x, int k, double sum)
{
    uint64_t bits = (uint64_t)(k + 1023) << 52; /* k >= -1022 */
    double scale;

    memcpy(&scale, &bits, sizeof(scale));
    return x >= -708.0 ? sum * scale : 0.0;
}

double text_exp(double x)
{
    int k;
    double r = exp_reduce(x, &k), sum = SERIES_FIRST;

    for (int n = 0; n < SERIES_TERMS; n++)
        sum = sum * r + series[n];
    return exp_scale(x, k, sum);
}

/* The same operations for each lane, side by side: the processor has something to do while it waits
 * for the sum of one. */
typedef double lanes __attribute__((vector_size(TEXT_EXP_LANES * sizeof(double))));

void text_exp_lanes(double values[TEXT_EXP_LANES])
{
    lanes r = {0}, sum = {0};
    int k[TEXT_EXP_LANES];

    for (int i = 0; i < TEXT_EXP_LANES; i++)
        r[i] = exp_reduce(values[i], &k[i]);
    sum += SERIES_FIRST;
    for (int n = 0; n < SERIES_TERMS; n++)
        sum = sum * r + series[n];
    for (int i = 0; i < TEXT_EXP_LANES; i++)
        values[i] = exp_scale(values[i], k[i], sum[i]);
}

double text_log(double x)
{
    static const double ln2 = 6.93147180559945286227e-01, root2 = 1.41421356237309514547e+00;
    uint64_t bits;
    int exponent = 0;

    if (x < 2.2250738585072014e-308) { /* subnormal: made normal first */
        x *= 18014398509481984.0;
        exponent = -54;
    }
    memcpy(&bits, &x, sizeof(bits));
    exponent += (int)((bits >> 52) & 0x7ff) - 1023;
    bits = (bits & UINT64_C(0x000fffffffffffff)) | UINT64_C(0x3ff0000000000000);
    memcpy(&x, &bits, sizeof(x));
    if (x > root2) {
        x *= 0.5;
        exponent++;
    }
    /* ln x = 2 artanh s; |s| <= 0.172, so the first term left out is below 1e-18. */
    double s = (x - 1.0) / (x + 1.0), square = s * s, sum = 0.0;
    for (int n = 23; n > 1; n -= 2)
        sum = (sum + 1.0 / n) * square;
    return exponent * ln2 + (2.0 * s + 2.0 * s * sum);
}
