/* Child processes that cannot outlive us. Main thread only: a child dies with the thread that
 * started it. */
#ifndef CLI_PROCESS_H
#define CLI_PROCESS_H

#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct base_error;

struct cli_process {
    char name[64];           /* for messages */
    char log_path[PATH_MAX]; /* "": output goes where ours goes */
    pid_t pid;               /* 0: not started */
    bool is_over;
    int status; /* as waitpid() gives it, once over */
};

/*
 * Blocks SIGCHLD, SIGINT, SIGTERM and SIGHUP and returns a descriptor that they can be read from,
 * or -1 with *err filled. Children start with the mask that was there before.
 */
int cli_process_signals(struct base_error *err);

/*
 * Starts argv[0] (a path, or a name looked up in $PATH). With a log_path both outputs are appended
 * to that file, stdin is empty and the child gets a process group of its own, so that a Ctrl-C of
 * the terminal does not reach it. Returns BASE_OK, or BASE_IO with *err saying what failed.
 */
int cli_process_start(struct cli_process *self, char *const *argv, struct base_error *err);

/* Takes note of every child that has ended. Returns whether any had. */
bool cli_process_reap(struct cli_process *processes, size_t count);

/* "exited with status 1", "was killed by signal 9 (Killed)" into text. */
void cli_process_describe(const struct cli_process *self, char *text, size_t text_bytes);

/* Exit status as a shell gives it: 128 + signal when killed. */
int cli_process_exit_status(const struct cli_process *self);

/*
 * SIGTERM to all that run, SIGKILL to those that still do after limit_ms or when another signal
 * than SIGCHLD comes. Waits on signal_fd. Returns when all are over.
 */
void cli_process_stop(struct cli_process *processes, size_t count, int signal_fd, int limit_ms);

#endif
