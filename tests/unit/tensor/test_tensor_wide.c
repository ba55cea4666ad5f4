/* Products larger than what any kernel takes at once: many tokens, columns and row groups. */
#include "base_err.h"
#include "tensor_kernels.h"
#include "tensor_matrix.h"
#include "tensor_sample.h"
#include "tensor_type.h"
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define ROWS    70u /* five groups, the last one cut */
#define COLUMNS 2304u
#define TOKENS  531u /* 512, a full tile, and three */

static struct tensor_matrix *make_matrix(uint32_t type)
{
    struct tensor_matrix *matrix = NULL;
    uint64_t state = 88172645463325252u + type;
    size_t bytes = tensor_row_bytes(type, COLUMNS);
    uint8_t *rows = malloc(ROWS * bytes);

    cr_assert_eq(tensor_matrix_new(type, ROWS, COLUMNS, false, &matrix), BASE_OK);
    for (size_t r = 0; r < ROWS; r++)
        sample_row(&state, type, COLUMNS, rows + r * bytes);
    tensor_matrix_pack(matrix, 0, ROWS, rows);
    free(rows);
    return matrix;
}

static void multiply(
    const struct tensor_matrix *matrix, struct tensor_input *input, const float *x, float *y)
{
    memset(y, 0x5a, TOKENS * ROWS * sizeof(*y));
    tensor_input_prepare(input, x, TOKENS, COLUMNS, tensor_matrix_type(matrix), NULL);
    tensor_matmul(NULL, matrix, input, y, ROWS);
}

Test(tensor_wide, instruction_sets_agree_on_large_products)
{
    float *x = malloc(TOKENS * COLUMNS * sizeof(*x)),
          *expected = malloc(TOKENS * ROWS * sizeof(*x)), *y = malloc(TOKENS * ROWS * sizeof(*y));
    struct tensor_input *input = NULL;
    uint64_t state = 42;

    for (size_t i = 0; i < TOKENS * COLUMNS; i++)
        x[i] = sample_float(&state) * 3;
    cr_assert_eq(tensor_input_new(TOKENS, COLUMNS, &input), BASE_OK);
    for (size_t type = 0; type < SAMPLE_TYPE_COUNT; type++) {
        struct tensor_matrix *matrix = make_matrix(sample_types[type]);
        const char *first = NULL; /* the scalar one would take long */
        for (size_t isa = 1; isa < SAMPLE_ISA_COUNT; isa++) {
            if (!tensor_kernels_use(sample_isas[isa]))
                continue;
            multiply(matrix, input, x, first == NULL ? expected : y);
            if (first != NULL)
                cr_assert_eq(memcmp(y, expected, TOKENS * ROWS * sizeof(*y)), 0, "type %u: %s, %s",
                    sample_types[type], first, sample_isas[isa]);
            else
                first = sample_isas[isa];
        }
        tensor_matrix_destroy(&matrix);
    }
    cr_assert(tensor_kernels_use(NULL));
    tensor_input_destroy(&input);
    free(x);
    free(expected);
    free(y);
}
