#include "text_trie.h"

#include "base_alloc.h"
#include "base_err.h"

struct text_trie_edge {
    uint64_t key; /* node << 8 | byte */
    uint32_t to;  /* 0: the slot is empty */
};

static struct text_trie_edge *slot(const struct text_trie *self, uint64_t key)
{
    for (size_t i = (key * 0x9e3779b97f4a7c15u) >> 32;; i++) {
        struct text_trie_edge *edge = &self->edges[i & (self->edge_count - 1)];
        if (edge->to == 0 || edge->key == key)
            return edge;
    }
}

static int grow_edges(struct text_trie *self)
{
    struct text_trie old = *self;

    self->edge_count = old.edge_count == 0 ? 1024 : old.edge_count * 2;
    self->edges = base_alloc_zeroed(self->edge_count, sizeof(*self->edges));
    if (self->edges == NULL) {
        *self = old;
        return BASE_NOMEM;
    }
    for (size_t i = 0; i < old.edge_count; i++) {
        if (old.edges[i].to != 0)
            *slot(self, old.edges[i].key) = old.edges[i];
    }
    base_free(old.edges);
    return BASE_OK;
}

static int new_node(struct text_trie *self, uint32_t *ret_node)
{
    if (self->node_count == self->node_count_max) {
        size_t count_max = self->node_count_max * 2 + 1024;
        void *values = base_realloc_array(self->values, count_max, sizeof(*self->values));
        if (values == NULL || count_max > UINT32_MAX) {
            self->values = values != NULL ? values : self->values;
            return BASE_NOMEM;
        }
        self->values = values;
        self->node_count_max = count_max;
    }
    self->values[self->node_count] = TEXT_TRIE_NONE;
    *ret_node = (uint32_t)self->node_count++;
    return BASE_OK;
}

static int add_edge(struct text_trie *self, uint32_t node, uint8_t byte, uint32_t *ret_to)
{
    uint32_t to;
    int rc;

    if ((self->edge_used + 1) * 2 > self->edge_count && (rc = grow_edges(self)) != BASE_OK)
        return rc;
    rc = new_node(self, &to);
    if (rc != BASE_OK)
        return rc;
    if (node == 0) {
        self->first[byte] = to;
    } else {
        uint64_t key = (uint64_t)node << 8 | byte;
        *slot(self, key) = (struct text_trie_edge){key, to};
        self->edge_used++;
    }
    *ret_to = to;
    return BASE_OK;
}

int text_trie_add(struct text_trie *self, const char *text, size_t bytes, uint32_t value)
{
    uint32_t node = 0, root;
    int rc = self->node_count == 0 ? new_node(self, &root) : BASE_OK;

    for (size_t i = 0; rc == BASE_OK && i < bytes; i++) {
        uint32_t to = text_trie_step(self, node, (uint8_t)text[i]);
        if (to == 0)
            rc = add_edge(self, node, (uint8_t)text[i], &to);
        node = to;
    }
    if (rc == BASE_OK && self->values[node] == TEXT_TRIE_NONE)
        self->values[node] = value;
    return rc;
}

uint32_t text_trie_step(const struct text_trie *self, uint32_t node, uint8_t byte)
{
    if (node == 0)
        return self->first[byte];
    if (self->edge_count == 0)
        return 0;
    return slot(self, (uint64_t)node << 8 | byte)->to;
}

uint32_t text_trie_value(const struct text_trie *self, uint32_t node)
{
    return node < self->node_count ? self->values[node] : TEXT_TRIE_NONE;
}

void text_trie_release(struct text_trie *self)
{
    base_free(self->edges);
    base_free(self->values);
    *self = (struct text_trie){0};
}
