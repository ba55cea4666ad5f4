/* Activations against the C library's functions in double precision. */
#include "tensor_activation.h"

#include "tensor_kernels.h"
#include "tensor_sample.h"
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define COUNT 4099 /* no multiple of anything */

typedef void gated_fn(const float *gate, const float *up, size_t count, float *y);

static float gate[COUNT], up[COUNT], y[COUNT], again[COUNT];

/* -12 to 12 in even steps, and some numbers beyond. */
static void fill(void)
{
    const float special[] = {0, -0.0f, 1e-30f, -1e-30f, 1e10f, -1e10f, 90, -90, 7, -7};

    for (size_t i = 0; i < COUNT; i++) {
        gate[i] = (float)((double)i / COUNT * 24 - 12);
        up[i] = (float)(((double)((i * 7919) % COUNT) / COUNT - 0.5) * 20);
    }
    memcpy(gate + 100, special, sizeof(special));
}

static double gelu_tanh(double z)
{
    return z / 2 * (1 + tanh(sqrt(2 / 3.14159265358979323846) * (z + 0.044715 * z * z * z)));
}

static void expect_near(size_t i, double exact, double relative, double absolute)
{
    cr_assert_leq(fabs((double)y[i] - exact), fabs(exact) * relative + absolute,
        "at %g, %g: %g, not %g", (double)gate[i], (double)up[i], (double)y[i], exact);
}

Test(tensor_activation, gelu_mul)
{
    fill();
    tensor_gelu_mul(gate, up, COUNT, y);
    for (size_t i = 0; i < COUNT; i++) {
        double exact = gelu_tanh((double)gate[i]) * (double)up[i];
        expect_near(i, exact, gate[i] > -5 ? 2e-6 : 0, 1e-8);
    }
}

Test(tensor_activation, gelu_erf)
{
    fill();
    tensor_gelu_erf(gate, COUNT, y);
    for (size_t i = 0; i < COUNT; i++) {
        double z = (double)gate[i];
        expect_near(i, z / 2 * erfc(-z / sqrt(2)), 0, 2e-7 * fmax(fabs(z), 1));
    }
}

Test(tensor_activation, swiglu_clamped)
{
    fill();
    tensor_swiglu_clamped(gate, up, COUNT, y);
    for (size_t i = 0; i < COUNT; i++) {
        double g = fmin((double)gate[i], 7), u = fmin(fmax((double)up[i], -7), 7);
        expect_near(i, g / (1 + exp(-1.702 * g)) * (u + 1), 2e-6, 1e-30);
    }
}

static void gelu_erf(const float *x, const float *unused, size_t count, float *to)
{
    (void)unused;
    tensor_gelu_erf(x, count, to);
}

Test(tensor_activation, the_same_bits_in_place_in_parts_and_on_all_instruction_sets)
{
    gated_fn *const functions[] = {tensor_gelu_mul, gelu_erf, tensor_swiglu_clamped};

    for (size_t f = 0; f < 3; f++) {
        fill();
        tensor_kernels_use("scalar");
        functions[f](gate, up, COUNT, y);
        for (size_t k = 0; k < SAMPLE_ISA_COUNT; k++) {
            if (!tensor_kernels_use(sample_isas[k]))
                continue;
            memcpy(again, gate, sizeof(gate));
            for (size_t i = 0; i < COUNT; i += 37)
                functions[f](again + i, up + i, COUNT - i < 37 ? COUNT - i : 37, again + i);
            cr_assert_eq(memcmp(y, again, sizeof(y)), 0, "%zu on %s", f, sample_isas[k]);
        }
        tensor_kernels_use(NULL);
    }
}
