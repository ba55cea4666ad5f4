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

/* Elements of one block per type whose byte i is 7 i^2 + 37 i + 11 * bytes, its f16 factors 0.0123 and
 * -0.0457, MXFP4's exponent 121; computed by another program out of the format's description, which
 * also gives the quant-vectors bit for bit. */
static const struct {
    uint32_t type, index;
    float value;
} elements[] = {
    {TENSOR_Q4_0, 0, 0x1.93p-5f},
    {TENSOR_Q4_0, 1, -0x1.93p-5f},
    {TENSOR_Q4_0, 15, -0x1.2e4p-4f},
    {TENSOR_Q4_0, 16, -0x1.2e4p-4f},
    {TENSOR_Q4_0, 17, -0x1.93p-7f},
    {TENSOR_Q4_0, 31, -0x1.2e4p-4f},
    {TENSOR_Q4_1, 0, -0x1.764p-5f},
    {TENSOR_Q4_1, 1, 0x1.ccp-9f},
    {TENSOR_Q4_1, 15, 0x1.3cap-4f},
    {TENSOR_Q4_1, 16, 0x1.031p-3f},
    {TENSOR_Q4_1, 17, 0x1.ccp-9f},
    {TENSOR_Q4_1, 31, 0x1.4bp-5f},
    {TENSOR_Q5_0, 0, -0x1.93p-5f},
    {TENSOR_Q5_0, 1, -0x1.93p-5f},
    {TENSOR_Q5_0, 15, 0x1.f7cp-4f},
    {TENSOR_Q5_0, 16, -0x1.93p-5f},
    {TENSOR_Q5_0, 17, 0x1.93p-5f},
    {TENSOR_Q5_0, 31, -0x1.93p-3f},
    {TENSOR_Q5_1, 0, -0x1.764p-5f},
    {TENSOR_Q5_1, 1, 0x1.a16p-4f},
    {TENSOR_Q5_1, 15, -0x1.598p-6f},
    {TENSOR_Q5_1, 16, 0x1.1c4p-3f},
    {TENSOR_Q5_1, 17, 0x1.fefp-3f},
    {TENSOR_Q5_1, 31, 0x1.d3cp-4f},
    {TENSOR_Q8_0, 0, -0x1.c56p-2f},
    {TENSOR_Q8_0, 1, 0x1.c56p-2f},
    {TENSOR_Q8_0, 15, -0x1.21a8p-1f},
    {TENSOR_Q8_0, 16, -0x1.f7cp-3f},
    {TENSOR_Q8_0, 17, 0x1.f7cp-3f},
    {TENSOR_Q8_0, 31, 0x1.93p-6f},
    {TENSOR_Q2_K, 0, 0x1.a508p-2f},
    {TENSOR_Q2_K, 17, 0x1.18bp-1f},
    {TENSOR_Q2_K, 33, 0x1.93p-5f},
    {TENSOR_Q2_K, 64, 0x1.d3dp-2f},
    {TENSOR_Q2_K, 100, 0x1.9308p-2f},
    {TENSOR_Q2_K, 127, 0x1.d034p-1f},
    {TENSOR_Q2_K, 128, 0x1.764p-2f},
    {TENSOR_Q2_K, 201, 0x1.e96p-2f},
    {TENSOR_Q2_K, 255, 0x1.f7c8p-1f},
    {TENSOR_Q3_K, 0, -0x1.f7cp-3f},
    {TENSOR_Q3_K, 17, -0x1.2e4p-3f},
    {TENSOR_Q3_K, 33, -0x1.93p-2f},
    {TENSOR_Q3_K, 64, 0x1.5408p-1f},
    {TENSOR_Q3_K, 100, 0x1.93p-5f},
    {TENSOR_Q3_K, 127, -0x1.60ap-2f},
    {TENSOR_Q3_K, 128, -0x1.21a8p-1f},
    {TENSOR_Q3_K, 201, -0x1.c56p-4f},
    {TENSOR_Q3_K, 255, 0x1.f7cp-3f},
    {TENSOR_Q4_K, 0, 0x1.18bp+0f},
    {TENSOR_Q4_K, 17, 0x1.18aap+3f},
    {TENSOR_Q4_K, 33, 0x1.2f2ap+2f},
    {TENSOR_Q4_K, 64, 0x1.5edcp+0f},
    {TENSOR_Q4_K, 100, 0x1.1e12p+1f},
    {TENSOR_Q4_K, 127, 0x1.7f3cp+0f},
    {TENSOR_Q4_K, 128, 0x1.3014p-1f},
    {TENSOR_Q4_K, 201, 0x1.3d92p+0f},
    {TENSOR_Q4_K, 255, 0x1.764p-2f},
    {TENSOR_Q5_K, 0, 0x1.4778p+1f},
    {TENSOR_Q5_K, 17, 0x1.60a4p+2f},
    {TENSOR_Q5_K, 33, 0x1.d594p+1f},
    {TENSOR_Q5_K, 64, 0x1.6a8ep+1f},
    {TENSOR_Q5_K, 100, 0x1.e879p+2f},
    {TENSOR_Q5_K, 127, 0x1.a65bp+2f},
    {TENSOR_Q5_K, 128, 0x1.bc6cp-1f},
    {TENSOR_Q5_K, 201, 0x1.a4c78p+2f},
    {TENSOR_Q5_K, 255, 0x1.b5698p+3f},
    {TENSOR_Q6_K, 0, -0x1.11eap+2f},
    {TENSOR_Q6_K, 17, 0x1.66ecp+1f},
    {TENSOR_Q6_K, 33, -0x1.03bfp+4f},
    {TENSOR_Q6_K, 64, 0x1.5408p+4f},
    {TENSOR_Q6_K, 100, -0x1.79dp+3f},
    {TENSOR_Q6_K, 127, 0x1.c56p+2f},
    {TENSOR_Q6_K, 128, -0x1.8342p+2f},
    {TENSOR_Q6_K, 201, 0x1.66ecp+2f},
    {TENSOR_Q6_K, 255, 0x1.0a0bp+5f},
    {TENSOR_IQ4_NL, 0, 0x1.4dbcp-1f},
    {TENSOR_IQ4_NL, 1, -0x1.348cp-1f},
    {TENSOR_IQ4_NL, 15, -0x1.0552p+0f},
    {TENSOR_IQ4_NL, 16, -0x1.0552p+0f},
    {TENSOR_IQ4_NL, 17, -0x1.f7cp-4f},
    {TENSOR_IQ4_NL, 31, -0x1.0552p+0f},
    {TENSOR_IQ4_XS, 0, -0x1.2be38p+4f},
    {TENSOR_IQ4_XS, 17, -0x1.4a96p+2f},
    {TENSOR_IQ4_XS, 33, 0x1.2e726p+4f},
    {TENSOR_IQ4_XS, 64, -0x1.8fdap+4f},
    {TENSOR_IQ4_XS, 100, 0x1.0dfa8p+4f},
    {TENSOR_IQ4_XS, 127, -0x1.374d4p+5f},
    {TENSOR_IQ4_XS, 128, -0x1.8fdap+1f},
    {TENSOR_IQ4_XS, 201, 0x1.21434p+4f},
    {TENSOR_IQ4_XS, 255, 0x1.66ecp+0f},
    {TENSOR_MXFP4, 0, 0x1.8p-4f},
    {TENSOR_MXFP4, 1, 0x1p-7f},
    {TENSOR_MXFP4, 15, -0x1.8p-6f},
    {TENSOR_MXFP4, 16, -0x1p-4f},
    {TENSOR_MXFP4, 17, 0x1p-6f},
    {TENSOR_MXFP4, 31, 0x0p+0f},
};

static void own_block(uint32_t type, uint8_t block[static 256])
{
    static const uint16_t factors[2] = {0x224c, 0xa9d9}; /* 0.0123, -0.0457 */
    size_t bytes = tensor_row_bytes(type, tensor_block_columns(type));
    size_t offset = type == TENSOR_Q2_K   ? 80
                    : type == TENSOR_Q3_K ? 108
                    : type == TENSOR_Q6_K ? 208
                                          : 0;
    size_t count = 1;

    for (size_t i = 0; i < bytes; i++)
        block[i] = (uint8_t)(7 * i * i + 37 * i + 11 * bytes);
    if (type == TENSOR_Q4_1 || type == TENSOR_Q5_1 || type == TENSOR_Q2_K || type == TENSOR_Q4_K ||
        type == TENSOR_Q5_K)
        count = 2;
    if (type == TENSOR_MXFP4)
        block[0] = 121;
    else
        memcpy(block + offset, factors, 2 * count);
}

Test(tensor_dequantize, own_blocks_of_every_quantised_type)
{
    for (size_t i = 0; i < sizeof(elements) / sizeof(elements[0]); i++) {
        uint8_t block[256];
        float y[256];
        own_block(elements[i].type, block);
        tensor_dequantize_row(elements[i].type, block, tensor_block_columns(elements[i].type), y);
        cr_assert_eq(y[elements[i].index], elements[i].value, "type %u element %u: %a",
            elements[i].type, elements[i].index, (double)y[elements[i].index]);
    }
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
