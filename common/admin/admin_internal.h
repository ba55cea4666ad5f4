/* Shared by the files of the admin port. */
#ifndef ADMIN_INTERNAL_H
#define ADMIN_INTERNAL_H

#include "admin.h"
#include "base_limits.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>

/* A loop that has not turned for so long hangs. The daemons' loops turn each second. */
#define ADMIN_BEAT_MS_MAX 10000

#define ADMIN_TURN_MS 1000 /* longest wait of the admin thread */

struct admin_connection {
    void *handle; /* the library's; NULL: the row is free */
    int fd;
    uint64_t since_ms;
};

struct admin {
    struct admin_options options;
    char address[80];
    pthread_t thread;
    bool has_thread;
    int listen_fd; /* -1: none, or the HTTP library owns it */
    int stop_fd;   /* eventfd */
    struct MHD_Daemon *http;
    struct admin_connection connections[LIMIT_ADMIN_CONNECTIONS]; /* admin thread only */

    atomic_uint_fast64_t beat_ms; /* 0: never yet */
    pthread_mutex_t lock;         /* of what follows */
    bool ready, stopping;
    char text[ADMIN_TEXT_BYTES];
};

/* Whether the loop turns; what there is to say about it. */
bool admin_is_healthy(const struct admin *self, char *ret_text, size_t text_bytes);
bool admin_is_ready(struct admin *self, char *ret_text, size_t text_bytes);

/* admin_address.c: binds and listens. ret_address gets the address as bound. */
int admin_listen(const char *listen, uint16_t usual_port, int *ret_fd, char *ret_address,
    size_t address_bytes, struct base_error *err);

/* admin_http.c; admin thread only, but for new and destroy. */
int admin_http_new(struct admin *self, struct base_error *err);
void admin_http_destroy(struct admin *self);
int admin_http_fd(const struct admin *self); /* readable: there is something to do */
void admin_http_run(struct admin *self);
int admin_http_timeout_ms(const struct admin *self); /* at most ADMIN_TURN_MS */

/* admin_notify.c: one line to systemd ("READY=1"); nothing where it does not listen. */
void admin_notify(const char *line);
/* How often it wants to hear WATCHDOG=1, at half its patience; 0: not at all. */
uint64_t admin_notify_interval_ms(void);

#endif
