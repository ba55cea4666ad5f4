/*
 * One function per weight type and tile shape. Every sum is one chain of dependent operations, so
 * few tokens go over several groups at a time: enough chains to fill the latency, and not more
 * than there are registers for. Left-over groups go one at a time.
 */
#ifndef TENSOR_PRODUCTS_SHAPES_H
#define TENSOR_PRODUCTS_SHAPES_H

#include "tensor_products_common.h"

typedef void tile_fn(const struct tensor_tile *tile, size_t group_first);

struct tile_shape {
    size_t group_count;
    tile_fn *wide;   /* group_count groups at a time */
    tile_fn *narrow; /* one group */
};

#if TENSOR_TOKEN_TILE == 12
#define EACH_WIDE(X, type, call)                                                                   \
    X(type, 4, 1, call)                                                                            \
    X(type, 4, 2, call)                                                                            \
    X(type, 4, 3, call)                                                                            \
    X(type, 2, 4, call)                                                                            \
    X(type, 2, 5, call)                                                                            \
    X(type, 2, 6, call)
#define EACH_NARROW(X, type, call)                                                                 \
    X(type, 1, 1, call)                                                                            \
    X(type, 1, 2, call)                                                                            \
    X(type, 1, 3, call)                                                                            \
    X(type, 1, 4, call)                                                                            \
    X(type, 1, 5, call)                                                                            \
    X(type, 1, 6, call)                                                                            \
    X(type, 1, 7, call)                                                                            \
    X(type, 1, 8, call)                                                                            \
    X(type, 1, 9, call)                                                                            \
    X(type, 1, 10, call)                                                                           \
    X(type, 1, 11, call)                                                                           \
    X(type, 1, 12, call)
#define SHAPES(type)                                                                               \
    {                                                                                              \
        {4, tile_##type##_4_1, tile_##type##_1_1}, {4, tile_##type##_4_2, tile_##type##_1_2},      \
            {4, tile_##type##_4_3, tile_##type##_1_3}, {2, tile_##type##_2_4, tile_##type##_1_4},  \
            {2, tile_##type##_2_5, tile_##type##_1_5}, {2, tile_##type##_2_6, tile_##type##_1_6},  \
            {1, NULL, tile_##type##_1_7}, {1, NULL, tile_##type##_1_8},                            \
            {1, NULL, tile_##type##_1_9}, {1, NULL, tile_##type##_1_10},                           \
            {1, NULL, tile_##type##_1_11}, {1, NULL, tile_##type##_1_12},                          \
    }
#elif TENSOR_TOKEN_TILE == 6
#define EACH_WIDE(X, type, call) X(type, 2, 1, call) X(type, 2, 2, call) X(type, 2, 3, call)
#define EACH_NARROW(X, type, call)                                                                 \
    X(type, 1, 1, call)                                                                            \
    X(type, 1, 2, call)                                                                            \
    X(type, 1, 3, call)                                                                            \
    X(type, 1, 4, call)                                                                            \
    X(type, 1, 5, call)                                                                            \
    X(type, 1, 6, call)
#define SHAPES(type)                                                                               \
    {                                                                                              \
        {2, tile_##type##_2_1, tile_##type##_1_1}, {2, tile_##type##_2_2, tile_##type##_1_2},      \
            {2, tile_##type##_2_3, tile_##type##_1_3}, {1, NULL, tile_##type##_1_4},               \
            {1, NULL, tile_##type##_1_5}, {1, NULL, tile_##type##_1_6},                            \
    }
#else
#define EACH_WIDE(X, type, call)
#define EACH_NARROW(X, type, call) X(type, 1, 1, call)
#define SHAPES(type)                                                                               \
    {                                                                                              \
        {                                                                                          \
            1, NULL, tile_##type##_1_1                                                             \
        }                                                                                          \
    }
#endif

#define TILE_FUNCTION(type, groups, tokens, call)                                                  \
    static void tile_##type##_##groups##_##tokens(const struct tensor_tile *tile, size_t group)    \
    {                                                                                              \
        call(tile, group, groups, tokens, TENSOR_##type);                                          \
    }

static void run_tiles(const struct tensor_tile *tile, const struct tile_shape *shape)
{
    size_t group = 0;

    for (; shape->group_count > 1 && tile->group_count - group >= shape->group_count;
         group += shape->group_count)
        shape->wide(tile, group);
    for (; group < tile->group_count; group++)
        shape->narrow(tile, group);
}

#define PRODUCT(type, call)                                                                        \
    EACH_WIDE(TILE_FUNCTION, type, call)                                                           \
    EACH_NARROW(TILE_FUNCTION, type, call)                                                         \
    void TENSOR_PRODUCT_NAME(type)(const struct tensor_tile *tile)                                 \
    {                                                                                              \
        static const struct tile_shape by_tokens[] = SHAPES(type);                                 \
        run_tiles(tile, &by_tokens[tile->token_count - 1]);                                        \
    }

#endif
