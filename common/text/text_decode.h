/* Token ids to text. */
#ifndef TEXT_DECODE_H
#define TEXT_DECODE_H

#include "text_tokenizer.h"

struct text_alphabet;
struct text_decoder;

/*
 * The text of ids, all at once; what text_stream makes of them but for bytes that are no character,
 * which come out as they are. controls: control tokens come out by name, else not at all. An id
 * outside the vocabulary adds nothing. *ret_text is NUL-terminated, freed with base_free(). Returns
 * BASE_OK or BASE_NOMEM.
 */
int text_decode(const struct text_tokenizer *self, const uint32_t *ids, size_t count, bool controls,
    char **ret_text, size_t *ret_bytes);

/*
 * Private to this module: what the token of a name adds to running text, into *piece, which grows
 * (base_free()). *ret_whole: every character was of the alphabet. Returns BASE_OK or BASE_NOMEM.
 */
int text_decode_piece(const struct text_decoder *self, const struct text_alphabet *alphabet,
    const char *name, size_t bytes, int type, char **piece, size_t *piece_max, size_t *ret_bytes,
    bool *ret_whole);

/* Private to this module: bytes at the start of a piece that the first token of a text drops;
 * *drops is whether it still may. */
size_t text_decode_dropped(
    const struct text_tokenizer *self, const char *piece, size_t bytes, bool *drops);

#endif
