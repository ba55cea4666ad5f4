/* Each table against the scalar one, function by function. Products: test_tensor_matrix.c. */
#include "tensor_kernels.h"
#include "tensor_matrix.h"
#include "tensor_sample.h"
#include <criterion/criterion.h>
#include <float.h>

#define COUNT_MAX 259

static const struct tensor_kernels *tables[2];

static size_t find_tables(void)
{
    static const char *const isas[] = {"avx2", "avx512"};
    size_t count = 0;

    for (size_t i = 0; i < 2; i++) {
        if (tensor_kernels_use(isas[i]))
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

Test(tensor_kernels, tables_agree_on_sums_and_functions)
{
    float a[COUNT_MAX], b[COUNT_MAX];
    size_t table_count = find_tables();

    for (uint64_t seed = 1; seed <= 6; seed++) {
        fill(seed, seed % 2 == 0, a);
        fill(seed + 100, seed % 3 == 0, b);
        for (size_t t = 0; t < table_count; t++)
            compare_ops(tables[t], a, b);
    }
}

static void compare_quantize(const struct tensor_kernels *table, const float *x)
{
    int8_t q[2][8 * 2 * 32];
    float scale[2][8 * 2];
    int32_t start_q8_0[2][8 * 2], start_q4_0[2][8 * 2];
    const struct tensor_kernels *both[] = {&tensor_kernels_scalar, table};

    memset(q, 0, sizeof(q));
    memset(scale, 0, sizeof(scale));
    memset(start_q8_0, 0, sizeof(start_q8_0));
    memset(start_q4_0, 0, sizeof(start_q4_0));
    for (size_t i = 0; i < 2; i++) {
        struct tensor_quantized out = {q[i], scale[i], start_q8_0[i], start_q4_0[i], 2};
        both[i]->quantize(x, 256, &out);
    }
    cr_assert_eq(memcmp(q[0], q[1], sizeof(q[0])), 0, "%s", table->name);
    cr_assert(sample_same_bits(scale[0], scale[1], 16), "%s", table->name);
    cr_assert_eq(memcmp(start_q8_0[0], start_q8_0[1], sizeof(start_q8_0[0])), 0);
    cr_assert_eq(memcmp(start_q4_0[0], start_q4_0[1], sizeof(start_q4_0[0])), 0);
}

Test(tensor_kernels, tables_agree_on_quantisation)
{
    float x[COUNT_MAX];
    size_t table_count = find_tables();

    for (uint64_t seed = 1; seed <= 200; seed++) {
        fill(seed, seed % 2 == 0, x);
        for (size_t i = 0; seed % 5 == 0 && i < 256; i++) /* halves: ties of the rounding */
            x[i] = (float)((int)(sample_bits(&(uint64_t){seed * 1000 + i}) % 255) - 127) / 2;
        for (size_t t = 0; t < table_count; t++)
            compare_quantize(tables[t], x);
    }
}

Test(tensor_kernels, quantisation_is_what_it_says)
{
    float x[4 * 32] = {0}, scale[4];
    int8_t q[4 * 32];
    int32_t start_q8_0[4], start_q4_0[4];
    struct tensor_quantized out = {q, scale, start_q8_0, start_q4_0, 1};

    x[0] = -127; /* scale 1: the rest shows the rounding */
    x[1] = 0.5f;
    x[2] = 1.5f;
    x[3] = -2.5f;
    x[4] = 126.6f;
    x[32] = NAN;
    x[33] = 5;
    x[64] = 1e-40f; /* third block: too small for a scale */
    x[96] = 0x1p-119f;
    tensor_kernels_get()->quantize(x, 128, &out);
    cr_assert_eq(scale[0], 1);
    cr_assert(q[0] == -127 && q[1] == 0 && q[2] == 2 && q[3] == -2 && q[4] == 127);
    cr_assert(start_q8_0[0] == 0 && start_q4_0[0] == 0);
    cr_assert(isnan(scale[1]) && q[32] == 0 && q[33] == 0 && start_q8_0[1] == 0);
    cr_assert(scale[2] == 0 && q[64] == 0);
    cr_assert(scale[3] == 0x1p-119f / 127 && q[96] == 127);
    cr_assert(start_q8_0[3] == -128 * 127 && start_q4_0[3] == -8 * 127);
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
