/* What tiles of all forms share: weights from memory, results to it. */
#ifndef TENSOR_PRODUCTS_COMMON_H
#define TENSOR_PRODUCTS_COMMON_H

#include "tensor_kernels.h"
#include "tensor_matrix.h"
#include "tensor_type.h"
#include <stdalign.h>
#ifndef TENSOR_PART
#define TENSOR_PART 1
#endif
#ifndef FLOATS
#include "tensor_products_lanes.h"
#endif

#define ALWAYS_INLINE static inline __attribute__((always_inline))
/* Sanitizers check every access: unrolled, that takes minutes to compile. */
#if defined(TENSOR_KEEP_LOOPS) || defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define UNROLLED
#elif defined(__clang__)
#define UNROLLED _Pragma("clang loop unroll(full)")
#else
#define UNROLLED _Pragma("GCC unroll 16")
#endif

/* Row groups and sums (groups times tokens) of the largest tile. */
#define TENSOR_GROUP_TILE (TENSOR_TOKEN_TILE == 12 ? 4 : TENSOR_TOKEN_TILE == 6 ? 2 : 1)
#define TENSOR_AHEAD_HINT 2
#define TILE_SUMS         (TENSOR_TOKEN_TILE > 4 ? TENSOR_TOKEN_TILE : 4)

/* How the codes of 32 columns lie, behind the scales: tensor_kernels.h. */
#define IS_NIBBLES(type)                                                                           \
    ((type) == TENSOR_Q4_0 || (type) == TENSOR_Q4_1 || (type) == TENSOR_Q4_K ||                    \
        HAS_FIFTH_BIT(type) || (type) == TENSOR_Q6_K || IS_TABLE(type))
#define HAS_FIFTH_BIT(type)                                                                        \
    ((type) == TENSOR_Q5_0 || (type) == TENSOR_Q5_1 || (type) == TENSOR_Q5_K)
#define IS_TABLE(type)                                                                             \
    ((type) == TENSOR_IQ4_NL || (type) == TENSOR_IQ4_XS || (type) == TENSOR_MXFP4)
/* Bits of a code in a product, those of a table looked up. */
#define CODE_BITS(type)                                                                            \
    ((type) == TENSOR_Q8_0 || (type) == TENSOR_IQ4_NL || (type) == TENSOR_IQ4_XS ? 8u              \
        : (type) == TENSOR_Q6_K                                                  ? 6u              \
        : HAS_FIFTH_BIT(type) || (type) == TENSOR_MXFP4                          ? 5u              \
        : (type) == TENSOR_Q3_K                                                  ? 3u              \
        : (type) == TENSOR_Q2_K                                                  ? 2u              \
                                                                                 : 4u)

ALWAYS_INLINE void store_rows(const struct tensor_tile *tile, size_t group, size_t token, FLOATS f)
{
    size_t row = group * TENSOR_ROW_GROUP;
    float *y = tile->y + token * tile->y_stride + row;

    if (tile->row_count - row >= TENSOR_ROW_GROUP) {
        floats_store(y, f);
    } else {
        float rest[TENSOR_ROW_GROUP];
        floats_store(rest, f);
        for (size_t i = 0; i < tile->row_count - row; i++)
            y[i] = rest[i];
    }
}

/* One of the eight steps of a block of 32 columns: one byte per row and column, four columns to a
 * step. */
ALWAYS_INLINE CODES codes_load(const uint8_t *q, const size_t step, const uint32_t type)
{
    const int i = (int)step;

    if (type == TENSOR_Q8_0)
        return codes_signed(codes_load_bytes(q + 64 * step));
    if (type == TENSOR_Q2_K || type == TENSOR_Q3_K) {
        CODES two = codes_field(codes_load_bytes(q + step / 4 * 64), i % 4 * 2, 3);
        return type == TENSOR_Q2_K ? two : codes_merge(two, codes_load_bytes(q + 128), i - 2, 4);
    }
    CODES four = codes_field(codes_load_bytes(q + step / 2 * 64), i % 2 * 4, 15);
    if (HAS_FIFTH_BIT(type))
        return codes_merge(four, codes_load_bytes(q + 256), i - 4, 16);
    if (type == TENSOR_Q6_K)
        return codes_merge(four, codes_load_bytes(q + 256 + step / 4 * 64), i % 4 * 2 - 4, 48);
    return IS_TABLE(type) ? codes_lookup(four, type == TENSOR_MXFP4) : four;
}

/* Weights that are needed later, into the second cache. A tile fetches those of every
 * ahead_every-th block: the tiles of a panel share the next one. */
ALWAYS_INLINE void fetch_ahead(
    const struct tensor_tile *tile, size_t block, const uint8_t *p, const size_t bytes)
{
    if (block % tile->ahead_every == tile->ahead_phase) {
        UNROLLED
        for (size_t i = 0; i < bytes; i += 64)
            __builtin_prefetch(p + tile->ahead_bytes + i, 0, TENSOR_AHEAD_HINT);
    }
}

/* Activations of the next block, into the first cache: they lie far from those of this one, where
 * the processor's own prefetching does not follow. */
ALWAYS_INLINE void fetch_activations(const void *p, const size_t bytes)
{
    UNROLLED
    for (size_t i = 0; i < bytes; i += 64)
        __builtin_prefetch((const uint8_t *)p + i, 0, 3);
}

#endif
