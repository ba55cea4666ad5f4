/* Quantisers: what is on the grid comes back, errors below those of simple rounding, bad numbers. */
#include "tensor_quantize.h"
#include "tensor_type.h"
#include <criterion/criterion.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT 4096

struct type_case {
    uint32_t type;
    const char *name;
    double bits; /* of a code, for the error of simple rounding */
};

static const struct type_case cases[] = {{TENSOR_F32, "F32", 24}, {TENSOR_F16, "F16", 11},
    {TENSOR_BF16, "BF16", 8}, {TENSOR_Q8_0, "Q8_0", 8}, {TENSOR_Q4_0, "Q4_0", 4},
    {TENSOR_Q4_1, "Q4_1", 4}, {TENSOR_Q5_0, "Q5_0", 5}, {TENSOR_Q5_1, "Q5_1", 5},
    {TENSOR_Q2_K, "Q2_K", 2}, {TENSOR_Q3_K, "Q3_K", 3}, {TENSOR_Q4_K, "Q4_K", 4},
    {TENSOR_Q5_K, "Q5_K", 5}, {TENSOR_Q6_K, "Q6_K", 6}, {TENSOR_IQ4_NL, "IQ4_NL", 4},
    {TENSOR_IQ4_XS, "IQ4_XS", 4}, {TENSOR_MXFP4, "MXFP4", 4}};

#define CASES (sizeof(cases) / sizeof(cases[0]))

static uint64_t state;

static double uniform(void)
{
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    return (double)(state >> 11) / 9007199254740992.0;
}

/* Roughly normal, as weights are, with a few that stand out. */
static void fill(float *x, size_t count, uint64_t seed)
{
    state = seed;
    for (size_t i = 0; i < count; i++) {
        double sum = -6;
        for (int j = 0; j < 12; j++)
            sum += uniform();
        x[i] = (float)(sum * 0.02 * (uniform() < 0.01 ? 4 : 1));
    }
}

/* Root of the mean squared error of a round trip, over the root mean square of x. */
static double round_trip(uint32_t type, const float *x, float *y)
{
    static uint8_t row[COUNT * 4];
    double error = 0, square = 0;

    cr_assert(tensor_quantize_row(type, x, COUNT, row));
    tensor_dequantize_row(type, row, COUNT, y);
    for (size_t i = 0; i < COUNT; i++) {
        error += ((double)y[i] - (double)x[i]) * ((double)y[i] - (double)x[i]);
        square += (double)x[i] * (double)x[i];
    }
    return sqrt(error / square);
}

/* Rounding to the nearest of so many equal steps between the extremes of each 32. */
static double simple_error(const float *x, double bits)
{
    double error = 0, square = 0, steps = pow(2, bits) - 1;

    for (size_t i = 0; i < COUNT; i += 32) {
        double low = (double)x[i], top = low;
        for (size_t j = 1; j < 32; j++) {
            low = fmin(low, (double)x[i + j]);
            top = fmax(top, (double)x[i + j]);
        }
        for (size_t j = 0; j < 32; j++) {
            double step = (top - low) / steps;
            double off = low + round(((double)x[i + j] - low) / step) * step - (double)x[i + j];
            error += off * off;
            square += (double)x[i + j] * (double)x[i + j];
        }
    }
    return sqrt(error / square);
}

Test(tensor_quantize, error_is_below_that_of_simple_rounding)
{
    float x[COUNT], y[COUNT];

    fill(x, COUNT, 1);
    for (size_t i = 0; i < CASES; i++) {
        double error = round_trip(cases[i].type, x, y);
        /* Symmetric grids pay something for having no minimum. */
        double bound = simple_error(x, cases[i].bits);
        bool symmetric = cases[i].type == TENSOR_Q4_0 || cases[i].type == TENSOR_Q5_0 ||
                         cases[i].type == TENSOR_MXFP4 || cases[i].type == TENSOR_Q8_0;
        bound *= cases[i].type == TENSOR_MXFP4 ? 1.7 : symmetric ? 1.3 : 1.0;
        cr_expect_lt(error, bound, "%s: %g, simple %g", cases[i].name, error, bound);
        (void)printf("%s %.5f (simple rounding %.5f)\n", cases[i].name, error, bound);
    }
}

/* What a row stands for, quantised again, must be nearly itself. */
Test(tensor_quantize, what_is_on_the_grid_stays)
{
    float x[COUNT], y[COUNT], z[COUNT];

    fill(x, COUNT, 2);
    for (size_t i = 0; i < CASES; i++) {
        double first = round_trip(cases[i].type, x, y);
        double again = round_trip(cases[i].type, y, z);
        cr_expect_leq(again, 0.34 * first + 1e-6, "%s: %g after %g", cases[i].name, again, first);
    }
}

Test(tensor_quantize, zeros_constants_and_single_elements)
{
    float x[COUNT], y[COUNT];

    for (size_t i = 0; i < CASES; i++) {
        memset(x, 0, sizeof(x));
        cr_expect(isnan(round_trip(cases[i].type, x, y)), "0 / 0");
        for (size_t j = 0; j < COUNT; j++)
            cr_assert_eq(y[j], 0.0f, "%s", cases[i].name);
        for (size_t j = 0; j < COUNT; j++)
            x[j] = j % 256 == 77 ? -3.0f : 0.0f;
        cr_expect_lt(round_trip(cases[i].type, x, y), 0.07, "%s", cases[i].name);
        for (size_t j = 0; j < COUNT; j++)
            x[j] = -0.75f;
        cr_expect_lt(round_trip(cases[i].type, x, y), 0.05, "%s", cases[i].name);
        for (size_t j = 0; j < COUNT; j++)
            x[j] = 0.75f;
        cr_expect_lt(round_trip(cases[i].type, x, y), 0.05, "%s", cases[i].name);
    }
}

Test(tensor_quantize, what_is_no_number)
{
    float x[256];
    uint8_t row[1024];
    const float bad[] = {NAN, INFINITY, -INFINITY};

    for (size_t i = 0; i < CASES; i++) {
        for (size_t j = 0; j < 3; j++) {
            fill(x, 256, 3);
            x[200] = bad[j];
            cr_expect_not(tensor_quantize_row(cases[i].type, x, 256, row), "%s", cases[i].name);
        }
        fill(x, 256, 3);
        x[200] = 3e38f;
        bool wide = cases[i].type == TENSOR_F32 || cases[i].type == TENSOR_BF16;
        cr_expect_eq(tensor_quantize_row(cases[i].type, x, 256, row), wide, "%s", cases[i].name);
    }
}

Test(tensor_quantize, halves_round_to_even)
{
    const float x[] = {1.00390625f, 1.01171875f, -1.0f, 0.1f};
    uint16_t row[4];

    cr_assert(tensor_quantize_row(TENSOR_BF16, x, 4, row));
    cr_assert_eq(row[0], 0x3f80);
    cr_assert_eq(row[1], 0x3f82);
    cr_assert_eq(row[2], 0xbf80);
    cr_assert_eq(row[3], 0x3dcd);
}

static void *read_file(const char *name, size_t *ret_bytes)
{
    char path[4096];

    (void)snprintf(path, sizeof(path), "%s/%s", QUANT_VECTORS, name);
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        return NULL;
    char *data = malloc(1 << 20);
    *ret_bytes = fread(data, 1, 1 << 20, file);
    (void)fclose(file);
    return data;
}

/* The vectors' floats lie on the grid of their type: they must come back nearly as they are. */
Test(tensor_quantize, vectors_of_another_implementation)
{
    bool any = false;

    for (size_t i = 0; i < CASES; i++) {
        char name[64];
        size_t bytes = 0;
        (void)snprintf(name, sizeof(name), "%s.f32", cases[i].name);
        float *x = read_file(name, &bytes);
        if (x == NULL)
            continue;
        any = true;
        size_t count = bytes / sizeof(float);
        uint8_t *row = malloc(tensor_row_bytes(cases[i].type, count));
        float *y = malloc(bytes);
        double error = 0, square = 0;
        bool finite = true;
        for (size_t j = 0; j < count; j++)
            finite = finite && isfinite(x[j]);
        if (finite && tensor_quantize_row(cases[i].type, x, count, row)) {
            tensor_dequantize_row(cases[i].type, row, count, y);
            for (size_t j = 0; j < count; j++) {
                error += ((double)y[j] - (double)x[j]) * ((double)y[j] - (double)x[j]);
                square += (double)x[j] * (double)x[j];
            }
            (void)printf("%s %g\n", cases[i].name, sqrt(error / square));
            /* Scales there are random; with two bits, a search for others goes far astray. */
            cr_expect_lt(sqrt(error / square), cases[i].type == TENSOR_Q2_K ? 0.07 : 0.02, "%s: %g",
                cases[i].name, sqrt(error / square));
        }
        free(x);
        free(y);
        free(row);
    }
    if (!any)
        cr_skip_test("no quant-vectors here");
}
