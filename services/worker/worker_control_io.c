#include "worker_control_io.h"

#include "base_alloc.h"
#include "base_clock.h"
#include "base_log.h"
#include "base_queue.h"
#include "worker_event.h"
#include <pthread.h>
#include <sched.h>
#include <string.h>

#define OUTGOING_MAX       256
#define SILENCE_MS         10000u /* a connection that says nothing for so long is made anew */
#define REMIND_INTERVAL_MS 10000u /* between log lines while there is no coordinator */
#define POLL_MS            1000
#define RETRY_MS           2
#define UNSENT_MS          250u

struct worker_control {
    struct net_context *context;
    const char *endpoint, *public_key;
    struct base_queue *events;   /* to the data thread */
    struct base_queue *outgoing; /* struct wire_message *, or the stop mark */
    pthread_t thread;
    bool started;
    struct net_socket *socket; /* this and below: control thread only */
    bool connected;
    struct wire_message *unsent; /* the watch tells of a connection before it takes messages */
    uint64_t unsent_until_ms;    /* when it is given up */
    uint64_t heard_ms, reminded_ms;
};

static char stop_mark;

static void tell(struct worker_control *self, enum worker_event_kind kind)
{
    struct worker_event *event = worker_event_new(kind);

    if (event == NULL || worker_event_push(self->events, &event) != BASE_OK)
        base_log(BASE_LOG_ERROR, "event-lost", "kind=%d", (int)kind);
}

static void open_socket(struct worker_control *self)
{
    struct base_error err = {0};

    self->connected = false;
    self->heard_ms = base_clock_ms();
    if (net_connect(self->context, NET_PLANE_CONTROL, self->endpoint, self->public_key,
            &self->socket, &err) != BASE_OK ||
        net_watch(self->socket, &err) != BASE_OK) {
        base_log(BASE_LOG_ERROR, "connect-failed", "coordinator=%s error=\"%s\"", self->endpoint,
            err.text);
        net_close(&self->socket);
    }
}

static void take_connection_events(struct worker_control *self)
{
    unsigned connected = 0;
    unsigned lost = net_watch_take(self->socket, &connected);

    /* Connections are made and lost in turn, so the counts say how it ended. */
    bool now_connected = (self->connected ? 1 : 0) + connected > lost;
    if (lost > 0) {
        base_log(BASE_LOG_WARN, "coordinator-lost", "endpoint=%s", self->endpoint);
        self->reminded_ms = base_clock_ms();
        tell(self, WORKER_EVENT_LOST);
    }
    if (connected > 0 && now_connected) {
        base_log(BASE_LOG_INFO, "coordinator-connected", "endpoint=%s", self->endpoint);
        self->heard_ms = base_clock_ms();
        tell(self, WORKER_EVENT_CONNECTED);
    }
    self->connected = now_connected;
}

/* Here and not behind the queue of events, where it could find no room. */
static void admit(struct worker_control *self, const struct wire_admission *admission)
{
    const int rc = net_admit(self->context, admission->rows, admission->row_count);

    base_log(rc == BASE_OK ? BASE_LOG_INFO : BASE_LOG_ERROR, "admission",
        "serial=%llu keys=%zu code=%s", (unsigned long long)admission->serial, admission->row_count,
        rc == BASE_OK ? "OK" : base_err_name(rc));
}

static void take_messages(struct worker_control *self)
{
    for (;;) {
        struct net_inbound *inbound = base_alloc_zeroed(1, sizeof(*inbound));
        if (inbound == NULL)
            return;
        if (net_receive(self->socket, inbound) != BASE_OK) {
            base_free(inbound);
            return;
        }
        self->heard_ms = base_clock_ms();
        if (inbound->message.kind == WIRE_ADMISSION) {
            admit(self, &inbound->message.admission);
            worker_inbound_destroy(&inbound);
            continue;
        }
        struct worker_event *event = worker_event_new(WORKER_EVENT_CONTROL);
        if (event == NULL || base_queue_count(self->events) >= WORKER_EVENTS_OTHERS) {
            base_log(BASE_LOG_WARN, "message-dropped", "from=coordinator kind=%d",
                (int)inbound->message.kind);
            worker_inbound_destroy(&inbound);
            worker_event_destroy(&event);
            continue;
        }
        event->inbound = inbound;
        (void)worker_event_push(self->events, &event);
    }
}

/* Takes message. Returns false when it has to wait. */
static bool send_one(struct worker_control *self, struct wire_message *message)
{
    struct base_error err = {0};
    int rc = self->socket == NULL ? BASE_AGAIN : net_send(self->socket, NULL, message, NULL, &err);

    if (rc == BASE_AGAIN && self->connected &&
        (self->unsent_until_ms == 0 || base_clock_ms() < self->unsent_until_ms)) {
        if (self->unsent_until_ms == 0)
            self->unsent_until_ms = base_clock_ms() + UNSENT_MS;
        self->unsent = message;
        return false;
    }
    self->unsent_until_ms = 0;
    /* Nothing is kept for a coordinator that is away: at registration all is said anew. */
    if (rc != BASE_OK && rc != BASE_AGAIN)
        base_log(BASE_LOG_WARN, "send-failed", "to=coordinator error=\"%s\"", err.text);
    base_free(message);
    return true;
}

/* Returns false when the thread shall end. */
static bool send_messages(struct worker_control *self)
{
    struct wire_message *message = self->unsent;

    self->unsent = NULL;
    if (message == NULL)
        message = base_queue_pop(self->outgoing);
    while (message != NULL) {
        if ((void *)message == &stop_mark)
            return false;
        if (!send_one(self, message))
            return true;
        message = base_queue_pop(self->outgoing);
    }
    return true;
}

static void look_after_connection(struct worker_control *self)
{
    uint64_t now_ms = base_clock_ms();

    if (self->socket != NULL && self->connected && now_ms - self->heard_ms > SILENCE_MS) {
        base_log(BASE_LOG_WARN, "coordinator-silent", "endpoint=%s silent_ms=%llu", self->endpoint,
            (unsigned long long)(now_ms - self->heard_ms));
        tell(self, WORKER_EVENT_LOST);
        net_close(&self->socket);
        self->connected = false;
    }
    if (self->socket == NULL)
        open_socket(self);
    if (!self->connected && now_ms - self->reminded_ms > REMIND_INTERVAL_MS) {
        base_log(BASE_LOG_WARN, "no-coordinator", "endpoint=%s reason=\"%s\"", self->endpoint,
            self->socket != NULL && net_was_refused(self->socket)
                ? "it does not admit our key, or has another one than expected"
                : "still trying");
        self->reminded_ms = now_ms;
    }
}

static void *control_main(void *context)
{
    struct worker_control *self = context;
    bool running = true;

    open_socket(self);
    self->reminded_ms = base_clock_ms();
    while (running) {
        struct net_poll_item items[3] = {{.socket = self->socket},
            {.socket = self->socket, .watch = true}, {.fd = base_queue_fd(self->outgoing)}};
        if (self->socket == NULL)
            (void)net_poll(&items[2], 1, POLL_MS);
        else if (self->unsent != NULL) /* what waits behind it is no news */
            (void)net_poll(items, 2, RETRY_MS);
        else
            (void)net_poll(items, 3, POLL_MS);
        if (self->socket != NULL) {
            take_connection_events(self);
            take_messages(self);
        }
        running = send_messages(self);
        if (running)
            look_after_connection(self);
    }
    base_free(self->unsent);
    net_close(&self->socket);
    return NULL;
}

int worker_control_new(struct net_context *context, const char *endpoint, const char *public_key,
    struct base_queue *events, struct worker_control **ret, struct base_error *err)
{
    struct worker_control *self = base_alloc_zeroed(1, sizeof(*self));

    if (self == NULL)
        return base_error_set(err, BASE_NOMEM, "control thread");
    self->context = context;
    self->endpoint = endpoint;
    self->public_key = public_key;
    self->events = events;
    int rc = base_queue_new(OUTGOING_MAX, &self->outgoing);
    if (rc != BASE_OK) {
        base_free(self);
        return base_error_set(err, rc, "queue of the control thread");
    }
    *ret = self;
    return BASE_OK;
}

int worker_control_start(struct worker_control *self, struct base_error *err)
{
    int error = pthread_create(&self->thread, NULL, control_main, self);

    if (error != 0)
        return base_error_set(err, BASE_IO, "control thread: %s", strerror(error));
    self->started = true;
    return BASE_OK;
}

void worker_control_send(struct worker_control *self, const struct wire_message *message)
{
    struct wire_message *copy = base_alloc(sizeof(*copy));

    if (copy != NULL) {
        *copy = *message;
        if (base_queue_push(self->outgoing, copy) == BASE_OK)
            return;
    }
    base_log(BASE_LOG_WARN, "message-dropped", "to=coordinator kind=%d", (int)message->kind);
    base_free(copy);
}

void worker_control_destroy(struct worker_control **self_p)
{
    struct worker_control *self = *self_p;

    if (self == NULL)
        return;
    if (self->started) {
        while (base_queue_push(self->outgoing, &stop_mark) != BASE_OK)
            (void)sched_yield(); /* the thread is emptying it */
        (void)pthread_join(self->thread, NULL);
    }
    struct wire_message *message;
    while ((message = base_queue_pop(self->outgoing)) != NULL)
        base_free(message);
    base_queue_destroy(&self->outgoing);
    base_free(self);
    *self_p = NULL;
}
