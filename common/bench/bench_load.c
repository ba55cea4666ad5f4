#include "bench_load.h"

#include "base_clock.h"
#include "base_err.h"
#include "base_limits.h"
#include "model.h"
#include "stage.h"
#include "stage_pack.h"
#include "tensor_type.h"
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* What the child tells. */
struct report {
    int rc;
    double seconds;
    struct base_error err;
};

/* checks: whether the first block's pack is there afterwards. */
static void load(const char *path, const char *pack_cache, bool checks, struct report *ret)
{
    struct model *model = NULL;
    struct stage *stage = NULL;
    const uint8_t *pack = NULL;

    ret->rc = model_open(path, &model, &ret->err);
    if (ret->rc != BASE_OK)
        return;
    const struct stage_options options = {
        .layer_count = model_get_config(model)->layer_count,
        .embeds = true,
        .has_head = true,
        .page_tokens = LIMIT_PAGE_TOKENS,
        .page_count = 1,
        .batch_tokens_max = LIMIT_BATCH_TOKENS_MAX,
        .context_length = LIMIT_PAGE_TOKENS,
        .kv_type = TENSOR_F16,
        .pack_cache = pack_cache,
    };
    uint64_t start_us = base_clock_us();
    ret->rc = stage_load(model, &options, NULL, NULL, NULL, &stage, &ret->err);
    ret->seconds = (double)(base_clock_us() - start_us) * 1e-6;
    stage_destroy(&stage);
    if (ret->rc == BASE_OK && checks) {
        ret->rc = stage_pack_map(pack_cache, model, 1, &pack, &ret->err);
        if (ret->rc == BASE_OK)
            (void)munmap((void *)(uintptr_t)pack, stage_pack_bytes(model, 1));
        else if (ret->rc == BASE_NOT_FOUND)
            (void)base_error_set(
                &ret->err, ret->rc, "%s: no packed weights are kept for this model", pack_cache);
    }
    model_close(&model);
}

static int load_apart(const char *path, const char *pack_cache, bool checks, double *ret_seconds,
    struct base_error *err)
{
    struct report report = {0};
    int pipe_fds[2];
    ssize_t got;

    if (pipe2(pipe_fds, O_CLOEXEC) != 0)
        return base_error_set(err, BASE_IO, "pipe: %s", strerror(errno));
    pid_t pid = fork();
    if (pid == 0) {
        load(path, pack_cache, checks, &report);
        got = write(pipe_fds[1], &report, sizeof(report)); /* whole: less than PIPE_BUF */
        _exit(got == (ssize_t)sizeof(report) ? 0 : 1);
    }
    (void)close(pipe_fds[1]);
    while ((got = read(pipe_fds[0], &report, sizeof(report))) < 0 && errno == EINTR)
        continue;
    (void)close(pipe_fds[0]);
    while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        continue;
    if (got != (ssize_t)sizeof(report))
        return base_error_set(err, BASE_INTERNAL, "%s: the process that loads it is gone", path);
    if (report.rc != BASE_OK)
        return base_error_set(err, report.rc, "%s", report.err.text);
    *ret_seconds = report.seconds;
    return BASE_OK;
}

int bench_load(
    const char *path, const char *pack_cache, double *ret_seconds, struct base_error *err)
{
    return load_apart(path, pack_cache, false, ret_seconds, err);
}

int bench_load_warm(const char *path, const char *pack_cache, struct base_error *err)
{
    double unused;

    return load_apart(path, pack_cache, true, &unused, err);
}
