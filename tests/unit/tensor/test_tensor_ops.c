#include "tensor_kernels.h"
#include "tensor_ops.h"
#include "tensor_sample.h"
#include <criterion/criterion.h>
#include <float.h>

#define COUNT_MAX 1000

static const size_t counts[] = {1, 2, 7, 15, 16, 17, 31, 32, 33, 100, 1000};
#define COUNTS_COUNT (sizeof(counts) / sizeof(counts[0]))

static void fill(uint64_t seed, float *x, size_t count)
{
    for (size_t i = 0; i < count; i++)
        x[i] = sample_float(&seed) * 4;
}

Test(tensor_ops, rms_norm)
{
    float x[100], weight[100], y[100];
    double sum = 0;

    fill(1, x, 100);
    fill(2, weight, 100);
    for (size_t i = 0; i < 100; i++)
        sum += (double)x[i] * x[i];
    tensor_rms_norm(x, weight, 100, 1e-5f, y);
    for (size_t i = 0; i < 100; i++) {
        double expected = x[i] / sqrt(sum / 100 + 1e-5) * weight[i];
        cr_assert_float_eq(y[i], expected, fabs(expected) * 1e-6 + 1e-12);
    }
    tensor_rms_norm(x, weight, 100, 1e-5f, x); /* in place */
    cr_assert_eq(memcmp(x, y, sizeof(y)), 0);
    memset(x, 0, sizeof(x));
    tensor_rms_norm(x, weight, 100, 1e-5f, y);
    cr_assert(y[0] == 0 && y[99] == 0);
}

Test(tensor_ops, dot_uses_sixteen_lanes_and_the_tree)
{
    float a[COUNT_MAX], b[COUNT_MAX];

    fill(3, a, COUNT_MAX);
    fill(4, b, COUNT_MAX);
    for (size_t c = 0; c < COUNTS_COUNT; c++) {
        float lanes[16] = {0};
        for (size_t i = 0; i < counts[c]; i++)
            lanes[i % 16] = fmaf(a[i], b[i], lanes[i % 16]);
        for (size_t half = 8; half > 0; half /= 2)
            for (size_t j = 0; j < half; j++)
                lanes[j] += lanes[j + half];
        cr_assert_eq(tensor_dot(a, b, counts[c]), lanes[0]);
    }
    cr_assert_eq(tensor_dot(a, b, 0), 0);
}

Test(tensor_ops, add_axpy_and_silu)
{
    float x[33], y[33], z[33], gate[33];

    fill(5, x, 33);
    fill(6, y, 33);
    fill(7, gate, 33);
    memcpy(z, y, sizeof(y));
    tensor_add(x, 33, z);
    for (size_t i = 0; i < 33; i++)
        cr_assert_eq(z[i], x[i] + y[i]);
    memcpy(z, y, sizeof(y));
    tensor_axpy(1.3f, x, 33, z);
    for (size_t i = 0; i < 33; i++)
        cr_assert_eq(z[i], fmaf(1.3f, x[i], y[i]));
    gate[0] = -200;
    gate[1] = 200;
    gate[2] = 0;
    tensor_silu_mul(gate, x, 33, z);
    for (size_t i = 0; i < 33; i++) {
        double expected = gate[i] / (1 + exp(-(double)gate[i])) * x[i];
        cr_assert_float_eq(z[i], expected, fabs(expected) * 4e-7 + 1e-30);
    }
    tensor_silu_mul(gate, x, 33, gate); /* in place */
    cr_assert_eq(memcmp(gate, z, sizeof(z)), 0);
}

/* Distance in units of the last place of the exact value. */
static double ulps(float got, double exact)
{
    int exponent;
    (void)frexp(exact, &exponent);
    return fabs(got - exact) / ldexp(1, exponent - 24);
}

Test(tensor_ops, exp_is_within_two_ulp)
{
    double worst = 0;

    for (double x = -87.3; x <= 88.7228; x += 0.00037) {
        double error = ulps(tensor_exp((float)x), exp((double)(float)x));
        worst = fmax(worst, error);
    }
    for (float x = 1e-9f; x < 1; x *= 1.01f) {
        worst = fmax(worst, ulps(tensor_exp(x), exp(x)));
        worst = fmax(worst, ulps(tensor_exp(-x), exp(-x)));
    }
    cr_assert_leq(worst, 2, "%g ulp", worst);
    cr_assert_eq(tensor_exp(0), 1);
    cr_assert_eq(tensor_exp(-0.0f), 1);
}

Test(tensor_ops, exp_at_the_edges)
{
    cr_assert_leq(ulps(tensor_exp(-87.3f), exp((double)-87.3f)), 2);
    cr_assert_eq(tensor_exp(nextafterf(-87.3f, -100)), 0);
    cr_assert_eq(tensor_exp(-INFINITY), 0);
    cr_assert_eq(tensor_exp(-FLT_MAX), 0);
    cr_assert(isfinite(tensor_exp(88.72283f)) && tensor_exp(88.72283f) > 3.4e38f);
    cr_assert_eq(tensor_exp(88.73f), INFINITY);
    cr_assert_eq(tensor_exp(FLT_MAX), INFINITY);
    cr_assert_eq(tensor_exp(INFINITY), INFINITY);
    cr_assert(isnan(tensor_exp(NAN)));
    cr_assert_eq(tensor_exp(1e-42f), 1);
}

Test(tensor_ops, max_log_sum_exp_and_exp_row)
{
    float x[COUNT_MAX], y[COUNT_MAX];

    fill(8, x, COUNT_MAX);
    for (size_t c = 0; c < COUNTS_COUNT; c++) {
        double sum = 0;
        float most = x[0];
        for (size_t i = 0; i < counts[c]; i++) {
            sum += exp(x[i]);
            most = x[i] > most ? x[i] : most;
        }
        cr_assert_eq(tensor_max(x, counts[c]), most);
        cr_assert_float_eq(tensor_log_sum_exp(x, counts[c]), log(sum), 2e-6);
        float total = tensor_exp_row(x, counts[c], most, y);
        cr_assert_float_eq(total, sum / exp(most), total * 1e-6);
        for (size_t i = 0; i < counts[c]; i++)
            cr_assert_eq(y[i], tensor_exp(x[i] - most));
    }
    cr_assert_eq(tensor_log_sum_exp((float[]){5}, 1), 5);
    cr_assert_eq(tensor_log_sum_exp((float[]){3e38f, -3e38f}, 2), 3e38f);
    cr_assert_eq(tensor_log_sum_exp((float[]){-INFINITY, 1}, 2), 1);
    cr_assert_eq(tensor_log_sum_exp((float[]){-INFINITY, -INFINITY}, 2), -INFINITY);
    cr_assert_eq(tensor_log_sum_exp((float[]){INFINITY, 1}, 2), INFINITY);
    cr_assert(isnan(tensor_log_sum_exp((float[]){NAN, 1}, 2)));
    cr_assert_float_eq(tensor_log_sum_exp((float[]){0, 0}, 2), log(2), 1e-7);
}

Test(tensor_ops, rope_turns_pairs)
{
    /* Two heads of six, four rotary: angles 90 degrees and 0.5. */
    float cos_sin[8], x[12], y[12];

    for (size_t i = 0; i < 12; i++)
        x[i] = y[i] = (float)(i + 1);
    tensor_rope_angle(cos_sin, 4, true, 0, 0, 1);
    tensor_rope_angle(cos_sin, 4, true, 1, cosf(0.5f), sinf(0.5f));
    tensor_rope(y, 2, 6, 4, cos_sin, true);
    for (size_t head = 0; head < 12; head += 6) {
        cr_assert(y[head] == -x[head + 1] && y[head + 1] == x[head]);
        float expected = x[head + 2] * cosf(0.5f) - x[head + 3] * sinf(0.5f);
        cr_assert_float_eq(y[head + 2], expected, 1e-6);
        expected = x[head + 2] * sinf(0.5f) + x[head + 3] * cosf(0.5f);
        cr_assert_float_eq(y[head + 3], expected, 1e-6);
        cr_assert(y[head + 4] == x[head + 4] && y[head + 5] == x[head + 5]);
    }
    memcpy(y, x, sizeof(x));
    tensor_rope_angle(cos_sin, 4, false, 0, 0, 1);
    tensor_rope_angle(cos_sin, 4, false, 1, cosf(0.5f), sinf(0.5f));
    tensor_rope(y, 2, 6, 4, cos_sin, false);
    for (size_t head = 0; head < 12; head += 6) {
        cr_assert(y[head] == -x[head + 2] && y[head + 2] == x[head]);
        float expected = x[head + 1] * cosf(0.5f) - x[head + 3] * sinf(0.5f);
        cr_assert_float_eq(y[head + 1], expected, 1e-6);
        expected = x[head + 1] * sinf(0.5f) + x[head + 3] * cosf(0.5f);
        cr_assert_float_eq(y[head + 3], expected, 1e-6);
        cr_assert(y[head + 4] == x[head + 4] && y[head + 5] == x[head + 5]);
    }
}

/* The definition, by repeated search. */
static bool comes_before(float a, size_t a_index, float b, size_t b_index)
{
    if (isnan(a) || isnan(b))
        return isnan(a) == isnan(b) ? a_index < b_index : isnan(b);
    return a != b ? a > b : a_index < b_index;
}

static void check_top(const float *x, size_t count, size_t top_count)
{
    uint32_t index[COUNT_MAX];
    float value[COUNT_MAX];
    bool taken[COUNT_MAX] = {false};

    tensor_top(x, count, top_count, index, value);
    for (size_t n = 0; n < top_count; n++) {
        size_t best = count;
        for (size_t i = 0; i < count; i++) {
            if (!taken[i] && (best == count || comes_before(x[i], i, x[best], best)))
                best = i;
        }
        taken[best] = true;
        cr_assert_eq(index[n], best);
        cr_assert_eq(memcmp(&value[n], &x[best], sizeof(float)), 0);
    }
}

Test(tensor_ops, top_with_ties_zeros_and_nan)
{
    float x[300];
    uint64_t state = 9;
    const float strange[] = {NAN, 0.0f, -0.0f, INFINITY, -INFINITY};

    for (int round = 0; round < 30; round++) {
        for (size_t i = 0; i < 300; i++) {
            uint32_t bits = sample_bits(&state);
            x[i] = round % 3 == 0 ? sample_float(&state) : (float)(bits % 20) - 10;
            if (round % 2 == 1 && bits % 7 == 0)
                x[i] = strange[bits / 7 % 5];
        }
        check_top(x, 300, 1);
        check_top(x, 300, 40);
        check_top(x, 300, 300);
        check_top(x, 1, 1);
        check_top(x, 5, 0);
    }
    for (size_t i = 0; i < 300; i++)
        x[i] = i < 299 ? NAN : -INFINITY;
    check_top(x, 300, 3);
}

Test(tensor_ops, softcap_is_close_to_tanh_on_all_instruction_sets)
{
    float x[COUNT_MAX], expected[COUNT_MAX], y[COUNT_MAX];

    fill(11, x, COUNT_MAX);
    x[0] = 0;
    x[1] = 1e30f;
    x[2] = -1e30f;
    x[3] = 1e-20f;
    x[4] = INFINITY;
    for (size_t c = 0; c < 2; c++) {
        float cap = c == 0 ? 50.0f : 1.5f;
        tensor_kernels_use("scalar");
        tensor_softcap(x, COUNT_MAX, cap, expected);
        for (size_t i = 0; i < COUNT_MAX; i++) {
            double exact = cap * tanh((double)x[i] / cap);
            cr_assert_float_eq(expected[i], exact, fabs(exact) * 1e-6, "%g", (double)x[i]);
        }
        for (size_t k = 0; k < SAMPLE_ISA_COUNT; k++) {
            if (!tensor_kernels_use(sample_isas[k]))
                continue;
            tensor_softcap(x, COUNT_MAX, cap, y);
            cr_assert_eq(memcmp(y, expected, sizeof(y)), 0, "%s", sample_isas[k]);
        }
    }
    tensor_kernels_use(NULL);
}

Test(tensor_ops, layer_norm_and_scale)
{
    float x[COUNT_MAX], weight[COUNT_MAX], bias[COUNT_MAX], y[COUNT_MAX];
    double mean = 0, variance = 0;

    fill(3, x, COUNT_MAX);
    fill(4, weight, COUNT_MAX);
    fill(5, bias, COUNT_MAX);
    for (size_t i = 0; i < COUNT_MAX; i++)
        mean += (double)x[i] / COUNT_MAX;
    for (size_t i = 0; i < COUNT_MAX; i++)
        variance += ((double)x[i] - mean) * ((double)x[i] - mean) / COUNT_MAX;
    tensor_layer_norm(x, weight, bias, COUNT_MAX, 1e-5f, y);
    for (size_t i = 0; i < COUNT_MAX; i++) {
        double exact = ((double)x[i] - mean) / sqrt(variance + 1e-5) * (double)weight[i];
        cr_assert_float_eq(y[i], exact + (double)bias[i], fabs(exact) * 1e-5 + 1e-5);
    }
    tensor_layer_norm(x, weight, bias, COUNT_MAX, 1e-5f, x); /* in place */
    cr_assert_eq(memcmp(x, y, sizeof(y)), 0);
    tensor_scale(x, COUNT_MAX, 0.5f, y);
    for (size_t i = 0; i < COUNT_MAX; i++)
        cr_assert_eq(y[i], x[i] * 0.5f);
}

Test(tensor_ops, log)
{
    cr_assert_eq(tensor_log(1), 0);
    for (double x = 1; x < 1e18; x *= 1.37)
        cr_assert_float_eq(tensor_log(x), log(x), 1e-13 * log(x) + 1e-300, "%g", x);
}
