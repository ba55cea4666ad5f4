#include "text_alphabet.h"
#include "text_test.h"

Test(text_alphabet, every_byte_there_and_back)
{
    struct text_alphabet alphabet;
    char bytes[256], written[512], back[512];
    size_t back_bytes;

    text_alphabet_make(&alphabet);
    for (unsigned i = 0; i < 256; i++)
        bytes[i] = (char)i;
    size_t written_bytes = text_alphabet_encode(&alphabet, bytes, 256, written);
    cr_assert(text_alphabet_decode(&alphabet, written, written_bytes, back, &back_bytes));
    cr_assert(back_bytes == 256 && memcmp(back, bytes, 256) == 0);
    /* As GPT-2's files have them: a space, a line end, and the last byte. */
    cr_assert_eq(alphabet.byte_to_character[' '], 0x120);
    cr_assert_eq(alphabet.byte_to_character['\n'], 0x10a);
    cr_assert_eq(alphabet.byte_to_character[0xad], 0x143);
    cr_assert_eq(alphabet.byte_to_character['A'], 'A');
}

Test(text_alphabet, other_characters_stay)
{
    struct text_alphabet alphabet;
    char back[16];
    size_t back_bytes;

    text_alphabet_make(&alphabet);
    cr_assert(!text_alphabet_decode(&alphabet, "a\xe2\x96\x81\xc4\xa0", 6, back, &back_bytes));
    cr_assert(back_bytes == 5 && memcmp(back, "a\xe2\x96\x81 ", 5) == 0);
    cr_assert(!text_alphabet_decode(&alphabet, "\xe2\x96", 2, back, &back_bytes));
    cr_assert(back_bytes == 2);
}
