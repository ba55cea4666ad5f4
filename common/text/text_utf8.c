#include "text_utf8.h"

#include <stdint.h>

int text_utf8_step(const char *text, size_t bytes)
{
    const uint8_t *p = (const uint8_t *)text;
    uint8_t lead = p[0], low = 0x80, high = 0xbf;
    int length;

    if (lead < 0x80)
        return 1;
    if (lead < 0xc2 || lead > 0xf4)
        return -1;
    length = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    /* The second byte rules out overlong forms, surrogates and what is above U+10FFFF. */
    if (lead == 0xe0)
        low = 0xa0;
    else if (lead == 0xed)
        high = 0x9f;
    else if (lead == 0xf0)
        low = 0x90;
    else if (lead == 0xf4)
        high = 0x8f;
    for (int i = 1; i < length; i++) {
        if ((size_t)i == bytes)
            return 0;
        if (p[i] < low || p[i] > high)
            return -i;
        low = 0x80;
        high = 0xbf;
    }
    return length;
}
