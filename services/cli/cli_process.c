#include "cli_process.h"

#include "base_clock.h"
#include "base_err.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

static const int waited_signals[] = {SIGCHLD, SIGINT, SIGTERM, SIGHUP, SIGQUIT};

static sigset_t mask_before;

int cli_process_signals(struct base_error *err)
{
    sigset_t set;

    (void)sigemptyset(&set);
    for (size_t i = 0; i < sizeof(waited_signals) / sizeof(waited_signals[0]); i++)
        (void)sigaddset(&set, waited_signals[i]);
    /* An inherited "ignore" would make the kernel reap our children behind our back. */
    (void)signal(SIGCHLD, SIG_DFL);
    (void)sigprocmask(SIG_BLOCK, &set, &mask_before);
    int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (fd < 0)
        (void)base_error_set(err, BASE_IO, "signalfd: %s", strerror(errno));
    return fd;
}

/* Sends the reason to the parent and ends the child. */
_Noreturn static void fail_in_child(int report_fd)
{
    int reason = errno;

    (void)!write(report_fd, &reason, sizeof(reason));
    _exit(127);
}

/* Between fork() and exec(): only what is safe there. */
_Noreturn static void run_child(
    const struct cli_process *self, char *const *argv, pid_t parent, int report_fd)
{
    static const int default_signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE};

    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent)
        fail_in_child(report_fd);
    for (size_t i = 0; i < sizeof(default_signals) / sizeof(default_signals[0]); i++)
        (void)signal(default_signals[i], SIG_DFL);
    if (self->log_path[0] != '\0') {
        int in = open("/dev/null", O_RDONLY);
        int out = open(self->log_path, O_WRONLY | O_CREAT | O_APPEND, 0600);
        if (setpgid(0, 0) != 0 || in < 0 || out < 0 || dup2(in, STDIN_FILENO) < 0 ||
            dup2(out, STDOUT_FILENO) < 0 || dup2(out, STDERR_FILENO) < 0)
            fail_in_child(report_fd);
        if (in > STDERR_FILENO)
            (void)close(in);
        if (out > STDERR_FILENO)
            (void)close(out);
    }
    (void)sigprocmask(SIG_SETMASK, &mask_before, NULL);
    (void)execvp(argv[0], argv);
    fail_in_child(report_fd);
}

int cli_process_start(struct cli_process *self, char *const *argv, struct base_error *err)
{
    int report[2], reason = 0;
    pid_t parent = getpid();

    if (pipe2(report, O_CLOEXEC) != 0)
        return base_error_set(err, BASE_IO, "pipe: %s", strerror(errno));
    pid_t pid = fork();
    if (pid == 0)
        run_child(self, argv, parent, report[1]);
    (void)close(report[1]);
    if (pid < 0) {
        (void)close(report[0]);
        return base_error_set(err, BASE_IO, "fork: %s", strerror(errno));
    }
    self->pid = pid;
    self->is_over = false;
    /* exec() closes the child's end, so this waits for one or the other. */
    ssize_t bytes;
    do
        bytes = read(report[0], &reason, sizeof(reason));
    while (bytes < 0 && errno == EINTR);
    (void)close(report[0]);
    if (bytes == (ssize_t)sizeof(reason)) {
        (void)waitpid(pid, &self->status, 0);
        self->is_over = true;
        return base_error_set(err, BASE_IO, "%s: %s", argv[0], strerror(reason));
    }
    return BASE_OK;
}

bool cli_process_reap(struct cli_process *processes, size_t count)
{
    bool is_any = false;

    for (size_t i = 0; i < count; i++) {
        struct cli_process *process = &processes[i];
        if (process->pid == 0 || process->is_over)
            continue;
        if (waitpid(process->pid, &process->status, WNOHANG) == process->pid) {
            process->is_over = true;
            is_any = true;
        }
    }
    return is_any;
}

void cli_process_describe(const struct cli_process *self, char *text, size_t text_bytes)
{
    if (WIFSIGNALED(self->status))
        (void)snprintf(text, text_bytes, "was killed by signal %d (%s)", WTERMSIG(self->status),
            strsignal(WTERMSIG(self->status)));
    else
        (void)snprintf(text, text_bytes, "exited with status %d", WEXITSTATUS(self->status));
}

int cli_process_exit_status(const struct cli_process *self)
{
    return WIFSIGNALED(self->status) ? 128 + WTERMSIG(self->status) : WEXITSTATUS(self->status);
}

static size_t signal_running(const struct cli_process *processes, size_t count, int number)
{
    size_t running_count = 0;

    for (size_t i = 0; i < count; i++) {
        if (processes[i].pid == 0 || processes[i].is_over)
            continue;
        running_count++;
        if (number != 0)
            (void)kill(processes[i].pid, number);
    }
    return running_count;
}

void cli_process_stop(struct cli_process *processes, size_t count, int signal_fd, int limit_ms)
{
    uint64_t deadline_ms = base_clock_ms() + (uint64_t)limit_ms;
    bool is_killed = false;

    (void)cli_process_reap(processes, count);
    (void)signal_running(processes, count, SIGTERM);
    while (signal_running(processes, count, 0) > 0) {
        struct signalfd_siginfo info;
        struct pollfd item = {.fd = signal_fd, .events = POLLIN};
        uint64_t now_ms = base_clock_ms();
        if (!is_killed && now_ms >= deadline_ms) {
            (void)signal_running(processes, count, SIGKILL);
            is_killed = true;
        }
        (void)poll(&item, 1, is_killed ? 1000 : (int)(deadline_ms - now_ms));
        while (read(signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
            if (info.ssi_signo != SIGCHLD)
                deadline_ms = 0;
        (void)cli_process_reap(processes, count);
    }
}
