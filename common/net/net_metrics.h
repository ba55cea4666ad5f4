/* What a context counts: messages and bytes of all its sockets, what was refused and why. */
#ifndef NET_METRICS_H
#define NET_METRICS_H

#include "metrics.h"
#include "net.h"

/* Registers the cells of the context, which must outlive the registry. As metrics_register(). */
int net_metrics_register(struct net_context *self, struct metrics *metrics, struct base_error *err);

#endif
