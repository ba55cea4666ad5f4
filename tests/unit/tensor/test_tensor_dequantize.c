#include "tensor_type.h"
#include <criterion/criterion.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

Test(tensor_dequantize, small_blocks_by_hand)
{
    uint8_t q8_0[34] = {0x00, 0x38, 0x80, 0x7f, 0x01, 0xff}; /* scale 0.5; -128 127 1 -1 0... */
    uint8_t q4_0[18] = {0x00, 0xc0, 0x80, 0xf1};             /* scale -2; nibbles 0|8, 1|15 */
    float y[32];

    tensor_dequantize_row(TENSOR_Q8_0, q8_0, 32, y);
    cr_assert(y[0] == -64 && y[1] == 63.5f && y[2] == 0.5f && y[3] == -0.5f && y[31] == 0);
    memset(q4_0 + 4, 0x88, 14);
    tensor_dequantize_row(TENSOR_Q4_0, q4_0, 32, y);
    cr_assert(y[0] == 16 && y[16] == 0 && y[1] == 14 && y[17] == -14);
    cr_assert(y[2] == 0 && y[31] == 0);
}

Test(tensor_dequantize, rows_need_no_alignment)
{
    uint8_t bytes[9] = {0xff, 0x00, 0x00, 0x80, 0x3f, 0x00, 0x00, 0x00, 0xc0};
    float y[2];

    tensor_dequantize_row(TENSOR_F32, bytes + 1, 2, y);
    cr_assert(y[0] == 1 && y[1] == -2);
    tensor_dequantize_row(TENSOR_BF16, bytes + 3, 1, y);
    cr_assert_eq(y[0], 1);
}

static void *read_file(const char *name, size_t *ret_bytes)
{
    char path[4096];
    char *data = malloc(1 << 20);

    (void)snprintf(path, sizeof(path), "%s/%s", QUANT_VECTORS, name);
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        free(data);
        return NULL;
    }
    *ret_bytes = fread(data, 1, 1 << 20, file);
    (void)fclose(file);
    return data;
}

static void compare_vectors(const char *name, uint32_t type)
{
    char blocks_name[64], floats_name[64];
    size_t block_bytes = 0, float_bytes = 0;

    (void)snprintf(blocks_name, sizeof(blocks_name), "%s.blocks", name);
    (void)snprintf(floats_name, sizeof(floats_name), "%s.f32", name);
    uint8_t *blocks = read_file(blocks_name, &block_bytes);
    if (blocks == NULL)
        cr_skip_test("no quant-vectors here");
    float *expected = read_file(floats_name, &float_bytes);
    cr_assert_not_null(expected);
    size_t count = float_bytes / sizeof(float);
    cr_assert(count != 0 && tensor_row_bytes(type, count) == block_bytes);
    float *y = malloc(float_bytes);
    tensor_dequantize_row(type, blocks, count, y);
    for (size_t i = 0; i < count; i++)
        cr_assert_eq(memcmp(&y[i], &expected[i], sizeof(float)), 0, "%s element %zu: %a, not %a",
            name, i, (double)y[i], (double)expected[i]);
    free(blocks);
    free(expected);
    free(y);
}

#define VECTORS(name)                                                                              \
    Test(tensor_dequantize, vectors_of_##name)                                                     \
    {                                                                                              \
        compare_vectors(#name, TENSOR_##name);                                                     \
    }
VECTORS(F16)
VECTORS(BF16)
VECTORS(Q8_0)
VECTORS(Q4_0)
VECTORS(Q4_1)
VECTORS(Q5_0)
VECTORS(Q5_1)
VECTORS(Q2_K)
VECTORS(Q3_K)
VECTORS(Q4_K)
VECTORS(Q5_K)
VECTORS(Q6_K)
VECTORS(IQ4_NL)
VECTORS(IQ4_XS)
VECTORS(MXFP4)
