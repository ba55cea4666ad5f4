/* layermesh-worker: one stage of the mesh. */
#include "admin.h"
#include "base_alloc.h"
#include "base_clock.h"
#include "base_log.h"
#include "base_queue.h"
#include "config.h"
#include "keys.h"
#include "metrics_process.h"
#include "model.h"
#include "net.h"
#include "net_metrics.h"
#include "tensor_attention.h"
#include "tensor_matrix.h"
#include "tensor_pool.h"
#include "worker_admin.h"
#include "worker_compute.h"
#include "worker_control_io.h"
#include "worker_data_io.h"
#include "worker_event.h"
#include "worker_join.h"
#include "worker_loader.h"
#include "worker_machine.h"
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define NOTICES_MAX     16
#define COMPUTE_STOP_MS 5000u /* a step may still be running when everything else has ended */

struct settings {
    struct config config;
    const char *model, *coordinator, *listen, *advertise, *node_id, *kv_type, *pack_cache;
    uint64_t memory_bytes;
    uint32_t threads, probe_ms, batch_tokens_max;
    double grace_s;
    const char *key, *join;
    struct keys_token token; /* how to join; coordinator "": there is a key already */
    char node_name[LIMIT_NAME_BYTES];
    char key_path[KEYS_PATH_BYTES];
    char coordinator_name[LIMIT_ENDPOINT_BYTES]; /* that the token or the key names */
    bool standby, fast_float, insecure, any_address;
};

/* All that main() owns. */
struct daemon {
    struct settings settings;
    struct net_context *context;
    struct model *model;
    struct tensor_pool *pool;
    struct base_queue *events, *notices;
    struct worker_control *control;
    struct worker_compute *compute;
    struct worker_loader *loader;
    struct worker_data *data;
    struct wire_register identity;
    struct wire_rate rates[LIMIT_RATES_MAX];
    struct keys_identity key;
    struct worker_admin admin;
    struct metrics_process process;
    struct metrics *metrics;
    struct admin *port;
};

#define ROW_COUNT    18 /* of our own */
#define OPTION_COUNT (ROW_COUNT + CONFIG_OPTION_COUNT)

static void list_options(struct settings *s, struct base_option *ret)
{
    const struct base_option rows[ROW_COUNT] = {
        {"model", 'm', BASE_OPTION_STRING, &s->model, 0, 0, "FILE", NULL,
            "Model file (GGUF) to hold layers of; required."},
        {"coordinator", 'c', BASE_OPTION_STRING, &s->coordinator, 0, 0, "ENDPOINT",
            "LAYERMESH_COORDINATOR", "Coordinator to register with."},
        {"data-listen", 0, BASE_OPTION_STRING, &s->listen, 0, 0, "ENDPOINT", NULL,
            "Where steps are taken; * picks a port."},
        {"advertise", 0, BASE_OPTION_STRING, &s->advertise, 0, 0, "ENDPOINT", NULL,
            "What others connect to, when it is not what --data-listen says."},
        {"node-id", 0, BASE_OPTION_STRING, &s->node_id, 0, 0, "NAME", NULL,
            "Name in the mesh, the same at each start (default: the host name); several workers on "
            "one host need one each."},
        {"memory", 0, BASE_OPTION_BYTES, &s->memory_bytes, 0, 0, "BYTES", NULL,
            "Memory for weights, KV pages and activations (default: what is available now)."},
        {"threads", 't', BASE_OPTION_U32, &s->threads, 0, 256, "N", NULL,
            "Compute threads; 0: one for each core that this process may use."},
        {"batch-tokens-max", 0, BASE_OPTION_U32, &s->batch_tokens_max, 1, LIMIT_BATCH_TOKENS_MAX,
            "N", NULL, "Most tokens in one step; bounds the memory for activations."},
        {"standby", 0, BASE_OPTION_FLAG, &s->standby, 0, 0, NULL, NULL,
            "Hold no stage while others can."},
        {"kv-type", 0, BASE_OPTION_STRING, &s->kv_type, 0, 0, "TYPE", NULL,
            "Keys and values in the cache: f32, f16 or int8; the same on all workers of a mesh."},
        {"pack-cache", 0, BASE_OPTION_STRING, &s->pack_cache, 0, 0, "DIR", NULL,
            "Folder that keeps packed weights, so that a second start need not pack again; workers "
            "of one host may share it (default: none)."},
        {"fast-float", 0, BASE_OPTION_FLAG, &s->fast_float, 0, 0, NULL, NULL,
            "OpenBLAS for float weights: gives up that tokens are the same bits on any split."},
        {"probe-ms", 0, BASE_OPTION_U32, &s->probe_ms, 1, 60000, "MS", NULL,
            "Time to measure this machine at start."},
        {"grace-s", 0, BASE_OPTION_F64, &s->grace_s, 0, 3600, "SECONDS", NULL,
            "Longest wait after SIGTERM for the stage to move elsewhere; a second signal ends it."},
        {"key", 0, BASE_OPTION_STRING, &s->key, 0, 0, "FILE", "LAYERMESH_KEY",
            "Key of this worker, from 'layermesh keys issue' or --join: TCP is encrypted (default: "
            "~/.layermesh/NODE-ID.key if that exists)."},
        {"join", 0, BASE_OPTION_STRING, &s->join, 0, 0, "TOKEN", "LAYERMESH_JOIN",
            "Line from 'layermesh keys token': has a new key admitted and keeps it in the --key "
            "file; later starts need no token."},
        {"insecure", 0, BASE_OPTION_FLAG, &s->insecure, 0, 0, NULL, "LAYERMESH_INSECURE",
            "Without --key: allow plain TCP, for a network that you trust."},
        {"insecure-any-address", 0, BASE_OPTION_FLAG, &s->any_address, 0, 0, NULL,
            "LAYERMESH_INSECURE_ANY_ADDRESS", "...also on every interface at once."},
    };

    memcpy(ret, rows, sizeof(rows));
    config_options(&s->config, ret + ROW_COUNT);
}

/*
 * Finds out which key there is or how to get one, and which coordinator goes with it, before the
 * other options are checked.
 */
static int find_key(struct settings *s, struct base_error *err)
{
    char host[LIMIT_HOST_BYTES];
    struct keys_identity identity;
    int rc = BASE_OK;

    worker_machine_host(host, sizeof(host), s->node_name, sizeof(s->node_name));
    const bool is_tcp = s->coordinator == NULL || net_endpoint_is_tcp(s->coordinator);
    if (s->node_id == NULL)
        s->node_id = s->node_name;
    if (s->key == NULL && (s->join != NULL || (is_tcp && !s->insecure)) &&
        worker_join_usual_path(s->node_id, s->key_path) &&
        (s->join != NULL || access(s->key_path, F_OK) == 0))
        s->key = s->key_path;
    if (s->key == NULL)
        return s->join == NULL ? BASE_OK
                               : base_error_set(err, BASE_INVALID,
                                     "--join needs --key FILE to keep the key in");
    if (s->join != NULL && access(s->key, F_OK) != 0) {
        rc = keys_token_parse(s->join, &s->token, err);
        memcpy(s->coordinator_name, s->token.coordinator, sizeof(s->coordinator_name));
    } else {
        rc = keys_identity_read(s->key, &identity, err);
        if (rc == BASE_OK)
            memcpy(s->coordinator_name, identity.coordinator, sizeof(s->coordinator_name));
        keys_identity_forget(&identity);
    }
    if (rc == BASE_OK && s->coordinator == NULL && s->coordinator_name[0] != 0)
        s->coordinator = s->coordinator_name;
    return rc;
}

static int check_settings(const void *settings, struct base_error *err)
{
    /* Filled in here, because what follows depends on it. */
    struct settings *s = (struct settings *)settings;
    const int found = find_key(s, err);

    if (found != BASE_OK)
        return found;
    if (admin_listen_check(s->config.admin_listen, err) != BASE_OK)
        return BASE_INVALID;

    if (s->model == NULL)
        return base_error_set(err, BASE_INVALID, "--model FILE is required");
    if (s->coordinator == NULL)
        return base_error_set(
            err, BASE_INVALID, "--coordinator ENDPOINT or LAYERMESH_COORDINATOR is required");
    uint32_t kv_type;
    if (tensor_attention_type_parse(s->kv_type, &kv_type) != BASE_OK)
        return base_error_set(err, BASE_INVALID, "--kv-type %s: f32, f16 or int8", s->kv_type);
    if (s->node_id != NULL &&
        (s->node_id[0] == 0 || strlen(s->node_id) >= LIMIT_NAME_BYTES ||
            strspn(
                s->node_id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") !=
                strlen(s->node_id)))
        return base_error_set(err, BASE_INVALID,
            "--node-id %s: 1 to %d letters, digits, dots, dashes or underscores", s->node_id,
            LIMIT_NAME_BYTES - 1);
    if (s->advertise != NULL && strlen(s->advertise) >= LIMIT_ENDPOINT_BYTES)
        return base_error_set(err, BASE_INVALID, "--advertise is too long");
    const struct net_policy policy = {s->key != NULL, s->insecure, s->any_address, "--key FILE"};
    int rc = net_endpoint_check(s->coordinator, &policy, err);
    if (rc != BASE_OK)
        return base_error_prepend(err, rc, "--coordinator");
    rc = net_endpoint_check(s->listen, &policy, err);
    if (rc != BASE_OK)
        return base_error_prepend(err, rc, "--data-listen");
    /* Others cannot connect to a wildcard. */
    if (s->advertise == NULL &&
        (strncmp(s->listen, "tcp://*:", 8) == 0 || strncmp(s->listen, "tcp://0.0.0.0:", 14) == 0))
        return base_error_set(err, BASE_INVALID,
            "--data-listen %s takes any address: --advertise must name one", s->listen);
    return BASE_OK;
}

/* ---- start ---- */

/* Measuring takes its time, so it has a thread of its own and the main thread hears signals. */
struct probe {
    struct daemon *daemon;
    struct base_queue *done;
    int rc;
    struct base_error err;
};

static void *probe_main(void *context)
{
    struct probe *probe = context;
    struct daemon *self = probe->daemon;

    probe->rc = worker_machine_rates(self->pool, &self->identity.model, self->settings.probe_ms,
        self->rates, &self->identity.rate_count, &probe->err);
    (void)base_queue_push(probe->done, probe);
    return NULL;
}

static int measure(struct daemon *self, struct base_error *err)
{
    struct probe probe = {.daemon = self};
    pthread_t thread;

    if (base_queue_new(1, &probe.done) != BASE_OK)
        return base_error_set(err, BASE_NOMEM, "probe");
    int error = pthread_create(&thread, NULL, probe_main, &probe);
    if (error != 0) {
        base_queue_destroy(&probe.done);
        return base_error_set(err, BASE_IO, "probe thread: %s", strerror(error));
    }
    struct pollfd items[2] = {{.fd = net_context_signal_fd(self->context), .events = POLLIN},
        {.fd = base_queue_fd(probe.done), .events = POLLIN}};
    while (base_queue_count(probe.done) == 0) {
        if (poll(items, 2, -1) > 0 && (items[0].revents & POLLIN) != 0) {
            base_log(BASE_LOG_INFO, "signal", "reason=\"came while measuring\"");
            _exit(EXIT_SUCCESS);
        }
    }
    (void)pthread_join(thread, NULL);
    base_queue_destroy(&probe.done);
    *err = probe.err;
    return probe.rc;
}

static int take_key(struct daemon *self, struct base_error *err)
{
    struct settings *s = &self->settings;
    int rc = BASE_OK;

    if (s->token.coordinator[0] != 0)
        rc = worker_join(self->context, &s->token, s->node_id, s->key, err);
    net_key_forget(&s->token.key);
    if (rc != BASE_OK)
        return base_error_prepend(err, rc, "--join");
    return keys_secure(self->context, s->key, WIRE_ROLE_WORKER, true, s->insecure, &self->key, err);
}

static int describe(struct daemon *self, struct base_error *err)
{
    const struct settings *s = &self->settings;
    struct wire_register *identity = &self->identity;
    uint32_t kv_type = 0;

    (void)tensor_attention_type_parse(s->kv_type, &kv_type); /* check_settings() has seen it */
    *identity = (struct wire_register){.protocol_version = WIRE_PROTOCOL_VERSION,
        .min_version = WIRE_PROTOCOL_MIN,
        .features = WIRE_FEATURE_TOP_LOGITS,
        .role = WIRE_ROLE_WORKER,
        .pid = (uint32_t)getpid(),
        .memory_bytes = s->memory_bytes,
        .thread_count = tensor_pool_threads(self->pool),
        .rates = self->rates,
        .standby = s->standby};
    worker_machine_host(
        identity->host, sizeof(identity->host), identity->node_id, sizeof(identity->node_id));
    (void)snprintf(identity->node_id, sizeof(identity->node_id), "%s", s->node_id);
    if (identity->memory_bytes == 0)
        identity->memory_bytes = worker_machine_memory();
    if (identity->memory_bytes == 0)
        return base_error_set(err, BASE_UNSUPPORTED,
            "cannot tell how much memory is available: say so with --memory");
    int rc = worker_machine_random(&identity->incarnation, err);
    if (rc == BASE_OK)
        rc = worker_machine_card(self->model, kv_type, &identity->model, err);
    if (rc == BASE_OK)
        rc = measure(self, err);
    if (rc != BASE_OK)
        return rc;
    base_log(BASE_LOG_INFO, "start",
        "node=%s incarnation=%016" PRIx64 " model=\"%s\" layers=%u memory_bytes=%" PRIu64
        " threads=%u isa=%s",
        identity->node_id, identity->incarnation, identity->model.name, identity->model.layer_count,
        identity->memory_bytes, identity->thread_count, tensor_isa_name());
    for (size_t i = 0; i < identity->rate_count; i++)
        base_log(BASE_LOG_INFO, "measured", "weight_type=%u gops=%.1f gigabytes_per_s=%.1f",
            self->rates[i].weight_type, self->rates[i].gops, self->rates[i].gigabytes_per_s);
    return BASE_OK;
}

static int start_threads(struct daemon *self, struct base_error *err)
{
    const struct settings *s = &self->settings;

    if (base_queue_new(WORKER_EVENTS_MAX, &self->events) != BASE_OK ||
        base_queue_new(NOTICES_MAX, &self->notices) != BASE_OK)
        return base_error_set(err, BASE_NOMEM, "queues between threads");
    int rc = worker_control_new(self->context, s->coordinator, self->key.coordinator_key,
        self->events, &self->control, err);
    if (rc == BASE_OK)
        rc = worker_compute_new(self->pool, self->events, &self->compute, err);
    if (rc == BASE_OK)
        rc = worker_loader_new(self->model, self->events, &self->loader, err);
    if (rc != BASE_OK)
        return rc;
    const struct worker_data_options options = {.context = self->context,
        .control = self->control,
        .compute = self->compute,
        .loader = self->loader,
        .events = self->events,
        .notices = self->notices,
        .listen = s->listen,
        .advertise = s->advertise,
        .identity = self->identity,
        .batch_tokens_max = s->batch_tokens_max,
        .pack_cache = s->pack_cache,
        .fast_float = s->fast_float,
        .admin = &self->admin};
    rc = worker_data_new(&options, &self->data, err);
    if (rc != BASE_OK)
        return rc;

    struct worker_notice *notice = NULL;
    while (notice == NULL)
        notice = base_queue_pop_wait(self->notices, -1);
    if (notice->kind == WORKER_NOTICE_FAILED)
        rc = base_error_set(err, BASE_IO, "%s", notice->text);
    base_free(notice);
    return rc == BASE_OK ? worker_control_start(self->control, err) : rc;
}

#define ADMIN_PORT 7601

/* The admin port, and what it tells: early, since measuring and mapping take their time. */
static int open_admin(struct daemon *self, struct base_error *err)
{
    int rc = metrics_new(&self->metrics);

    if (rc != BASE_OK)
        return base_error_set(err, rc, "metrics");
    rc = metrics_process_register(
        &self->process, self->metrics, LAYERMESH_VERSION, tensor_isa_name(), err);
    if (rc == BASE_OK)
        rc = net_metrics_register(self->context, self->metrics, err);
    if (rc == BASE_OK)
        rc = worker_admin_register(&self->admin, self->metrics, err);
    const struct admin_options options = {.listen = self->settings.config.admin_listen,
        .usual_port = ADMIN_PORT,
        .metrics = self->metrics,
        .process = &self->process};
    if (rc == BASE_OK)
        rc = admin_start(&options, &self->port, err);
    self->admin.admin = self->port;
    return rc;
}

static int start(struct daemon *self, struct base_error *err)
{
    int rc = net_context_new(&self->context, err);
    if (rc == BASE_OK)
        rc = take_key(self, err);
    if (rc == BASE_OK)
        rc = open_admin(self, err);
    if (rc == BASE_OK)
        rc = model_open(self->settings.model, &self->model, err);
    if (rc == BASE_OK && !model_get_config(self->model)->has_head)
        rc = base_error_set(err, BASE_UNSUPPORTED,
            "%s: family %s has no head, and a mesh generates text only", self->settings.model,
            model_get_config(self->model)->family->name);
    if (rc != BASE_OK)
        return rc;
    uint32_t threads = self->settings.threads;
    if (threads == 0)
        threads = tensor_pool_default_threads();
    rc = tensor_pool_new(threads, &self->pool);
    if (rc != BASE_OK)
        return base_error_set(err, rc, "%u compute threads", threads);
    rc = describe(self, err);
    metrics_set(&self->admin.memory_bytes, (double)self->identity.memory_bytes);
    metrics_set(&self->admin.threads, self->identity.thread_count);
    return rc == BASE_OK ? start_threads(self, err) : rc;
}

/* ---- run and stop ---- */

/* Waits for what ends the daemon. Returns its exit status. */
static int run(struct daemon *self)
{
    uint64_t until_ms = 0; /* draining: when to stop waiting */

    for (;;) {
        struct pollfd items[2] = {{.fd = net_context_signal_fd(self->context), .events = POLLIN},
            {.fd = base_queue_fd(self->notices), .events = POLLIN}};
        uint64_t now_ms = base_clock_ms();
        if (until_ms != 0 && now_ms >= until_ms) {
            base_log(BASE_LOG_WARN, "drain-ended", "after_s=%g reason=\"the stage did not move\"",
                self->settings.grace_s);
            return EXIT_SUCCESS;
        }
        (void)poll(items, 2, until_ms == 0 ? -1 : (int)(until_ms - now_ms));

        struct signalfd_siginfo signal_info;
        if ((items[0].revents & POLLIN) != 0 &&
            read(items[0].fd, &signal_info, sizeof(signal_info)) == (ssize_t)sizeof(signal_info)) {
            base_log(BASE_LOG_INFO, "signal", "number=%u", signal_info.ssi_signo);
            if (until_ms != 0)
                return EXIT_SUCCESS; /* the second one: at once */
            until_ms = base_clock_ms() + (uint64_t)(self->settings.grace_s * 1e3) + 1;
            worker_data_drain(self->data);
        }
        struct worker_notice *notice = base_queue_pop(self->notices);
        if (notice != NULL) {
            bool failed = notice->kind == WORKER_NOTICE_FAILED;
            base_log(failed ? BASE_LOG_ERROR : BASE_LOG_INFO, failed ? "refused" : "leaving",
                "reason=\"%s\"", notice->text);
            base_free(notice);
            return failed ? EXIT_FAILURE : EXIT_SUCCESS;
        }
    }
}

/* Data first: what it sent to the coordinator leaves with the control thread. */
static void stop(struct daemon *self, int status)
{
    worker_data_destroy(&self->data);
    worker_control_destroy(&self->control);
    worker_loader_destroy(&self->loader);
    if (self->compute != NULL && worker_compute_stop(self->compute, COMPUTE_STOP_MS) != BASE_OK) {
        base_log(BASE_LOG_WARN, "compute-stuck", "reason=\"a step did not end\" after_ms=%u",
            COMPUTE_STOP_MS);
        _exit(status);
    }
    worker_compute_destroy(&self->compute);
    if (self->events != NULL) {
        struct worker_event *event;
        while ((event = base_queue_pop(self->events)) != NULL)
            worker_event_destroy(&event);
    }
    if (self->notices != NULL) {
        struct worker_notice *notice;
        while ((notice = base_queue_pop(self->notices)) != NULL)
            base_free(notice);
    }
    base_queue_destroy(&self->events);
    base_queue_destroy(&self->notices);
    tensor_pool_destroy(&self->pool);
    base_free((void *)self->identity.model.layers);
    model_close(&self->model);
    admin_stop(&self->port);
    metrics_destroy(&self->metrics);
    net_context_destroy(&self->context);
}

static const struct config_program program = {"layermesh-worker", "LAYERMESH_WORKER_",
    "--model FILE (--coordinator ENDPOINT | --join TOKEN) [OPTION]...\n"
    "Holds layers of a model for a layermesh coordinator.",
    check_settings};

int main(int argc, char **argv)
{
    struct daemon self = {.settings = {.listen = "tcp://127.0.0.1:*",
                              .kv_type = "f16",
                              .probe_ms = 1000,
                              .grace_s = 30,
                              .batch_tokens_max = LIMIT_BATCH_TOKENS_MAX}};
    struct settings *settings = &self.settings;
    struct base_option options[OPTION_COUNT];
    struct base_error err = {0};
    int status;

    config_init(&settings->config);
    list_options(settings, options);
    if (config_start(
            &settings->config, &program, options, OPTION_COUNT, settings, argc, argv, &status)) {
        status = EXIT_FAILURE;
        if (start(&self, &err) == BASE_OK)
            status = run(&self);
        else
            (void)fprintf(stderr, "layermesh-worker: %s\n", err.text);
        stop(&self, status);
    }
    config_release(&settings->config);
    return status;
}
