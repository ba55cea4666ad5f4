#include "base_alloc.h"
#include "base_err.h"
#include "tensor_kernels.h"
#include "tensor_matrix.h"
#include "tensor_pool.h"
#include "tensor_sample.h"
#include <criterion/criterion.h>

#define TOKENS_MAX 37

/* One matrix with its rows as in a file and what they stand for, and activations. */
struct sample {
    uint32_t type;
    size_t rows, columns;
    uint8_t *file;
    double *w;
    float *x, *y;
    struct tensor_matrix *matrix;
    struct tensor_input *input;
};

static void sample_init(
    struct sample *self, uint32_t type, size_t rows, size_t columns, bool fast_float)
{
    uint64_t state = 88172645463325252u + rows * 1000 + columns;
    size_t row_bytes = tensor_row_bytes(type, columns);
    float *row = malloc(columns * sizeof(*row));

    *self = (struct sample){.type = type, .rows = rows, .columns = columns};
    self->file = malloc(rows * row_bytes);
    self->w = malloc(rows * columns * sizeof(*self->w));
    self->x = malloc(TOKENS_MAX * columns * sizeof(*self->x));
    self->y = malloc(TOKENS_MAX * rows * sizeof(*self->y));
    cr_assert_eq(tensor_matrix_new(type, rows, columns, fast_float, &self->matrix), BASE_OK);
    cr_assert_eq(tensor_input_new(TOKENS_MAX, columns, &self->input), BASE_OK);
    for (size_t r = 0; r < rows; r++) {
        sample_row(&state, type, columns, self->file + r * row_bytes);
        tensor_dequantize_row(type, self->file + r * row_bytes, columns, row);
        for (size_t i = 0; i < columns; i++)
            self->w[r * columns + i] = row[i];
    }
    for (size_t i = 0; i < TOKENS_MAX * columns; i++)
        self->x[i] = sample_float(&state) * 3;
    for (size_t r = 0; r < rows; r += 32) /* in pieces of two groups */
        tensor_matrix_pack(
            self->matrix, r, rows - r < 32 ? rows - r : 32, self->file + r * row_bytes);
    free(row);
}

static void sample_release(struct sample *self)
{
    tensor_matrix_destroy(&self->matrix);
    tensor_input_destroy(&self->input);
    cr_assert(self->matrix == NULL && self->input == NULL);
    free(self->file);
    free(self->w);
    free(self->x);
    free(self->y);
}

static void multiply(struct sample *self, size_t tokens, struct tensor_pool *pool)
{
    memset(self->y, 0x5a, TOKENS_MAX * self->rows * sizeof(float));
    tensor_input_prepare(self->input, self->x, tokens, self->columns, self->type, pool);
    tensor_matmul(pool, self->matrix, self->input, self->y, self->rows);
}

static const size_t row_counts[] = {1, 15, 16, 17, 64, 100};

static size_t columns_of(uint32_t type, size_t i)
{
    static const size_t blocks[] = {32, 64, 96, 256};
    static const size_t any[] = {1, 7, 33, 256};
    static const size_t super[] = {256, 512, 768, 256};
    size_t block = tensor_block_columns(type);
    return block == 1 ? any[i] : block == 32 ? blocks[i] : super[i];
}

/* The error that quantising x to 8 bits (half a step of amax / 127 per value) or rounding it to
 * bfloat16 may make, plus float rounding of the sums. */
static double tolerance(const struct sample *self, size_t token, size_t row)
{
    double magnitude = 0, amax = 0;

    for (size_t i = 0; i < self->columns; i++) {
        magnitude += fabs(self->w[row * self->columns + i]);
        amax = fmax(amax, fabs(self->x[token * self->columns + i]));
    }
    double rounding = 0;
    if (tensor_form_of(self->type) == TENSOR_FORM_BF16)
        rounding = 0x1p-8;
    else if (tensor_form_of(self->type) != TENSOR_FORM_FLOAT)
        rounding = 0.5 / 127;
    return magnitude * amax * (rounding + (double)self->columns * 0x1p-24);
}

static void check_against_double(const struct sample *self, size_t tokens)
{
    for (size_t t = 0; t < tokens; t++) {
        for (size_t r = 0; r < self->rows; r++) {
            double sum = 0;
            for (size_t i = 0; i < self->columns; i++)
                sum += self->w[r * self->columns + i] * self->x[t * self->columns + i];
            double error = fabs(sum - self->y[t * self->rows + r]);
            cr_assert(error <= tolerance(self, t, r) + 1e-30,
                "type %u rows %zu columns %zu token %zu row %zu: off by %g", self->type, self->rows,
                self->columns, t, r, error);
        }
    }
}

Test(tensor_matrix, products_are_right)
{
    for (size_t type = 0; type < SAMPLE_TYPE_COUNT; type++) {
        for (size_t i = 0; i < 6; i++) {
            for (size_t j = 0; j < 4; j++) {
                struct sample sample;
                sample_init(&sample, sample_types[type], row_counts[i],
                    columns_of(sample_types[type], j), false);
                multiply(&sample, 5, NULL);
                check_against_double(&sample, 5);
                sample_release(&sample);
            }
        }
    }
}

/* The contract: the bits of one token do not depend on the others, the threads or the ISA. */
static void check_same_bits(struct sample *sample, struct tensor_pool **pools)
{
    float *expected = malloc(TOKENS_MAX * sample->rows * sizeof(*expected));
    size_t bytes = sample->rows * sizeof(float);

    cr_assert(tensor_kernels_use("scalar"));
    for (size_t t = 0; t < TOKENS_MAX; t++) { /* each token alone, one thread */
        tensor_input_prepare(
            sample->input, sample->x + t * sample->columns, 1, sample->columns, sample->type, NULL);
        tensor_matmul(
            NULL, sample->matrix, sample->input, expected + t * sample->rows, sample->rows);
    }
    for (size_t isa = 0; isa < SAMPLE_ISA_COUNT; isa++) {
        if (!tensor_kernels_use(sample_isas[isa]))
            continue;
        for (size_t tokens = 1; tokens <= TOKENS_MAX; tokens += tokens == 13   ? 11
                                                                : tokens == 24 ? 13
                                                                               : 1) {
            struct tensor_pool *pool = pools[tokens % 4];
            multiply(sample, tokens, pool);
            cr_assert(memcmp(sample->y, expected, tokens * bytes) == 0,
                "%s type %u rows %zu columns %zu tokens %zu threads %u", sample_isas[isa],
                sample->type, sample->rows, sample->columns, tokens, tensor_pool_threads(pool));
        }
    }
    free(expected);
}

Test(tensor_matrix, bits_do_not_depend_on_batch_threads_or_instruction_set)
{
    struct tensor_pool *pools[4];

    for (uint32_t i = 0; i < 4; i++)
        cr_assert_eq(tensor_pool_new(i + 1, &pools[i]), BASE_OK);
    for (size_t type = 0; type < SAMPLE_TYPE_COUNT; type++) {
        for (size_t i = 0; i < 6; i++) {
            for (size_t j = 0; j < 4; j++) {
                struct sample sample;
                sample_init(&sample, sample_types[type], row_counts[i],
                    columns_of(sample_types[type], j), false);
                check_same_bits(&sample, pools);
                sample_release(&sample);
            }
        }
    }
    for (uint32_t i = 0; i < 4; i++)
        tensor_pool_destroy(&pools[i]);
}

/* As many bits as a product of the same values as F32 has. */
Test(tensor_matrix, exact_bf16_is_f32)
{
    struct sample sample, wide;
    struct tensor_pool *pool;

    cr_assert_eq(tensor_pool_new(2, &pool), BASE_OK);
    tensor_bf16_use_exact(true);
    for (size_t columns = 33; columns <= 64; columns += 31) {
        sample_init(&sample, TENSOR_BF16, 70, columns, false);
        sample_init(&wide, TENSOR_F32, 70, columns, false);
        for (size_t i = 0; i < 70 * columns; i++) {
            float value = (float)sample.w[i];
            memcpy(wide.file + 4 * i, &value, 4);
        }
        tensor_matrix_pack(wide.matrix, 0, 70, wide.file);
        memcpy(wide.x, sample.x, TOKENS_MAX * columns * sizeof(float));
        for (size_t isa = 0; isa < SAMPLE_ISA_COUNT; isa++) {
            if (!tensor_kernels_use(sample_isas[isa]))
                continue;
            for (size_t tokens = 1; tokens <= 19; tokens += 6) {
                multiply(&sample, tokens, pool);
                multiply(&wide, tokens, pool);
                cr_assert_eq(memcmp(sample.y, wide.y, tokens * 70 * sizeof(float)), 0);
            }
        }
        sample_release(&sample);
        sample_release(&wide);
    }
    tensor_bf16_use_exact(false);
    tensor_pool_destroy(&pool);
}

Test(tensor_matrix, panels_larger_than_the_cache_and_wide_output_rows)
{
    struct sample sample;
    struct tensor_pool *pool;
    const size_t stride = 150;
    float *y = malloc(20 * stride * sizeof(*y));

    sample_init(&sample, TENSOR_F32, 144, 4096, false); /* 256 KiB per group: two in a panel */
    cr_assert_eq(tensor_pool_new(2, &pool), BASE_OK);
    for (size_t i = 0; i < 20 * stride; i++)
        y[i] = -7;
    tensor_input_prepare(sample.input, sample.x, 20, 4096, TENSOR_F32, pool);
    tensor_matmul(pool, sample.matrix, sample.input, y, stride);
    for (size_t t = 0; t < 20; t++) {
        memcpy(sample.y + t * 144, y + t * stride, 144 * sizeof(float));
        for (size_t i = 144; i < stride; i++)
            cr_assert_eq(y[t * stride + i], -7);
    }
    check_against_double(&sample, 20);
    tensor_pool_destroy(&pool);
    sample_release(&sample);
    free(y);
}

/* Token 0 stays as it was, whatever stands in the others. */
Test(tensor_matrix, strange_values_stay_in_their_token)
{
    const float strange[] = {NAN, INFINITY, -INFINITY, 1e-44f, 3e38f, 0.0f};

    for (size_t type = 0; type < SAMPLE_TYPE_COUNT; type++) {
        struct sample sample;
        float alone[17], scalar[7 * 17];

        size_t columns = tensor_block_columns(sample_types[type]) == 256 ? 256 : 64;
        sample_init(&sample, sample_types[type], 17, columns, false);
        multiply(&sample, 1, NULL);
        memcpy(alone, sample.y, sizeof(alone));
        for (size_t t = 1; t <= 6; t++) {
            for (size_t i = t % 2 ? 5 : 0; i < columns; i += t % 2 ? columns : 1)
                sample.x[t * columns + i] = strange[t - 1];
        }
        cr_assert(tensor_kernels_use("scalar"));
        multiply(&sample, 7, NULL);
        memcpy(scalar, sample.y, sizeof(scalar));
        cr_assert(sample_same_bits(sample.y, alone, 17));
        cr_assert(isnan(sample.y[17]) && isnan(sample.y[2 * 17 - 1]));
        for (size_t r = 0; r < 17; r++) {
            cr_assert_not(isfinite(sample.y[2 * 17 + r]));
            cr_assert(isfinite(sample.y[4 * 17 + r]));
            cr_assert_eq(sample.y[6 * 17 + r], 0);
        }
        for (size_t isa = 1; isa < SAMPLE_ISA_COUNT; isa++) {
            if (tensor_kernels_use(sample_isas[isa])) {
                multiply(&sample, 7, NULL);
                cr_assert(sample_same_bits(sample.y, scalar, 7 * 17));
            }
        }
        sample_release(&sample);
    }
}

/* The largest counts: w = -128 and 127, nibbles 0 and 15, activations at +-127. */
Test(tensor_matrix, extreme_weights_do_not_saturate)
{
    uint8_t row[34 + 18];
    float x[32], y;
    struct tensor_matrix *matrix;
    struct tensor_input *input;

    cr_assert_eq(tensor_input_new(1, 32, &input), BASE_OK);
    for (int weight = 0; weight < 4; weight++) {
        uint32_t type = weight < 2 ? TENSOR_Q8_0 : TENSOR_Q4_0;
        static const uint8_t fills[] = {0x80, 0x7f, 0x00, 0xff};
        static const float values[] = {-128, 127, -8, 7};
        memset(row, fills[weight], sizeof(row));
        row[0] = 0x00; /* 1.0 as a half */
        row[1] = 0x3c;
        cr_assert_eq(tensor_matrix_new(type, 1, 32, false, &matrix), BASE_OK);
        tensor_matrix_pack(matrix, 0, 1, row);
        for (int sign = -1; sign <= 1; sign += 2) {
            for (size_t i = 0; i < 32; i++)
                x[i] = (float)sign * 127;
            for (size_t isa = 0; isa < SAMPLE_ISA_COUNT; isa++) {
                if (!tensor_kernels_use(sample_isas[isa]))
                    continue;
                tensor_input_prepare(input, x, 1, 32, type, NULL);
                tensor_matmul(NULL, matrix, input, &y, 1);
                cr_assert_eq(
                    y, 32 * 127 * (float)sign * values[weight], "%s %d", sample_isas[isa], weight);
            }
        }
        tensor_matrix_destroy(&matrix);
    }
    tensor_input_destroy(&input);
}

/* All bits of the codes and integer scales set, or none, activations at +-127: whatever adds up in
 * fewer than 32 bits anywhere would show. */
Test(tensor_matrix, extreme_blocks_agree)
{
    static const uint8_t fills[] = {0x00, 0xff, 0x80, 0x7f};

    for (size_t i = 0; i < SAMPLE_TYPE_COUNT * 4 * 3; i++) {
        uint32_t type = sample_types[i / 12];
        struct sample sample;
        float expected[TOKENS_MAX * 20];
        if (tensor_block_columns(type) == 1)
            continue;
        sample_init(&sample, type, 20, 512, false);
        size_t bytes = tensor_row_bytes(type, 512), offset, count;
        size_t block = tensor_row_bytes(type, tensor_block_columns(type));
        sample_scales(type, &offset, &count);
        for (size_t b = 0; b < 20 * bytes; b++) {
            size_t at = b % block;
            if (count == 0 ? at != 0 : at < offset || at >= offset + 2 * count)
                sample.file[b] = fills[i % 4];
        }
        tensor_matrix_pack(sample.matrix, 0, 20, sample.file);
        for (size_t x = 0; x < TOKENS_MAX * 512; x++)
            sample.x[x] = i / 4 % 3 == 0 ? 127 : i / 4 % 3 == 1 ? -127 : x % 2 == 0 ? 127 : -127;
        cr_assert(tensor_kernels_use("scalar"));
        multiply(&sample, 13, NULL);
        memcpy(expected, sample.y, sizeof(expected));
        for (size_t isa = 1; isa < SAMPLE_ISA_COUNT; isa++) {
            if (!tensor_kernels_use(sample_isas[isa]))
                continue;
            multiply(&sample, 13, NULL);
            cr_assert_eq(memcmp(sample.y, expected, 13 * 20 * sizeof(float)), 0, "%s type %u %zu",
                sample_isas[isa], type, i % 12);
        }
        sample_release(&sample);
    }
}

Test(tensor_matrix, rows_come_back_as_they_were)
{
    for (size_t type = 0; type < SAMPLE_TYPE_COUNT; type++) {
        struct sample sample;
        size_t columns = columns_of(sample_types[type], 2);
        float row[768];

        sample_init(&sample, sample_types[type], 33, columns, false);
        cr_assert_eq(tensor_matrix_rows(sample.matrix), 33);
        cr_assert_eq(tensor_matrix_columns(sample.matrix), columns);
        cr_assert_eq(tensor_matrix_type(sample.matrix), sample_types[type]);
        for (size_t r = 0; r < 33; r++) {
            tensor_matrix_row(sample.matrix, r, row);
            for (size_t i = 0; i < columns; i++)
                cr_assert_eq(row[i], (float)sample.w[r * columns + i]);
        }
        sample_release(&sample);
    }
}

/* Forms of all types at once. */
static uint32_t all_forms(void)
{
    uint32_t forms = 0;

    for (size_t i = 0; i < SAMPLE_TYPE_COUNT; i++)
        forms |= tensor_form_of(sample_types[i]);
    return forms;
}

/* One preparation serves matrices of all types. */
Test(tensor_matrix, forms_do_not_disturb_each_other)
{
    for (size_t type = 0; type < SAMPLE_TYPE_COUNT; type++) {
        struct sample sample;
        float expected[3 * 40];

        sample_init(&sample, sample_types[type], 40, 256, false);
        multiply(&sample, 3, NULL);
        memcpy(expected, sample.y, sizeof(expected));
        tensor_input_prepare_forms(sample.input, sample.x, 3, 256, all_forms(), NULL);
        tensor_matmul(NULL, sample.matrix, sample.input, sample.y, 40);
        cr_assert_eq(memcmp(sample.y, expected, sizeof(expected)), 0);
        sample_release(&sample);
    }
}

Test(tensor_matrix, pieces_give_the_bits_of_the_whole)
{
    for (size_t type = 0; type < SAMPLE_TYPE_COUNT; type++) {
        struct sample sample;
        float expected[5 * 40];

        sample_init(&sample, sample_types[type], 40, 768, false);
        multiply(&sample, 5, NULL);
        memcpy(expected, sample.y, sizeof(expected));
        memset(sample.y, 0x5a, sizeof(expected));
        const struct tensor_activations x = {sample.input, sample.x, 5, 768, all_forms(), 0};
        tensor_input_prepare_forms(sample.input, sample.x + 768, 2, 256, x.forms, NULL);
        for (size_t token = 5; token-- > 0;) {
            tensor_activations_prepare(&x, token, 256, 512);
            tensor_activations_prepare(&x, token, 0, 256);
        }
        tensor_matmul_rows(sample.matrix, &x, 16, 40, sample.y, 40);
        tensor_matmul_rows(sample.matrix, &x, 0, 16, sample.y, 40);
        cr_assert_eq(memcmp(sample.y, expected, sizeof(expected)), 0, "type %u", sample.type);
        sample_release(&sample);
    }
}

Test(tensor_matrix, copies_of_a_token_do_not_touch_each_other)
{
    for (size_t type = 0; type < SAMPLE_TYPE_COUNT; type++) {
        struct sample sample;
        float expected[TOKENS_MAX * 40];

        sample_init(&sample, sample_types[type], 40, 768, false);
        multiply(&sample, TOKENS_MAX, NULL);
        memcpy(expected, sample.y, sizeof(expected));
        uint32_t copies = tensor_input_copies(sample.input);
        cr_assert(copies > 16 && copies <= TOKENS_MAX);
        struct tensor_activations x = {sample.input, NULL, 1, 768, all_forms(), 0};
        for (x.copy = 0; x.copy < copies; x.copy++) { /* each of another token */
            x.x = sample.x + (size_t)x.copy * 768;
            tensor_activations_prepare(&x, 0, 0, 768);
        }
        for (x.copy = 0; x.copy < copies; x.copy++) {
            tensor_matmul_rows(sample.matrix, &x, 0, 40, sample.y, 40);
            cr_assert_eq(memcmp(sample.y, expected + (size_t)x.copy * 40, 40 * sizeof(float)), 0,
                "type %u copy %u", sample.type, x.copy);
        }
        sample_release(&sample);
    }
}

Test(tensor_matrix, fast_float_is_near_and_one_token_keeps_its_bits)
{
    for (size_t type = 0; type < SAMPLE_TYPE_COUNT; type++) {
        struct sample sample, exact;
        struct tensor_pool *pool;

        cr_assert_eq(tensor_pool_new(3, &pool), BASE_OK);
        sample_init(&sample, sample_types[type], 100, 256, true);
        sample_init(&exact, sample_types[type], 100, 256, false);
        multiply(&sample, 37, pool);
        check_against_double(&sample, 37);
        multiply(&sample, 1, pool);
        multiply(&exact, 1, pool);
        cr_assert_eq(memcmp(sample.y, exact.y, 100 * sizeof(float)), 0);
        sample_release(&sample);
        sample_release(&exact);
        tensor_pool_destroy(&pool);
    }
}

/* Memory of the caller, packed by one matrix and read by another. */
Test(tensor_matrix, packed_weights_can_be_kept_and_mapped)
{
    for (size_t type = 0; type < SAMPLE_TYPE_COUNT; type++) {
        struct sample sample;
        struct tensor_matrix *packed = NULL, *mapped = NULL;
        size_t columns = columns_of(sample_types[type], 0), bytes, mapped_bytes;
        float expected[5 * 100];

        sample_init(&sample, sample_types[type], 100, columns, false);
        multiply(&sample, 5, NULL);
        memcpy(expected, sample.y, sizeof(expected));
        const void *own = tensor_matrix_packed(sample.matrix, &bytes);
        cr_assert_eq(bytes, tensor_matrix_bytes(sample_types[type], 100, columns));
        void *memory = base_alloc_aligned(bytes, 64);
        memset(memory, 0x5a, bytes);
        cr_assert_eq(
            tensor_matrix_new_in(sample_types[type], 100, columns, memory, &packed), BASE_OK);
        tensor_matrix_pack(packed, 0, 100, sample.file);
        cr_assert_eq(memcmp(own, memory, bytes), 0, "type %u", sample_types[type]);
        cr_assert_eq(
            tensor_matrix_new_in(sample_types[type], 100, columns, memory, &mapped), BASE_OK);
        cr_assert_eq(tensor_matrix_packed(mapped, &mapped_bytes), memory);
        tensor_matrix_destroy(&sample.matrix);
        sample.matrix = mapped;
        multiply(&sample, 5, NULL);
        cr_assert_eq(memcmp(expected, sample.y, sizeof(expected)), 0);
        tensor_matrix_destroy(&packed);
        sample_release(&sample);
        base_free(memory);
        cr_assert_neq(tensor_layout_id(sample_types[type]), 0);
    }
    cr_assert_eq(tensor_layout_id(16), 0);
}

Test(tensor_matrix, no_tokens_write_nothing)
{
    struct sample sample;

    sample_init(&sample, TENSOR_Q8_0, 16, 32, false);
    multiply(&sample, 0, NULL);
    for (size_t i = 0; i < 16 * sizeof(float); i++)
        cr_assert_eq(((uint8_t *)sample.y)[i], 0x5a);
    sample_release(&sample);
}

Test(tensor_matrix, sizes_are_checked)
{
    struct tensor_matrix *matrix = NULL;
    struct tensor_input *input = NULL;

    cr_assert_eq(tensor_matrix_new(2000, 1, 32, false, &matrix), BASE_UNSUPPORTED);
    cr_assert_eq(tensor_matrix_new(TENSOR_Q8_0, 1, 33, false, &matrix), BASE_INVALID);
    cr_assert_eq(tensor_matrix_new(TENSOR_Q8_0, 0, 32, false, &matrix), BASE_INVALID);
    cr_assert_eq(tensor_matrix_new(TENSOR_F32, 1, 0, false, &matrix), BASE_INVALID);
    cr_assert_eq(tensor_matrix_new(TENSOR_F32, SIZE_MAX, 4, false, &matrix), BASE_INVALID);
    cr_assert_eq(tensor_matrix_new(TENSOR_F32, 4, SIZE_MAX, false, &matrix), BASE_INVALID);
    cr_assert_eq(tensor_input_new(0, 32, &input), BASE_INVALID);
    cr_assert_eq(tensor_input_new(4, 0, &input), BASE_INVALID);
    cr_assert_neq(tensor_input_new(SIZE_MAX / 9, SIZE_MAX / 9, &input), BASE_OK);
    cr_assert(matrix == NULL && input == NULL);
    cr_assert_eq(tensor_matrix_bytes(TENSOR_Q8_0, 17, 64), 2 * 2 * 544);
    cr_assert_eq(tensor_matrix_bytes(TENSOR_Q4_0, 16, 64), 2 * 288);
    cr_assert_eq(tensor_matrix_bytes(TENSOR_F16, 1, 7), 16 * 7 * 2);
    cr_assert_eq(tensor_matrix_bytes(TENSOR_BF16, 1, 7), 16 * 8 * 2);
    cr_assert_eq(tensor_matrix_bytes(TENSOR_Q4_0, 16, 65), 0);
    cr_assert_eq(tensor_matrix_bytes(TENSOR_F32, SIZE_MAX, SIZE_MAX / 8), 0);
}

Test(tensor_matrix, every_failed_allocation_is_reported_and_nothing_leaks)
{
    for (int which = 0; which < 2; which++) {
        int rc = BASE_NOMEM;
        for (unsigned long n = 1; rc != BASE_OK; n++) {
            struct tensor_matrix *matrix = NULL;
            struct tensor_input *input = NULL;
            cr_assert(n < 30);
            base_alloc_fail_from(n);
            rc = which == 0 ? tensor_matrix_new(TENSOR_F16, 20, 20, true, &matrix)
                            : tensor_input_new(3, 64, &input);
            base_alloc_fail_from(0);
            cr_assert(rc == BASE_OK || rc == BASE_NOMEM);
            tensor_matrix_destroy(&matrix);
            tensor_input_destroy(&input);
        }
    }
}
