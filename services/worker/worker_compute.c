#include "worker_compute.h"

#include "base_alloc.h"
#include "base_assert.h"
#include "base_clock.h"
#include "base_queue.h"
#include "stage.h"
#include "tensor_pool.h"
#include "worker_event.h"
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

_Static_assert((int)STAGE_LOGITS_TOP == (int)WIRE_LOGITS_TOP &&
                   (int)STAGE_LOGITS_FULL == (int)WIRE_LOGITS_FULL &&
                   (int)STAGE_LOGITS_FULL_ALL == (int)WIRE_LOGITS_FULL_ALL,
    "logits modes are passed on as they are");

struct worker_stage {
    atomic_uint references;
    uint64_t epoch;
    uint32_t embedding_length;
    struct stage *stage;
};

struct worker_compute {
    struct tensor_pool *pool;
    struct base_queue *events;
    struct base_queue *jobs; /* struct worker_event *, or the stop mark */
    pthread_t thread;
    bool stopped;
    pthread_mutex_t mutex; /* guards active */
    struct worker_stage *active;
};

static char stop_mark; /* its address in the queue ends the thread */

/* ---- stages ---- */

struct worker_stage *worker_stage_new(
    struct stage **stage_p, uint64_t epoch, uint32_t embedding_length)
{
    struct worker_stage *self = base_alloc_zeroed(1, sizeof(*self));

    if (self == NULL) {
        stage_destroy(stage_p);
        return NULL;
    }
    atomic_init(&self->references, 1);
    self->epoch = epoch;
    self->embedding_length = embedding_length;
    self->stage = *stage_p;
    *stage_p = NULL;
    return self;
}

struct worker_stage *worker_stage_hold(struct worker_stage *self)
{
    atomic_fetch_add(&self->references, 1);
    return self;
}

void worker_stage_drop(struct worker_stage **self_p)
{
    struct worker_stage *self = *self_p;

    *self_p = NULL;
    if (self == NULL || atomic_fetch_sub(&self->references, 1) != 1)
        return;
    stage_destroy(&self->stage);
    base_free(self);
}

const struct stage *worker_stage_get(const struct worker_stage *self)
{
    return self->stage;
}

uint64_t worker_stage_epoch(const struct worker_stage *self)
{
    return self->epoch;
}

void worker_fault_set(struct wire_fault *fault, const struct base_error *err)
{
    fault->code = err->code;
    memcpy(fault->text, err->text, sizeof(fault->text));
}

/* ---- one run ---- */

/* Puts rows and their payload into the event. Returns BASE_OK or BASE_NOMEM. */
static int take_rows(
    struct worker_event *event, const struct wire_step *step, const struct stage_output *output)
{
    size_t bytes = 0, at = 0;

    if (output->row_count == 0)
        return BASE_OK;
    for (size_t i = 0; i < output->row_count; i++)
        bytes +=
            (size_t)output->rows[i].count * (output->rows[i].logits == STAGE_LOGITS_TOP ? 8 : 4);
    event->rows = base_alloc_array(output->row_count, sizeof(*event->rows));
    event->output = worker_buffer_new(bytes);
    if (event->rows == NULL || event->output == NULL)
        return BASE_NOMEM;
    for (size_t i = 0; i < output->row_count; i++) {
        const struct stage_row *row = &output->rows[i];
        size_t row_bytes = (size_t)row->count * (row->logits == STAGE_LOGITS_TOP ? 8 : 4);
        base_assert(row->sequence < step->sequence_count &&
                    row->offset + row_bytes <= output->payload_bytes);
        event->rows[i] =
            (struct wire_row_result){.sequence_id = step->sequences[row->sequence].sequence_id,
                .position = row->position,
                .logits = (enum wire_logits_mode)row->logits,
                .count = row->count,
                .log_sum_exp = row->log_sum_exp};
        memcpy(event->output->data + at, output->payload + row->offset, row_bytes);
        at += row_bytes;
    }
    event->row_count = output->row_count;
    return BASE_OK;
}

static int take_output(struct worker_event *event, const struct worker_stage *active,
    const struct wire_step *step, const struct stage_output *output)
{
    if (stage_get_options(active->stage)->has_head)
        return take_rows(event, step, output);
    size_t bytes = (size_t)step->token_count * active->embedding_length * sizeof(float);
    event->output = worker_buffer_new(bytes);
    if (event->output == NULL)
        return BASE_NOMEM;
    memcpy(event->output->data, output->hidden, bytes);
    return BASE_OK;
}

static int run_step(struct worker_compute *self, struct worker_stage *active,
    const struct net_inbound *inbound, struct worker_event *event, struct base_error *err)
{
    const struct wire_step *step = &inbound->message.step;
    struct stage_sequence sequences[LIMIT_BATCH_SEQUENCES_MAX];
    struct stage_output output = {0};

    if (active == NULL || active->epoch != step->epoch)
        return base_error_set(
            err, BASE_STALE, "epoch %llu is not active any more", (unsigned long long)step->epoch);
    base_assert(step->sequence_count <= LIMIT_BATCH_SEQUENCES_MAX);
    for (size_t i = 0; i < step->sequence_count; i++) {
        const struct wire_sequence *sequence = &step->sequences[i];
        sequences[i] = (struct stage_sequence){.first_position = sequence->first_position,
            .token_count = sequence->token_count,
            .pages = sequence->pages,
            .page_count = sequence->page_count,
            .logits = (enum stage_logits)sequence->logits,
            .top_count = sequence->top_count};
    }
    int rc = stage_run(active->stage, self->pool, sequences, step->sequence_count, inbound->tensor,
        inbound->tensor_bytes, &output, err);
    if (rc != BASE_OK)
        return rc;
    if (take_output(event, active, step, &output) != BASE_OK)
        return base_error_set(err, BASE_NOMEM, "no memory for the output of a step");
    return BASE_OK;
}

/* event came with the step and goes back with what became of it. */
static void run_job(struct worker_compute *self, struct worker_event *event)
{
    struct base_error err = {0};

    (void)pthread_mutex_lock(&self->mutex);
    struct worker_stage *active = self->active == NULL ? NULL : worker_stage_hold(self->active);
    (void)pthread_mutex_unlock(&self->mutex);

    uint64_t start_us = base_clock_us();
    if (run_step(self, active, event->inbound, event, &err) != BASE_OK)
        worker_fault_set(&event->fault, &err);
    event->compute_us = (uint32_t)(base_clock_us() - start_us);
    worker_stage_drop(&active);
    worker_inbound_destroy(&event->inbound);
    int rc = worker_event_push(self->events, &event);
    base_assert(rc == BASE_OK); /* see WORKER_EVENTS_MAX */
}

/* ---- thread ---- */

static void *compute_main(void *context)
{
    struct worker_compute *self = context;

    tensor_pool_pin(self->pool); /* this thread calls it and makes no others */
    for (;;) {
        void *job = base_queue_pop_wait(self->jobs, -1);
        if (job == &stop_mark)
            return NULL;
        if (job != NULL)
            run_job(self, job);
    }
}

int worker_compute_new(struct tensor_pool *pool, struct base_queue *events,
    struct worker_compute **ret, struct base_error *err)
{
    struct worker_compute *self = base_alloc_zeroed(1, sizeof(*self));

    if (self == NULL)
        return base_error_set(err, BASE_NOMEM, "compute thread");
    self->pool = pool;
    self->events = events;
    int rc = base_queue_new(WORKER_JOBS_MAX, &self->jobs);
    if (rc != BASE_OK) {
        base_free(self);
        return base_error_set(err, rc, "queue of the compute thread");
    }
    (void)pthread_mutex_init(&self->mutex, NULL);
    int error = pthread_create(&self->thread, NULL, compute_main, self);
    if (error != 0) {
        base_queue_destroy(&self->jobs);
        (void)pthread_mutex_destroy(&self->mutex);
        base_free(self);
        return base_error_set(err, BASE_IO, "compute thread: %s", strerror(error));
    }
    *ret = self;
    return BASE_OK;
}

int worker_compute_stop(struct worker_compute *self, uint32_t timeout_ms)
{
    struct timespec until;

    if (self->stopped)
        return BASE_OK;
    /* What waits is of no use any more, and leaves room for the mark. */
    for (struct worker_event *job = base_queue_pop(self->jobs); job != NULL;
         job = base_queue_pop(self->jobs))
        worker_event_destroy(&job);
    (void)base_queue_push(self->jobs, &stop_mark);
    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += timeout_ms / 1000;
    until.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    if (pthread_timedjoin_np(self->thread, NULL, &until) == ETIMEDOUT)
        return BASE_TIMEOUT;
    self->stopped = true;
    return BASE_OK;
}

void worker_compute_destroy(struct worker_compute **self_p)
{
    struct worker_compute *self = *self_p;

    if (self == NULL)
        return;
    base_assert(self->stopped);
    worker_stage_drop(&self->active);
    base_queue_destroy(&self->jobs);
    (void)pthread_mutex_destroy(&self->mutex);
    base_free(self);
    *self_p = NULL;
}

void worker_compute_activate(
    struct worker_compute *self, struct worker_stage *stage, struct worker_stage **ret_old)
{
    (void)pthread_mutex_lock(&self->mutex);
    *ret_old = self->active;
    self->active = stage;
    (void)pthread_mutex_unlock(&self->mutex);
}

int worker_compute_run(struct worker_compute *self, struct net_inbound **inbound_p)
{
    /* Made now, so that a run always has an answer. */
    struct worker_event *event = worker_event_new(WORKER_EVENT_RAN);

    if (event == NULL)
        return BASE_NOMEM;
    event->epoch = (*inbound_p)->message.step.epoch;
    event->batch_id = (*inbound_p)->message.step.batch_id;
    event->inbound = *inbound_p;
    if (base_queue_push(self->jobs, event) != BASE_OK) {
        event->inbound = NULL;
        worker_event_destroy(&event);
        return BASE_FULL;
    }
    *inbound_p = NULL;
    return BASE_OK;
}
