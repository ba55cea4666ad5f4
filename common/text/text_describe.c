#include "text_describe.h"

#include "base_alloc.h"
#include "base_err.h"
#include "gguf_builder.h"
#include "text_alphabet.h"
#include "text_internal.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A growing text whose parts are kept as offsets until it stands still. */
struct writer {
    char *text;
    size_t bytes, bytes_max;
};

static int write_text(struct writer *self, const char *text, size_t bytes)
{
    if (bytes > self->bytes_max - self->bytes) {
        size_t bytes_max = self->bytes + bytes + self->bytes_max / 2 + 4096;
        char *grown = base_realloc_array(self->text, bytes_max, 1);
        if (grown == NULL)
            return BASE_NOMEM;
        self->text = grown;
        self->bytes_max = bytes_max;
    }
    if (bytes > 0)
        memcpy(self->text + self->bytes, text, bytes);
    self->bytes += bytes;
    return BASE_OK;
}

/* A part of a merge as GGUF writes it: a token's name, or the text of an extra in the alphabet. */
static int write_part(struct writer *self, const struct text_tokenizer *tokenizer,
    const struct text_alphabet *alphabet, uint32_t id)
{
    size_t bytes;
    const char *text;
    int rc;

    if (id < tokenizer->vocab_size) {
        text = text_strings_at(&tokenizer->names, id, &bytes);
        return write_text(self, text, bytes);
    }
    text = text_strings_at(&tokenizer->pieces, id, &bytes);
    char *encoded = base_alloc(bytes * 2 + 1);
    if (encoded == NULL)
        return BASE_NOMEM;
    rc = write_text(self, encoded, text_alphabet_encode(alphabet, text, bytes, encoded));
    base_free(encoded);
    return rc;
}

static int compare_ranks(const void *a_void, const void *b_void)
{
    const struct text_pair *a = a_void, *b = b_void;

    return a->rank < b->rank ? -1 : a->rank > b->rank;
}

/* The rules in the order of their ranks; *ret_pairs is freed with base_free(). */
static int sorted_pairs(const struct text_pairs *merges, struct text_pair **ret_pairs)
{
    struct text_pair *pairs = base_alloc_array(merges->used + 1, sizeof(*pairs));
    size_t count = 0;

    if (pairs == NULL)
        return BASE_NOMEM;
    for (size_t i = 0; i < merges->slot_count; i++) {
        if (merges->slots[i].id_and_1 != 0)
            pairs[count++] = merges->slots[i];
    }
    qsort(pairs, count, sizeof(*pairs), compare_ranks);
    *ret_pairs = pairs;
    return BASE_OK;
}

static int describe_merges(const struct text_tokenizer *self, struct text_description *description)
{
    struct writer writer = {0};
    struct text_alphabet alphabet;
    struct text_pair *pairs = NULL;
    int rc = sorted_pairs(&self->merges, &pairs);

    text_alphabet_make(&alphabet);
    description->merges = base_alloc_zeroed(self->merges.used + 1, sizeof(struct text_bytes));
    if (rc == BASE_OK && description->merges == NULL)
        rc = BASE_NOMEM;
    for (size_t i = 0; rc == BASE_OK && i < self->merges.used; i++) {
        size_t begin = writer.bytes;
        rc = write_part(&writer, self, &alphabet, (uint32_t)(pairs[i].key >> 32));
        if (rc == BASE_OK)
            rc = write_text(&writer, " ", 1);
        if (rc == BASE_OK)
            rc = write_part(&writer, self, &alphabet, (uint32_t)pairs[i].key);
        description->merges[i].bytes = writer.bytes - begin;
    }
    base_free(pairs);
    description->merge_text = writer.text;
    description->merge_count = self->merges.used;
    const char *at = writer.text;
    for (size_t i = 0; rc == BASE_OK && i < description->merge_count; i++) {
        description->merges[i].data = at;
        at += description->merges[i].bytes;
    }
    return rc;
}

/*
 * Whether merging by the score of what is made gives what the rules give: every pair of tokens that
 * makes a token is a rule, and rules that make the same token follow each other. Then *scores, from
 * the ranks, say it all.
 */
static bool scores_suffice(const struct text_tokenizer *self, float *scores)
{
    const struct text_pair *slots = self->merges.slots;
    uint64_t pair_count = 0;
    uint32_t rank, made;

    for (size_t i = 0; i < self->vocab_size; i++)
        scores[i] = -1e9f;
    for (size_t i = 0; i < self->merges.slot_count; i++) {
        if (slots[i].id_and_1 != 0 && -(float)slots[i].rank > scores[slots[i].id_and_1 - 1])
            scores[slots[i].id_and_1 - 1] = -(float)slots[i].rank;
    }
    for (size_t i = 0; i < self->vocab_size; i++) {
        size_t bytes;
        const char *name = text_strings_at(&self->names, i, &bytes);
        if (bytes < 2 || text_table_find(&self->by_text, name, bytes) != (int64_t)i)
            continue;
        for (size_t cut = 1; cut < bytes; cut++) {
            int64_t left = text_table_find(&self->by_text, name, cut);
            int64_t right =
                left < 0 ? -1 : text_table_find(&self->by_text, name + cut, bytes - cut);
            if (right < 0)
                continue;
            if (!text_pairs_find(&self->merges, (uint32_t)left, (uint32_t)right, &rank, &made) ||
                made != i)
                return false;
            pair_count++;
        }
    }
    return pair_count == self->merges.used;
}

/* Rules that make the same token stand together in the order of their ranks. */
static int ranks_are_grouped(const struct text_tokenizer *self, bool *ret_grouped)
{
    struct text_pair *pairs;
    bool *seen = base_alloc_zeroed(self->vocab_size + 1, sizeof(*seen));
    int rc = sorted_pairs(&self->merges, &pairs);

    *ret_grouped = true;
    for (size_t i = 0; rc == BASE_OK && seen != NULL && i < self->merges.used; i++) {
        uint32_t id = pairs[i].id_and_1 - 1;
        if (i > 0 && pairs[i - 1].id_and_1 == pairs[i].id_and_1)
            continue;
        if (id >= self->vocab_size || seen[id])
            *ret_grouped = false;
        else
            seen[id] = true;
    }
    if (rc == BASE_OK)
        base_free(pairs);
    rc = seen == NULL ? BASE_NOMEM : rc;
    base_free(seen);
    return rc;
}

static int describe_tokens(const struct text_tokenizer *self, struct text_description *description)
{
    size_t count = self->vocab_size, fillers = 0;

    description->token_count = count;
    description->tokens = base_alloc_array(count, sizeof(*description->tokens));
    description->types = base_alloc_array(count, sizeof(*description->types));
    if (description->tokens == NULL || description->types == NULL)
        return BASE_NOMEM;
    for (size_t i = 0; i < count; i++) {
        struct text_bytes *token = &description->tokens[i];
        token->data = text_strings_at(&self->names, i, &token->bytes);
        description->types[i] = self->types[i];
        fillers += token->bytes == 0;
    }
    if (fillers == 0)
        return BASE_OK;
    /* Ids without token get a text that nothing else has. */
    description->filler_text = base_alloc_zeroed(fillers, 16);
    if (description->filler_text == NULL)
        return BASE_NOMEM;
    for (size_t i = 0, at = 0; i < count; i++) {
        if (description->tokens[i].bytes > 0)
            continue;
        int bytes = snprintf(description->filler_text + at, 16, "[PAD%zu]", i);
        description->tokens[i] = (struct text_bytes){description->filler_text + at, (size_t)bytes};
        at += 16;
    }
    return BASE_OK;
}

static int describe_scores(const struct text_tokenizer *self, struct text_description *description)
{
    description->scores = base_alloc_array(self->vocab_size, sizeof(float));
    if (description->scores == NULL)
        return BASE_NOMEM;
    if (self->scores != NULL)
        memcpy(description->scores, self->scores, self->vocab_size * sizeof(float));
    return BASE_OK;
}

static int describe_ends(const struct text_tokenizer *self, struct text_description *description)
{
    size_t count = 0;

    for (size_t i = 0; i < self->vocab_size; i++)
        count += self->ends[i];
    description->end_ids = base_alloc_array(count + 1, sizeof(*description->end_ids));
    if (description->end_ids == NULL)
        return BASE_NOMEM;
    for (size_t i = 0; i < self->vocab_size; i++) {
        if (self->ends[i])
            description->end_ids[description->end_count++] = (uint32_t)i;
    }
    return BASE_OK;
}

/* Whether an affix is empty or just the token of a role. */
static bool is_role(const struct text_affix *affix, int64_t id)
{
    return affix->count == 0 || (affix->count == 1 && affix->ids[0] == (uint64_t)id);
}

static int describe_flags(
    const struct text_tokenizer *self, struct text_description *description, struct base_error *err)
{
    const struct text_roles *roles = &self->roles;

    description->bos_id = roles->bos;
    description->eos_id = roles->eos;
    description->eot_id = roles->eot;
    description->eom_id = roles->eom;
    description->unknown_id = roles->unknown;
    description->separator_id = roles->separator;
    description->padding_id = roles->padding;
    description->mask_id = roles->mask;
    description->add_bos = self->prefix.count > 0;
    description->add_space_prefix = self->add_space_prefix;
    description->remove_extra_whitespaces = self->remove_extra_whitespaces;
    description->lowercase = self->lowercase;
    description->strip_accents = self->strip_accents;
    description->charsmap = (struct text_bytes){self->charsmap, self->charsmap_bytes};
    description->pre = self->pre;
    if (!is_role(&self->prefix, roles->bos))
        return base_error_set(err, BASE_UNSUPPORTED,
            "GGUF has no words for the tokens that this tokenizer puts in front of a text");
    if (self->suffix.count > 0 && is_role(&self->suffix, roles->eos))
        description->add_eos = true;
    else if (self->suffix.count > 0 && is_role(&self->suffix, roles->separator))
        description->add_separator = true;
    else if (self->suffix.count > 0)
        return base_error_set(err, BASE_UNSUPPORTED,
            "GGUF has no words for the tokens that this tokenizer puts behind a text");
    return BASE_OK;
}

/* Characters merged by rules: SentencePiece's scores where they say the same, else the rules. */
static int describe_characters(
    const struct text_tokenizer *self, struct text_description *description, struct base_error *err)
{
    bool grouped = false;
    int rc = describe_scores(self, description);

    if (rc == BASE_OK)
        rc = ranks_are_grouped(self, &grouped);
    if (rc != BASE_OK)
        return rc;
    if (grouped && scores_suffice(self, description->scores)) {
        description->model = "llama";
        description->pre = "default";
        return BASE_OK;
    }
    base_free(description->scores);
    description->scores = NULL;
    description->model = "gemma4";
    description->pre = NULL;
    if (self->add_space_prefix)
        return base_error_set(err, BASE_UNSUPPORTED,
            "GGUF has no words for merges of characters with a space in front of the text");
    return describe_merges(self, description);
}

static int describe_model(
    const struct text_tokenizer *self, struct text_description *description, struct base_error *err)
{
    if (self->unsaid != NULL && self->kind != TEXT_KIND_WORDS)
        return base_error_set(err, BASE_UNSUPPORTED, "GGUF has no words for %s", self->unsaid);
    switch (self->kind) {
    case TEXT_KIND_SPM:
        description->model = "llama";
        description->pre = "default";
        return describe_scores(self, description);
    case TEXT_KIND_BPE:
        description->model = "gpt2";
        return describe_merges(self, description);
    case TEXT_KIND_CHARS:
        return describe_characters(self, description, err);
    case TEXT_KIND_UNIGRAM:
        description->model = "t5";
        description->pre = "default";
        return describe_scores(self, description);
    case TEXT_KIND_WORDPIECE:
        description->model = "bert";
        description->pre = "default";
        return BASE_OK;
    default:
        return base_error_set(err, BASE_UNSUPPORTED, "GGUF has no words for a WordLevel model");
    }
}

int text_tokenizer_describe(const struct text_tokenizer *self,
    struct text_description *ret_description, struct base_error *err)
{
    struct text_description description = {0};
    int rc = describe_flags(self, &description, err);

    if (rc == BASE_OK)
        rc = describe_model(self, &description, err);
    if (rc == BASE_OK)
        rc = describe_tokens(self, &description);
    if (rc == BASE_OK)
        rc = describe_ends(self, &description);
    if (rc == BASE_OK)
        *ret_description = description;
    else
        text_description_release(&description);
    return rc == BASE_NOMEM ? base_error_set(err, rc, "tokenizer: no memory to describe it") : rc;
}

void text_description_release(struct text_description *self)
{
    base_free(self->tokens);
    base_free(self->types);
    base_free(self->scores);
    base_free(self->merges);
    base_free(self->end_ids);
    base_free(self->merge_text);
    base_free(self->filler_text);
    *self = (struct text_description){0};
}

static void put_strings(
    struct gguf_builder *builder, const char *key, const struct text_bytes *items, size_t count)
{
    gguf_builder_strings(builder, key, count);
    for (size_t i = 0; i < count; i++)
        gguf_builder_element(builder, items[i].data, items[i].bytes);
}

static void put_roles(const struct text_description *self, struct gguf_builder *builder)
{
    const struct {
        const char *key;
        int64_t id;
    } rows[] = {{"tokenizer.ggml.bos_token_id", self->bos_id},
        {"tokenizer.ggml.eos_token_id", self->eos_id},
        {"tokenizer.ggml.eot_token_id", self->eot_id},
        {"tokenizer.ggml.eom_token_id", self->eom_id},
        {"tokenizer.ggml.unknown_token_id", self->unknown_id},
        {"tokenizer.ggml.seperator_token_id", self->separator_id},
        {"tokenizer.ggml.padding_token_id", self->padding_id},
        {"tokenizer.ggml.mask_token_id", self->mask_id}};

    /* A file that does not say has the ids that are usual with its model: so "none" is said. */
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        bool usual = strcmp(self->model, "gpt2") != 0 && strcmp(self->model, "gemma4") != 0 &&
                     i != 2 && i != 3;
        if (rows[i].id >= 0 || usual)
            gguf_builder_u32(builder, rows[i].key, (uint32_t)rows[i].id);
    }
    if (self->end_count > 0)
        gguf_builder_array(builder, "tokenizer.ggml.eos_token_ids", GGUF_VALUE_U32, self->end_count,
            self->end_ids);
    gguf_builder_bool(builder, "tokenizer.ggml.add_bos_token", self->add_bos);
    gguf_builder_bool(builder, "tokenizer.ggml.add_eos_token", self->add_eos);
    gguf_builder_bool(builder, "tokenizer.ggml.add_sep_token", self->add_separator);
}

void text_description_put(const struct text_description *self, struct gguf_builder *builder)
{
    bool unigram = strcmp(self->model, "t5") == 0;

    gguf_builder_string(builder, "tokenizer.ggml.model", self->model);
    if (self->pre != NULL)
        gguf_builder_string(builder, "tokenizer.ggml.pre", self->pre);
    put_strings(builder, "tokenizer.ggml.tokens", self->tokens, self->token_count);
    if (self->scores != NULL)
        gguf_builder_array(
            builder, "tokenizer.ggml.scores", GGUF_VALUE_F32, self->token_count, self->scores);
    gguf_builder_array(
        builder, "tokenizer.ggml.token_type", GGUF_VALUE_I32, self->token_count, self->types);
    if (self->merges != NULL)
        put_strings(builder, "tokenizer.ggml.merges", self->merges, self->merge_count);
    put_roles(self, builder);
    if (unigram || strcmp(self->model, "llama") == 0)
        gguf_builder_bool(builder, "tokenizer.ggml.add_space_prefix", self->add_space_prefix);
    if (unigram)
        gguf_builder_bool(
            builder, "tokenizer.ggml.remove_extra_whitespaces", self->remove_extra_whitespaces);
    if (self->charsmap.bytes > 0)
        gguf_builder_array(builder, "tokenizer.ggml.precompiled_charsmap", GGUF_VALUE_U8,
            self->charsmap.bytes, self->charsmap.data);
    if (strcmp(self->model, "bert") == 0) {
        gguf_builder_bool(builder, "tokenizer.ggml.normalizer.lowercase", self->lowercase);
        gguf_builder_bool(builder, "tokenizer.ggml.normalizer.strip_accents", self->strip_accents);
    }
}
