/* UTF-8, one character at a time. Table 3-7 of the Unicode standard decides what is well formed. */
#ifndef TEXT_UTF8_H
#define TEXT_UTF8_H

#include <stddef.h>

/*
 * Looks at the start of text (bytes >= 1). Returns the length of a whole character (1 to 4), 0 when
 * the bytes so far begin one that needs more, or minus the length of a maximal ill-formed part
 * (-1 to -3), which stands for one U+FFFD.
 */
int text_utf8_step(const char *text, size_t bytes);

#endif
