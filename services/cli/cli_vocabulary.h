/* The tokenizer of a model file, for commands that need no mesh. */
#ifndef CLI_VOCABULARY_H
#define CLI_VOCABULARY_H

#include <stdbool.h>

struct base_error;
struct text_tokenizer;

struct cli_vocabulary {
    struct text_tokenizer *tokenizer;
    bool drops_first_space; /* encoding put a space in front of the text; decoding takes it away */
};

/* Returns BASE_OK, or what gguf_open() or text_tokenizer_open() failed with. */
int cli_vocabulary_open(
    const char *path, struct cli_vocabulary *ret_vocabulary, struct base_error *err);
void cli_vocabulary_close(struct cli_vocabulary *self);

#endif
