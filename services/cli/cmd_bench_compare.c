/*
 * Our stage against a llama-bench program on one GGUF file. Each pair is ours and the peer's run
 * one after the other, the order turned round from pair to pair, so that drift of the machine
 * falls on both; the ratio is taken within a pair.
 */
#include "cmd_bench.h"

#include "base_err.h"
#include "bench_stat.h"
#include "cli_answer.h"
#include "cli_peer_bench.h"
#include "tensor_pool.h"
#include <string.h>

enum phase {
    PREFILL = 0,
    DECODE = 1,
    PHASES = 2,
};

struct samples {
    double ours[BENCH_SAMPLES_MAX], peer[BENCH_SAMPLES_MAX], ratio[BENCH_SAMPLES_MAX];
};

struct compare {
    struct cli_peer_bench peer;
    struct bench_run *run;
    uint32_t prompt_tokens, decode_tokens, pairs;
    struct samples samples[PHASES];
};

static int run_ours(
    struct compare *self, enum phase phase, double *ret_speed, struct base_error *err)
{
    uint32_t tokens = phase == PREFILL ? self->prompt_tokens : self->decode_tokens;
    double seconds = 0;
    int rc = phase == PREFILL
                 ? bench_run_prefill(self->run, 0, self->peer.depth, tokens, &seconds, err)
                 : bench_run_decode(self->run, 1, self->peer.depth, tokens, &seconds, err);

    *ret_speed = seconds > 0 ? tokens / seconds : 0;
    return rc;
}

static int run_peer(
    struct compare *self, enum phase phase, double *ret_speed, struct base_error *err)
{
    self->peer.prompt_tokens = phase == PREFILL ? self->prompt_tokens : 0;
    self->peer.decode_tokens = phase == DECODE ? self->decode_tokens : 0;
    return cli_peer_bench_run(&self->peer, ret_speed, err);
}

static int run_pair(struct compare *self, enum phase phase, uint32_t pair, struct base_error *err)
{
    struct samples *s = &self->samples[phase];
    bool peer_first = pair % 2 == 1;
    int rc = BASE_OK;

    if (peer_first)
        rc = run_peer(self, phase, &s->peer[pair], err);
    if (rc == BASE_OK)
        rc = run_ours(self, phase, &s->ours[pair], err);
    if (rc == BASE_OK && !peer_first)
        rc = run_peer(self, phase, &s->peer[pair], err);
    if (rc == BASE_OK)
        s->ratio[pair] = s->ours[pair] / s->peer[pair];
    return rc;
}

static json_t *make_phase(const struct compare *self, enum phase phase)
{
    const struct samples *s = &self->samples[phase];
    double low, high;

    bench_median_bounds(s->ratio, self->pairs, &low, &high);
    return json_pack("{s:f, s:f, s:f, s:f, s:f}", "ratio", bench_median(s->ratio, self->pairs),
        "low", low, "high", high, "ours", bench_median(s->ours, self->pairs), "peer",
        bench_median(s->peer, self->pairs));
}

static void print_phase(const struct compare *self, enum phase phase, const char *name)
{
    const struct samples *s = &self->samples[phase];
    double low, high;

    bench_median_bounds(s->ratio, self->pairs, &low, &high);
    (void)printf("%-8s %7.2fx  (%.2f to %.2f)   ours %9.2f tok/s   peer %9.2f tok/s\n", name,
        bench_median(s->ratio, self->pairs), low, high, bench_median(s->ours, self->pairs),
        bench_median(s->peer, self->pairs));
}

static bool print_result(const struct compare *self, bool json)
{
    if (json)
        return cli_json_print(json_pack("{s:s, s:i, s:i, s:i, s:i, s:i, s:o, s:o}", "model",
            self->peer.model, "threads", (int)self->peer.threads, "pairs", (int)self->pairs,
            "prompt_tokens", (int)self->prompt_tokens, "decode_tokens", (int)self->decode_tokens,
            "depth", (int)self->peer.depth, "prefill", make_phase(self, PREFILL), "decode",
            make_phase(self, DECODE)));
    (void)printf(
        "%u pairs, %u threads, prompt %u, decode %u, depth %u; median and its 95 %% bounds\n",
        self->pairs, self->peer.threads, self->prompt_tokens, self->decode_tokens,
        self->peer.depth);
    print_phase(self, PREFILL, "prefill");
    print_phase(self, DECODE, "decode");
    return true;
}

static int measure(struct compare *self, struct base_error *err)
{
    double unused;
    int rc = BASE_OK;

    /* Depth is filled once; both are warmed. */
    if (self->peer.depth > 0)
        rc = bench_run_prefill(self->run, 0, 0, self->peer.depth, &unused, err);
    for (int phase = PREFILL; phase < PHASES && rc == BASE_OK; phase++) {
        rc = run_ours(self, (enum phase)phase, &unused, err);
        for (uint32_t pair = 0; pair < self->pairs && rc == BASE_OK; pair++)
            rc = run_pair(self, (enum phase)phase, pair, err);
    }
    return rc;
}

int cmd_bench_compare(const struct cli_command *command, int argc, char **argv)
{
    static struct compare self; /* large */
    const char *kv_name = "f16";
    cpu_set_t cpus; /* before our threads are pinned */
    bool json = false;

    self = (struct compare){.prompt_tokens = 512, .decode_tokens = 64, .pairs = 10};
    self.peer.threads = tensor_pool_default_threads();
    if (sched_getaffinity(0, sizeof(cpus), &cpus) == 0)
        self.peer.cpus = &cpus;
    const struct base_option options[] = {
        {.name = "peer-bench",
            .type = BASE_OPTION_STRING,
            .target = &self.peer.program,
            .value_name = "PATH",
            .help = "the llama-bench program"},
        {.name = "peer-arguments",
            .type = BASE_OPTION_STRING,
            .target = &self.peer.extra,
            .value_name = "ARGS",
            .help = "further arguments for it, such as '-fa 1 -ub 128'"},
        {.name = "model",
            .type = BASE_OPTION_STRING,
            .target = &self.peer.model,
            .value_name = "FILE",
            .help = "GGUF file that both read"},
        {.name = "threads",
            .type = BASE_OPTION_U32,
            .target = &self.peer.threads,
            .min = 1,
            .max = 256,
            .value_name = "N",
            .help = "compute threads of both"},
        {.name = "prompt",
            .type = BASE_OPTION_U32,
            .target = &self.prompt_tokens,
            .min = 1,
            .max = 65536,
            .value_name = "N",
            .help = "tokens of a prefill"},
        {.name = "steps",
            .type = BASE_OPTION_U32,
            .target = &self.decode_tokens,
            .min = 1,
            .max = 4096,
            .value_name = "N",
            .help = "tokens of a decode"},
        {.name = "depth",
            .type = BASE_OPTION_U32,
            .target = &self.peer.depth,
            .min = 0,
            .max = 65536,
            .value_name = "N",
            .help = "positions already in the cache"},
        {.name = "pairs",
            .type = BASE_OPTION_U32,
            .target = &self.pairs,
            .min = 1,
            .max = BENCH_SAMPLES_MAX,
            .value_name = "N",
            .help = "pairs of runs"},
        {.name = "kv-type",
            .type = BASE_OPTION_STRING,
            .target = &kv_name,
            .value_name = "TYPE",
            .help = "our KV pages: f32, f16 or int8"},
        {.name = "json", .type = BASE_OPTION_FLAG, .target = &json, .help = "print one object"},
    };
    struct base_error err = {0};
    int exit_status = CLI_EXIT_OK;

    if (!cli_parse_options(
            command, options, sizeof(options) / sizeof(options[0]), argc, argv, NULL, &exit_status))
        return exit_status;
    if (self.peer.program == NULL || self.peer.model == NULL)
        return cli_usage(command, "--peer-bench and --model are needed");
    uint32_t kv_type = cli_bench_kv_type(kv_name);
    if (kv_type == UINT32_MAX)
        return cli_usage(command, "--kv-type '%s' is none of f32, f16, int8", kv_name);
    uint32_t longest =
        self.prompt_tokens > self.decode_tokens ? self.prompt_tokens : self.decode_tokens;
    const struct bench_run_options run_options = {.thread_count = self.peer.threads,
        .sequence_count = 1,
        .positions = self.peer.depth + longest,
        .kv_type = kv_type};
    int rc = bench_run_open(self.peer.model, &run_options, &self.run, &err);
    if (rc == BASE_OK)
        rc = measure(&self, &err);
    if (rc != BASE_OK)
        exit_status = cli_fail(command, "%s", err.text);
    else if (!print_result(&self, json))
        exit_status = cli_fail(command, "the result could not be printed");
    else
        exit_status = cli_finish(command);
    bench_run_close(&self.run);
    return exit_status;
}
