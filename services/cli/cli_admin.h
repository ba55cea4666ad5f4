/* Questions to the coordinator. Main thread only. */
#ifndef CLI_ADMIN_H
#define CLI_ADMIN_H

#include "base_options.h"
#include "cli_command.h"
#include "net.h"

struct cli_admin {
    const char *coordinator; /* endpoint; NULL: LAYERMESH_COORDINATOR */
    const char *key;         /* file; NULL: none */
    bool insecure;
    uint32_t timeout_ms;
    struct net_context *context;
    struct net_socket *socket;
    struct net_inbound reply; /* owns the answer that was taken last */
    bool has_reply;
    struct base_error refusal; /* what the coordinator answered instead, if it did */
};

#define CLI_ADMIN_OPTIONS(self)                                                                    \
    {.name = "coordinator",                                                                        \
        .type = BASE_OPTION_STRING,                                                                \
        .target = &(self)->coordinator,                                                            \
        .value_name = "ENDPOINT",                                                                  \
        .environment = "LAYERMESH_COORDINATOR",                                                    \
        .help = "coordinator to ask"},                                                             \
        {.name = "timeout-ms",                                                                     \
            .type = BASE_OPTION_U32,                                                               \
            .target = &(self)->timeout_ms,                                                         \
            .min = 1,                                                                              \
            .max = 3600000,                                                                        \
            .value_name = "MS",                                                                    \
            .help = "wait so long for the answer"},                                                \
        {.name = "key",                                                                            \
            .type = BASE_OPTION_STRING,                                                            \
            .target = &(self)->key,                                                                \
            .value_name = "FILE",                                                                  \
            .environment = "LAYERMESH_KEY",                                                        \
            .help = "key of an admin, to connect with over TCP"},                                  \
    {                                                                                              \
        .name = "insecure", .type = BASE_OPTION_FLAG, .target = &(self)->insecure,                 \
        .environment = "LAYERMESH_INSECURE",                                                       \
        .help = "without a key: allow a connection in the clear"                                   \
    }

#define CLI_ADMIN_TIMEOUT_MS 5000

/* Connects in the background. Returns BASE_OK, or what net_connect() or net_endpoint_check()
 * failed with. Close in either case. */
int cli_admin_open(struct cli_admin *self, struct base_error *err);
void cli_admin_close(struct cli_admin *self);

/* Sends the question for the status. Returns false while the coordinator is not connected. */
bool cli_admin_ask(struct cli_admin *self);

/* The answer, borrowed until the next call on self, or NULL when none has arrived. */
const struct wire_status_reply *cli_admin_take(struct cli_admin *self);

/* Both, with the wait between them: up to timeout_ms. Returns the answer or NULL, *err saying
 * why. */
const struct wire_status_reply *cli_admin_query(struct cli_admin *self, struct base_error *err);

/*
 * For a command that prints one answer: opens, asks, returns it; or NULL with *ret_exit after
 * saying why. The caller closes self.
 */
const struct wire_status_reply *cli_admin_fetch(
    struct cli_admin *self, const struct cli_command *command, int *ret_exit);

/* "ready", "spare"... Never NULL. */
const char *cli_worker_state_name(enum wire_worker_state state);

#endif
