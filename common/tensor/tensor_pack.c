#include "tensor_pack.h"
#include "base_alloc.h"
#include "base_bytes.h"
#include "tensor_kernels.h"
#include "tensor_matrix.h"
#include "tensor_type.h"

/* What the packed layout of a type consists of. */
struct layout {
    uint8_t code_bits;    /* 0: floats, no blocks */
    uint8_t offset;       /* what a code is too high by; 0 for tables and types with a min */
    uint8_t factor_count; /* f16 factors of a row: scale, then min; 0: MXFP4's exponent */
};

static struct layout layout_of(uint32_t type)
{
    static const struct layout layouts[TENSOR_TYPES] = {
        [TENSOR_Q4_0] = {4, 8, 1},
        [TENSOR_Q4_1] = {4, 0, 2},
        [TENSOR_Q5_0] = {5, 16, 1},
        [TENSOR_Q5_1] = {5, 0, 2},
        [TENSOR_Q8_0] = {8, 128, 1},
        [TENSOR_Q2_K] = {2, 0, 2},
        [TENSOR_Q3_K] = {3, 4, 1},
        [TENSOR_Q4_K] = {4, 0, 2},
        [TENSOR_Q5_K] = {5, 0, 2},
        [TENSOR_Q6_K] = {6, 32, 1},
        [TENSOR_IQ4_NL] = {4, 0, 1},
        [TENSOR_IQ4_XS] = {4, 0, 1},
        [TENSOR_MXFP4] = {4, 0, 0},
    };
    return layouts[type];
}

size_t tensor_pack_group_bytes(uint32_t type, size_t column_count)
{
    size_t bytes;

    /* Sixteen rows as they are in the file: packing moves bits but adds none. Only bfloat16 goes
     * by pairs of columns. */
    if (type == TENSOR_BF16)
        column_count += column_count % 2;
    if (!base_mul_size(tensor_row_bytes(type, column_count), TENSOR_ROW_GROUP, &bytes))
        return 0;
    return bytes;
}

/* One code per byte, four columns of a step to a word. */
static uint32_t step_of(const uint8_t *codes, size_t step)
{
    return base_load_u32(codes + 4 * step);
}

/* Bits [shift, shift + bits) of a code of count steps from first, side by side from the low end. */
static uint32_t gather(
    const uint8_t *codes, size_t first, size_t count, unsigned int shift, unsigned int bits)
{
    uint32_t mask = ((1u << bits) - 1) * 0x01010101u, word = 0;

    for (size_t i = 0; i < count; i++)
        word |= (step_of(codes, first + i) >> shift & mask) << (i * bits);
    return word;
}

static void scatter(uint32_t word, size_t first, size_t count, unsigned int shift,
    unsigned int bits, uint8_t *codes)
{
    uint32_t mask = ((1u << bits) - 1) * 0x01010101u;

    for (size_t i = 0; i < count; i++) {
        uint32_t step = step_of(codes, first + i) | (word >> (i * bits) & mask) << shift;
        base_store_u32(codes + 4 * (first + i), step);
    }
}

/* The planes of a code: each has so many bits of eight steps, in words of 8 / bits steps. */
struct plane {
    uint8_t shift, bits;
};

static size_t planes_of(uint32_t code_bits, struct plane planes[2])
{
    planes[0] = (struct plane){0, (uint8_t)(code_bits >= 4 ? code_bits & 12 : 2)};
    planes[1] = (struct plane){planes[0].bits, (uint8_t)(code_bits - planes[0].bits)};
    return planes[1].bits == 0 ? 1 : 2;
}

/* Codes of 32 columns of one row into its lane; returns what follows them. */
static uint8_t *put_codes(uint32_t code_bits, const uint8_t *codes, size_t lane, uint8_t *out)
{
    struct plane planes[2];
    size_t plane_count = planes_of(code_bits, planes);

    for (size_t p = 0; p < plane_count; p++) {
        size_t each = 8u / planes[p].bits;
        for (size_t s = 0; s < 8; s += each, out += 64)
            base_store_u32(out + 4 * lane, gather(codes, s, each, planes[p].shift, planes[p].bits));
    }
    return out;
}

static const uint8_t *get_codes(
    uint32_t code_bits, const uint8_t *in, size_t lane, uint8_t codes[static 32])
{
    struct plane planes[2];
    size_t plane_count = planes_of(code_bits, planes);

    memset(codes, 0, 32);
    for (size_t p = 0; p < plane_count; p++) {
        size_t each = 8u / planes[p].bits;
        for (size_t s = 0; s < 8; s += each, in += 64)
            scatter(base_load_u32(in + 4 * lane), s, each, planes[p].shift, planes[p].bits, codes);
    }
    return in;
}

/* The codes of a file's block of 32, whose nibbles are at q. */
static void codes_of_nibbles(const uint8_t *q, const uint8_t *high, uint8_t codes[static 32])
{
    uint32_t fifth = high == NULL ? 0 : base_load_u32(high);

    for (size_t i = 0; i < 16; i++) {
        codes[i] = (uint8_t)((q[i] & 15u) | (fifth >> i & 1) << 4);
        codes[i + 16] = (uint8_t)(q[i] >> 4 | (fifth >> (i + 16) & 1) << 4);
    }
}

/* Bits of column i of 256 as the K types order them: fields of so many bits in 32 bytes each. */
static uint8_t field_of(const uint8_t *q, size_t i, size_t bits)
{
    size_t fields = 8 / bits;

    return (uint8_t)(q[i / (32 * fields) * 32 + i % 32] >> (i / 32 % fields * bits) &
                     ((1 << bits) - 1));
}

static void codes_of_superblock(uint32_t type, const uint8_t *block, uint8_t codes[static 256])
{
    if (type == TENSOR_IQ4_XS) {
        for (size_t j = 0; j < 8; j++)
            codes_of_nibbles(block + 8 + 16 * j, NULL, codes + 32 * j);
        return;
    }
    for (size_t i = 0; i < 256; i++) {
        switch (type) {
        case TENSOR_Q2_K:
            codes[i] = field_of(block + 16, i, 2);
            break;
        case TENSOR_Q3_K:
            codes[i] = (uint8_t)(field_of(block + 32, i, 2) | field_of(block, i, 1) << 2);
            break;
        case TENSOR_Q4_K:
            codes[i] = field_of(block + 16, i, 4);
            break;
        case TENSOR_Q5_K:
            codes[i] = (uint8_t)(field_of(block + 48, i, 4) | field_of(block + 16, i, 1) << 4);
            break;
        default: /* Q6_K: the low nibbles of 64 bytes are columns 0..63 of 128, the high 64..127 */
            codes[i] = block[i / 128 * 64 + i % 64] >> (i / 64 % 2 * 4) & 15;
            codes[i] |= (uint8_t)(field_of(block + 128, i, 2) << 4);
            break;
        }
    }
}

static void codes_of_block(uint32_t type, const uint8_t *block, uint8_t codes[static 32])
{
    switch (type) {
    case TENSOR_Q8_0:
        for (size_t i = 0; i < 32; i++)
            codes[i] = block[2 + i] ^ 0x80;
        break;
    case TENSOR_Q5_0:
        codes_of_nibbles(block + 6, block + 2, codes);
        break;
    case TENSOR_Q5_1:
        codes_of_nibbles(block + 8, block + 4, codes);
        break;
    default:
        codes_of_nibbles(block + tensor_row_bytes(type, 32) - 16, NULL, codes);
        break;
    }
}

/* Integer scales and mins of a superblock, as in the file. */
struct scales {
    uint8_t scale[16];
    uint8_t min[16];
};

static void scales_of_superblock(uint32_t type, const uint8_t *block, struct scales *s)
{
    switch (type) {
    case TENSOR_Q4_K:
    case TENSOR_Q5_K:
        for (size_t j = 0; j < 8; j++)
            tensor_k4_scale(block + 4, j, &s->scale[j], &s->min[j]);
        break;
    case TENSOR_Q6_K:
        memcpy(s->scale, block + 192, 16);
        break;
    case TENSOR_Q2_K:
        for (size_t j = 0; j < 16; j++) {
            s->scale[j] = block[j] & 15;
            s->min[j] = block[j] >> 4;
        }
        break;
    case TENSOR_Q3_K:
        tensor_q3_k_scales(block + 96, s->scale);
        break;
    default: /* IQ4_XS */
        for (size_t j = 0; j < 8; j++) {
            int high = base_load_u16(block + 2) >> (2 * j) & 3;
            s->scale[j] = (uint8_t)((block[4 + j / 2] >> (j % 2 * 4) & 15) | high << 4);
        }
        break;
    }
}

static void put_bits(uint8_t *byte, size_t shift, uint8_t value)
{
    *byte = (uint8_t)((shift == 0 ? 0 : *byte) | value << shift);
}

/* In the order of the packed layout, so that a byte's lowest field is written first. */
static uint8_t *put_scales(uint32_t type, const struct scales *s, size_t lane, uint8_t *out)
{
    size_t count = type == TENSOR_IQ4_XS ? 8 : 16;

    switch (type) {
    case TENSOR_Q4_K:
    case TENSOR_Q5_K:
        for (size_t j = 0; j < 8; j++) {
            out[j / 2 * 32 + 2 * lane + j % 2] = (uint8_t)(s->scale[j] | (s->min[j] & 3) << 6);
            put_bits(&out[128 + j / 2 * 16 + lane], j % 2 * 4, s->min[j] >> 2);
        }
        return out + 192;
    case TENSOR_Q6_K:
    case TENSOR_Q2_K:
        for (size_t j = 0; j < 16; j++)
            out[16 * j + lane] = (uint8_t)(s->scale[j] | s->min[j] << 4);
        return out + 256;
    default: /* Q3_K, IQ4_XS */
        for (size_t j = 0; j < count; j++) {
            put_bits(&out[j / 2 * 16 + lane], j % 2 * 4, s->scale[j] & 15);
            put_bits(&out[count * 8 + j / 4 * 16 + lane], j % 4 * 2, s->scale[j] >> 4);
        }
        return out + count * 12;
    }
}

static const uint8_t *get_scales(uint32_t type, const uint8_t *in, size_t lane, struct scales *s)
{
    size_t count = type == TENSOR_IQ4_XS ? 8 : 16;

    switch (type) {
    case TENSOR_Q4_K:
    case TENSOR_Q5_K:
        for (size_t j = 0; j < 8; j++) {
            uint8_t both = in[j / 2 * 32 + 2 * lane + j % 2];
            uint8_t high = in[128 + j / 2 * 16 + lane] >> (j % 2 * 4) & 15;
            s->scale[j] = both & 63;
            s->min[j] = (uint8_t)(both >> 6 | high << 2);
        }
        return in + 192;
    case TENSOR_Q6_K:
    case TENSOR_Q2_K:
        for (size_t j = 0; j < 16; j++) {
            uint8_t both = in[16 * j + lane];
            s->scale[j] = type == TENSOR_Q2_K ? both & 15 : both;
            s->min[j] = both >> 4;
        }
        return in + 256;
    default:
        for (size_t j = 0; j < count; j++) {
            uint8_t low = in[j / 2 * 16 + lane] >> (j % 2 * 4) & 15;
            uint8_t high = in[count * 8 + j / 4 * 16 + lane] >> (j % 4 * 2) & 3;
            s->scale[j] = (uint8_t)(low | high << 4);
        }
        return in + count * 12;
    }
}

/* Where a file's superblock has its f16 factors. */
static size_t factors_offset(uint32_t type)
{
    switch (type) {
    case TENSOR_Q2_K:
        return 80;
    case TENSOR_Q3_K:
        return 108;
    case TENSOR_Q6_K:
        return 208;
    default:
        return 0;
    }
}

/* One block of a file into its lane; returns what follows the packed block. */
static uint8_t *pack_block(uint32_t type, const uint8_t *block, size_t lane, uint8_t *out)
{
    struct layout layout = layout_of(type);
    size_t columns = tensor_block_columns(type);
    uint8_t codes[256];

    for (size_t i = 0; i < layout.factor_count; i++, out += 32)
        memcpy(out + 2 * lane, block + factors_offset(type) + 2 * i, 2);
    if (layout.factor_count == 0) {
        out[lane] = block[0];
        out += 16;
    }
    if (columns == 256) {
        struct scales scales = {0};
        scales_of_superblock(type, block, &scales);
        out = put_scales(type, &scales, lane, out);
        codes_of_superblock(type, block, codes);
    } else {
        codes_of_block(type, block, codes);
    }
    for (size_t i = 0; i < columns; i += 32)
        out = put_codes(layout.code_bits, codes + i, lane, out);
    return out;
}

static size_t bf16_offset(size_t column, size_t lane)
{
    return column / 2 * 64 + lane * 4 + column % 2 * 2;
}

void tensor_pack_row(
    uint32_t type, size_t column_count, const uint8_t *row, size_t lane, uint8_t *group)
{
    size_t columns = tensor_block_columns(type), bytes = tensor_row_bytes(type, columns);

    if (type == TENSOR_BF16) {
        for (size_t i = 0; i < column_count; i++)
            memcpy(group + bf16_offset(i, lane), row + 2 * i, 2);
        if (column_count % 2 != 0)
            memset(group + bf16_offset(column_count, lane), 0, 2);
        return;
    }
    if (columns == 1) {
        for (size_t i = 0; i < column_count; i++)
            memcpy(group + bytes * (i * TENSOR_ROW_GROUP + lane), row + bytes * i, bytes);
        return;
    }
    for (size_t i = 0; i < column_count; i += columns, row += bytes)
        group = pack_block(type, row, lane, group);
}

static float value_of_code(uint32_t type, uint8_t code)
{
    switch (type) {
    case TENSOR_IQ4_NL:
    case TENSOR_IQ4_XS:
        return (float)tensor_iq4_values[code];
    case TENSOR_MXFP4:
        return (float)tensor_mxfp4_values[code];
    default:
        return (float)(code - layout_of(type).offset);
    }
}

static float scale_of(uint32_t type, const struct scales *s, size_t column)
{
    switch (type) {
    case TENSOR_Q6_K:
        return (float)(int8_t)s->scale[column / 16];
    case TENSOR_Q2_K:
        return (float)s->scale[column / 16];
    case TENSOR_Q3_K:
        return (float)(s->scale[column / 16] - 32);
    case TENSOR_IQ4_XS:
        return (float)(s->scale[column / 32] - 32);
    default:
        return (float)s->scale[column / 32];
    }
}

/* The order of operations is that of tensor_dequantize.c. */
static const uint8_t *unpack_block(uint32_t type, const uint8_t *in, size_t lane, float *y)
{
    struct layout layout = layout_of(type);
    size_t columns = tensor_block_columns(type);
    float factors[2] = {0};
    struct scales scales = {0};
    uint8_t codes[32];

    for (size_t i = 0; i < layout.factor_count; i++, in += 32)
        factors[i] = tensor_f16_to_f32(base_load_u16(in + 2 * lane));
    if (layout.factor_count == 0) {
        factors[0] = tensor_e8m0_half(in[lane]);
        in += 16;
    }
    if (columns == 256)
        in = get_scales(type, in, lane, &scales);
    for (size_t i = 0; i < columns; i++) {
        if (i % 32 == 0)
            in = get_codes(layout.code_bits, in, lane, codes);
        float value = value_of_code(type, codes[i % 32]);
        if (columns == 32) {
            y[i] = value * factors[0];
            if (layout.factor_count == 2)
                y[i] += factors[1];
        } else {
            y[i] = factors[0] * scale_of(type, &scales, i) * value;
            if (layout.factor_count == 2)
                y[i] -= factors[1] * (float)scales.min[type == TENSOR_Q2_K ? i / 16 : i / 32];
        }
    }
    return in;
}

void tensor_unpack_row(
    uint32_t type, size_t column_count, const uint8_t *group, size_t lane, float *y)
{
    size_t columns = tensor_block_columns(type), bytes = tensor_row_bytes(type, columns);

    if (columns == 1) {
        for (size_t i = 0; i < column_count; i++) {
            size_t offset =
                type == TENSOR_BF16 ? bf16_offset(i, lane) : bytes * (i * TENSOR_ROW_GROUP + lane);
            tensor_dequantize_row(type, group + offset, 1, y + i);
        }
        return;
    }
    for (size_t i = 0; i < column_count; i += columns)
        group = unpack_block(type, group, lane, y + i);
}
