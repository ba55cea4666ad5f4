/*
 * The products of quantised weights, written once over sixteen lanes and compiled once per
 * instruction set and part; a file defines the lanes (tensor_products_lanes.h names them) and
 * TENSOR_PART first. All constants of a type are compile-time constants here: every tile is a
 * function of its own in which each (group, token) has its sums in registers.
 */
#ifndef TENSOR_PRODUCTS_BODY_H
#define TENSOR_PRODUCTS_BODY_H

#include "tensor_products_common.h"
#include "tensor_products_shapes.h"
#if TENSOR_PART == 32
#include "tensor_products_form_32.h"
#include "tensor_products_peaks.h"
#elif TENSOR_PART == 256
#include "tensor_products_form_256.h"
#elif TENSOR_PART == 16
#include "tensor_products_form_bf16.h"
#else
#include "tensor_products_form_float.h"
#endif

#if TENSOR_PART == 32
PRODUCT(Q8_0, tile_32)
PRODUCT(Q4_0, tile_32)
PRODUCT(Q4_1, tile_32)
PRODUCT(Q5_0, tile_32)
PRODUCT(Q5_1, tile_32)
PRODUCT(IQ4_NL, tile_32)
PRODUCT(MXFP4, tile_32)
#elif TENSOR_PART == 256
PRODUCT(Q2_K, tile_256)
PRODUCT(Q3_K, tile_256)
PRODUCT(Q4_K, tile_256)
PRODUCT(Q5_K, tile_256)
PRODUCT(Q6_K, tile_256)
PRODUCT(IQ4_XS, tile_256)
#elif TENSOR_PART == 16
EACH_WIDE(TILE_FUNCTION, BF16, tile_bf16)
EACH_NARROW(TILE_FUNCTION, BF16, tile_bf16)
void TENSOR_PRODUCT_BF16(const struct tensor_tile *tile)
{
    static const struct tile_shape by_tokens[] = SHAPES(BF16);
    unsigned int before = flush_subnormals_begin();
    run_tiles(tile, &by_tokens[tile->token_count - 1]);
    flush_subnormals_end(before);
}
#else
PRODUCT(F32, tile_float)
PRODUCT(F16, tile_float)
EACH_WIDE(TILE_FUNCTION, BF16, tile_bf16_exact)
EACH_NARROW(TILE_FUNCTION, BF16, tile_bf16_exact)
void TENSOR_PRODUCT_NAME(BF16_exact)(const struct tensor_tile *tile)
{
    static const struct tile_shape by_tokens[] = SHAPES(BF16);
    run_tiles(tile, &by_tokens[tile->token_count - 1]);
}
#endif

#endif