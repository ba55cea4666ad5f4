/* layermesh-router: takes requests of clients and runs them on the mesh. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "admin.h"
#include "base_log.h"
#include "config.h"
#include "gguf.h"
#include "hf.h"
#include "keys.h"
#include "metrics_process.h"
#include "net_metrics.h"
#include "router_io.h"
#include "text_tokenizer.h"

#define ROW_COUNT    14 /* of our own */
#define OPTION_COUNT (ROW_COUNT + CONFIG_OPTION_COUNT)

struct settings {
    struct config config;
    const char *model, *node_id;
    const char *key;
    double canary_s;
    bool insecure, any_address;
    struct metrics_process process;
    struct metrics *metrics;
    struct admin *admin;
    struct keys_identity identity;
    struct router_io_options io;
};

static void list_options(struct settings *s, struct base_option *ret)
{
    const struct base_option rows[ROW_COUNT] = {
        {"model", 'm', BASE_OPTION_STRING, &s->model, 0, 0, "FILE", NULL,
            "Model file (GGUF); its tokenizer is used. Required."},
        {"coordinator", 'c', BASE_OPTION_STRING, &s->io.coordinator, 0, 0, "ENDPOINT",
            "LAYERMESH_COORDINATOR", "Coordinator to register with."},
        {"listen", 'l', BASE_OPTION_STRING, &s->io.listen, 0, 0, "ENDPOINT", NULL,
            "Where clients connect."},
        {"data-listen", 0, BASE_OPTION_STRING, &s->io.data_listen, 0, 0, "ENDPOINT", NULL,
            "Where the last stage returns results; * picks a port."},
        {"advertise", 0, BASE_OPTION_STRING, &s->io.advertise, 0, 0, "ENDPOINT", NULL,
            "What the last stage connects to, when it is not what --data-listen says."},
        {"node-id", 0, BASE_OPTION_STRING, &s->node_id, 0, 0, "NAME", NULL,
            "Name in the mesh, the same at each start (default: the host name and -router)."},
        {"batch-tokens", 0, BASE_OPTION_U32, &s->io.core.batch_tokens, 1, LIMIT_BATCH_TOKENS_MAX,
            "N", NULL, "Most tokens in one micro-batch."},
        {"max-running", 0, BASE_OPTION_U32, &s->io.core.requests_running, 1, LIMIT_REQUESTS_RUNNING,
            "N", NULL, "Most requests computed at the same time."},
        {"max-waiting", 0, BASE_OPTION_U32, &s->io.core.requests_waiting, 1, LIMIT_REQUESTS_WAITING,
            "N", NULL, "Most requests that queue; more are refused."},
        {"canary-s", 0, BASE_OPTION_F64, &s->canary_s, 0, 3600, "SECONDS", NULL,
            "Without any result for so long, a token of the router's own goes through all stages, "
            "so that /readyz knows; 0: never."},
        {"grace-s", 0, BASE_OPTION_F64, &s->io.grace_s, 0, 3600, "SECONDS", NULL,
            "Longest wait after SIGTERM for running requests; a second signal ends it."},
        {"key", 0, BASE_OPTION_STRING, &s->key, 0, 0, "FILE", "LAYERMESH_KEY",
            "Key of the router, from 'layermesh keys init': TCP is encrypted."},
        {"insecure", 0, BASE_OPTION_FLAG, &s->insecure, 0, 0, NULL, "LAYERMESH_INSECURE",
            "Without --key: allow plain TCP, for a network that you trust."},
        {"insecure-any-address", 0, BASE_OPTION_FLAG, &s->any_address, 0, 0, NULL,
            "LAYERMESH_INSECURE_ANY_ADDRESS", "...also on every interface at once."},
    };
    memcpy(ret, rows, sizeof(rows));
    config_options(&s->config, ret + ROW_COUNT);
}

static bool is_name(const char *name)
{
    size_t length = strlen(name);
    for (size_t i = 0; i < length; i++)
        if (!isalnum((unsigned char)name[i]) && strchr("._-", name[i]) == NULL)
            return false;
    return length > 0 && length < LIMIT_NAME_BYTES;
}

static int check_endpoints(const struct settings *s, struct base_error *err)
{
    const struct {
        const char *option, *endpoint;
    } rows[3] = {{"--coordinator", s->io.coordinator}, {"--listen", s->io.listen},
        {"--data-listen", s->io.data_listen}};
    const struct net_policy policy = {s->key != NULL, s->insecure, s->any_address, "--key FILE"};
    for (size_t i = 0; i < 3; i++) {
        int rc = net_endpoint_check(rows[i].endpoint, &policy, err);
        if (rc != BASE_OK)
            return base_error_prepend(err, rc, "%s", rows[i].option);
    }
    const char *data = s->io.data_listen;
    if (s->io.advertise == NULL &&
        (strncmp(data, "tcp://*:", 8) == 0 || strncmp(data, "tcp://0.0.0.0:", 14) == 0))
        return base_error_set(err, BASE_INVALID,
            "--data-listen %s takes any address: --advertise must name one", data);
    return BASE_OK;
}

static int check_settings(const void *settings, struct base_error *err)
{
    const struct settings *s = settings;

    if (admin_listen_check(s->config.admin_listen, err) != BASE_OK)
        return BASE_INVALID;

    if (s->model == NULL)
        return base_error_set(err, BASE_INVALID, "--model FILE is required");
    if (s->io.coordinator == NULL)
        return base_error_set(
            err, BASE_INVALID, "--coordinator ENDPOINT or LAYERMESH_COORDINATOR is required");
    if (s->node_id != NULL && !is_name(s->node_id))
        return base_error_set(err, BASE_INVALID,
            "--node-id %s: 1 to %d letters, digits, dots, dashes or underscores", s->node_id,
            LIMIT_NAME_BYTES - 1);
    if (s->io.advertise != NULL && strlen(s->io.advertise) >= LIMIT_ENDPOINT_BYTES)
        return base_error_set(err, BASE_INVALID, "--advertise is too long");
    return check_endpoints(s, err);
}

/* Who this process is. */
static int describe(struct settings *s, struct base_error *err)
{
    struct router_options *core = &s->io.core;
    char host[LIMIT_NAME_BYTES - 8];
    if (gethostname(core->host, sizeof(core->host)) != 0)
        (void)snprintf(core->host, sizeof(core->host), "localhost");
    core->host[sizeof(core->host) - 1] = 0;
    (void)snprintf(host, sizeof(host), "%.*s", (int)sizeof(host) - 1, core->host);
    for (char *c = host; *c != 0; c++)
        if (!isalnum((unsigned char)*c) && strchr("._-", *c) == NULL)
            *c = '-';
    if (s->node_id != NULL)
        (void)snprintf(core->node_id, sizeof(core->node_id), "%s", s->node_id);
    else
        (void)snprintf(core->node_id, sizeof(core->node_id), "%s-router", host);
    core->pid = (uint32_t)getpid();
    core->canary_ms = (uint32_t)(s->canary_s * 1000);
    while (core->incarnation == 0) /* 0 means none */
        if (getrandom(&core->incarnation, sizeof(core->incarnation), 0) !=
                (ssize_t)sizeof(core->incarnation) &&
            errno != EINTR)
            return base_error_set(err, BASE_IO, "getrandom: %s", strerror(errno));
    return BASE_OK;
}

static int open_tokenizer(
    const char *path, struct text_tokenizer **ret_tokenizer, struct base_error *err)
{
    struct gguf *file = NULL;
    int rc = hf_open_model(path, &file, err);
    if (rc == BASE_OK)
        rc = text_tokenizer_open(file, ret_tokenizer, err);
    gguf_close(&file);
    return rc;
}

#define ADMIN_PORT 7501

/* The admin port, and what it tells. */
static int open_admin(
    struct settings *s, struct net_context *context, struct router_io *io, struct base_error *err)
{
    int rc = metrics_new(&s->metrics);
    if (rc != BASE_OK)
        return base_error_set(err, rc, "metrics");
    rc = metrics_process_register(&s->process, s->metrics, LAYERMESH_VERSION, "none", err);
    if (rc == BASE_OK)
        rc = net_metrics_register(context, s->metrics, err);
    if (rc == BASE_OK)
        rc = router_io_register(io, s->metrics, err);
    const struct admin_options options = {.listen = s->config.admin_listen,
        .usual_port = ADMIN_PORT,
        .metrics = s->metrics,
        .process = &s->process};
    return rc == BASE_OK ? admin_start(&options, &s->admin, err) : rc;
}

static int serve(struct settings *s, struct base_error *err)
{
    struct net_context *context = NULL;
    struct text_tokenizer *tokenizer = NULL;
    struct router_io *io = NULL;
    int rc = net_context_new(&context, err);
    if (rc == BASE_OK)
        rc = keys_secure(context, s->key, WIRE_ROLE_ROUTER, true, s->insecure, &s->identity, err);
    s->io.coordinator_key = s->identity.coordinator_key;
    if (rc == BASE_OK)
        rc = describe(s, err);
    if (rc == BASE_OK)
        rc = open_tokenizer(s->model, &tokenizer, err);
    if (rc == BASE_OK)
        rc = router_io_new(context, &s->io, tokenizer, &io, err);
    if (rc == BASE_OK)
        rc = open_admin(s, context, io, err);
    if (rc == BASE_OK)
        router_io_run(io, s->admin);
    admin_stop(&s->admin);
    metrics_destroy(&s->metrics);
    router_io_destroy(&io);
    text_tokenizer_close(&tokenizer);
    net_context_destroy(&context);
    return rc;
}

static const struct config_program program = {"layermesh-router", "LAYERMESH_ROUTER_",
    "--model FILE --coordinator ENDPOINT [OPTION]...\n"
    "Takes requests of clients and runs them on a layermesh.",
    check_settings};

int main(int argc, char **argv)
{
    struct settings settings = {.canary_s = 10,
        .io = {
            .listen = "tcp://127.0.0.1:7500", .data_listen = "tcp://127.0.0.1:*", .grace_s = 30}};
    struct base_option options[OPTION_COUNT];
    struct base_error err = {0};
    int status;

    config_init(&settings.config);
    router_options_default(&settings.io.core);
    list_options(&settings, options);
    if (config_start(
            &settings.config, &program, options, OPTION_COUNT, &settings, argc, argv, &status) &&
        serve(&settings, &err) != BASE_OK) {
        (void)fprintf(stderr, "layermesh-router: %s\n", err.text);
        status = EXIT_FAILURE;
    }
    config_release(&settings.config);
    return status;
}
