/* The router's sockets and clock around the core. Main thread only. */
#ifndef ROUTER_IO_H
#define ROUTER_IO_H

#include "net.h"
#include "router.h"

struct router_io;

struct router_io_options {
    const char *coordinator;     /* endpoint */
    const char *coordinator_key; /* public; "": plain */
    const char *listen;          /* for clients */
    const char *data_listen;     /* for the last stage */
    const char *advertise;       /* data endpoint as others reach it; NULL: as bound */
    double grace_s;              /* longest wait for running requests at the end */
    struct router_options core;  /* data_endpoint is filled in here */
};

/* Opens all sockets. context and tokenizer are borrowed. Returns BASE_OK, or the error of the
 * socket that could not be opened, or BASE_NOMEM. */
int router_io_new(struct net_context *context, const struct router_io_options *options,
    const struct text_tokenizer *tokenizer, struct router_io **ret, struct base_error *err);

struct admin;
struct metrics;

/* Registers what the router counts; before admin_start(). As metrics_register(). */
int router_io_register(struct router_io *self, struct metrics *metrics, struct base_error *err);

/* Serves until SIGINT or SIGTERM, then until running requests are done, grace_s passed or a second
 * signal came; says goodbye to the coordinator. admin is borrowed; may be NULL. */
void router_io_run(struct router_io *self, struct admin *admin);
void router_io_destroy(struct router_io **self_p);

#endif
