#include "cli_client.h"

#include "base_clock.h"
#include <stdlib.h>

#define SLICE_MS        200
#define CANCEL_LIMIT_MS 3000

int cli_client_open(struct cli_client *self, const struct cli_command *command)
{
    if (self->router == NULL)
        return cli_usage(command, "no router given: set LAYERMESH_ROUTER or use --router");
    if (self->insecure)
        (void)setenv("LAYERMESH_INSECURE", "1", 1);
    int code = lmesh_client_new_with_key(self->router, self->key, &self->client);
    if (code == LMESH_OK)
        return CLI_EXIT_OK;
    int exit_status = cli_fail(command, "%s", lmesh_client_error(self->client));
    cli_client_close(self);
    return exit_status;
}

void cli_client_close(struct cli_client *self)
{
    lmesh_client_destroy(&self->client);
}

int cli_client_next(struct lmesh_request *request, const struct lmesh_part **ret_part)
{
    uint64_t cancelled_ms = 0;

    for (;;) {
        int code = lmesh_next(request, SLICE_MS, ret_part);
        if (cli_interrupt_seen() && cancelled_ms == 0) {
            (void)lmesh_cancel(request);
            cancelled_ms = base_clock_ms();
        }
        if (code != LMESH_ERR_AGAIN)
            return code;
        if (cancelled_ms != 0 && base_clock_ms() - cancelled_ms >= CANCEL_LIMIT_MS)
            return code;
    }
}
