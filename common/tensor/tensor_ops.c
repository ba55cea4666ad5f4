#include "tensor_ops.h"
#include "base_assert.h"
#include "base_bytes.h"
#include "tensor_kernels.h"
#include <math.h>

void tensor_rms_norm(const float *x, const float *weight, size_t count, float epsilon, float *y)
{
    float mean = tensor_dot(x, x, count) / (float)count;
    float factor = 1.0f / sqrtf(mean + epsilon);

    tensor_kernels_get()->scale(x, factor, weight, count, y);
}

/* Sum over 16 lanes, as a dot product's. */
static float sum_of(const float *x, size_t count)
{
    float lanes[16] = {0};

    for (size_t i = 0; i < count; i++)
        lanes[i % 16] += x[i];
    for (size_t half = 8; half != 0; half /= 2)
        for (size_t j = 0; j < half; j++)
            lanes[j] += lanes[j + half];
    return lanes[0];
}

void tensor_layer_norm(
    const float *x, const float *weight, const float *bias, size_t count, float epsilon, float *y)
{
    float mean = sum_of(x, count) / (float)count;

    for (size_t i = 0; i < count; i++)
        y[i] = x[i] - mean;
    float factor = 1.0f / sqrtf(tensor_dot(y, y, count) / (float)count + epsilon);
    tensor_kernels_get()->scale(y, factor, weight, count, y);
    tensor_add(bias, count, y);
}

void tensor_scale(const float *x, size_t count, float factor, float *y)
{
    tensor_kernels_get()->scale(x, factor, NULL, count, y);
}

void tensor_add(const float *x, size_t count, float *y)
{
    tensor_kernels_get()->add(x, count, y);
}

void tensor_silu_mul(const float *gate, const float *up, size_t count, float *y)
{
    tensor_kernels_get()->silu_mul(gate, up, count, y);
}

float tensor_exp(float x)
{
    float y;

    (void)tensor_kernels_get()->exp_shifted(&x, 1, 0, &y);
    return y;
}

float tensor_exp_row(const float *x, size_t count, float shift, float *y)
{
    return tensor_kernels_get()->exp_shifted(x, count, shift, y);
}

/* tanh(|z|) = (1 - e) / (1 + e), e = exp(-2 |z|): no overflow, and 1 far out. Close to 0 the
 * difference loses what an odd series keeps. */
static float softcap_of(float x, float cap, float exponential)
{
    float z = x / cap, square = z * z;
    float t = (1.0f - exponential) / (1.0f + exponential);

    if (square < 0x1p-6f)
        return x * (1.0f + square * (-1.0f / 3.0f +
                                        square * (2.0f / 15.0f - square * (17.0f / 315.0f))));
    return cap * (z < 0 ? -t : t);
}

void tensor_softcap(const float *x, size_t count, float cap, float *y)
{
    float e[64];

    for (size_t first = 0; first < count; first += 64) {
        size_t part = count - first < 64 ? count - first : 64;
        for (size_t i = 0; i < part; i++)
            e[i] = -2.0f * fabsf(x[first + i] / cap);
        (void)tensor_kernels_get()->exp_shifted(e, part, 0, e);
        for (size_t i = 0; i < part; i++)
            y[first + i] = softcap_of(x[first + i], cap, e[i]);
    }
}

float tensor_max(const float *x, size_t count)
{
    base_assert(count != 0);
    return tensor_kernels_get()->max(x, count);
}

/*
 * ln(x), 1 <= x < 2^64, in double precision: x = 2^n * m with m near 1, ln m = 2 atanh(s),
 * s = (m - 1) / (m + 1), |s| < 0.172, as the odd series up to s^17 (next term below 1e-14). Own
 * code because the C library picks its logf by processor.
 */
double tensor_log(double x)
{
    int n;
    double m = frexp(x, &n);

    if (m < 0x1.6a09e667f3bcdp-1) { /* sqrt(1/2) */
        m *= 2;
        n--;
    }
    double s = (m - 1) / (m + 1), square = s * s, sum = 0;
    for (int k = 17; k >= 1; k -= 2)
        sum = sum * square + 1.0 / k;
    return 2 * s * sum + n * 0x1.62e42fefa39efp-1;
}

float tensor_log_sum_exp(const float *x, size_t count)
{
    float most = tensor_max(x, count);

    if (isinf(most))
        return most;
    float sum = tensor_kernels_get()->exp_shifted(x, count, most, NULL);
    return isfinite(sum) ? (float)((double)most + tensor_log(sum)) : NAN;
}

float tensor_dot(const float *a, const float *b, size_t count)
{
    return tensor_kernels_get()->dot(a, b, count);
}

void tensor_axpy(float a, const float *x, size_t count, float *y)
{
    tensor_kernels_get()->axpy(a, x, count, y);
}

void tensor_rope(float *x, size_t head_count, size_t head_dim, size_t rotary_dim,
    const float *cos_sin, bool adjacent)
{
    const struct tensor_kernels *kernels = tensor_kernels_get();

    base_assert(rotary_dim <= head_dim && rotary_dim % 2 == 0);
    for (size_t head = 0; head < head_count; head++)
        kernels->rope(x + head * head_dim, rotary_dim, cos_sin, adjacent);
}

void tensor_rope_angle(
    float *cos_sin, size_t rotary_dim, bool adjacent, size_t pair, float cosine, float sine)
{
    size_t first = adjacent ? 2 * pair : pair;
    size_t second = first + (adjacent ? 1 : rotary_dim / 2);

    cos_sin[first] = cos_sin[second] = cosine;
    cos_sin[rotary_dim + first] = -sine;
    cos_sin[rotary_dim + second] = sine;
}

/* A number that orders (value, index) as tensor_top() wants: larger is better. */
static uint64_t rank_of(float value, uint32_t index)
{
    uint32_t bits;

    if (value != value) {
        bits = 0;
    } else {
        float canonical = value + 0.0f; /* -0 equals 0 */
        bits = base_load_u32(&canonical);
        bits = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
    }
    return (uint64_t)bits << 32 | (uint32_t)~index;
}

/* Puts (value, index) into the hole at the root of a heap with the worst candidate on top. */
static void sift_down(
    uint32_t *indices, float *values, size_t count, size_t hole, float value, uint32_t index)
{
    uint64_t rank = rank_of(value, index);

    for (;;) {
        size_t child = 2 * hole + 1;
        if (child >= count)
            break;
        uint64_t child_rank = rank_of(values[child], indices[child]);
        if (child + 1 < count) {
            uint64_t other = rank_of(values[child + 1], indices[child + 1]);
            if (other < child_rank) {
                child++;
                child_rank = other;
            }
        }
        if (rank <= child_rank)
            break;
        values[hole] = values[child];
        indices[hole] = indices[child];
        hole = child;
    }
    values[hole] = value;
    indices[hole] = index;
}

void tensor_top(
    const float *x, size_t count, size_t top_count, uint32_t *ret_index, float *ret_value)
{
    base_assert(top_count <= count && count <= UINT32_MAX);
    if (top_count == 0)
        return;
    for (size_t i = 0; i < top_count; i++) {
        ret_index[i] = (uint32_t)i;
        ret_value[i] = x[i];
    }
    for (size_t i = top_count / 2; i-- > 0;)
        sift_down(ret_index, ret_value, top_count, i, ret_value[i], ret_index[i]);
    for (size_t i = top_count; i < count; i++) {
        /* An equal value has a higher index than all before and loses. Nearly all end here. */
        if (x[i] <= ret_value[0])
            continue;
        if (rank_of(x[i], (uint32_t)i) > rank_of(ret_value[0], ret_index[0]))
            sift_down(ret_index, ret_value, top_count, 0, x[i], (uint32_t)i);
    }
    for (size_t left = top_count - 1; left > 0; left--) { /* the worst goes to the end */
        float value = ret_value[left];
        uint32_t index = ret_index[left];
        ret_value[left] = ret_value[0];
        ret_index[left] = ret_index[0];
        sift_down(ret_index, ret_value, left, 0, value, index);
    }
}
