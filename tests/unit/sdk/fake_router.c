#include "fake_router.h"

#include "base_clock.h"
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void fake_router_open(struct fake_router *self)
{
    struct base_error err = {0};

    *self = (struct fake_router){0};
    (void)snprintf(self->directory, sizeof(self->directory), "/tmp/lmesh-test-XXXXXX");
    cr_assert_not_null(mkdtemp(self->directory));
    (void)snprintf(self->endpoint, sizeof(self->endpoint), "ipc://%s/r", self->directory);
    cr_assert_eq(net_context_new_library(&self->context, &err), BASE_OK, "%s", err.text);
    cr_assert_eq(net_bind(self->context, NET_PLANE_CLIENT, self->endpoint, &self->socket, &err),
        BASE_OK, "%s", err.text);
}

static void drop_inbound(struct fake_router *self)
{
    if (self->has_inbound)
        net_inbound_release(&self->inbound);
    self->has_inbound = false;
}

void fake_router_close(struct fake_router *self)
{
    char path[128];

    drop_inbound(self);
    net_close(&self->socket);
    net_context_destroy(&self->context);
    (void)snprintf(path, sizeof(path), "%s/r", self->directory);
    (void)unlink(path);
    (void)rmdir(self->directory);
}

static bool receive(struct fake_router *self, enum wire_kind kind, struct lmesh_request *request,
    bool skips_all, int wait_ms)
{
    uint64_t deadline_ms = base_clock_ms() + (uint64_t)wait_ms;

    drop_inbound(self);
    while (base_clock_ms() < deadline_ms) {
        const struct lmesh_part *part = NULL;
        struct net_poll_item item = {.socket = self->socket};
        if (request != NULL)
            cr_assert_eq(lmesh_next(request, 0, &part), LMESH_ERR_AGAIN);
        (void)net_poll(&item, 1, 10);
        if (net_receive(self->socket, &self->inbound) != BASE_OK)
            continue;
        self->has_inbound = true;
        self->peer = self->inbound.from;
        enum wire_kind got = self->inbound.message.kind;
        if (got == kind)
            return true;
        cr_assert(skips_all || got == WIRE_PING || got == WIRE_ROUTER_STATUS_QUERY,
            "message of kind %d came where %d was expected", got, kind);
        drop_inbound(self);
    }
    return false;
}

const struct wire_message *fake_router_expect(
    struct fake_router *self, enum wire_kind kind, struct lmesh_request *request)
{
    cr_assert(receive(self, kind, request, false, 3000), "no message of kind %d came", kind);
    return &self->inbound.message;
}

bool fake_router_sees(
    struct fake_router *self, enum wire_kind kind, struct lmesh_request *request, int wait_ms)
{
    return receive(self, kind, request, true, wait_ms);
}

void fake_router_send(
    struct fake_router *self, const struct wire_message *message, const void *tensor, size_t bytes)
{
    struct base_error err = {0};
    struct net_tensor frame = {.data = tensor, .bytes = bytes};

    cr_assert_eq(net_send(self->socket, &self->peer, message, tensor != NULL ? &frame : NULL, &err),
        BASE_OK, "%s", err.text);
}

void fake_router_send_token(struct fake_router *self, uint64_t request_id, uint32_t sequence,
    uint32_t token_id, const char *text)
{
    const struct wire_top_logprob top[] = {{token_id, -0.25f}, {token_id + 1, -2.0f}};
    const struct wire_token_part token = {
        .token_id = token_id, .logprob = -0.25f, .top = top, .top_count = 2};
    const struct wire_message message = {.kind = WIRE_PARTIAL,
        .partial = {.request_id = request_id,
            .sequence = sequence,
            .tokens = &token,
            .token_count = 1,
            .text = {(const uint8_t *)text, strlen(text)}}};

    fake_router_send(self, &message, NULL, 0);
}

void fake_router_send_final(struct fake_router *self, uint64_t request_id,
    enum wire_finish_reason reason, const struct wire_fault *fault)
{
    struct wire_message message = {.kind = WIRE_FINAL,
        .final = {.request_id = request_id,
            .finish_reason = reason,
            .prompt_tokens = 3,
            .completion_tokens = 2,
            .ttft_ms = 1.5,
            .total_ms = 4.0,
            .resume_count = 1}};

    if (fault != NULL)
        message.final.error = *fault;
    fake_router_send(self, &message, NULL, 0);
}
