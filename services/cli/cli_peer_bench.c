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

/* Everything that fd gives, cut at the buffer's end. */
static size_t read_all(int fd, char *buffer, size_t bytes)
{
    size_t used = 0;
    ssize_t got;

    while (used < bytes && ((got = read(fd, buffer + used, bytes - used)) > 0 || errno == EINTR))
        used += got > 0 ? (size_t)got : 0;
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

/* Appends the words of extra (cut in place) to argv. */
static void append_words(char *extra, const char **argv, size_t *count)
{
    char *rest = NULL;

    for (char *word = strtok_r(extra, " ", &rest); word != NULL && *count + 1 < ARGUMENTS_MAX;
         word = strtok_r(NULL, " ", &rest))
        argv[(*count)++] = word;
    argv[*count] = NULL;
}

int cli_peer_bench_run(
    const struct cli_peer_bench *self, double *ret_tokens_per_second, struct base_error *err)
{
    static char output[OUTPUT_BYTES_MAX];
    char threads[16], prompt[16], decode[16], depth[16], extra[512];
    int pipe_fds[2], status = 0;
    pid_t pid = 0;
    const char *argv[ARGUMENTS_MAX] = {self->program, "-m", self->model, "-t", threads, "-p",
        prompt, "-n", decode, "-d", depth, "-r", "1", "-o", "json"};
    size_t count = 15;

    (void)snprintf(threads, sizeof(threads), "%u", self->threads);
    (void)snprintf(prompt, sizeof(prompt), "%u", self->prompt_tokens);
    (void)snprintf(decode, sizeof(decode), "%u", self->decode_tokens);
    (void)snprintf(depth, sizeof(depth), "%u", self->depth);
    (void)snprintf(extra, sizeof(extra), "%s", self->extra != NULL ? self->extra : "");
    append_words(extra, argv, &count);
    if (pipe2(pipe_fds, O_CLOEXEC) != 0)
        return base_error_set(err, BASE_IO, "pipe: %s", strerror(errno));
    int rc = spawn(argv, self->cpus, pipe_fds[1], &pid);
    (void)close(pipe_fds[1]);
    if (rc != 0) {
        (void)close(pipe_fds[0]);
        return base_error_set(err, BASE_IO, "%s: %s", self->program, strerror(rc));
    }
    size_t bytes = read_all(pipe_fds[0], output, sizeof(output));
    (void)close(pipe_fds[0]);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        return base_error_set(err, BASE_IO, "%s: ended with status %d", self->program,
            WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
    return cli_peer_bench_parse(output, bytes, ret_tokens_per_second, err);
}
