#include "admin.h"

#include "admin_internal.h"
#include "base_alloc.h"
#include "base_clock.h"
#include "base_err.h"
#include "base_log.h"
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* ---- health ---- */

bool admin_is_healthy(const struct admin *self, char *ret_text, size_t text_bytes)
{
    uint64_t beat_ms = atomic_load_explicit(&self->beat_ms, memory_order_relaxed);
    uint64_t now_ms = base_clock_ms();

    if (beat_ms == 0) {
        (void)snprintf(ret_text, text_bytes, "starting");
        return true;
    }
    if (now_ms > beat_ms + ADMIN_BEAT_MS_MAX) {
        (void)snprintf(ret_text, text_bytes, "the loop has not turned for %llu ms",
            (unsigned long long)(now_ms - beat_ms));
        return false;
    }
    (void)snprintf(ret_text, text_bytes, "ok");
    return true;
}

bool admin_is_ready(struct admin *self, char *ret_text, size_t text_bytes)
{
    if (!admin_is_healthy(self, ret_text, text_bytes))
        return false;
    (void)pthread_mutex_lock(&self->lock);
    bool ready = self->ready && !self->stopping;
    (void)snprintf(ret_text, text_bytes, "%s", self->stopping ? "stopping" : self->text);
    (void)pthread_mutex_unlock(&self->lock);
    return ready;
}

void admin_beat(struct admin *self)
{
    if (self == NULL)
        return;
    if (atomic_exchange_explicit(&self->beat_ms, base_clock_ms(), memory_order_relaxed) == 0)
        admin_notify("READY=1");
}

void admin_set_ready(struct admin *self, bool ready, const char *format, ...)
{
    char text[ADMIN_TEXT_BYTES];
    va_list args;

    if (self == NULL)
        return;
    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    (void)pthread_mutex_lock(&self->lock);
    bool changed = ready != self->ready;
    self->ready = ready;
    memcpy(self->text, text, sizeof(text));
    (void)pthread_mutex_unlock(&self->lock);
    if (changed)
        base_log(BASE_LOG_INFO, ready ? "ready" : "not-ready", "reason=\"%s\"", text);
}

void admin_set_stopping(struct admin *self)
{
    if (self == NULL)
        return;
    (void)pthread_mutex_lock(&self->lock);
    self->stopping = true;
    (void)pthread_mutex_unlock(&self->lock);
    admin_notify("STOPPING=1");
}

/* ---- thread ---- */

static int wait_ms(const struct admin *self, uint64_t watchdog_ms)
{
    int timeout_ms = self->http != NULL ? admin_http_timeout_ms(self) : ADMIN_TURN_MS;

    return watchdog_ms != 0 && (uint64_t)timeout_ms > watchdog_ms ? (int)watchdog_ms : timeout_ms;
}

static void *admin_main(void *context)
{
    struct admin *self = context;
    uint64_t watchdog_ms = admin_notify_interval_ms(), told_ms = base_clock_ms();
    struct pollfd items[2] = {{.fd = self->stop_fd, .events = POLLIN},
        {.fd = self->http != NULL ? admin_http_fd(self) : -1, .events = POLLIN}};

    for (;;) {
        char text[ADMIN_TEXT_BYTES];
        (void)poll(items, 2, wait_ms(self, watchdog_ms));
        if ((items[0].revents & POLLIN) != 0)
            return NULL;
        if (self->http != NULL)
            admin_http_run(self);
        if (watchdog_ms != 0 && base_clock_ms() - told_ms >= watchdog_ms &&
            admin_is_healthy(self, text, sizeof(text))) {
            admin_notify("WATCHDOG=1");
            told_ms = base_clock_ms();
        }
    }
}

/* ---- life ---- */

static int start_thread(struct admin *self, struct base_error *err)
{
    if (self->http == NULL && admin_notify_interval_ms() == 0)
        return BASE_OK; /* it would have nothing to do */
    int error = pthread_create(&self->thread, NULL, admin_main, self);
    if (error != 0)
        return base_error_set(err, BASE_IO, "admin thread: %s", strerror(error));
    self->has_thread = true;
    return BASE_OK;
}

int admin_start(const struct admin_options *options, struct admin **ret, struct base_error *err)
{
    struct admin *self = base_alloc_zeroed(1, sizeof(*self));
    int rc;

    if (self == NULL)
        return base_error_set(err, BASE_NOMEM, "admin port");
    self->options = *options;
    self->listen_fd = -1;
    (void)snprintf(self->text, sizeof(self->text), "starting");
    (void)pthread_mutex_init(&self->lock, NULL);
    self->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (self->stop_fd < 0)
        rc = base_error_set(err, BASE_IO, "admin port: eventfd: %s", strerror(errno));
    else
        rc = admin_listen(options->listen, options->usual_port, &self->listen_fd, self->address,
            sizeof(self->address), err);
    if (rc == BASE_OK && self->listen_fd >= 0)
        rc = admin_http_new(self, err);
    if (rc == BASE_OK)
        rc = start_thread(self, err);
    if (rc != BASE_OK) {
        admin_stop(&self);
        return rc;
    }
    if (self->address[0] != '\0')
        base_log(BASE_LOG_INFO, "admin", "address=%s", self->address);
    *ret = self;
    return BASE_OK;
}

void admin_stop(struct admin **self_p)
{
    struct admin *self = *self_p;
    const uint64_t one = 1;

    if (self == NULL)
        return;
    if (self->has_thread) {
        (void)!write(self->stop_fd, &one, sizeof(one));
        (void)pthread_join(self->thread, NULL);
    }
    admin_http_destroy(self);
    if (self->listen_fd >= 0)
        (void)close(self->listen_fd);
    if (self->stop_fd >= 0)
        (void)close(self->stop_fd);
    (void)pthread_mutex_destroy(&self->lock);
    base_free(self);
    *self_p = NULL;
}

const char *admin_address(const struct admin *self)
{
    return self->address;
}
