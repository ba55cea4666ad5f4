#include "base_queue.h"

#include "base_alloc.h"
#include "base_err.h"
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct base_queue {
    pthread_mutex_t mutex;
    size_t capacity;
    size_t head;
    size_t count;
    int fd; /* eventfd: counter above zero exactly while count > 0; moved under the mutex */
    void *items[];
};

int base_queue_new(size_t capacity, struct base_queue **ret_queue)
{
    size_t bytes;

    if (capacity == 0 || !base_mul_size(capacity, sizeof(void *), &bytes) ||
        !base_add_size(bytes, sizeof(struct base_queue), &bytes))
        return BASE_INVALID;
    struct base_queue *self = base_alloc(bytes);
    if (self == NULL)
        return BASE_NOMEM;
    *self = (struct base_queue){.capacity = capacity};
    self->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (self->fd < 0) {
        base_free(self);
        return BASE_IO;
    }
    (void)pthread_mutex_init(&self->mutex, NULL);
    *ret_queue = self;
    return BASE_OK;
}

void base_queue_destroy(struct base_queue **self_p)
{
    struct base_queue *self = *self_p;

    if (self == NULL)
        return;
    (void)pthread_mutex_destroy(&self->mutex);
    (void)close(self->fd);
    base_free(self);
    *self_p = NULL;
}

int base_queue_push(struct base_queue *self, void *item)
{
    int rc = BASE_FULL;

    (void)pthread_mutex_lock(&self->mutex);
    if (self->count < self->capacity) {
        self->items[(self->head + self->count) % self->capacity] = item;
        if (self->count++ == 0) {
            const uint64_t one = 1;
            (void)!write(self->fd, &one, sizeof(one));
        }
        rc = BASE_OK;
    }
    (void)pthread_mutex_unlock(&self->mutex);
    return rc;
}

void *base_queue_pop(struct base_queue *self)
{
    void *item = NULL;

    (void)pthread_mutex_lock(&self->mutex);
    if (self->count > 0) {
        item = self->items[self->head];
        self->head = (self->head + 1) % self->capacity;
        if (--self->count == 0) {
            uint64_t drained;
            (void)!read(self->fd, &drained, sizeof(drained));
        }
    }
    (void)pthread_mutex_unlock(&self->mutex);
    return item;
}

void *base_queue_pop_wait(struct base_queue *self, int timeout_ms)
{
    void *item = base_queue_pop(self);

    if (item == NULL) {
        struct pollfd wait = {.fd = self->fd, .events = POLLIN};
        if (poll(&wait, 1, timeout_ms) > 0)
            item = base_queue_pop(self);
    }
    return item;
}

size_t base_queue_count(struct base_queue *self)
{
    (void)pthread_mutex_lock(&self->mutex);
    size_t count = self->count;
    (void)pthread_mutex_unlock(&self->mutex);
    return count;
}

int base_queue_fd(const struct base_queue *self)
{
    return self->fd;
}
