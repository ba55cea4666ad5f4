/* Tokenizer metadata of tiny models. */
#ifndef TINY_TOKENIZER_H
#define TINY_TOKENIZER_H

#include "tiny_gguf.h"

/* Appends the pairs; returns how many. vocab_size >= TINY_TOKENIZER_VOCAB. */
uint64_t tiny_tokenizer_put(
    struct tiny_bytes *entries, enum tiny_tokenizer kind, uint32_t vocab_size);

#endif
