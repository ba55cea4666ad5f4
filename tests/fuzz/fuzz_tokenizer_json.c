/*
 * Any bytes as a tokenizer.json. The first byte chooses the flags; what stands behind the last NUL is
 * the text that an opened tokenizer has to encode, decode and describe. A byte of value 1 in front of
 * a number takes one of a few whole files instead, whose bytes the input changes: a step towards what
 * random bytes seldom reach.
 */
#include "../unit/text/text_json_small.h"
#include "base_alloc.h"
#include "base_err.h"
#include "text_decode.h"
#include "text_describe.h"
#include "text_stream.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void use(
    const struct text_tokenizer *tokenizer, const char *text, size_t bytes, unsigned flags)
{
    struct text_ids ids = {0};
    struct text_stream *stream = NULL;
    struct text_stop stop = {"ab", 2};
    struct text_description description;
    struct base_error err = {0};
    const char *part;
    char *decoded = NULL;
    size_t part_bytes;
    bool stopped = false;

    int rc = text_encode(tokenizer, text, bytes, flags, &ids, &err);
    if (rc != BASE_OK && (err.code != rc || ids.count != 0))
        __builtin_trap();
    for (size_t i = 0; i < ids.count; i++) {
        if (ids.ids[i] >= text_vocab_size(tokenizer))
            __builtin_trap();
        /* Text of a user never becomes markup; the unknown token of a model may be called so. */
        if ((flags & 3) == 0 && text_is_control(tokenizer, ids.ids[i]) &&
            ids.ids[i] != (uint32_t)text_unknown_id(tokenizer))
            __builtin_trap();
    }
    if (text_decode(tokenizer, ids.ids, ids.count, true, &decoded, &part_bytes) == BASE_OK)
        base_free(decoded);
    if (text_stream_new(tokenizer, &stop, 1, false, &stream) == BASE_OK) {
        for (size_t i = 0; i < ids.count && !stopped; i++)
            if (text_stream_push(stream, ids.ids[i], &part, &part_bytes, &stopped) != BASE_OK)
                break;
        (void)text_stream_finish(stream, &part, &part_bytes);
        text_stream_destroy(&stream);
    }
    text_ids_release(&ids);
    rc = text_tokenizer_describe(tokenizer, &description, &err);
    if (rc == BASE_OK)
        text_description_release(&description);
    else if (err.code != rc)
        __builtin_trap();
}

/* One of the small files with bytes written over it: each change is two bytes, where and what. */
static char *changed_file(const uint8_t *data, size_t bytes, size_t *ret_bytes)
{
    static const char *const files[] = {
        text_json_bpe, text_json_llama, text_json_unigram, text_json_wordpiece, text_json_words};
    const char *file = files[data[0] % 5];
    size_t length = strlen(file), at = 0;
    char *json = malloc(length + 1);

    if (json == NULL)
        return NULL;
    memcpy(json, file, length + 1);
    for (size_t i = 1; i + 1 < bytes; i += 2) {
        at = (at + data[i]) % length;
        json[at] = (char)data[i + 1];
    }
    *ret_bytes = length;
    return json;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct text_tokenizer *tokenizer = NULL;
    struct base_error err = {0};
    size_t json_bytes, cut;
    char *changed = NULL;

    if (bytes < 3)
        return 0;
    unsigned flags = data[0] & 3;
    bool changes = (data[0] & 4) != 0;
    for (cut = bytes; cut > 1 && data[cut - 1] != 0;)
        cut--;
    const char *text = (const char *)data + cut;
    size_t text_bytes = bytes - cut;
    const char *json = (const char *)data + 1;
    json_bytes = cut > 1 ? cut - 2 : 0;
    if (changes && json_bytes > 0) {
        changed = changed_file(data + 1, json_bytes, &json_bytes);
        json = changed;
    }
    if (json != NULL) {
        int rc = text_tokenizer_open_json(json, json_bytes, &tokenizer, &err);
        if (rc == BASE_OK)
            use(tokenizer, text, text_bytes, flags);
        else if (err.code != rc || tokenizer != NULL)
            __builtin_trap();
    }
    text_tokenizer_close(&tokenizer);
    free(changed);
    return 0;
}
