/* Loading from packed weights that are in a folder already, against packing them. */
#include "cmd_bench.h"

#include "base_err.h"
#include "bench_load.h"
#include "bench_pairs.h"
#include "cli_answer.h"

struct load {
    const char *model, *pack_cache;
    uint32_t pairs;
    struct bench_pairs result;
};

/* The second is from the folder, so that the ratio says how much faster that is. */
static int take_turn(void *context, bool is_second, double *ret_seconds, struct base_error *err)
{
    const struct load *self = context;

    return bench_load(self->model, is_second ? self->pack_cache : NULL, ret_seconds, err);
}

static int measure(struct load *self, struct base_error *err)
{
    double unused;
    int rc = bench_load_warm(self->model, self->pack_cache, err);

    /* The file itself, and what was just written: out of memory for both. */
    for (int i = 0; i < 2 && rc == BASE_OK; i++)
        rc = take_turn(self, i == 1, &unused, err);
    return rc == BASE_OK ? bench_pairs_run(&self->result, self->pairs, take_turn, self, err) : rc;
}

static bool print_result(const struct load *self, bool json)
{
    struct bench_ratio r;

    bench_pairs_ratio(&self->result, &r);
    if (json)
        return cli_json_print(json_pack("{s:s, s:i, s:f, s:f, s:f, s:f, s:f}", "model", self->model,
            "pairs", (int)self->pairs, "ratio", r.ratio, "low", r.low, "high", r.high,
            "pack_seconds", r.first, "cached_seconds", r.second));
    (void)printf("%u pairs; median and its 95 %% bounds\n", self->pairs);
    (void)printf(
        "load     %7.2fx  (%.2f to %.2f)   packed again %7.3f s   from the cache %7.3f s\n",
        r.ratio, r.low, r.high, r.first, r.second);
    return true;
}

int cmd_bench_load(const struct cli_command *command, int argc, char **argv)
{
    static struct load self; /* large */
    bool json = false;

    self = (struct load){.pairs = 10};
    const struct base_option options[] = {
        {"model", 0, BASE_OPTION_STRING, &self.model, 0, 0, "FILE", NULL, "model to load"},
        {"pack-cache", 0, BASE_OPTION_STRING, &self.pack_cache, 0, 0, "DIR", NULL,
            "folder for its packed weights, which stay there"},
        {"pairs", 0, BASE_OPTION_U32, &self.pairs, 1, BENCH_SAMPLES_MAX, "N", NULL,
            "pairs of loads"},
        {"json", 0, BASE_OPTION_FLAG, &json, 0, 0, NULL, NULL, "print one object"},
    };
    struct base_error err = {0};
    int exit_status = CLI_EXIT_OK;

    if (!cli_parse_options(
            command, options, sizeof(options) / sizeof(options[0]), argc, argv, NULL, &exit_status))
        return exit_status;
    if (self.model == NULL || self.pack_cache == NULL)
        return cli_usage(command, "--model and --pack-cache are needed");
    if (measure(&self, &err) != BASE_OK)
        return cli_fail(command, "%s", err.text);
    if (!print_result(&self, json))
        return cli_fail(command, "the result could not be printed");
    return cli_finish(command);
}
