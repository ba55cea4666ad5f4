/* Matrix products of every weight type, each beside what the machine itself can do in the same run. */
#include "cmd_bench.h"

#include "base_err.h"
#include "bench_barrier.h"
#include "cli_answer.h"
#include "gguf.h"
#include "tensor_bench.h"
#include "tensor_matrix.h"
#include "tensor_pool.h"
#include "tensor_type.h"
#include <string.h>
#include <strings.h>

#define TOKENS_MAX 16u
#define TYPES_MAX  32u

struct kernels {
    uint32_t threads, duration_ms, rows, columns;
    uint32_t tokens[TOKENS_MAX];
    size_t token_count;
    const char *types; /* names separated by commas, or NULL: all */
    bool json;
    struct tensor_ceilings ceilings;
    double barrier_ns;
};

static bool is_wanted(const struct kernels *self, const char *name)
{
    const char *at = self->types;
    size_t bytes = strlen(name);

    while (at != NULL) {
        if (strncasecmp(at, name, bytes) == 0 && (at[bytes] == ',' || at[bytes] == '\0'))
            return true;
        at = strchr(at, ',');
        at = at == NULL ? NULL : at + 1;
    }
    return self->types == NULL;
}

static json_t *make_row(const struct kernels *self, const char *name, uint32_t type,
    uint32_t tokens, const struct tensor_bench_result *result)
{
    double peak = tensor_bench_peak_gops(&self->ceilings, type, tokens);

    return json_pack("{s:s, s:i, s:f, s:f, s:f, s:f}", "type", name, "tokens", (int)tokens, "gops",
        result->gops, "gigabytes_per_s", result->gbytes, "of_peak",
        peak > 0 ? result->gops / peak : 0.0, "of_read_bandwidth",
        result->gbytes / self->ceilings.read_gbytes_total);
}

static void print_row(const struct kernels *self, const char *name, uint32_t type, uint32_t tokens,
    const struct tensor_bench_result *result)
{
    double peak = tensor_bench_peak_gops(&self->ceilings, type, tokens);

    (void)printf(
        "%-7s %4u tokens  %8.1f GOP/s  %3.0f %% of peak   %7.2f GB/s  %3.0f %% of reading\n", name,
        tokens, result->gops, peak > 0 ? 100 * result->gops / peak : 0.0, result->gbytes,
        100 * result->gbytes / self->ceilings.read_gbytes_total);
    (void)fflush(stdout);
}

static int measure_type(const struct kernels *self, struct tensor_pool *pool, uint32_t type,
    const char *name, json_t *rows)
{
    for (size_t i = 0; i < self->token_count; i++) {
        const struct tensor_bench_options options = {
            .type = type,
            .row_count = self->rows,
            .column_count = self->columns,
            .token_count = self->tokens[i],
            .weight_bytes = (size_t)512 << 20,
            .duration_ms = self->duration_ms,
        };
        struct tensor_bench_result result;
        int rc = tensor_bench_product(pool, &options, &result);
        if (rc != BASE_OK)
            return rc;
        if (self->json)
            (void)json_array_append_new(rows, make_row(self, name, type, self->tokens[i], &result));
        else
            print_row(self, name, type, self->tokens[i], &result);
    }
    return BASE_OK;
}

static int measure(struct kernels *self, struct tensor_pool *pool, json_t *rows)
{
    const struct tensor_ceilings *c = &self->ceilings;
    int rc = tensor_bench_ceilings(pool, self->duration_ms, &self->ceilings);

    if (rc == BASE_OK)
        self->barrier_ns = bench_barrier_ns(pool, self->duration_ms);
    if (rc == BASE_OK && !self->json)
        (void)printf("%s, %u threads; peaks: int8 %.0f (tiles %.0f), bf16 %.0f, f32 %.0f GOP/s; "
                     "reading %.1f GB/s, "
                     "one thread %.1f\nbarrier of the pool: %.0f ns\n",
            tensor_isa_name(), self->threads, c->int8_gops, c->wide_int8_gops, c->bf16_gops,
            c->f32_gops, c->read_gbytes_total, c->read_gbytes, self->barrier_ns);
    for (uint32_t type = 0; type < TYPES_MAX * 2 && rc == BASE_OK; type++)
        if (tensor_type_supported(type) && is_wanted(self, gguf_type_name(type)))
            rc = measure_type(self, pool, type, gguf_type_name(type), rows);
    return rc;
}

static json_t *make_result(const struct kernels *self, json_t *rows)
{
    const struct tensor_ceilings *c = &self->ceilings;

    return json_pack("{s:s, s:i, s:i, s:i, s:{s:f, s:f, s:f, s:f, s:f, s:f}, s:f, s:O}", "isa",
        tensor_isa_name(), "threads", (int)self->threads, "rows", (int)self->rows, "columns",
        (int)self->columns, "ceilings", "int8_gops", c->int8_gops, "int8_tile_gops",
        c->wide_int8_gops, "bf16_gops", c->bf16_gops, "f32_gops", c->f32_gops,
        "read_gigabytes_per_s", c->read_gbytes_total, "read_gigabytes_per_s_one_thread",
        c->read_gbytes, "barrier_ns", self->barrier_ns, "products", rows);
}

int cmd_bench_kernels(const struct cli_command *command, int argc, char **argv)
{
    struct kernels self = {.threads = tensor_pool_default_threads(),
        .duration_ms = 200,
        .rows = 2048,
        .columns = 2048};
    const char *tokens = "1,4,8,16,512";
    const struct base_option options[] = {
        {"threads", 0, BASE_OPTION_U32, &self.threads, 1, 256, "N", NULL, "compute threads"},
        {"ms", 0, BASE_OPTION_U32, &self.duration_ms, 1, 60000, "MS", NULL, "time of each row"},
        {"rows", 0, BASE_OPTION_U32, &self.rows, 1, 1 << 20, "N", NULL, "rows of the matrices"},
        {"columns", 0, BASE_OPTION_U32, &self.columns, 1, 1 << 20, "N", NULL,
            "their columns, a multiple of 256"},
        {"tokens", 0, BASE_OPTION_STRING, &tokens, 0, 0, "LIST", NULL, "tokens at a time"},
        {"types", 0, BASE_OPTION_STRING, &self.types, 0, 0, "LIST", NULL,
            "weight types, such as q8_0,q4_k (default: all)"},
        {"json", 0, BASE_OPTION_FLAG, &self.json, 0, 0, NULL, NULL, "print one object"},
    };
    struct tensor_pool *pool = NULL;
    int exit_status = CLI_EXIT_OK;

    if (!cli_parse_options(
            command, options, sizeof(options) / sizeof(options[0]), argc, argv, NULL, &exit_status))
        return exit_status;
    self.token_count = cli_bench_numbers(tokens, false, 4096, self.tokens, TOKENS_MAX);
    if (self.token_count == 0 || self.columns % 256 != 0)
        return cli_usage(command, "--tokens is a list of 1..4096, --columns a multiple of 256");
    json_t *rows = json_array();
    int rc = tensor_pool_new(self.threads, &pool);
    if (rc == BASE_OK)
        rc = measure(&self, pool, rows);
    if (rc != BASE_OK)
        exit_status = cli_fail(command, "%s", base_err_text(rc));
    else if (self.json && !cli_json_print(make_result(&self, rows)))
        exit_status = cli_fail(command, "the result could not be printed");
    else
        exit_status = cli_finish(command);
    json_decref(rows);
    tensor_pool_destroy(&pool);
    return exit_status;
}
