/* layermesh-coordinator: knows who is there and who computes which layers. */
#include "admin.h"
#include "base_err.h"
#include "base_log.h"
#include "config.h"
#include "coordinator_io.h"
#include "keys.h"
#include "metrics_process.h"
#include "net_metrics.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define ROW_COUNT    14 /* of our own */
#define OPTION_COUNT (ROW_COUNT + CONFIG_OPTION_COUNT)

struct settings {
    struct config config;
    const char *listen, *keys;
    bool insecure, any_address;
    struct coordinator_options core;
    struct metrics_process process;
    struct metrics *metrics;
    struct admin *admin;
};

static void list_options(struct settings *s, struct base_option *ret)
{
    const struct base_option rows[ROW_COUNT] = {
        {"listen", 'l', BASE_OPTION_STRING, &s->listen, 0, 0, "ENDPOINT",
            "LAYERMESH_COORDINATOR_LISTEN", "Where workers, routers and the CLI connect."},
        {"stages", 0, BASE_OPTION_U32, &s->core.stage_count, 0, LIMIT_STAGES_MAX, "N", NULL,
            "Exactly so many stages when possible; 0: as many as make the slowest one fastest."},
        {"min-workers", 0, BASE_OPTION_U32, &s->core.min_workers, 1, LIMIT_WORKERS_MAX, "N", NULL,
            "Make no first plan before so many workers are registered."},
        {"settle-ms", 0, BASE_OPTION_U32, &s->core.settle_ms, 0, 600000, "MS", NULL,
            "Make no first plan before so long nobody joined."},
        {"kv-tokens", 0, BASE_OPTION_U64, &s->core.kv_tokens, 512,
            (double)LIMIT_PAGES_MAX * LIMIT_PAGE_TOKENS, "N", NULL,
            "Wanted KV positions of all requests together; halved until they fit."},
        {"batch-tokens", 0, BASE_OPTION_U32, &s->core.batch_tokens, 1, LIMIT_BATCH_TOKENS_MAX, "N",
            NULL, "Tokens of the micro-batch that placement is best for."},
        {"heartbeat-ms", 0, BASE_OPTION_U32, &s->core.heartbeat_interval_ms, 10, 60000, "MS", NULL,
            "Interval of heartbeats."},
        {"lease-ms", 0, BASE_OPTION_U32, &s->core.lease_ms, 50, 600000, "MS", NULL,
            "Silence after which a peer is lost; at least two heartbeats."},
        {"hang-ms", 0, BASE_OPTION_U32, &s->core.hang_ms, 100, 3600000, "MS", NULL,
            "A step that computes longer is a hang."},
        {"cooldown-ms", 0, BASE_OPTION_U32, &s->core.cooldown_ms, 0, 86400000, "MS", NULL,
            "Least time between voluntary changes of plan."},
        {"min-gain", 0, BASE_OPTION_F64, &s->core.min_gain, 0, 1, "FRACTION", NULL,
            "Least gain that a voluntary change of plan must bring."},
        {"keys", 0, BASE_OPTION_STRING, &s->keys, 0, 0, "FOLDER", "LAYERMESH_KEYS",
            "Key store made by 'layermesh keys init': TCP is encrypted, only its keys are let in."},
        {"insecure", 0, BASE_OPTION_FLAG, &s->insecure, 0, 0, NULL, "LAYERMESH_INSECURE",
            "Without --keys: allow plain TCP, for a network that you trust."},
        {"insecure-any-address", 0, BASE_OPTION_FLAG, &s->any_address, 0, 0, NULL,
            "LAYERMESH_INSECURE_ANY_ADDRESS", "...also on every interface at once."},
    };
    memcpy(ret, rows, sizeof(rows));
    config_options(&s->config, ret + ROW_COUNT);
}

static int check_settings(const void *settings, struct base_error *err)
{
    const struct settings *s = settings;

    if (admin_listen_check(s->config.admin_listen, err) != BASE_OK)
        return BASE_INVALID;

    if (s->core.lease_ms < 2 * s->core.heartbeat_interval_ms)
        return base_error_set(err, BASE_INVALID,
            "--lease-ms %u is less than two heartbeats of %u ms", s->core.lease_ms,
            s->core.heartbeat_interval_ms);
    const struct net_policy policy = {
        s->keys != NULL, s->insecure, s->any_address, "--keys FOLDER"};
    if (net_endpoint_check(s->listen, &policy, err) != BASE_OK)
        return base_error_prepend(err, BASE_INVALID, "--listen");
    return BASE_OK;
}

static int pick_incarnation(uint64_t *ret, struct base_error *err)
{
    uint64_t incarnation = 0; /* 0 means none */

    while (incarnation == 0)
        if (getrandom(&incarnation, sizeof(incarnation), 0) != (ssize_t)sizeof(incarnation)) {
            incarnation = 0;
            if (errno != EINTR)
                return base_error_set(err, BASE_IO, "getrandom: %s", strerror(errno));
        }
    *ret = incarnation;
    return BASE_OK;
}

#define ADMIN_PORT 7401

/* The admin port, and what it tells. */
static int open_admin(struct settings *s, struct net_context *context, struct coordinator_io *io,
    struct base_error *err)
{
    int rc = metrics_new(&s->metrics);

    if (rc != BASE_OK)
        return base_error_set(err, rc, "metrics");
    rc = metrics_process_register(&s->process, s->metrics, LAYERMESH_VERSION, "none", err);
    if (rc == BASE_OK)
        rc = net_metrics_register(context, s->metrics, err);
    if (rc == BASE_OK)
        rc = coordinator_io_register(io, s->metrics, err);
    const struct admin_options options = {.listen = s->config.admin_listen,
        .usual_port = ADMIN_PORT,
        .metrics = s->metrics,
        .process = &s->process};
    return rc == BASE_OK ? admin_start(&options, &s->admin, err) : rc;
}

static int serve(struct settings *s, struct base_error *err)
{
    struct net_context *context = NULL;
    struct coordinator_io *io = NULL;
    struct keys_identity identity;
    char path[KEYS_PATH_BYTES];
    int rc = net_context_new(&context, err);

    if (rc == BASE_OK && s->keys)
        rc = keys_path(s->keys, KEYS_NAME_COORDINATOR, path, err);
    if (rc == BASE_OK)
        rc = keys_secure(context, s->keys ? path : NULL, WIRE_ROLE_COORDINATOR, true, s->insecure,
            &identity, err);
    if (rc == BASE_OK)
        rc = pick_incarnation(&s->core.incarnation, err);
    if (rc == BASE_OK)
        rc = coordinator_io_new(context, s->listen, s->keys, &s->core, &io, err);
    if (rc == BASE_OK)
        rc = open_admin(s, context, io, err);
    if (rc == BASE_OK)
        coordinator_io_run(io, s->admin);
    admin_stop(&s->admin);
    metrics_destroy(&s->metrics);
    coordinator_io_destroy(&io);
    net_context_destroy(&context);
    return rc;
}

static const struct config_program program = {"layermesh-coordinator", "LAYERMESH_COORDINATOR_",
    "[OPTION]...\nKnows the workers of a layermesh and gives each its layers.", check_settings};

int main(int argc, char **argv)
{
    struct settings settings = {.listen = "tcp://127.0.0.1:7400"};
    struct base_option options[OPTION_COUNT];
    struct base_error err = {0};
    int status;

    config_init(&settings.config);
    coordinator_options_default(&settings.core);
    list_options(&settings, options);
    if (config_start(
            &settings.config, &program, options, OPTION_COUNT, &settings, argc, argv, &status) &&
        serve(&settings, &err) != BASE_OK) {
        (void)fprintf(stderr, "layermesh-coordinator: %s\n", err.text);
        status = EXIT_FAILURE;
    }
    config_release(&settings.config);
    return status;
}
