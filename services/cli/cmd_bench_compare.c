/*
 * Our stage against a peer's programs on one GGUF file, in turns: llama-bench for prefill and
 * decode of one sequence, llama-batched-bench for decode of several.
 */
#include "cmd_bench.h"

#include "base_err.h"
#include "bench_pairs.h"
#include "cli_answer.h"
#include "cli_peer_bench.h"
#include "tensor_bench.h"
#include "tensor_pool.h"
#include <string.h>

#define BATCHES_MAX 16u
#define ROWS_MAX    (2 + BATCHES_MAX)

enum phase {
    PREFILL = 0,
    DECODE = 1,
    BATCHES = 2,
    PHASES = 3,
};

static const char *const phase_names[] = {"prefill", "decode", "batches"};

struct row {
    enum phase phase;
    uint32_t batch;
    struct bench_pairs pairs;
};

struct compare {
    struct cli_peer_bench peer;
    const char *peer_bench, *peer_batched;
    struct bench_run *run;
    struct bench_run_costs costs;
    struct tensor_ceilings ceilings;
    uint32_t prompt_tokens, decode_tokens, depth, pairs;
    bool wanted[PHASES];
    uint32_t batches[BATCHES_MAX];
    size_t batch_count;
    struct row rows[ROWS_MAX];
    size_t row_count;
};

/* A row being measured. */
struct turn {
    struct compare *compare;
    const struct row *row;
};

/* llama-batched-bench cannot do without a prompt. */
static uint32_t row_depth(const struct compare *self, const struct row *row)
{
    return row->phase == BATCHES && self->depth == 0 ? 1 : self->depth;
}

static int run_ours(
    struct compare *self, const struct row *row, double *ret_speed, struct base_error *err)
{
    bool is_prefill = row->phase == PREFILL;
    uint32_t tokens = is_prefill ? self->prompt_tokens : self->decode_tokens;
    uint32_t depth = row_depth(self, row);
    double seconds = 0;
    int rc = is_prefill ? bench_run_prefill(self->run, 0, depth, tokens, &seconds, err)
                        : bench_run_decode(self->run, row->batch, depth, tokens, &seconds, err);

    *ret_speed = seconds > 0 ? (double)tokens * row->batch / seconds : 0;
    return rc;
}

static int run_peer(
    struct compare *self, const struct row *row, double *ret_speed, struct base_error *err)
{
    self->peer.program = row->phase == BATCHES ? self->peer_batched : self->peer_bench;
    self->peer.prompt_tokens = row->phase == PREFILL ? self->prompt_tokens : 0;
    self->peer.decode_tokens = row->phase == PREFILL ? 0 : self->decode_tokens;
    self->peer.depth = row_depth(self, row);
    return row->phase == BATCHES ? cli_peer_batched_run(&self->peer, row->batch, ret_speed, err)
                                 : cli_peer_bench_run(&self->peer, ret_speed, err);
}

static int take_turn(void *context, bool is_second, double *ret_speed, struct base_error *err)
{
    struct turn *self = context;

    return is_second ? run_peer(self->compare, self->row, ret_speed, err)
                     : run_ours(self->compare, self->row, ret_speed, err);
}

/* Of ours, in 1e9 bytes a second: weights, keys and values that the steps read. */
static double row_gbytes(const struct compare *self, const struct row *row, double speed)
{
    double positions = row_depth(self, row) + self->decode_tokens / 2.0;

    return bench_run_step_bytes(&self->costs, row->batch, positions) * speed / row->batch * 1e-9;
}

static json_t *make_row(const struct compare *self, const struct row *row)
{
    struct bench_ratio r;
    json_t *object;

    bench_pairs_ratio(&row->pairs, &r);
    object = json_pack("{s:f, s:f, s:f, s:f, s:f}", "ratio", r.ratio, "low", r.low, "high", r.high,
        "ours", r.first, "peer", r.second);
    if (row->phase == BATCHES)
        (void)json_object_set_new(object, "batch", json_integer(row->batch));
    if (row->phase != PREFILL) {
        double gbytes = row_gbytes(self, row, r.first);
        (void)json_object_set_new(object, "gigabytes_per_s", json_real(gbytes));
        (void)json_object_set_new(
            object, "of_read_bandwidth", json_real(gbytes / self->ceilings.read_gbytes_total));
    }
    return object;
}

static void print_row(const struct compare *self, const struct row *row)
{
    char name[16];
    struct bench_ratio r;

    bench_pairs_ratio(&row->pairs, &r);
    if (row->phase == BATCHES)
        (void)snprintf(name, sizeof(name), "batch %u", row->batch);
    else
        (void)snprintf(name, sizeof(name), "%s", phase_names[row->phase]);
    (void)printf("%-8s %7.2fx  (%.2f to %.2f)   ours %9.2f tok/s   peer %9.2f tok/s", name, r.ratio,
        r.low, r.high, r.first, r.second);
    if (row->phase != PREFILL) {
        double gbytes = row_gbytes(self, row, r.first);
        (void)printf("   ours reads %6.2f GB/s  %3.0f %%", gbytes,
            100 * gbytes / self->ceilings.read_gbytes_total);
    }
    (void)printf("\n");
    (void)fflush(stdout);
}

static bool print_json(const struct compare *self)
{
    json_t *object = json_pack("{s:s, s:i, s:i, s:i, s:i, s:i, s:f}", "model", self->peer.model,
        "threads", (int)self->peer.threads, "pairs", (int)self->pairs, "prompt_tokens",
        (int)self->prompt_tokens, "decode_tokens", (int)self->decode_tokens, "depth",
        (int)self->depth, "read_gigabytes_per_s", self->ceilings.read_gbytes_total);
    json_t *batches = json_array();

    for (size_t i = 0; i < self->row_count; i++) {
        const struct row *row = &self->rows[i];
        if (row->phase == BATCHES)
            (void)json_array_append_new(batches, make_row(self, row));
        else
            (void)json_object_set_new(object, phase_names[row->phase], make_row(self, row));
    }
    if (json_array_size(batches) > 0)
        (void)json_object_set(object, phase_names[BATCHES], batches);
    json_decref(batches);
    return cli_json_print(object);
}

static int measure_row(struct compare *self, struct row *row, bool json, struct base_error *err)
{
    struct turn turn = {self, row};
    double unused;
    int rc = run_ours(self, row, &unused, err); /* warms */

    if (rc == BASE_OK)
        rc = bench_pairs_run(&row->pairs, self->pairs, take_turn, &turn, err);
    if (rc == BASE_OK && !json)
        print_row(self, row);
    return rc;
}

static void plan_rows(struct compare *self)
{
    for (int phase = PREFILL; phase <= DECODE; phase++)
        if (self->wanted[phase])
            self->rows[self->row_count++] = (struct row){.phase = (enum phase)phase, .batch = 1};
    for (size_t i = 0; self->wanted[BATCHES] && i < self->batch_count; i++)
        self->rows[self->row_count++] = (struct row){.phase = BATCHES, .batch = self->batches[i]};
}

/* Every sequence of every row has its depth really computed before. */
static int fill(struct compare *self, struct base_error *err)
{
    uint32_t filled = 0;
    double unused;
    int rc = BASE_OK;

    for (size_t i = 0; i < self->row_count; i++) {
        uint32_t depth = row_depth(self, &self->rows[i]);
        for (; depth > 0 && filled < self->rows[i].batch && rc == BASE_OK; filled++)
            rc = bench_run_prefill(self->run, filled, 0, depth, &unused, err);
    }
    return rc;
}

static int measure(struct compare *self, uint32_t kv_type, bool json, struct base_error *err)
{
    struct bench_run_options options = {.thread_count = self->peer.threads, .kv_type = kv_type};

    for (size_t i = 0; i < self->row_count; i++) {
        const struct row *row = &self->rows[i];
        uint32_t positions = row_depth(self, row) +
                             (row->phase == PREFILL ? self->prompt_tokens : self->decode_tokens);
        if (row->batch > options.sequence_count)
            options.sequence_count = row->batch;
        if (positions > options.positions)
            options.positions = positions;
    }
    int rc = cli_bench_ceilings(self->peer.threads, &self->ceilings, err);
    if (rc == BASE_OK)
        rc = bench_run_open(self->peer.model, &options, &self->run, err);
    if (rc != BASE_OK)
        return rc;
    bench_run_get_costs(self->run, &self->costs);
    if (!json)
        (void)printf("%u pairs, %u threads, prompt %u, decode %u, depth %u, reading %.1f GB/s; "
                     "median and its 95 %% bounds\n",
            self->pairs, self->peer.threads, self->prompt_tokens, self->decode_tokens, self->depth,
            self->ceilings.read_gbytes_total);
    rc = fill(self, err);
    for (size_t i = 0; i < self->row_count && rc == BASE_OK; i++)
        rc = measure_row(self, &self->rows[i], json, err);
    return rc;
}

static bool parse_phases(struct compare *self, const char *text)
{
    while (*text != '\0') {
        size_t bytes = strcspn(text, ",");
        int phase = PREFILL;
        while (phase < PHASES && (strlen(phase_names[phase]) != bytes ||
                                     strncmp(phase_names[phase], text, bytes) != 0))
            phase++;
        if (phase == PHASES)
            return false;
        self->wanted[phase] = true;
        text += text[bytes] == ',' ? bytes + 1 : bytes;
    }
    return true;
}

/* What the options mean together. Returns CLI_EXIT_OK or says what is wrong. */
static int check(struct compare *self, const struct cli_command *command, const char *phases,
    const char *batches)
{
    if (self->peer.model == NULL || (self->peer_bench == NULL && self->peer_batched == NULL))
        return cli_usage(command, "--model and --peer-bench or --peer-batched are needed");
    if (phases == NULL) {
        self->wanted[PREFILL] = self->wanted[DECODE] = self->peer_bench != NULL;
        self->wanted[BATCHES] = self->peer_batched != NULL;
    } else if (!parse_phases(self, phases)) {
        return cli_usage(command, "--phases is a list of prefill, decode, batches");
    }
    if ((self->wanted[PREFILL] || self->wanted[DECODE]) && self->peer_bench == NULL)
        return cli_usage(command, "prefill and decode need --peer-bench");
    if (self->wanted[BATCHES] && self->peer_batched == NULL)
        return cli_usage(command, "batches need --peer-batched");
    self->batch_count =
        cli_bench_numbers(batches, false, BENCH_SEQUENCES_MAX, self->batches, BATCHES_MAX);
    if (self->batch_count == 0)
        return cli_usage(command, "--batches is a list of 1..%u", BENCH_SEQUENCES_MAX);
    plan_rows(self);
    return self->row_count > 0 ? CLI_EXIT_OK : cli_usage(command, "--phases is empty");
}

int cmd_bench_compare(const struct cli_command *command, int argc, char **argv)
{
    static struct compare self; /* large */
    const char *kv_name = "f16", *batches = "4,16", *phases = NULL;
    cpu_set_t cpus; /* before our threads are pinned */
    bool json = false;

    self = (struct compare){.prompt_tokens = 512, .decode_tokens = 64, .pairs = 10};
    self.peer.threads = tensor_pool_default_threads();
    if (sched_getaffinity(0, sizeof(cpus), &cpus) == 0)
        self.peer.cpus = &cpus;
    const struct base_option options[] = {
        {"peer-bench", 0, BASE_OPTION_STRING, &self.peer_bench, 0, 0, "PATH", NULL,
            "a llama-bench program, for prefill and decode"},
        {"peer-batched", 0, BASE_OPTION_STRING, &self.peer_batched, 0, 0, "PATH", NULL,
            "a llama-batched-bench program, for batches"},
        {"peer-arguments", 0, BASE_OPTION_STRING, &self.peer.extra, 0, 0, "ARGS", NULL,
            "further arguments for them, such as '-fa 1 -ub 128'"},
        {"model", 0, BASE_OPTION_STRING, &self.peer.model, 0, 0, "FILE", NULL,
            "GGUF file that both read"},
        {"threads", 0, BASE_OPTION_U32, &self.peer.threads, 1, 256, "N", NULL,
            "compute threads of both"},
        {"phases", 0, BASE_OPTION_STRING, &phases, 0, 0, "LIST", NULL,
            "prefill, decode, batches (default: all that the programs given can do)"},
        {"prompt", 0, BASE_OPTION_U32, &self.prompt_tokens, 1, 65536, "N", NULL,
            "tokens of a prefill"},
        {"steps", 0, BASE_OPTION_U32, &self.decode_tokens, 1, 4096, "N", NULL, "steps of a decode"},
        {"batches", 0, BASE_OPTION_STRING, &batches, 0, 0, "LIST", NULL,
            "sequences that decode at a time"},
        {"depth", 0, BASE_OPTION_U32, &self.depth, 0, 65536, "N", NULL,
            "positions already in the cache; at least 1 for batches"},
        {"pairs", 0, BASE_OPTION_U32, &self.pairs, 1, BENCH_SAMPLES_MAX, "N", NULL,
            "pairs of runs"},
        {"kv-type", 0, BASE_OPTION_STRING, &kv_name, 0, 0, "TYPE", NULL,
            "our KV pages: f32, f16 or int8"},
        {"json", 0, BASE_OPTION_FLAG, &json, 0, 0, NULL, NULL, "print one object"},
    };
    struct base_error err = {0};
    int exit_status = CLI_EXIT_OK;

    if (!cli_parse_options(
            command, options, sizeof(options) / sizeof(options[0]), argc, argv, NULL, &exit_status))
        return exit_status;
    uint32_t kv_type = cli_bench_kv_type(kv_name);
    if (kv_type == UINT32_MAX)
        return cli_usage(command, "--kv-type '%s' is none of f32, f16, int8", kv_name);
    exit_status = check(&self, command, phases, batches);
    if (exit_status != CLI_EXIT_OK)
        return exit_status;
    int rc = measure(&self, kv_type, json, &err);
    if (rc != BASE_OK)
        exit_status = cli_fail(command, "%s", err.text);
    else if (json && !print_json(&self))
        exit_status = cli_fail(command, "the result could not be printed");
    else
        exit_status = cli_finish(command);
    bench_run_close(&self.run);
    return exit_status;
}
