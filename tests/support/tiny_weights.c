/* Random weights in each type's own blocks. */
#include "tiny_builder.h"

#include <string.h>

/* SplitMix64 (Steele, Lea, Flood 2014). */
static uint64_t random_next(struct tiny_builder *self)
{
    uint64_t z = self->random += 0x9e3779b97f4a7c15u;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* Uniform in (-limit, limit). */
static float random_float(struct tiny_builder *self, float limit)
{
    int32_t part = (int32_t)(random_next(self) >> 40) - (1 << 23);

    return (float)part / (float)(1 << 23) * limit;
}

/* To half precision, cut rather than rounded; for numbers that are not too large. */
static uint16_t half_cut(float value)
{
    uint32_t bits;

    memcpy(&bits, &value, sizeof(bits));
    int32_t exponent = (int32_t)((bits >> 23) & 0xffu) - 112;
    if (exponent <= 0)
        return (uint16_t)(((bits >> 16) & 0x8000u) |
                          (uint32_t)((value < 0 ? -value : value) * (float)(1 << 24)));
    return (
        uint16_t)(((bits >> 16) & 0x8000u) | ((uint32_t)exponent << 10) | ((bits >> 13) & 0x3ffu));
}

/* Where a block's f16 scale stands and which share of the limit it is; then the same of its
 * second scale, if it has one (share 0: none). */
struct block_row {
    uint32_t type, columns, bytes;
    uint32_t scale_at;
    float scale;
    uint32_t second_at;
    float second;
};

static const struct block_row block_rows[] = {
    {2, 32, 18, 0, 1 / 8.0f, 0, 0},               /* Q4_0 */
    {3, 32, 20, 0, 2 / 15.0f, 2, -1},             /* Q4_1 */
    {6, 32, 22, 0, 1 / 16.0f, 0, 0},              /* Q5_0 */
    {7, 32, 24, 0, 2 / 31.0f, 2, -1},             /* Q5_1 */
    {8, 32, 34, 0, 1 / 127.0f, 0, 0},             /* Q8_0 */
    {10, 256, 84, 80, 2 / 45.0f, 82, 1 / 15.0f},  /* Q2_K */
    {11, 256, 110, 108, 1 / 128.0f, 0, 0},        /* Q3_K */
    {12, 256, 144, 0, 2 / 945.0f, 2, 1 / 63.0f},  /* Q4_K */
    {13, 256, 176, 0, 2 / 1953.0f, 2, 1 / 63.0f}, /* Q5_K */
    {14, 256, 210, 208, 1 / 4096.0f, 0, 0},       /* Q6_K */
    {20, 32, 18, 0, 1 / 127.0f, 0, 0},            /* IQ4_NL */
    {23, 256, 136, 0, 1 / 4064.0f, 0, 0},         /* IQ4_XS */
    {TINY_MXFP4, 32, 17, 0, 0, 0, 0},
};

static const struct block_row *find_row(uint32_t type)
{
    for (size_t i = 0; i < sizeof(block_rows) / sizeof(block_rows[0]); i++)
        if (block_rows[i].type == type)
            return &block_rows[i];
    return NULL;
}

uint32_t tiny_block(uint32_t type)
{
    const struct block_row *row = find_row(type);

    return row != NULL ? row->columns : 1;
}

static void put_float(struct tiny_builder *self, uint32_t type, float value)
{
    uint16_t half = half_cut(value);
    uint32_t bits;

    memcpy(&bits, &value, sizeof(bits));
    if (type == TINY_BF16)
        half = (uint16_t)(bits >> 16);
    if (type == TINY_F32)
        tiny_put(&self->data, &value, sizeof(value));
    else
        tiny_put(&self->data, &half, sizeof(half));
}

static void put_block(struct tiny_builder *self, const struct block_row *row, float limit)
{
    uint8_t block[256];
    uint64_t bits = 0;

    for (uint32_t i = 0; i < row->bytes; i++, bits >>= 8) {
        bits = i % 8 == 0 ? random_next(self) : bits;
        block[i] = (uint8_t)bits;
    }
    uint16_t scale = half_cut(row->scale * limit), second = half_cut(row->second * limit);
    memcpy(block + row->scale_at, &scale, sizeof(scale));
    if (row->second != 0)
        memcpy(block + row->second_at, &second, sizeof(second));
    if (row->type == TINY_MXFP4) /* 12 * 2^(exponent - 128) is the largest */
        for (block[0] = 128; block[0] > 100 && limit < 12; limit *= 2)
            block[0]--;
    tiny_put(&self->data, block, row->bytes);
}

void tiny_put_weights(struct tiny_builder *self, uint32_t type, uint64_t count, float limit)
{
    const struct block_row *row = find_row(type);

    for (uint64_t i = 0; i < count; i += row != NULL ? row->columns : 1) {
        if (row != NULL)
            put_block(self, row, limit);
        else
            put_float(self, type, random_float(self, limit));
    }
}
