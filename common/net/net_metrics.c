#include "net_metrics.h"

#include "base_err.h"
#include "net_internal.h"

#define PREFIX "layermesh_"

int net_metrics_register(struct net_context *self, struct metrics *metrics, struct base_error *err)
{
    const struct metrics_series traffic[] = {
        {PREFIX "sent_messages_total", "Messages that sockets took from us.", METRICS_COUNTER,
            {{0}}, &self->traffic.sent_messages, false},
        {PREFIX "sent_bytes_total", "Bytes of these messages, without what the transport adds.",
            METRICS_COUNTER, {{0}}, &self->traffic.sent_bytes, false},
        {PREFIX "send_failures_total",
            "Messages that a socket did not take: no connection, queue full, peer gone.",
            METRICS_COUNTER, {{0}}, &self->traffic.send_failures, false},
        {PREFIX "received_messages_total", "Messages that arrived, refused ones included.",
            METRICS_COUNTER, {{0}}, &self->traffic.received_messages, false},
        {PREFIX "received_bytes_total", "Bytes of these messages.", METRICS_COUNTER, {{0}},
            &self->traffic.received_bytes, false},
    };
    int rc = metrics_register(metrics, traffic, sizeof(traffic) / sizeof(traffic[0]), err);

    for (int i = 0; i < NET_REFUSAL_COUNT && rc == BASE_OK; i++) {
        const struct metrics_series series = {PREFIX "refused_total",
            "Messages, handshakes and connections that were refused; handshakes that failed are "
            "key, handshake and half_open.",
            METRICS_COUNTER, {{"reason", net_refusal_name((enum net_refusal)i)}},
            (void *)&self->refusals[i], false};
        rc = metrics_register(metrics, &series, 1, err);
    }
    return rc;
}
