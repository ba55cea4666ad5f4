#include "kv.h"

#include "base_alloc.h"
#include "base_assert.h"
#include "base_err.h"
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>

struct kv {
    struct kv_options options;
    float *memory;
    size_t bytes;
    size_t head_floats;  /* of one head in one page */
    size_t plane_floats; /* keys, or values, of one layer */
};

int kv_bytes(const struct kv_options *options, uint64_t *ret_bytes, struct base_error *err)
{
    const struct {
        const char *name;
        uint32_t value;
    } factors[] = {{"layer_count", options->layer_count}, {"kv_head_count", options->kv_head_count},
        {"head_dim", options->head_dim}, {"page_tokens", options->page_tokens},
        {"page_count", options->page_count}};
    size_t bytes = 2 * sizeof(float);

    if ((options->page_tokens & (options->page_tokens - 1)) != 0)
        return base_error_set(err, BASE_INVALID, "kv page_tokens %" PRIu32 " is no power of two",
            options->page_tokens);
    for (size_t i = 0; i < sizeof(factors) / sizeof(factors[0]); i++) {
        if (factors[i].value == 0)
            return base_error_set(err, BASE_INVALID, "kv %s is 0", factors[i].name);
        if (!base_mul_size(bytes, factors[i].value, &bytes))
            return base_error_set(err, BASE_INVALID,
                "kv cache of %" PRIu32 " layers and %" PRIu32 " pages is larger than memory can be",
                options->layer_count, options->page_count);
    }
    *ret_bytes = bytes;
    return BASE_OK;
}

int kv_new(const struct kv_options *options, struct kv **ret_kv, struct base_error *err)
{
    uint64_t bytes = 0;
    int rc = kv_bytes(options, &bytes, err);

    if (rc != BASE_OK)
        return rc;
    struct kv *self = base_alloc_zeroed(1, sizeof(*self));
    if (self == NULL)
        return base_error_set(err, BASE_NOMEM, "kv: no memory");
    self->options = *options;
    self->bytes = (size_t)bytes;
    self->head_floats = (size_t)options->page_tokens * options->head_dim;
    self->plane_floats = self->head_floats * options->kv_head_count * options->page_count;
    /* No reservation: most of it may never be written, and the coordinator has counted it. */
    void *memory = mmap(NULL, self->bytes, PROT_READ | PROT_WRITE,
        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) {
        rc = base_error_set(
            err, BASE_NOMEM, "kv: mapping %zu bytes: %s", self->bytes, strerror(errno));
        base_free(self);
        return rc;
    }
    self->memory = memory;
    *ret_kv = self;
    return BASE_OK;
}

void kv_destroy(struct kv **self_p)
{
    struct kv *self = *self_p;

    if (self == NULL)
        return;
    (void)munmap(self->memory, self->bytes);
    base_free(self);
    *self_p = NULL;
}

const struct kv_options *kv_get_options(const struct kv *self)
{
    return &self->options;
}

/* plane: 0 keys, 1 values */
static float *head_rows(
    const struct kv *self, uint32_t layer, size_t plane, uint32_t page, uint32_t kv_head)
{
    const struct kv_options *o = &self->options;

    base_assert(layer < o->layer_count && page < o->page_count && kv_head < o->kv_head_count);
    return self->memory + ((size_t)layer * 2 + plane) * self->plane_floats +
           ((size_t)page * o->kv_head_count + kv_head) * self->head_floats;
}

void kv_write(
    struct kv *self, uint32_t layer, uint32_t page, uint32_t slot, const float *k, const float *v)
{
    size_t dim = self->options.head_dim;

    base_assert(slot < self->options.page_tokens);
    for (uint32_t head = 0; head < self->options.kv_head_count; head++) {
        memcpy(head_rows(self, layer, 0, page, head) + slot * dim, k + head * dim,
            dim * sizeof(float));
        memcpy(head_rows(self, layer, 1, page, head) + slot * dim, v + head * dim,
            dim * sizeof(float));
    }
}

const float *kv_keys(const struct kv *self, uint32_t layer, uint32_t page, uint32_t kv_head)
{
    return head_rows(self, layer, 0, page, kv_head);
}

const float *kv_values(const struct kv *self, uint32_t layer, uint32_t page, uint32_t kv_head)
{
    return head_rows(self, layer, 1, page, kv_head);
}
