/*
 * The admin port of a daemon: read-only HTTP for probes and Prometheus, on a thread of its own.
 *
 *   GET /metrics   the registry's text
 *   GET /healthz   200 while the daemon's loop turns, else 503: restart it
 *   GET /readyz    200 while it does its work, else 503 with the reason: send nobody here
 *
 * It says nothing of prompts and takes no commands, and it asks nobody who he is: hence loopback
 * unless another address is named. Whoever runs the daemon's loop calls admin_beat() in each turn
 * and admin_set_ready() when that changes. Where systemd waits to hear of the start, stop and
 * health of a service (NOTIFY_SOCKET), the same thread tells it.
 *
 * Source: systemd's sd_notify(3) for the messages; Kubernetes for the two kinds of health.
 */
#ifndef ADMIN_H
#define ADMIN_H

#include <stdbool.h>
#include <stdint.h>

struct admin;
struct base_error;
struct metrics;
struct metrics_process;

/* All is borrowed for the life of the admin port. */
struct admin_options {
    const char *listen;              /* see admin_listen_check() */
    uint16_t usual_port;             /* that "auto" tries first */
    const struct metrics *metrics;   /* registered in full; NULL: no /metrics */
    struct metrics_process *process; /* brought up to date by each scrape; NULL: none */
    uint32_t idle_s, total_ms;       /* 0: as in base_limits.h; tests have less patience */
};

/*
 * "off": no port; "auto": loopback, the usual port if it is free, else any; or HOST:PORT, with an
 * IPv4 address, an IPv6 address in brackets or "localhost", and port 0 for any. Returns BASE_OK or
 * BASE_INVALID with *err filled.
 */
int admin_listen_check(const char *listen, struct base_error *err);

/* Binds and starts the thread. Returns BASE_OK, BASE_INVALID, BASE_IO or BASE_NOMEM. */
int admin_start(const struct admin_options *options, struct admin **ret, struct base_error *err);

/* Ends the thread. Frees and nulls. Accepts a pointer to NULL. */
void admin_stop(struct admin **self_p);

/* "127.0.0.1:7401"; "" where it is off. */
const char *admin_address(const struct admin *self);

/* The following: any thread; self may be NULL. */

/* The daemon's loop has turned. The first beat is also the end of the start. */
void admin_beat(struct admin *self);

/* Not ready at first. text: why, in a few words (at most ADMIN_TEXT_BYTES - 1; cut). */
#define ADMIN_TEXT_BYTES 512
void admin_set_ready(struct admin *self, bool ready, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The end has begun: never ready again. */
void admin_set_stopping(struct admin *self);

#endif
