#include "cli_peer_bench.h"

#include "base_err.h"
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define OUTPUT_BYTES_MAX 65536
#define ARGUMENTS_MAX    48

extern char **environ;

int cli_peer_bench_parse(
    const char *text, size_t bytes, double *ret_tokens_per_second, struct base_error *err)
{
    json_error_t where;
    json_t *rows = json_loadb(text, bytes, 0, &where);
    json_t *speed = json_object_get(json_array_get(rows, 0), "avg_ts");
    double value = json_number_value(speed);
    bool single = json_array_size(rows) == 1;

    json_decref(rows);
    if (rows == NULL)
        return base_error_set(err, BASE_MALFORMED, "the peer's output is no JSON: line %d: %s",
            where.line, where.text);
    if (!single || !(value > 0))
        return base_error_set(
            err, BASE_MALFORMED, "the peer's output is no array of one object with \"avg_ts\"");
    *ret_tokens_per_second = value;
    return BASE_OK;
}

/* A row is a line that begins an object; nothing else of what is printed counts. */
static json_t *find_row(const char *text, size_t bytes, size_t *ret_count)
{
    json_t *row = NULL;

    *ret_count = 0;
    for (const char *at = text, *end = text + bytes; at < end;) {
        const char *line_end = memchr(at, '\n', (size_t)(end - at));
        if (line_end == NULL)
            line_end = end;
        if (*at == '{') {
            json_decref(row);
            row = json_loadb(at, (size_t)(line_end - at), 0, NULL);
            (*ret_count)++;
        }
        at = line_end + 1;
    }
    return row;
}

static bool is_number(const json_t *row, const char *key, uint32_t wanted)
{
    return json_integer_value(json_object_get(row, key)) == (json_int_t)wanted;
}

int cli_peer_batched_parse(const char *text, size_t bytes, uint32_t batch, uint32_t depth,
    uint32_t steps, double *ret_tokens_per_second, struct base_error *err)
{
    size_t count = 0;
    json_t *row = find_row(text, bytes, &count);
    double value = json_number_value(json_object_get(row, "speed_tg"));
    bool fits =
        is_number(row, "pl", batch) && is_number(row, "pp", depth) && is_number(row, "tg", steps);

    json_decref(row);
    if (count != 1)
        return base_error_set(
            err, BASE_MALFORMED, "the peer printed %zu rows of JSON where one is due", count);
    if (row == NULL || !fits)
        return base_error_set(err, BASE_MALFORMED,
            "the peer's row is not of %u sequences (\"pl\") with %u tokens (\"pp\") and %u steps "
            "(\"tg\")",
            batch, depth, steps);
    if (!(value > 0))
        return base_error_set(err, BASE_MALFORMED, "the peer's row has no \"speed_tg\"");
    *ret_tokens_per_second = value;
    return BASE_OK;
}

/* Everything that fd gives, cut at the buffer's end. */
static size_t read_all(int fd, char *buffer, size_t bytes)
{
    size_t used = 0;

    while (used < bytes) {
        ssize_t got = read(fd, buffer + used, bytes - used);
        if (got == 0 || (got < 0 && errno != EINTR))
            break;
        used += got > 0 ? (size_t)got : 0;
    }
    return used;
}

static int spawn(const char **argv, const cpu_set_t *cpus, int output, pid_t *ret_pid)
{
    posix_spawn_file_actions_t actions;
    cpu_set_t own;
    /* A child inherits the mask of the thread that starts it. */
    bool widen = cpus != NULL && sched_getaffinity(0, sizeof(own), &own) == 0 &&
                 sched_setaffinity(0, sizeof(*cpus), cpus) == 0;

    (void)posix_spawn_file_actions_init(&actions);
    (void)posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
    (void)posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    /* posix_spawnp() changes no string, as POSIX promises. */
    int rc =
        posix_spawnp(ret_pid, argv[0], &actions, NULL, (char *const *)(const void *)argv, environ);
    (void)posix_spawn_file_actions_destroy(&actions);
    if (widen)
        (void)sched_setaffinity(0, sizeof(own), &own);
    return rc;
}

/* Runs argv[0] to its end with what it prints in output [OUTPUT_BYTES_MAX]. */
static int run(const char **argv, const cpu_set_t *cpus, char *output, size_t *ret_bytes,
    struct base_error *err)
{
    int pipe_fds[2], status = 0;
    pid_t pid = 0;

    if (pipe2(pipe_fds, O_CLOEXEC) != 0)
        return base_error_set(err, BASE_IO, "pipe: %s", strerror(errno));
    int rc = spawn(argv, cpus, pipe_fds[1], &pid);
    (void)close(pipe_fds[1]);
    if (rc != 0) {
        (void)close(pipe_fds[0]);
        return base_error_set(err, BASE_IO, "%s: %s", argv[0], strerror(rc));
    }
    *ret_bytes = read_all(pipe_fds[0], output, OUTPUT_BYTES_MAX);
    (void)close(pipe_fds[0]); /* ends what prints on */
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    if (*ret_bytes == OUTPUT_BYTES_MAX)
        return base_error_set(
            err, BASE_TOO_BIG, "%s: prints more than %d bytes", argv[0], OUTPUT_BYTES_MAX);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        return base_error_set(err, BASE_IO, "%s: ended with status %d", argv[0],
            WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
    return BASE_OK;
}

/* A command line that is put together. */
struct words {
    const char *argv[ARGUMENTS_MAX + 1]; /* NULL-terminated */
    size_t count;
    char numbers[6][16];
    size_t number_count;
    char extra[512];
};

static void add(struct words *self, const char *word)
{
    if (self->count < ARGUMENTS_MAX)
        self->argv[self->count++] = word;
}

static void add_number(struct words *self, const char *name, uint32_t value)
{
    char *text = self->numbers[self->number_count++];

    (void)snprintf(text, sizeof(self->numbers[0]), "%u", value);
    add(self, name);
    add(self, text);
}

static void begin(struct words *self, const struct cli_peer_bench *peer)
{
    *self = (struct words){0};
    add(self, peer->program);
    add(self, "-m");
    add(self, peer->model);
    add_number(self, "-t", peer->threads);
}

/* Behind all others, so that they count. */
static void add_extra(struct words *self, const char *extra)
{
    char *rest = NULL;

    (void)snprintf(self->extra, sizeof(self->extra), "%s", extra != NULL ? extra : "");
    for (char *word = strtok_r(self->extra, " ", &rest); word != NULL;
         word = strtok_r(NULL, " ", &rest))
        add(self, word);
}

static char output[OUTPUT_BYTES_MAX];

int cli_peer_bench_run(
    const struct cli_peer_bench *self, double *ret_tokens_per_second, struct base_error *err)
{
    struct words words;
    size_t bytes = 0;

    begin(&words, self);
    add_number(&words, "-p", self->prompt_tokens);
    add_number(&words, "-n", self->decode_tokens);
    add_number(&words, "-d", self->depth);
    add(&words, "-r");
    add(&words, "1");
    add(&words, "-o");
    add(&words, "json");
    add_extra(&words, self->extra);
    int rc = run(words.argv, self->cpus, output, &bytes, err);
    return rc == BASE_OK ? cli_peer_bench_parse(output, bytes, ret_tokens_per_second, err) : rc;
}

int cli_peer_batched_run(const struct cli_peer_bench *self, uint32_t batch,
    double *ret_tokens_per_second, struct base_error *err)
{
    struct words words;
    size_t bytes = 0;

    begin(&words, self);
    add_number(&words, "-npp", self->depth);
    add_number(&words, "-ntg", self->decode_tokens);
    add_number(&words, "-npl", batch);
    add_number(&words, "-c", batch * (self->depth + self->decode_tokens));
    add(&words, "--output-format");
    add(&words, "jsonl");
    add_extra(&words, self->extra);
    int rc = run(words.argv, self->cpus, output, &bytes, err);
    return rc == BASE_OK ? cli_peer_batched_parse(output, bytes, batch, self->depth,
                               self->decode_tokens, ret_tokens_per_second, err)
                         : rc;
}
