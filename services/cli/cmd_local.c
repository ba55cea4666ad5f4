/* A private mesh of real daemons around one command. */
#include "cli_admin.h"
#include "cli_command.h"
#include "cli_mesh.h"

#include "base_alloc.h"
#include "base_clock.h"
#include "base_err.h"
#include "gguf.h"
#include "hf.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define ASK_MS   100  /* between two looks at the status */
#define DOUBT_MS 3000 /* a state that cannot become a mesh is believed after this */
#define STOP_MS  5000
#define READY_MS 120000

struct local {
    const struct cli_command *command;
    struct cli_mesh_options options;
    bool keep;
    struct cli_mesh mesh;
    struct cli_process child; /* CMD */
    int signal_fd;
    int interrupt; /* the signal that asked for the end; 0: none */
    struct cli_admin admin;
    uint64_t doubt_since_ms; /* 0: none */
};

static bool parse_command_line(
    struct local *self, int argc, char **argv, int *ret_next, int *ret_exit)
{
    struct cli_mesh_options *o = &self->options;
    const struct base_option rows[] = {
        {.name = "model",
            .type = BASE_OPTION_STRING,
            .target = &o->model_path,
            .value_name = "FILE",
            .help = "GGUF file to serve"},
        {.name = "workers",
            .type = BASE_OPTION_U32,
            .target = &o->worker_count,
            .min = 1,
            .max = LIMIT_WORKERS_MAX,
            .value_name = "N",
            .help = "workers that hold a stage"},
        {.name = "spares",
            .type = BASE_OPTION_U32,
            .target = &o->spare_count,
            .min = 0,
            .max = LIMIT_WORKERS_MAX - 1,
            .value_name = "S",
            .help = "workers that stand by"},
        {.name = "threads",
            .type = BASE_OPTION_U32,
            .target = &o->thread_count,
            .min = 0,
            .max = 1024,
            .value_name = "T",
            .help = "compute threads of each worker; 0: cores / N, at least 1"},
        {.name = "kv-tokens",
            .type = BASE_OPTION_U64,
            .target = &o->kv_tokens,
            .value_name = "TOKENS",
            .help = "positions in the KV cache; 0: the coordinator's choice"},
        {.name = "probe-ms",
            .type = BASE_OPTION_U32,
            .target = &o->probe_ms,
            .min = 1,
            .max = 60000,
            .value_name = "MS",
            .help = "each worker measures itself so long"},
        {.name = "kv-type",
            .type = BASE_OPTION_STRING,
            .target = &o->kv_type,
            .value_name = "TYPE",
            .help = "keys and values in the cache: f32, f16 or int8"},
        {.name = "pack-cache",
            .type = BASE_OPTION_STRING,
            .target = &o->pack_cache,
            .value_name = "DIR",
            .help = "folder that keeps packed weights for the next start"},
        {.name = "fast-float",
            .type = BASE_OPTION_FLAG,
            .target = &o->fast_float,
            .help = "float matrices through OpenBLAS: faster, not the same bits everywhere"},
        {.name = "log-level",
            .type = BASE_OPTION_STRING,
            .target = &o->log_level,
            .value_name = "LEVEL",
            .help = "of the daemons: error, warn, info or debug"},
        {.name = "keep",
            .type = BASE_OPTION_FLAG,
            .target = &self->keep,
            .help = "leave the directory with the logs, and name it on stderr"},
    };

    o->probe_ms = 1000;
    o->kv_type = "f16";
    return cli_parse_options(
        self->command, rows, sizeof(rows) / sizeof(rows[0]), argc, argv, ret_next, ret_exit);
}

static int check_options(struct local *self, int argc, int next)
{
    struct cli_mesh_options *o = &self->options;
    long core_count = sysconf(_SC_NPROCESSORS_ONLN);
    struct gguf *model = NULL;
    struct base_error err = {0};

    if (o->model_path == NULL)
        return cli_usage(self->command, "--model is missing");
    if (o->worker_count == 0)
        return cli_usage(self->command, "--workers is missing");
    if (o->worker_count + o->spare_count > LIMIT_WORKERS_MAX)
        return cli_usage(self->command, "more than %d workers and spares", LIMIT_WORKERS_MAX);
    if (next >= argc)
        return cli_usage(self->command, "no command to run: it stands behind --");
    /* The daemons would say the same, but each in its own log. */
    if (hf_open_model(o->model_path, &model, &err) != BASE_OK)
        return cli_fail(self->command, "%s", err.text);
    gguf_close(&model);
    if (o->thread_count == 0 && core_count > 0)
        o->thread_count = (uint32_t)core_count / o->worker_count;
    if (o->thread_count == 0)
        o->thread_count = 1;
    return CLI_EXIT_OK;
}

/* ---- signals ---- */

/*
 * Reads what is waiting: notes ends of daemons and of the command, passes requests to end on.
 * A Ctrl-C of the terminal has reached the command already: what to make of it is its business.
 */
static void take_signals(struct local *self)
{
    struct signalfd_siginfo info;

    while (read(self->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        if (info.ssi_signo == SIGCHLD)
            continue;
        bool is_terminal = info.ssi_code == SI_KERNEL;
        if (self->child.pid == 0 || !is_terminal)
            self->interrupt = (int)info.ssi_signo;
        if (self->child.pid != 0 && !self->child.is_over && !is_terminal)
            (void)kill(self->child.pid, (int)info.ssi_signo);
    }
    (void)cli_process_reap(self->mesh.processes, self->mesh.process_count);
    (void)cli_process_reap(&self->child, 1);
}

/* ---- getting ready ---- */

/* A daemon that ends before the mesh is ready ends the command. */
static int check_daemons(const struct local *self)
{
    const struct cli_process *over = cli_mesh_find_over(&self->mesh);
    char how[128];

    if (self->interrupt != 0)
        return cli_fail(self->command, "interrupted while the mesh started");
    if (over == NULL)
        return CLI_EXIT_OK;
    cli_process_describe(over, how, sizeof(how));
    cli_mesh_show_log(over);
    return cli_fail(self->command, "%s %s before the mesh was ready", over->name, how);
}

static bool is_mesh_ready(const struct local *self, const struct wire_status_reply *reply)
{
    uint32_t ready_count = 0, spare_count = 0;

    for (size_t i = 0; i < reply->worker_count; i++) {
        const struct wire_worker_row *row = &reply->workers[i];
        ready_count += row->has_stage && row->state == WIRE_WORKER_READY &&
                       row->kv_pages_total > 0; /* its first heartbeat with the stage was here */
        spare_count += !row->has_stage && row->state == WIRE_WORKER_SPARE;
    }
    return reply->plan_state == WIRE_PLAN_ACTIVE && reply->router_count > 0 &&
           ready_count == self->options.worker_count && spare_count == self->options.spare_count;
}

/* All are there and there is a plan, or the finding that there can be none, but not the one that
 * was asked for. */
static bool is_hopeless(const struct local *self, const struct wire_status_reply *reply)
{
    bool is_complete =
        reply->worker_count >= self->options.worker_count + self->options.spare_count;
    uint32_t stage_count = 0;

    for (size_t i = 0; i < reply->worker_count; i++)
        stage_count += reply->workers[i].has_stage;
    return is_complete && (reply->plan_state == WIRE_PLAN_UNAVAILABLE ||
                              (reply->plan_state == WIRE_PLAN_ACTIVE &&
                                  stage_count != self->options.worker_count));
}

static int explain_hopeless(const struct local *self, const struct wire_status_reply *reply)
{
    if (reply->error.text[0] != '\0')
        return cli_fail(self->command, "no plan: %s", reply->error.text);
    if (self->options.worker_count > reply->model.layer_count)
        return cli_fail(self->command,
            "%u workers cannot each hold a stage: the model has %u layers",
            self->options.worker_count, reply->model.layer_count);
    return cli_fail(self->command, "the model's %u layers were not cut into %u stages: %s",
        reply->model.layer_count, self->options.worker_count,
        reply->plan_reason[0] != '\0' ? reply->plan_reason : "the coordinator gave no reason");
}

/* Judges one answer. Returns true when the wait is over, with *ret_exit. */
static bool judge(struct local *self, const struct wire_status_reply *reply, int *ret_exit)
{
    uint64_t now_ms = base_clock_ms();

    if (is_mesh_ready(self, reply)) {
        *ret_exit = CLI_EXIT_OK;
        return true;
    }
    if (!is_hopeless(self, reply)) {
        self->doubt_since_ms = 0;
    } else if (self->doubt_since_ms == 0) {
        self->doubt_since_ms = now_ms;
    } else if (now_ms - self->doubt_since_ms >= DOUBT_MS) {
        *ret_exit = explain_hopeless(self, reply);
        return true;
    }
    return false;
}

static int wait_until_ready(struct local *self)
{
    struct base_error err = {0};
    uint64_t started_ms = base_clock_ms();
    uint64_t asked_ms = 0;
    int exit_status = CLI_EXIT_OK;

    if (cli_admin_open(&self->admin, &err) != BASE_OK)
        return cli_fail(self->command, "%s", err.text);
    while (base_clock_ms() - started_ms < READY_MS) {
        struct net_poll_item items[] = {{.socket = self->admin.socket},
            {.socket = self->admin.socket, .watch = true}, {.fd = self->signal_fd}};
        (void)net_poll(items, 3, ASK_MS);
        (void)net_watch_take(self->admin.socket, NULL);
        take_signals(self);
        exit_status = check_daemons(self);
        if (exit_status != CLI_EXIT_OK)
            return exit_status;
        const struct wire_status_reply *reply = cli_admin_take(&self->admin);
        if (reply != NULL && judge(self, reply, &exit_status))
            return exit_status;
        if (base_clock_ms() - asked_ms >= ASK_MS && cli_admin_ask(&self->admin))
            asked_ms = base_clock_ms();
    }
    return cli_fail(self->command, "the mesh was not ready within %d s", READY_MS / 1000);
}

/* ---- the command ---- */

/* Tells of daemons that ended while the command runs, once each. */
static void tell_ends(const struct local *self, bool *told)
{
    for (size_t i = 0; i < self->mesh.process_count; i++) {
        char how[128];
        if (!self->mesh.processes[i].is_over || told[i])
            continue;
        told[i] = true;
        cli_process_describe(&self->mesh.processes[i], how, sizeof(how));
        (void)fprintf(stderr, "layermesh local: %s %s\n", self->mesh.processes[i].name, how);
    }
}

static int run_child(struct local *self, char **words)
{
    struct base_error err = {0};
    bool told[CLI_MESH_PROCESSES_MAX] = {false};
    uint64_t interrupted_ms = 0;

    (void)setenv("LAYERMESH_ROUTER", self->mesh.router, 1);
    (void)setenv("LAYERMESH_COORDINATOR", self->mesh.coordinator, 1);
    (void)snprintf(self->child.name, sizeof(self->child.name), "%.60s", words[0]);
    if (cli_process_start(&self->child, words, &err) != BASE_OK)
        return cli_fail(self->command, "%s", err.text);
    while (!self->child.is_over) {
        struct net_poll_item item = {.fd = self->signal_fd};
        (void)net_poll(&item, 1, interrupted_ms != 0 ? ASK_MS : -1);
        take_signals(self);
        tell_ends(self, told);
        if (self->interrupt != 0 && interrupted_ms == 0)
            interrupted_ms = base_clock_ms();
        if (interrupted_ms != 0 && base_clock_ms() - interrupted_ms >= STOP_MS &&
            !self->child.is_over)
            (void)kill(self->child.pid, SIGKILL);
    }
    return cli_process_exit_status(&self->child);
}

static int run(struct local *self, char **words)
{
    struct base_error err = {0};

    if (cli_mesh_start(&self->mesh, &self->options, &err) != BASE_OK)
        return cli_fail(self->command, "%s", err.text);
    self->admin.coordinator = self->mesh.coordinator;
    int exit_status = wait_until_ready(self);
    /* Before the command is forked off: a child should not inherit transport threads' state. */
    cli_admin_close(&self->admin);
    if (exit_status != CLI_EXIT_OK) {
        self->keep = self->keep || self->interrupt == 0;
        return exit_status;
    }
    return run_child(self, words);
}

int cmd_local(const struct cli_command *command, int argc, char **argv)
{
    struct base_error err = {0};
    struct local *self = base_alloc_zeroed(1, sizeof(*self));
    int exit_status = CLI_EXIT_OK, next = 0;

    if (self == NULL)
        return cli_fail(command, "out of memory");
    self->command = command;
    if (parse_command_line(self, argc, argv, &next, &exit_status))
        exit_status = check_options(self, argc, next);
    else
        next = argc;
    if (exit_status != CLI_EXIT_OK || next >= argc) {
        base_free(self);
        return exit_status;
    }

    self->signal_fd = cli_process_signals(&err);
    if (self->signal_fd >= 0) {
        exit_status = run(self, argv + next);
        cli_process_stop(self->mesh.processes, self->mesh.process_count, self->signal_fd, STOP_MS);
        (void)close(self->signal_fd);
    } else {
        exit_status = cli_fail(command, "%s", err.text);
    }
    if (self->keep && self->mesh.directory[0] != '\0')
        (void)fprintf(stderr, "layermesh local: logs are in %s\n", self->mesh.directory);
    else
        cli_mesh_remove(&self->mesh);
    base_free(self);
    return exit_status;
}
