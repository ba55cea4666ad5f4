/*
 * Prefill and decode of a whole model in one stage, each beside its roofline: the time that the
 * bytes (weights once a step, keys and values of each sequence) take to read, or that the products
 * take at the machine's peak, whichever is longer. Both ceilings are measured in the same run.
 */
#include "cmd_bench.h"

#include "base_err.h"
#include "cli_answer.h"
#include "tensor_bench.h"
#include "tensor_matrix.h"
#include "tensor_pool.h"

#define LIST_MAX 16u

struct stage_bench {
    const char *model, *pack_cache;
    bool map_weights;
    uint32_t threads, prompt, steps;
    uint32_t batches[LIST_MAX], depths[LIST_MAX];
    size_t batch_count, depth_count;
    bool json;
    struct tensor_ceilings ceilings;
    struct bench_run_costs costs;
    struct bench_run *run;
    json_t *rows;
};

/* Seconds that operations on so many tokens at a time and bytes of reading take at least. */
static double roof_s(
    const struct stage_bench *self, uint32_t tokens, double operations, double bytes)
{
    double peak = tensor_bench_peak_gops(&self->ceilings, self->costs.weight_type, tokens);
    double compute = operations / (peak * 1e9);
    double reading = bytes / (self->ceilings.read_gbytes_total * 1e9);

    return compute > reading ? compute : reading;
}

/* gbytes: 1e9 bytes a second that were read; 0: reading is not what bounds it. */
static void report(struct stage_bench *self, const char *what, uint32_t batch, uint32_t depth,
    double tokens, double seconds, double roof, double gbytes)
{
    double of_reading = gbytes / self->ceilings.read_gbytes_total;

    if (self->json) {
        json_t *row = json_pack("{s:s, s:i, s:i, s:f, s:f, s:f}", "what", what, "batch", (int)batch,
            "depth", (int)depth, "tokens_per_s", tokens / seconds, "roofline_tokens_per_s",
            tokens / roof, "of_roofline", roof / seconds);
        if (gbytes > 0) {
            (void)json_object_set_new(row, "gigabytes_per_s", json_real(gbytes));
            (void)json_object_set_new(row, "of_read_bandwidth", json_real(of_reading));
        }
        (void)json_array_append_new(self->rows, row);
        return;
    }
    (void)printf("%-7s batch %2u  depth %5u  %9.2f tok/s   roofline %9.2f tok/s   %3.0f %%", what,
        batch, depth, tokens / seconds, tokens / roof, 100 * roof / seconds);
    if (gbytes > 0)
        (void)printf("   reads %6.2f GB/s  %3.0f %%", gbytes, 100 * of_reading);
    (void)printf("\n");
    (void)fflush(stdout);
}

static int measure_prefill(struct stage_bench *self, uint32_t depth, struct base_error *err)
{
    const struct bench_run_costs *c = &self->costs;
    double seconds = 0;
    int rc = bench_run_prefill(self->run, 0, depth, self->prompt, &seconds, err);

    double operations = (double)c->operations_per_token * self->prompt;
    if (rc == BASE_OK)
        report(self, "prefill", 1, depth, self->prompt, seconds,
            roof_s(self, self->prompt, operations + (double)c->operations_per_logit_row, 0), 0);
    return rc;
}

static int measure_decode(
    struct stage_bench *self, uint32_t batch, uint32_t depth, struct base_error *err)
{
    const struct bench_run_costs *c = &self->costs;
    double seconds = 0, positions = depth + self->steps / 2.0;
    int rc = bench_run_decode(self->run, batch, depth, self->steps, &seconds, err);

    double operations = (double)(c->operations_per_token + c->operations_per_logit_row) * batch;
    double bytes = bench_run_step_bytes(c, batch, positions);
    if (rc == BASE_OK)
        report(self, "decode", batch, depth, (double)batch * self->steps, seconds,
            self->steps * roof_s(self, batch, operations, bytes),
            self->steps * bytes / seconds * 1e-9);
    return rc;
}

/* Positions before depth are really computed, so that their pages are in memory as in service. */
static int measure_depth(struct stage_bench *self, uint32_t depth, struct base_error *err)
{
    uint32_t filled = 0;
    double unused;
    int rc = BASE_OK;

    for (size_t b = 0; b < self->batch_count && rc == BASE_OK; b++) {
        for (; filled < self->batches[b] && rc == BASE_OK; filled++)
            if (depth > 0)
                rc = bench_run_prefill(self->run, filled, 0, depth, &unused, err);
        if (b == 0 && rc == BASE_OK)
            rc = measure_prefill(self, depth, err);
        if (rc == BASE_OK)
            rc = measure_decode(self, self->batches[b], depth, err);
    }
    return rc;
}

static int measure(struct stage_bench *self, struct base_error *err)
{
    double unused;

    bench_run_get_costs(self->run, &self->costs);
    if (!self->json)
        (void)printf("%s, %u threads; int8 peak %.0f GOP/s (tiles %.0f), reading %.1f GB/s; "
                     "weights %.1f MB a step, "
                     "loaded in %.3f s\n",
            tensor_isa_name(), self->threads, self->ceilings.int8_gops,
            self->ceilings.wide_int8_gops, self->ceilings.read_gbytes_total,
            (double)self->costs.weight_bytes / 1e6, bench_run_load_seconds(self->run));
    int rc = bench_run_prefill(self->run, 0, 0, self->prompt, &unused, err); /* warms */
    for (size_t d = 0; d < self->depth_count && rc == BASE_OK; d++)
        rc = measure_depth(self, self->depths[d], err);
    return rc;
}

static uint32_t largest(const uint32_t *values, size_t count)
{
    uint32_t most = 0;

    for (size_t i = 0; i < count; i++)
        most = values[i] > most ? values[i] : most;
    return most;
}

static json_t *make_result(const struct stage_bench *self)
{
    return json_pack("{s:s, s:s, s:i, s:f, s:f, s:I, s:I, s:f, s:O}", "model", self->model, "isa",
        tensor_isa_name(), "threads", (int)self->threads, "int8_gops", self->ceilings.int8_gops,
        "read_gigabytes_per_s", self->ceilings.read_gbytes_total, "weight_bytes",
        (json_int_t)self->costs.weight_bytes, "kv_bytes_per_position",
        (json_int_t)self->costs.kv_bytes_per_position, "load_seconds",
        bench_run_load_seconds(self->run), "rows", self->rows);
}

static int run(const struct cli_command *command, struct stage_bench *self, uint32_t kv_type)
{
    uint32_t longest = self->prompt > self->steps ? self->prompt : self->steps;
    const struct bench_run_options options = {.thread_count = self->threads,
        .sequence_count = largest(self->batches, self->batch_count),
        .positions = largest(self->depths, self->depth_count) + longest,
        .kv_type = kv_type,
        .pack_cache = self->pack_cache,
        .map_weights = self->map_weights};
    struct base_error err = {0};
    int exit_status;

    self->rows = json_array();
    int rc = cli_bench_ceilings(self->threads, &self->ceilings, &err);
    if (rc == BASE_OK)
        rc = bench_run_open(self->model, &options, &self->run, &err);
    if (rc == BASE_OK)
        rc = measure(self, &err);
    if (rc != BASE_OK)
        exit_status = cli_fail(command, "%s", err.text);
    else if (self->json && !cli_json_print(make_result(self)))
        exit_status = cli_fail(command, "the result could not be printed");
    else
        exit_status = cli_finish(command);
    json_decref(self->rows);
    bench_run_close(&self->run);
    return exit_status;
}

int cmd_bench_stage(const struct cli_command *command, int argc, char **argv)
{
    struct stage_bench self = {
        .threads = tensor_pool_default_threads(), .prompt = 512, .steps = 32};
    const char *batches = "1,2,4,8,16", *depths = "0", *kv_name = "f16";
    const struct base_option options[] = {
        {"model", 0, BASE_OPTION_STRING, &self.model, 0, 0, "FILE", NULL, "model to time"},
        {"threads", 0, BASE_OPTION_U32, &self.threads, 1, 256, "N", NULL, "compute threads"},
        {"prompt", 0, BASE_OPTION_U32, &self.prompt, 1, 65536, "N", NULL, "tokens of a prefill"},
        {"steps", 0, BASE_OPTION_U32, &self.steps, 1, 4096, "N", NULL, "steps of a decode"},
        {"batches", 0, BASE_OPTION_STRING, &batches, 0, 0, "LIST", NULL, "sequences at a time"},
        {"depths", 0, BASE_OPTION_STRING, &depths, 0, 0, "LIST", NULL,
            "positions already in the cache, such as 0,4096"},
        {"kv-type", 0, BASE_OPTION_STRING, &kv_name, 0, 0, "TYPE", NULL, "f32, f16 or int8"},
        {"pack-cache", 0, BASE_OPTION_STRING, &self.pack_cache, 0, 0, "DIR", NULL,
            "folder that keeps packed weights for the next start"},
        {"map", 0, BASE_OPTION_FLAG, &self.map_weights, 0, 0, NULL, NULL,
            "map them instead of reading them"},
        {"json", 0, BASE_OPTION_FLAG, &self.json, 0, 0, NULL, NULL, "print one object"},
    };
    int exit_status = CLI_EXIT_OK;

    if (!cli_parse_options(
            command, options, sizeof(options) / sizeof(options[0]), argc, argv, NULL, &exit_status))
        return exit_status;
    uint32_t kv_type = cli_bench_kv_type(kv_name);
    self.batch_count =
        cli_bench_numbers(batches, false, BENCH_SEQUENCES_MAX, self.batches, LIST_MAX);
    self.depth_count = cli_bench_numbers(depths, true, 65536, self.depths, LIST_MAX);
    if (self.model == NULL)
        return cli_usage(command, "--model is needed");
    if (self.map_weights && self.pack_cache == NULL)
        return cli_usage(command, "--map needs --pack-cache");
    if (self.batch_count == 0 || self.depth_count == 0 || kv_type == UINT32_MAX)
        return cli_usage(command,
            "--batches is a list of 1..%u, --depths of 0..65536, --kv-type f32, f16 or int8",
            BENCH_SEQUENCES_MAX);
    return run(command, &self, kv_type);
}
