#include "base_alloc.h"
#include "text_test.h"
#include "text_trie.h"

static uint32_t find(const struct text_trie *trie, const char *text)
{
    uint32_t node = 0;

    for (const char *p = text; *p != '\0'; p++) {
        node = text_trie_step(trie, node, (uint8_t)*p);
        if (node == 0)
            return TEXT_TRIE_NONE;
    }
    return text_trie_value(trie, node);
}

Test(text_trie, finds_what_was_added_and_nothing_else)
{
    struct text_trie trie = {0};
    char text[16];

    cr_assert_eq(find(&trie, "a"), TEXT_TRIE_NONE);
    cr_assert_eq(text_trie_value(&trie, 0), TEXT_TRIE_NONE);
    for (uint32_t i = 0; i < 5000; i++) {
        int bytes = snprintf(text, sizeof(text), "%x\xff", i * 7919u);
        cr_assert_eq(text_trie_add(&trie, text, (size_t)bytes, i), BASE_OK);
    }
    cr_assert_eq(text_trie_add(&trie, "0\xff", 2, 77), BASE_OK);
    cr_assert_eq(find(&trie, "0\xff"), 0, "the first value stays");
    for (uint32_t i = 0; i < 5000; i++) {
        (void)snprintf(text, sizeof(text), "%x\xff", i * 7919u);
        cr_assert_eq(find(&trie, text), i);
        text[strlen(text) - 1] = '\0';
        cr_assert_eq(find(&trie, text), TEXT_TRIE_NONE);
    }
    text_trie_release(&trie);
}

Test(text_trie, no_memory_leaves_it_usable)
{
    struct text_trie trie = {0};
    int rc = BASE_NOMEM;

    for (unsigned long n = 1; rc != BASE_OK && n < 10; n++) {
        base_alloc_fail_from(n);
        rc = text_trie_add(&trie, "abc", 3, 5);
        base_alloc_fail_from(0);
    }
    cr_assert_eq(rc, BASE_OK);
    cr_assert_eq(find(&trie, "abc"), 5);
    text_trie_release(&trie);
}
