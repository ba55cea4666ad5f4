#include "text_merge.h"

#include "base_alloc.h"
#include "base_err.h"

static bool better(const struct text_merge *a, const struct text_merge *b)
{
    return a->key != b->key ? a->key < b->key : a->left < b->left;
}

/* Four children share a cache line, which matters when a megabyte is one piece. */
#define CHILDREN 4

static int heap_push(struct text_merge_work *self, struct text_merge entry)
{
    if (self->heap_count == self->heap_count_max) {
        size_t count_max = self->heap_count_max + self->heap_count_max / 2 + 64;
        void *heap = base_realloc_array(self->heap, count_max, sizeof(*self->heap));
        if (heap == NULL)
            return BASE_NOMEM;
        self->heap = heap;
        self->heap_count_max = count_max;
    }
    size_t at = self->heap_count++;
    while (at > 0 && better(&entry, &self->heap[(at - 1) / CHILDREN])) {
        self->heap[at] = self->heap[(at - 1) / CHILDREN];
        at = (at - 1) / CHILDREN;
    }
    self->heap[at] = entry;
    self->push_count++;
    return BASE_OK;
}

static struct text_merge heap_pop(struct text_merge_work *self)
{
    struct text_merge top = self->heap[0];
    struct text_merge last = self->heap[--self->heap_count];
    size_t at = 0;

    for (;;) {
        size_t child = at * CHILDREN + 1, end = child + CHILDREN;
        if (child >= self->heap_count)
            break;
        for (size_t i = child + 1; i < end && i < self->heap_count; i++) {
            if (better(&self->heap[i], &self->heap[child]))
                child = i;
        }
        if (!better(&self->heap[child], &last))
            break;
        self->heap[at] = self->heap[child];
        at = child;
    }
    self->heap[at] = last;
    return top;
}

int text_merge_reserve(struct text_merge_work *self, size_t count)
{
    if (count <= self->symbol_count_max)
        return BASE_OK;
    void *symbols = base_realloc_array(self->symbols, count, sizeof(*self->symbols));
    if (symbols == NULL)
        return BASE_NOMEM;
    self->symbols = symbols;
    self->symbol_count_max = count;
    return BASE_OK;
}

int text_merge_add(struct text_merge_work *self, uint32_t begin, uint32_t bytes, uint32_t id)
{
    if (self->symbol_count == self->symbol_count_max) {
        int rc = text_merge_reserve(self, self->symbol_count_max * 2 + 64);
        if (rc != BASE_OK)
            return rc;
    }
    uint32_t at = (uint32_t)self->symbol_count++;
    self->symbols[at] =
        (struct text_symbol){begin, bytes, at == 0 ? TEXT_NONE : at - 1, TEXT_NONE, id};
    if (at > 0)
        self->symbols[at - 1].next = at;
    return BASE_OK;
}

/* Pushes the pair that begins with symbol left, if there is a rule for it. */
static int push_pair(struct text_merge_work *self, uint32_t left, const char *piece,
    text_merge_rule *rule, const void *context)
{
    uint32_t key, id, right = left == TEXT_NONE ? TEXT_NONE : self->symbols[left].next;

    if (right == TEXT_NONE ||
        !rule(context, piece, &self->symbols[left], &self->symbols[right], &key, &id))
        return BASE_OK;
    return heap_push(self,
        (struct text_merge){key, left, self->symbols[left].bytes + self->symbols[right].bytes, id});
}

int text_merge_run(
    struct text_merge_work *self, const char *piece, text_merge_rule *rule, const void *context)
{
    int rc = BASE_OK;

    self->heap_count = 0;
    for (size_t i = 0; rc == BASE_OK && i + 1 < self->symbol_count; i++)
        rc = push_pair(self, (uint32_t)i, piece, rule, context);
    while (rc == BASE_OK && self->heap_count > 0) {
        struct text_merge merge = heap_pop(self);
        struct text_symbol *left = &self->symbols[merge.left];

        if (left->bytes == 0 || left->next == TEXT_NONE)
            continue;
        struct text_symbol *right = &self->symbols[left->next];
        /* Symbols only grow, so an unchanged sum means that neither has changed. */
        if (left->bytes + right->bytes != merge.bytes)
            continue;
        left->bytes = merge.bytes;
        left->id = merge.id;
        left->next = right->next;
        right->bytes = 0;
        if (left->next != TEXT_NONE)
            self->symbols[left->next].previous = merge.left;
        rc = push_pair(self, left->previous, piece, rule, context);
        if (rc == BASE_OK)
            rc = push_pair(self, merge.left, piece, rule, context);
    }
    return rc;
}

void text_merge_release(struct text_merge_work *self)
{
    base_free(self->symbols);
    base_free(self->heap);
    *self = (struct text_merge_work){0};
}
