#include "text_charsmap.h"
#include "text_test.h"

static void put_u32(char *to, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        to[i] = (char)(value >> (8 * i));
}

/* A trie of four units that replaces "A" by "xy": root, the node of 'A', its value. */
static size_t small_map(char *map, uint32_t value)
{
    const size_t units = 128;

    memset(map, 0, 4 + units * 4);
    put_u32(map, (uint32_t)(units * 4));
    /* Root: its children begin at offset 2; 'A' is at 2 ^ 0x41 = 0x43. */
    put_u32(map + 4, 2u << 10);
    /* Label 'A', has a value, whose unit is at 0x43 ^ 1. */
    put_u32(map + 4 + 0x43 * 4, 1u << 10 | 0x100 | 'A');
    put_u32(map + 4 + 0x42 * 4, 0x80000000u | value);
    memcpy(map + 4 + units * 4, "\0xy", 4);
    return 4 + units * 4 + 4;
}

Test(text_charsmap, replaces_the_longest_start)
{
    struct text_charsmap map;
    char data[1024];
    const char *to = NULL;
    size_t to_bytes = 0, bytes = small_map(data, 1);

    cr_assert_eq(text_charsmap_open(&map, data, bytes, NULL), BASE_OK);
    cr_assert_eq(text_charsmap_find(&map, "AB", 2, &to, &to_bytes), 1);
    cr_assert(to_bytes == 2 && memcmp(to, "xy", 2) == 0);
    cr_assert_eq(text_charsmap_find(&map, "BA", 2, &to, &to_bytes), 0);
    cr_assert_eq(text_charsmap_find(&map, "", 0, &to, &to_bytes), 0);
    cr_assert_eq(text_charsmap_find(&map, "\0A", 2, &to, &to_bytes), 0);
    /* A value beyond the replacements is none. */
    bytes = small_map(data, 1000);
    cr_assert_eq(text_charsmap_open(&map, data, bytes, NULL), BASE_OK);
    cr_assert_eq(text_charsmap_find(&map, "AB", 2, &to, &to_bytes), 0);
    put_u32(data, 0);
    cr_assert_eq(text_charsmap_open(&map, data, 4, NULL), BASE_OK);
    cr_assert_eq(text_charsmap_find(&map, "AB", 2, &to, &to_bytes), 0);
}

Test(text_charsmap, malformed_maps_are_refused)
{
    struct text_charsmap map;
    struct base_error err = {0};
    char data[1024];
    size_t bytes = small_map(data, 1);

    cr_assert_eq(text_charsmap_open(&map, data, 3, &err), BASE_MALFORMED);
    put_u32(data, (uint32_t)bytes);
    cr_assert_eq(text_charsmap_open(&map, data, bytes, &err), BASE_MALFORMED);
    put_u32(data, 3);
    cr_assert_eq(text_charsmap_open(&map, data, bytes, &err), BASE_MALFORMED);
    (void)small_map(data, 1);
    cr_assert_eq(text_charsmap_open(&map, data, bytes - 1, &err), BASE_MALFORMED);
    cr_assert_not_null(strstr(err.text, "no end"));
}

/* Any words for a trie: searching stays inside and ends. */
Test(text_charsmap, random_tries_do_no_harm)
{
    uint64_t random = 11;
    char *data = malloc(4 + 256 * 4 + 16), text[200];
    struct text_charsmap map;

    for (int round = 0; round < 3000; round++) {
        put_u32(data, 256 * 4);
        for (uint32_t i = 0; i < 256; i++)
            put_u32(data + 4 + i * 4, text_test_random(&random) & (round % 2 ? 0x3ffffu : ~0u));
        memcpy(data + 4 + 256 * 4, "ab\0cdefghijklmn", 16);
        cr_assert_eq(text_charsmap_open(&map, data, 4 + 256 * 4 + 16, NULL), BASE_OK);
        for (size_t i = 0; i < sizeof(text); i++)
            text[i] = (char)(text_test_random(&random) % 64);
        for (size_t i = 0; i < sizeof(text); i++) {
            const char *to = data;
            size_t to_bytes = 0;
            cr_assert_leq(
                text_charsmap_find(&map, text + i, sizeof(text) - i, &to, &to_bytes), 200);
            cr_assert(to >= data && to + to_bytes <= data + 4 + 256 * 4 + 16);
        }
    }
    free(data);
}

Test(text_charsmap, base64)
{
    char ret[16];
    size_t bytes;

    cr_assert(text_base64_decode("QUJD", 4, ret, &bytes) && bytes == 3 && !memcmp(ret, "ABC", 3));
    cr_assert(text_base64_decode("QUI=", 4, ret, &bytes) && bytes == 2 && !memcmp(ret, "AB", 2));
    cr_assert(text_base64_decode("QQ==", 4, ret, &bytes) && bytes == 1 && ret[0] == 'A');
    cr_assert(
        text_base64_decode("+/8", 3, ret, &bytes) && bytes == 2 && !memcmp(ret, "\xfb\xff", 2));
    cr_assert(text_base64_decode("", 0, ret, &bytes) && bytes == 0);
    cr_assert(!text_base64_decode("QU C", 4, ret, &bytes));
    cr_assert(!text_base64_decode("Q=JD", 4, ret, &bytes));
}
