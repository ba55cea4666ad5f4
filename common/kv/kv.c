#include "kv.h"

#include "base_alloc.h"
#include "base_assert.h"
#include "base_err.h"
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>

#define HUGE_PAGE_BYTES ((size_t)2 << 20)

struct kv {
    struct kv_options options;
    struct tensor_attention_layout layout; /* of one head in one page */
    uint8_t *memory;
    size_t bytes;
    size_t head_bytes;  /* all pages of one head of a layer */
    size_t layer_bytes; /* all heads of one layer */
};

static struct kv_options completed(const struct kv_options *options)
{
    struct kv_options o = *options;

    if (o.value_dim == 0)
        o.value_dim = o.head_dim;
    return o;
}

static int layout_of(const struct kv_options *options, struct tensor_attention_layout *ret_layout,
    uint64_t *ret_bytes, struct base_error *err)
{
    struct kv_options o = completed(options);
    const struct {
        const char *name;
        uint32_t value;
    } factors[] = {{"layer_count", o.layer_count}, {"kv_head_count", o.kv_head_count},
        {"page_count", o.page_count}, {"head_dim", o.head_dim}, {"page_tokens", o.page_tokens}};
    size_t bytes = 0;

    for (size_t i = 0; i < sizeof(factors) / sizeof(factors[0]); i++)
        if (factors[i].value == 0)
            return base_error_set(err, BASE_INVALID, "kv %s is 0", factors[i].name);
    if ((o.page_tokens & (o.page_tokens - 1)) != 0)
        return base_error_set(
            err, BASE_INVALID, "kv page_tokens %" PRIu32 " is no power of two", o.page_tokens);
    if (!tensor_attention_type_supported(o.type))
        return base_error_set(
            err, BASE_INVALID, "kv type %" PRIu32 " is none of f32, f16 and int8", o.type);
    bool fits = tensor_attention_layout_init(
                    ret_layout, o.type, o.page_tokens, o.head_dim, o.value_dim) == BASE_OK;
    bytes = fits ? ret_layout->bytes : 0;
    for (size_t i = 0; i < 3 && fits; i++)
        fits = base_mul_size(bytes, factors[i].value, &bytes);
    if (!fits)
        return base_error_set(err, BASE_INVALID,
            "kv cache of %" PRIu32 " layers and %" PRIu32 " pages is larger than memory can be",
            o.layer_count, o.page_count);
    *ret_bytes = bytes;
    return BASE_OK;
}

int kv_bytes(const struct kv_options *options, uint64_t *ret_bytes, struct base_error *err)
{
    struct tensor_attention_layout layout;

    return layout_of(options, &layout, ret_bytes, err);
}

int kv_new(const struct kv_options *options, struct kv **ret_kv, struct base_error *err)
{
    struct tensor_attention_layout layout;
    uint64_t bytes = 0;
    int rc = layout_of(options, &layout, &bytes, err);

    if (rc != BASE_OK)
        return rc;
    struct kv *self = base_alloc_zeroed(1, sizeof(*self));
    if (self == NULL)
        return base_error_set(err, BASE_NOMEM, "kv: no memory");
    self->options = completed(options);
    self->layout = layout;
    self->bytes = (size_t)bytes;
    self->head_bytes = layout.bytes * options->page_count;
    self->layer_bytes = self->head_bytes * options->kv_head_count;
    /* No reservation: most of it may never be written, and the coordinator has counted it. */
    void *memory = mmap(NULL, self->bytes, PROT_READ | PROT_WRITE,
        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) {
        rc = base_error_set(
            err, BASE_NOMEM, "kv: mapping %zu bytes: %s", self->bytes, strerror(errno));
        base_free(self);
        return rc;
    }
    /* Fewer, larger pages for what is streamed at each token. Only advice. */
    if (self->layer_bytes >= HUGE_PAGE_BYTES)
        (void)madvise(memory, self->bytes, MADV_HUGEPAGE);
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

static uint8_t *head_page(
    const struct kv *self, uint32_t layer, uint32_t kv_head, uint32_t page, uint32_t slot)
{
    const struct kv_options *o = &self->options;

    base_assert(layer < o->layer_count && page < o->page_count && kv_head < o->kv_head_count &&
                slot < o->page_tokens);
    return self->memory + layer * self->layer_bytes + kv_head * self->head_bytes +
           page * self->layout.bytes;
}

void kv_write(struct kv *self, uint32_t layer, uint32_t kv_head, uint32_t page, uint32_t slot,
    const float *k, const float *v)
{
    tensor_attention_store(&self->layout, head_page(self, layer, kv_head, page, slot), slot, k, v);
}

void kv_read(const struct kv *self, uint32_t layer, uint32_t kv_head, uint32_t page, uint32_t slot,
    float *k, float *v)
{
    tensor_attention_load(&self->layout, head_page(self, layer, kv_head, page, slot), slot, k, v);
}

struct tensor_attention_cache kv_view(const struct kv *self, uint32_t layer, uint32_t kv_head)
{
    return (struct tensor_attention_cache){.layout = self->layout,
        .memory = head_page(self, layer, kv_head, 0, 0),
        .page_bytes = self->layout.bytes};
}
