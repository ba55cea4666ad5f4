/* The router as the commands see it: options that all of them take, and the wait for an answer. */
#ifndef CLI_CLIENT_H
#define CLI_CLIENT_H

#include "base_options.h"
#include "cli_command.h"
#include "layermesh.h"

struct cli_client {
    const char *router; /* endpoint; NULL: LAYERMESH_ROUTER */
    const char *key;    /* file; NULL: LAYERMESH_KEY */
    bool insecure;
    struct lmesh_client *client;
};

/* Rows for a table of options. */
#define CLI_CLIENT_OPTIONS(self)                                                                   \
    {.name = "router",                                                                             \
        .type = BASE_OPTION_STRING,                                                                \
        .target = &(self)->router,                                                                 \
        .value_name = "ENDPOINT",                                                                  \
        .environment = "LAYERMESH_ROUTER",                                                         \
        .help = "router to ask"},                                                                  \
        {.name = "key",                                                                            \
            .type = BASE_OPTION_STRING,                                                            \
            .target = &(self)->key,                                                                \
            .value_name = "FILE",                                                                  \
            .environment = "LAYERMESH_KEY",                                                        \
            .help = "key to connect with over TCP"},                                               \
    {                                                                                              \
        .name = "insecure", .type = BASE_OPTION_FLAG, .target = &(self)->insecure,                 \
        .environment = "LAYERMESH_INSECURE",                                                       \
        .help = "without a key: allow a connection in the clear"                                   \
    }

/* Returns CLI_EXIT_OK or the exit status after printing why not. */
int cli_client_open(struct cli_client *self, const struct cli_command *command);
void cli_client_close(struct cli_client *self);

/*
 * Waits for the next part and cancels when a signal comes. Returns LMESH_OK, or a failure whose
 * reason is lmesh_client_error(). After a signal a router that does not confirm the end of the
 * request within 3 s is no longer waited for: LMESH_ERR_AGAIN.
 */
int cli_client_next(struct lmesh_request *request, const struct lmesh_part **ret_part);

#endif
