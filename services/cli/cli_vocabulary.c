#include "cli_vocabulary.h"

#include "base_err.h"
#include "gguf.h"
#include "hf.h"
#include "text_tokenizer.h"
#include <string.h>

/* SentencePiece vocabularies ("llama") put a space in front unless the file says no. */
static bool is_space_added(const struct gguf *file)
{
    struct gguf_string model = {0};
    bool is_added = true;

    if (gguf_get_string(file, "tokenizer.ggml.model", &model, NULL) != BASE_OK ||
        model.bytes != strlen("llama") || memcmp(model.data, "llama", model.bytes) != 0)
        return false;
    (void)gguf_get_bool(file, "tokenizer.ggml.add_space_prefix", &is_added, NULL);
    return is_added;
}

int cli_vocabulary_open(
    const char *path, struct cli_vocabulary *ret_vocabulary, struct base_error *err)
{
    struct gguf *file = NULL;
    struct cli_vocabulary vocabulary = {0};
    int rc = hf_open_model(path, &file, err);

    if (rc == BASE_OK)
        rc = text_tokenizer_open(file, &vocabulary.tokenizer, err);
    if (rc == BASE_OK) {
        vocabulary.drops_first_space = is_space_added(file);
        *ret_vocabulary = vocabulary;
    }
    gguf_close(&file);
    return rc;
}

void cli_vocabulary_close(struct cli_vocabulary *self)
{
    text_tokenizer_close(&self->tokenizer);
}
