/*
 * Products per weight type beside the machine's ceilings, measured in the same run.
 *
 *     bench-kernels [--threads N] [--ms N] [--rows N] [--columns N] [TYPE...]
 */
#include "base_err.h"
#include "tensor_bench.h"
#include "tensor_matrix.h"
#include "tensor_pool.h"
#include "tensor_type.h"
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    uint32_t type;
} types[] = {{"q8_0", TENSOR_Q8_0}, {"q4_0", TENSOR_Q4_0}, {"q4_1", TENSOR_Q4_1},
    {"q5_0", TENSOR_Q5_0}, {"q5_1", TENSOR_Q5_1}, {"q4_k", TENSOR_Q4_K}, {"q5_k", TENSOR_Q5_K},
    {"q6_k", TENSOR_Q6_K}, {"iq4_nl", TENSOR_IQ4_NL}, {"iq4_xs", TENSOR_IQ4_XS},
    {"mxfp4", TENSOR_MXFP4}, {"q2_k", TENSOR_Q2_K}, {"q3_k", TENSOR_Q3_K}, {"bf16", TENSOR_BF16},
    {"f16", TENSOR_F16}, {"f32", TENSOR_F32}};
#define TYPE_COUNT (sizeof(types) / sizeof(types[0]))

static const size_t token_counts[] = {1, 2, 4, 8, 12, 16, 64, 512};
#define TOKEN_COUNTS (sizeof(token_counts) / sizeof(token_counts[0]))

struct arguments {
    uint32_t threads, duration_ms;
    size_t row_count, column_count;
    bool chosen[TYPE_COUNT];
};

static bool parse(int argc, char **argv, struct arguments *self)
{
    bool any = false;

    *self = (struct arguments){tensor_pool_default_threads(), 300, 2048, 2048, {0}};
    for (int i = 1; i < argc; i++) {
        unsigned long number = i + 1 < argc ? strtoul(argv[i + 1], NULL, 10) : 0;
        if (strncmp(argv[i], "--", 2) == 0 && number == 0)
            return false;
        if (strcmp(argv[i], "--threads") == 0) {
            self->threads = (uint32_t)number;
            i++;
        } else if (strcmp(argv[i], "--ms") == 0) {
            self->duration_ms = (uint32_t)number;
            i++;
        } else if (strcmp(argv[i], "--rows") == 0) {
            self->row_count = number;
            i++;
        } else if (strcmp(argv[i], "--columns") == 0) {
            self->column_count = number;
            i++;
        } else {
            size_t t = 0;
            while (t < TYPE_COUNT && strcmp(argv[i], types[t].name) != 0)
                t++;
            if (t == TYPE_COUNT)
                return false;
            self->chosen[t] = any = true;
        }
    }
    for (size_t t = 0; !any && t < TYPE_COUNT; t++)
        self->chosen[t] = true;
    return true;
}

static int run_type(struct tensor_pool *pool, const struct arguments *arguments, size_t t)
{
    (void)printf("%-7s", types[t].name);
    for (size_t i = 0; i < TOKEN_COUNTS; i++) {
        struct tensor_bench_options options = {types[t].type, arguments->row_count,
            arguments->column_count, token_counts[i], (size_t)160 << 20, arguments->duration_ms};
        struct tensor_bench_result result;
        int rc = tensor_bench_product(pool, &options, &result);
        if (rc != BASE_OK)
            return rc;
        if (i == 0)
            (void)printf(" %6.1f", result.gbytes);
        (void)printf(" %7.1f", result.gops);
        (void)fflush(stdout);
    }
    (void)printf("\n");
    return BASE_OK;
}

int main(int argc, char **argv)
{
    struct arguments arguments;
    struct tensor_pool *pool = NULL;
    struct tensor_ceilings ceilings;

    if (!parse(argc, argv, &arguments)) {
        (void)fprintf(stderr,
            "usage: bench-kernels [--threads N] [--ms N] [--rows N] [--columns N] "
            "[TYPE...]\n");
        return 2;
    }
    int rc = tensor_pool_new(arguments.threads, &pool);
    if (rc == BASE_OK)
        rc = tensor_bench_ceilings(pool, arguments.duration_ms, &ceilings);
    if (rc == BASE_OK) {
        (void)printf("%s, %u threads, %zu x %zu; ceilings: int8 %.1f GOP/s, bf16 %.1f, f32 %.1f, "
                     "read %.1f GB/s (one thread %.1f)\n",
            tensor_isa_name(), arguments.threads, arguments.row_count, arguments.column_count,
            ceilings.int8_gops, ceilings.bf16_gops, ceilings.f32_gops, ceilings.read_gbytes_total,
            ceilings.read_gbytes);
        (void)printf("tokens   GB/s 1");
        for (size_t i = 0; i < TOKEN_COUNTS; i++)
            (void)printf(" %7zu", token_counts[i]);
        (void)printf("  (GOP/s)\n");
    }
    for (size_t t = 0; rc == BASE_OK && t < TYPE_COUNT; t++) {
        if (arguments.chosen[t])
            rc = run_type(pool, &arguments, t);
    }
    tensor_pool_destroy(&pool);
    if (rc != BASE_OK)
        (void)fprintf(stderr, "bench-kernels: %s\n", base_err_name(rc));
    return rc == BASE_OK ? 0 : 1;
}
