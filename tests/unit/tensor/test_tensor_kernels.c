/* Each table against the scalar one, function by function. Products: test_tensor_matrix.c. */
#include "tensor_kernels.h"
#include "tensor_matrix.h"
#include "tensor_sample.h"
#include <criterion/criterion.h>
#include <float.h>

#define COUNT_MAX 259

static const struct tensor_kernels *tables[SAMPLE_ISA_COUNT];

static size_t find_tables(void)
{
    size_t count = 0;

    for (size_t i = 1; i < SAMPLE_ISA_COUNT; i++) {
        if (tensor_kernels_use(sample_isas[i]))
            tables[count++] = tensor_kernels_get();
    }
    cr_assert(tensor_kernels_use(NULL));
    return count;
}

/* Numbers of all magnitudes; with_strange: also NaN, infinities, subnormals, zeros. */
static void fill(uint64_t seed, bool with_strange, float *x)
{
    const float strange[] = {NAN, INFINITY, -INFINITY, 1e-44f, -1e-40f, 0.0f, -0.0f, FLT_MAX,
        -FLT_MAX, FLT_MIN, 88.7229f, -87.3001f};

    for (size_t i = 0; i < COUNT_MAX; i++) {
        uint32_t bits = sample_bits(&seed);
        x[i] = ldexpf(sample_float(&seed), (int)(bits % 16) - 8);
        if (with_strange && bits % 9 == 0)
            x[i] = strange[bits / 9 % 12];
    }
}

static void compare_ops(const struct tensor_kernels *table, const float *a, const float *b)
{
    const struct tensor_kernels *scalar = &tensor_kernels_scalar;
    float expected[COUNT_MAX], got[COUNT_MAX];

    for (size_t count = 0; count <= COUNT_MAX; count++) {
        float e = scalar->dot(a, b, count), g = table->dot(a, b, count);
        cr_assert(sample_same_bits(&e, &g, 1), "%s dot %zu", table->name, count);
        e = scalar->max(a, count);
        g = table->max(a, count);
        cr_assert(sample_same_bits(&e, &g, 1), "%s max %zu", table->name, count);
        memcpy(expected, b, sizeof(expected));
        memcpy(got, b, sizeof(got));
        scalar->axpy(0.7f, a, count, expected);
        table->axpy(0.7f, a, count, got);
        cr_assert(sample_same_bits(expected, got, COUNT_MAX), "%s axpy %zu", table->name, count);
        scalar->silu_mul(a, b, count, expected);
        table->silu_mul(a, b, count, got);
        cr_assert(sample_same_bits(expected, got, COUNT_MAX), "%s silu %zu", table->name, count);
        e = scalar->exp_shifted(a, count, 0.3f, expected);
        g = table->exp_shifted(a, count, 0.3f, got);
        cr_assert(sample_same_bits(expected, got, COUNT_MAX), "%s exp %zu", table->name, count);
        cr_assert(sample_same_bits(&e, &g, 1), "%s exp sum %zu", table->name, count);
        g = table->exp_shifted(a, count, 0.3f, NULL);
        cr_assert(sample_same_bits(&e, &g, 1), "%s exp sum %zu", table->name, count);
    }
}

static void compare_elementwise(const struct tensor_kernels *table, const float *a, const float *b)
{
    const struct tensor_kernels *scalar = &tensor_kernels_scalar;
    float expected[COUNT_MAX], got[COUNT_MAX];

    memcpy(expected, b, sizeof(expected));
    memcpy(got, b, sizeof(got));
    for (size_t count = 0; count <= COUNT_MAX; count++) {
        scalar->add(a, count, expected);
        table->add(a, count, got);
        cr_assert(sample_same_bits(expected, got, COUNT_MAX), "%s add %zu", table->name, count);
        scalar->scale(a, 0.7f, b, count, expected);
        table->scale(a, 0.7f, b, count, got);
        cr_assert(sample_same_bits(expected, got, COUNT_MAX), "%s scale %zu", table->name, count);
        scalar->scale(a, 0.7f, NULL, count, expected);
        table->scale(a, 0.7f, NULL, count, got);
        cr_assert(sample_same_bits(expected, got, COUNT_MAX), "%s scale %zu", table->name, count);
    }
    for (size_t dim = 0; dim <= COUNT_MAX / 2; dim += 2)
        for (int adjacent = 0; adjacent < 2; adjacent++) {
            scalar->rope(expected, dim, b, adjacent == 1);
            table->rope(got, dim, b, adjacent == 1);
            cr_assert(sample_same_bits(expected, got, COUNT_MAX), "%s rope %zu", table->name, dim);
        }
}

Test(tensor_kernels, tables_agree_on_sums_and_functions)
{
    float a[COUNT_MAX], b[COUNT_MAX];
    size_t table_count = find_tables();

    for (uint64_t seed = 1; seed <= 6; seed++) {
        fill(seed, seed % 2 == 0, a);
        fill(seed + 100, seed % 3 == 0, b);
        for (size_t t = 0; t < table_count; t++)
            compare_ops(tables[t], a, b), compare_elementwise(tables[t], a, b);
    }
}

/* Both forms of 512 columns with a stride of two. */
struct forms {
    int8_t q[2][16 * 2 * 32];
    float scale[2][16 * 2], scaled_sum[16 * 2];
    int32_t minus_sum[2][2 * 16 * 2], minus_sum_256[2 * 2], sums_16[16 * 2], sums_32[8 * 2];
};

static void quantize_both(const struct tensor_kernels *table, const float *x, struct forms *forms)
{
    const struct tensor_form_32 form_32 = {
        forms->q[0], forms->scale[0], forms->scaled_sum, forms->minus_sum[0]};
    const struct tensor_form_256 form_256 = {forms->q[1], forms->scale[1], forms->minus_sum[1],
        forms->minus_sum_256, forms->sums_16, forms->sums_32};

    memset(forms, 0, sizeof(*forms));
    table->quantize_32(x, 512, 2, &form_32);
    table->quantize_256(x, 512, 2, &form_256);
}

static void compare_quantize(const struct tensor_kernels *table, const float *x)
{
    struct forms expected, got;

    quantize_both(&tensor_kernels_scalar, x, &expected);
    quantize_both(table, x, &got);
    cr_assert_eq(memcmp(expected.q, got.q, sizeof(got.q)), 0, "%s", table->name);
    cr_assert(sample_same_bits(expected.scale[0], got.scale[0], 64), "%s", table->name);
    cr_assert(sample_same_bits(expected.scaled_sum, got.scaled_sum, 32), "%s", table->name);
    cr_assert_eq(memcmp(expected.minus_sum, got.minus_sum, sizeof(got.minus_sum)), 0);
    cr_assert_eq(memcmp(expected.minus_sum_256, got.minus_sum_256, sizeof(got.minus_sum_256)), 0);
    cr_assert_eq(memcmp(expected.sums_16, got.sums_16, sizeof(got.sums_16)), 0);
    cr_assert_eq(memcmp(expected.sums_32, got.sums_32, sizeof(got.sums_32)), 0);
}

Test(tensor_kernels, tables_agree_on_quantisation)
{
    float x[2 * COUNT_MAX];
    size_t table_count = find_tables();

    for (uint64_t seed = 1; seed <= 200; seed++) {
        fill(seed, seed % 2 == 0, x);
        fill(seed + 1000, seed % 8 == 0, x + 256);
        for (size_t i = 0; seed % 5 == 0 && i < 256; i++) /* halves: ties of the rounding */
            x[i] = (float)((int)(sample_bits(&(uint64_t){seed * 1000 + i}) % 255) - 127) / 2;
        for (size_t t = 0; t < table_count; t++)
            compare_quantize(tables[t], x);
    }
}

Test(tensor_kernels, quantisation_is_what_it_says)
{
    float x[4 * 32] = {0}, scale[4], scaled_sum[4];
    int8_t q[4 * 32];
    int32_t minus_sum[4];
    const struct tensor_form_32 form = {q, scale, scaled_sum, minus_sum};

    x[0] = -127; /* scale 1: the rest shows the rounding */
    x[1] = 0.5f;
    x[2] = 1.5f;
    x[3] = -2.5f;
    x[4] = 126.6f;
    x[5] = 3;
    x[32] = NAN;
    x[33] = 5;
    x[64] = 1e-40f; /* third block: too small for a scale */
    x[96] = 0x1p-119f;
    tensor_kernels_get()->quantize_32(x, 128, 1, &form);
    cr_assert_eq(scale[0], 1);
    cr_assert(q[0] == -127 && q[1] == 0 && q[2] == 2 && q[3] == -2 && q[4] == 127);
    cr_assert(minus_sum[0] == -3 && scaled_sum[0] == 3);
    cr_assert(isnan(scale[1]) && q[32] == 0 && q[33] == 0 && minus_sum[1] == 0);
    cr_assert(isnan(scaled_sum[1]));
    cr_assert(scale[2] == 0 && q[64] == 0);
    cr_assert(scale[3] == 0x1p-119f / 127 && q[96] == 127);
    cr_assert(minus_sum[3] == -127 && scaled_sum[3] == scale[3] * 127);
}

Test(tensor_kernels, quantisation_by_256_is_what_it_says)
{
    float x[512] = {0};
    struct forms forms;

    x[3] = -254; /* scale 2 over all 256 */
    x[17] = 20;
    x[40] = 6;
    x[255] = 254;
    x[300] = INFINITY;
    quantize_both(tensor_kernels_get(), x, &forms);
    cr_assert_eq(forms.scale[1][0], 2);
    cr_assert(isnan(forms.scale[1][2]) && forms.q[1][4 * 2 * 64 + 44] == 0);
    cr_assert(forms.q[1][3] == -127 && forms.q[1][17] == 10 && forms.q[1][32 + 8] == 3);
    cr_assert(forms.q[1][3 * 2 * 64 + 63] == 127);
    cr_assert(forms.minus_sum[1][0] == 32 * 127 && forms.minus_sum[1][2] == -320);
    cr_assert(forms.minus_sum[1][4] == -96 && forms.minus_sum_256[0] == 127 - 10 - 3 - 127);
    cr_assert_eq(forms.sums_16[0], (-127 & 0xffff) | 10 << 16);
    cr_assert_eq(forms.sums_32[0], (-117 & 0xffff) | 3 << 16);
    cr_assert_eq(forms.sums_32[3 * 2], 127 << 16);
}

Test(tensor_kernels, the_environment_chooses)
{
    setenv("LAYERMESH_ISA", "scalar", 1);
    cr_assert(tensor_kernels_use(NULL));
    cr_assert_str_eq(tensor_isa_name(), "scalar");
    setenv("LAYERMESH_ISA", "nonsense", 1); /* nothing of that name: the best there is */
    cr_assert(tensor_kernels_use(NULL));
    const char *best = tensor_isa_name();
    unsetenv("LAYERMESH_ISA");
    cr_assert(tensor_kernels_use(NULL));
    cr_assert_str_eq(tensor_isa_name(), best);
    cr_assert_not(tensor_kernels_use("sse9"));
    cr_assert_str_eq(tensor_isa_name(), best);
}
