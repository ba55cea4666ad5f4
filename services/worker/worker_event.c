#include "worker_event.h"

#include "base_alloc.h"
#include "base_queue.h"
#include "worker_compute.h"

struct worker_buffer *worker_buffer_new(size_t bytes)
{
    size_t total;

    if (!base_add_size(bytes, sizeof(struct worker_buffer), &total))
        return NULL;
    struct worker_buffer *self = base_alloc(total);
    if (self == NULL)
        return NULL;
    atomic_init(&self->references, 1);
    self->bytes = bytes;
    return self;
}

struct worker_buffer *worker_buffer_hold(struct worker_buffer *self)
{
    atomic_fetch_add(&self->references, 1);
    return self;
}

void worker_buffer_drop(struct worker_buffer **self_p)
{
    struct worker_buffer *self = *self_p;

    *self_p = NULL;
    if (self != NULL && atomic_fetch_sub(&self->references, 1) == 1)
        base_free(self);
}

struct worker_event *worker_event_new(enum worker_event_kind kind)
{
    struct worker_event *self = base_alloc_zeroed(1, sizeof(*self));

    if (self != NULL)
        self->kind = kind;
    return self;
}

void worker_event_destroy(struct worker_event **self_p)
{
    struct worker_event *self = *self_p;

    if (self == NULL)
        return;
    worker_inbound_destroy(&self->inbound);
    worker_stage_drop(&self->stage);
    worker_buffer_drop(&self->output);
    base_free(self->rows);
    base_free(self);
    *self_p = NULL;
}

int worker_event_push(struct base_queue *queue, struct worker_event **event_p)
{
    int rc = base_queue_push(queue, *event_p);

    if (rc != BASE_OK)
        worker_event_destroy(event_p);
    *event_p = NULL;
    return rc;
}

void worker_inbound_destroy(struct net_inbound **self_p)
{
    if (*self_p == NULL)
        return;
    net_inbound_release(*self_p);
    base_free(*self_p);
    *self_p = NULL;
}
