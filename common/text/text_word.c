#include "text_word.h"

#include "base_alloc.h"
#include "base_assert.h"
#include "base_err.h"
#include "text_unicode.h"
#include "text_utf8.h"
#include <string.h>

int text_list_put(struct text_list *self, uint32_t id)
{
    if (self->count == self->count_max) {
        size_t count_max = self->count_max * 2 + 64;
        void *ids = base_realloc_array(self->ids, count_max, sizeof(*self->ids));
        if (ids == NULL)
            return BASE_NOMEM;
        self->ids = ids;
        self->count_max = count_max;
    }
    self->ids[self->count++] = id;
    return BASE_OK;
}

void text_word_work_release(struct text_word_work *self)
{
    text_merge_release(&self->merge);
    text_cache_release(&self->cache);
    base_free(self->paths);
    base_free(self->found.ids);
    *self = (struct text_word_work){0};
}

static int put_unknown(const struct text_tokenizer *tokenizer, struct text_list *list)
{
    return tokenizer->roles.unknown < 0 ? BASE_OK
                                        : text_list_put(list, (uint32_t)tokenizer->roles.unknown);
}

/* Whether every byte of text has a token. */
static bool has_bytes(const struct text_tokenizer *tokenizer, const char *text, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        if (tokenizer->byte_ids[(uint8_t)text[i]] >= tokenizer->vocab_size)
            return false;
    }
    return tokenizer->byte_fallback;
}

int text_word_put_bytes(
    const struct text_tokenizer *tokenizer, const char *text, size_t bytes, struct text_list *list)
{
    int rc = BASE_OK;

    if (!has_bytes(tokenizer, text, bytes))
        return put_unknown(tokenizer, list);
    for (size_t i = 0; rc == BASE_OK && i < bytes; i++)
        rc = text_list_put(list, tokenizer->byte_ids[(uint8_t)text[i]]);
    return rc;
}

/* Ids of what merging left. */
static int put_symbols(const struct text_tokenizer *tokenizer, const struct text_merge_work *merge,
    const char *word, struct text_list *list)
{
    bool was_unknown = false;
    int rc = BASE_OK;

    for (uint32_t i = 0; rc == BASE_OK && i != TEXT_NONE; i = merge->symbols[i].next) {
        const struct text_symbol *symbol = &merge->symbols[i];
        const char *text = word + symbol->begin;
        bool unknown = false;
        if (symbol->id < tokenizer->vocab_size) {
            rc = text_list_put(list, symbol->id);
        } else if (tokenizer->kind == TEXT_KIND_BPE) {
            for (uint32_t k = 0; rc == BASE_OK && k < symbol->bytes; k++)
                rc = text_word_put_bytes(tokenizer, text + k, 1, list);
        } else {
            unknown = !has_bytes(tokenizer, text, symbol->bytes);
            if (!unknown || !was_unknown || !tokenizer->fuses_unknown)
                rc = text_word_put_bytes(tokenizer, text, symbol->bytes, list);
        }
        was_unknown = unknown;
    }
    return rc;
}

static bool pair_rule(const void *context, const char *word, const struct text_symbol *left,
    const struct text_symbol *right, uint32_t *ret_key, uint32_t *ret_id)
{
    const struct text_tokenizer *tokenizer = context;

    return text_pairs_find(&tokenizer->merges, left->id, right->id, ret_key, ret_id);
}

/* The token that a pair makes, in the order of scores or, without them, of ids. */
static bool token_rule(const void *context, const char *word, const struct text_symbol *left,
    const struct text_symbol *right, uint32_t *ret_key, uint32_t *ret_id)
{
    const struct text_tokenizer *tokenizer = context;
    /* Symbols are tokens or single characters, so this stays short. */
    int64_t id =
        text_table_find(&tokenizer->by_text, word + left->begin, left->bytes + right->bytes);

    if (id < 0)
        return false;
    *ret_id = (uint32_t)id;
    *ret_key = tokenizer->score_keys != NULL ? tokenizer->score_keys[id] : (uint32_t)id;
    return true;
}

/* The first symbols of a word: bytes, or characters. */
static int begin_merge(const struct text_tokenizer *tokenizer, struct text_merge_work *merge,
    const char *word, size_t bytes)
{
    int rc;

    merge->symbol_count = 0;
    if (tokenizer->kind == TEXT_KIND_BPE) {
        rc = text_merge_reserve(merge, bytes);
        for (size_t i = 0; rc == BASE_OK && i < bytes; i++)
            rc = text_merge_add(merge, (uint32_t)i, 1, tokenizer->byte_ids[(uint8_t)word[i]]);
        return rc;
    }
    rc = BASE_OK;
    for (size_t i = 0; rc == BASE_OK && i < bytes;) {
        int length = text_utf8_step(word + i, bytes - i);
        size_t symbol_bytes = length > 0 ? (size_t)length : 1;
        int64_t id = text_table_find(&tokenizer->by_text, word + i, symbol_bytes);
        rc = text_merge_add(
            merge, (uint32_t)i, (uint32_t)symbol_bytes, id < 0 ? TEXT_NONE : (uint32_t)id);
        i += symbol_bytes;
    }
    return rc;
}

static int merge_word(const struct text_tokenizer *tokenizer, struct text_word_work *work,
    const char *word, size_t bytes, struct text_list *list)
{
    bool has_rules = tokenizer->kind != TEXT_KIND_SPM && tokenizer->merges.used > 0;

    if (tokenizer->ignores_merges) {
        int64_t id = text_table_find(&tokenizer->by_text, word, bytes);
        if (id >= 0 && id < (int64_t)tokenizer->vocab_size)
            return text_list_put(list, (uint32_t)id);
    }
    int rc = begin_merge(tokenizer, &work->merge, word, bytes);
    if (rc == BASE_OK && (has_rules || tokenizer->kind == TEXT_KIND_SPM || tokenizer->merges_by_id))
        rc = text_merge_run(&work->merge, word, has_rules ? pair_rule : token_rule, tokenizer);
    return rc == BASE_OK ? put_symbols(tokenizer, &work->merge, word, list) : rc;
}

/* Offers a token that ends at end as the last of a way there. */
static void offer(struct text_path *paths, size_t begin, size_t end, uint32_t id, double score)
{
    score += paths[begin].score;
    if (paths[end].id == TEXT_NONE || score > paths[end].score)
        paths[end] = (struct text_path){score, (uint32_t)begin, id};
}

/* The likeliest sequence, by its last tokens, into work->found from the end. */
static int find_path(const struct text_tokenizer *tokenizer, struct text_word_work *work,
    const char *word, size_t bytes)
{
    struct text_path *paths = work->paths;
    /* An id that no token has, for a character without one. */
    uint32_t unknown = (uint32_t)tokenizer->vocab_size;
    size_t length;
    int rc = BASE_OK;

    for (size_t i = 0; i <= bytes; i++)
        paths[i].id = TEXT_NONE;
    paths[0] = (struct text_path){0.0, 0, 0};
    for (size_t begin = 0; begin < bytes; begin += length) {
        bool has_single = false;
        uint32_t node = 0;
        (void)text_unicode_at(word + begin, bytes - begin, &length);
        if (paths[begin].id == TEXT_NONE)
            continue; /* only tokens that are not UTF-8 can jump over a start */
        for (size_t i = begin; i < bytes; i++) {
            node = text_trie_step(&tokenizer->trie, node, (uint8_t)word[i]);
            if (node == 0)
                break;
            uint32_t id = text_trie_value(&tokenizer->trie, node);
            if (id == TEXT_TRIE_NONE)
                continue;
            has_single = has_single || i + 1 == begin + length;
            offer(paths, begin, i + 1, id,
                tokenizer->types[id] == TEXT_TYPE_USER_DEFINED ? 0.0 : tokenizer->scores[id]);
        }
        if (!has_single)
            offer(paths, begin, begin + length, unknown, tokenizer->unknown_score);
    }
    work->found.count = 0;
    for (size_t end = bytes; rc == BASE_OK && end > 0; end = paths[end].begin)
        rc = text_list_put(&work->found, (uint32_t)end);
    return rc;
}

static int unigram_word(const struct text_tokenizer *tokenizer, struct text_word_work *work,
    const char *word, size_t bytes, struct text_list *list)
{
    int rc = BASE_OK;

    if (bytes + 1 > work->path_count_max) {
        size_t count_max = bytes + bytes / 2 + 64;
        void *paths = base_realloc_array(work->paths, count_max, sizeof(*work->paths));
        if (paths == NULL)
            return BASE_NOMEM;
        work->paths = paths;
        work->path_count_max = count_max;
    }
    rc = find_path(tokenizer, work, word, bytes);
    for (size_t i = work->found.count; rc == BASE_OK && i-- > 0;) {
        const struct text_path *path = &work->paths[work->found.ids[i]];
        size_t begin = path->begin, end = work->found.ids[i];
        if (path->id < tokenizer->vocab_size) {
            rc = text_list_put(list, path->id);
            continue;
        }
        /* Unknown characters in a row are one. */
        while (i > 0 && work->paths[work->found.ids[i - 1]].id >= tokenizer->vocab_size)
            end = work->found.ids[--i];
        rc = text_word_put_bytes(tokenizer, word + begin, end - begin, list);
    }
    return rc;
}

/* The longest token that begins at text; initial: of those that begin a word. */
static uint32_t longest_token(const struct text_tokenizer *tokenizer, const char *text,
    size_t bytes, bool initial, size_t *ret_bytes)
{
    const struct text_trie *trie = initial ? &tokenizer->initials : &tokenizer->trie;
    uint32_t node = 0, best = TEXT_NONE;

    for (size_t i = 0; i < bytes; i++) {
        node = text_trie_step(trie, node, (uint8_t)text[i]);
        if (node == 0)
            break;
        uint32_t id = text_trie_value(trie, node);
        if (id != TEXT_TRIE_NONE) {
            best = id;
            *ret_bytes = i + 1;
        }
    }
    return best;
}

static int wordpiece_word(
    const struct text_tokenizer *tokenizer, const char *word, size_t bytes, struct text_list *list)
{
    size_t before = list->count, characters = 0, length = 0;
    int rc = BASE_OK;

    for (size_t i = 0; i < bytes; i += length, characters++)
        (void)text_unicode_at(word + i, bytes - i, &length);
    if (characters > tokenizer->word_characters_max)
        return put_unknown(tokenizer, list);
    for (size_t i = 0; rc == BASE_OK && i < bytes; i += length) {
        uint32_t id = longest_token(tokenizer, word + i, bytes - i, i == 0, &length);
        if (id == TEXT_NONE) {
            list->count = before;
            return put_unknown(tokenizer, list);
        }
        rc = text_list_put(list, id);
    }
    return rc;
}

static int encode_word(const struct text_tokenizer *tokenizer, struct text_word_work *work,
    const char *word, size_t bytes, struct text_list *list)
{
    int64_t id;

    switch (tokenizer->kind) {
    case TEXT_KIND_UNIGRAM:
        return unigram_word(tokenizer, work, word, bytes, list);
    case TEXT_KIND_WORDPIECE:
        return wordpiece_word(tokenizer, word, bytes, list);
    case TEXT_KIND_WORDS:
        id = text_table_find(&tokenizer->by_text, word, bytes);
        return id >= 0 ? text_list_put(list, (uint32_t)id) : put_unknown(tokenizer, list);
    default:
        return merge_word(tokenizer, work, word, bytes, list);
    }
}

static int encode_cached(const struct text_tokenizer *tokenizer, struct text_word_work *work,
    const char *word, size_t bytes, struct text_list *list)
{
    uint32_t hash = text_cache_hash(word, bytes);
    const struct text_cache_entry *entry = text_cache_find(&work->cache, word, bytes, hash);
    size_t before = list->count;
    int rc = BASE_OK;

    if (entry != NULL) {
        for (size_t i = 0; rc == BASE_OK && i < entry->id_count; i++)
            rc = text_list_put(list, entry->ids[i]);
        return rc;
    }
    rc = encode_word(tokenizer, work, word, bytes, list);
    if (rc == BASE_OK && list->ids != NULL)
        text_cache_put(&work->cache, word, bytes, hash, list->ids + before, list->count - before);
    return rc;
}

int text_word_encode(const struct text_tokenizer *tokenizer, struct text_word_work *work,
    const char *word, size_t bytes, struct text_list *list)
{
    static const char space[] = "\xe2\x96\x81";
    size_t from = 0;
    int rc = BASE_OK;

    /* A cut stands before each U+2581 that follows another character. */
    for (size_t at = 0; tokenizer->cuts_at_spaces && rc == BASE_OK && at < bytes;) {
        const char *found = memmem(word + at, bytes - at, space, 3);
        if (found == NULL)
            break;
        size_t cut = (size_t)(found - word);
        if (cut > at && cut > from) {
            rc = encode_cached(tokenizer, work, word + from, cut - from, list);
            from = cut;
        }
        at = cut + 3;
    }
    return rc == BASE_OK && from < bytes
               ? encode_cached(tokenizer, work, word + from, bytes - from, list)
               : rc;
}
