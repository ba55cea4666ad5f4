#include "net_internal.h"

#include "base_alloc.h"
#include "base_assert.h"
#include <czmq.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <unistd.h>

static pid_t main_thread; /* the one that made the context and reads its descriptor */

/*
 * Runs on threads that do not block signals: those that a library (OpenBLAS) started before main().
 * Hands the signal to the main thread, where it stays pending until the descriptor is read.
 */
static void pass_to_main(int signal_number)
{
    const int saved = errno;

    (void)syscall(SYS_tgkill, getpid(), main_thread, signal_number);
    errno = saved;
}

/* Every signal that would end or interrupt a thread at a moment of its own choosing. */
static int block_signals(int *ret_fd)
{
    struct sigaction pass = {.sa_handler = pass_to_main, .sa_flags = SA_RESTART};
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    sigset_t blocked, told;

    main_thread = (pid_t)syscall(SYS_gettid);
    if (sigaction(SIGINT, &pass, NULL) != 0 || sigaction(SIGTERM, &pass, NULL) != 0 ||
        sigaction(SIGHUP, &ignore, NULL) != 0 || sigaction(SIGPIPE, &ignore, NULL) != 0)
        return -1;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGINT);
    sigaddset(&blocked, SIGTERM);
    sigaddset(&blocked, SIGHUP);
    sigaddset(&blocked, SIGPIPE);
    const int code = pthread_sigmask(SIG_BLOCK, &blocked, NULL);
    if (code != 0) {
        errno = code;
        return -1;
    }
    sigemptyset(&told);
    sigaddset(&told, SIGINT);
    sigaddset(&told, SIGTERM);
    *ret_fd = signalfd(-1, &told, SFD_NONBLOCK | SFD_CLOEXEC);
    return *ret_fd < 0 ? -1 : 0;
}

/* Takes signal_fd. */
static int make(int signal_fd, struct net_context **ret_context, struct base_error *err)
{
    struct net_context *self = base_alloc_zeroed(1, sizeof(*self));

    if (self == NULL || (self->zmq = zmq_ctx_new()) == NULL) {
        if (signal_fd >= 0)
            (void)close(signal_fd);
        base_free(self);
        return base_error_set(err, BASE_NOMEM, "start ZeroMQ: %s", base_err_text(BASE_NOMEM));
    }
    if (net_admission_init(&self->admission) != BASE_OK) {
        (void)zmq_ctx_term(self->zmq);
        if (signal_fd >= 0)
            (void)close(signal_fd);
        base_free(self);
        return base_error_set(err, BASE_NOMEM, "start ZeroMQ: %s", base_err_text(BASE_NOMEM));
    }
    self->signal_fd = signal_fd;
    atomic_init(&self->socket_count, 0);
    atomic_init(&self->watch_count, 0);
    *ret_context = self;
    return BASE_OK;
}

int net_context_new(struct net_context **ret_context, struct base_error *err)
{
    int signal_fd = -1;

    /* Before the first thread exists, so that no thread is left to take a signal. */
    if (block_signals(&signal_fd) != 0)
        return base_error_set(err, BASE_IO, "block signals: %s", strerror(errno));
    /*
     * CZMQ's own handlers would stop its actors behind our back. Our sockets are not in CZMQ's
     * context: it is ended at exit(), and that would wait for ever for a socket left open.
     */
    zsys_handler_set(NULL);
    (void)zsys_init();
    return make(signal_fd, ret_context, err);
}

int net_context_new_library(struct net_context **ret_context, struct base_error *err)
{
    return make(-1, ret_context, err);
}

void net_context_destroy(struct net_context **self_p)
{
    struct net_context *self = *self_p;

    if (self == NULL)
        return;
    /* With a socket still open the next line would wait for ever. */
    base_assert(atomic_load(&self->socket_count) == 0);
    net_zap_stop(self);
    (void)zmq_ctx_term(self->zmq);
    if (self->signal_fd >= 0)
        (void)close(self->signal_fd);
    net_admission_release(&self->admission);
    net_key_forget(&self->key);
    base_free(self);
    *self_p = NULL;
}

int net_context_signal_fd(const struct net_context *self)
{
    return self->signal_fd;
}

int net_context_secure(
    struct net_context *self, const struct net_key *key, bool serves, struct base_error *err)
{
    base_assert(!self->is_secure);
    self->key = *key;
    int rc = net_key_derive(&self->key, err);
    if (rc == BASE_OK && serves)
        rc = net_zap_start(self, err);
    if (rc == BASE_OK && serves)
        rc = net_zap_self_test(self, err);
    self->is_secure = rc == BASE_OK;
    self->serves = rc == BASE_OK && serves;
    return rc;
}

void net_context_allow_plain(struct net_context *self)
{
    self->is_plain_allowed = true;
}

bool net_context_is_secure(const struct net_context *self)
{
    return self->is_secure;
}

const char *net_context_public_key(const struct net_context *self)
{
    return self->key.public_key;
}
