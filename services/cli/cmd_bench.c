#include "cmd_bench.h"

#include "base_err.h"
#include "tensor_bench.h"
#include "tensor_pool.h"
#include "tensor_type.h"
#include <stdlib.h>
#include <string.h>

static const struct cli_command benches[] = {
    {"kernels", "[--types q8_0,q4_k] [--tokens 1,8,512] [--threads N] [--json]",
        "Times matrix products beside the machine's own ceilings.", cmd_bench_kernels},
    {"stage", "--model FILE [--threads N] [--batches 1,2,4] [--depths 0,4096] [--json]",
        "Times prefill and decode of a whole model, beside the roofline.", cmd_bench_stage},
    {"compare",
        "--model FILE [--peer-bench PATH] [--peer-batched PATH] [--phases LIST] [--pairs N] "
        "[--json]",
        "Runs a peer's programs and our stage in turns on one GGUF file.", cmd_bench_compare},
    {"load", "--model FILE --pack-cache DIR [--pairs N] [--json]",
        "Loads a model from its packed weights and without them, in turns.", cmd_bench_load},
};

size_t cli_bench_numbers(
    const char *text, bool zero_allowed, uint32_t max, uint32_t *ret_values, size_t count_max)
{
    size_t count = 0;

    while (count < count_max && *text >= '0' && *text <= '9') {
        char *end = NULL;
        unsigned long value = strtoul(text, &end, 10);
        if (value > max || (value == 0 && !zero_allowed))
            return 0;
        ret_values[count++] = (uint32_t)value;
        if (*end == '\0')
            return count;
        if (*end != ',')
            return 0;
        text = end + 1;
    }
    return 0;
}

uint32_t cli_bench_kv_type(const char *name)
{
    if (strcmp(name, "f32") == 0)
        return TENSOR_F32;
    if (strcmp(name, "f16") == 0)
        return TENSOR_F16;
    return strcmp(name, "int8") == 0 ? (uint32_t)TENSOR_Q8_0 : UINT32_MAX;
}

int cli_bench_ceilings(
    uint32_t thread_count, struct tensor_ceilings *ret_ceilings, struct base_error *err)
{
    struct tensor_pool *pool = NULL;
    int rc = tensor_pool_new(thread_count, &pool);

    if (rc == BASE_OK)
        rc = tensor_bench_ceilings(pool, 300, ret_ceilings);
    tensor_pool_destroy(&pool);
    return rc == BASE_OK ? rc : base_error_set(err, rc, "ceilings: %s", base_err_text(rc));
}

int cmd_bench(const struct cli_command *command, int argc, char **argv)
{
    size_t count = sizeof(benches) / sizeof(benches[0]);

    for (size_t i = 0; argc > 1 && i < count; i++) {
        char name[32];
        struct cli_command bench = benches[i];
        if (strcmp(argv[1], bench.name) != 0)
            continue;
        (void)snprintf(name, sizeof(name), "bench %s", bench.name);
        bench.name = name;
        return bench.run(&bench, argc - 1, argv + 1);
    }
    bool help = argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0);
    FILE *out = help ? stdout : stderr;
    if (argc > 1 && !help)
        (void)fprintf(out, "layermesh bench: there is no bench '%s'\n", argv[1]);
    (void)fprintf(out, "usage: layermesh bench BENCH [options]\n\n%s\n\n", command->summary);
    for (size_t i = 0; i < count; i++)
        (void)fprintf(out, "  %-8s %s\n           %s\n", benches[i].name, benches[i].arguments,
            benches[i].summary);
    return help ? cli_finish(command) : CLI_EXIT_USAGE;
}
