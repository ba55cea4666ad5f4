/* The control thread: the connection to the coordinator. Apart from the data thread, so that
 * heartbeats do not queue behind tensors. */
#ifndef WORKER_CONTROL_IO_H
#define WORKER_CONTROL_IO_H

#include "wire_message.h"

struct base_queue;
struct net_context;
struct worker_control;

/* context, endpoint, its public key ("": plain) and events (WORKER_EVENT_CONNECTED, _LOST, _CONTROL
 * go there) are borrowed. Who is admitted to this worker is taken over at once, by this thread. */
int worker_control_new(struct net_context *context, const char *endpoint, const char *public_key,
    struct base_queue *events, struct worker_control **ret, struct base_error *err);
int worker_control_start(struct worker_control *self, struct base_error *err);

/* Sends what was given to worker_control_send() before and ends the thread. */
void worker_control_destroy(struct worker_control **self_p);

/* Any thread, also before the start. What message points to must live as long as the thread. Lost
 * when no coordinator is there. */
void worker_control_send(struct worker_control *self, const struct wire_message *message);

#endif
