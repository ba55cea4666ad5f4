#include "base_alloc.h"
#include "text_cache.h"
#include "text_test.h"

Test(text_cache, keeps_words_and_forgets_the_earlier_of_one_place)
{
    struct text_cache cache = {0};
    uint32_t ids[TEXT_CACHE_IDS + 1] = {1, 2, 3};
    static const char longest[] = "a word that is longer than any that it keeps";

    cr_assert_null(text_cache_find(&cache, "a", 1, text_cache_hash("a", 1)));
    text_cache_put(&cache, "a", 1, text_cache_hash("a", 1), ids, 3); /* no room: no harm */
    text_cache_open(&cache, 100);
    cr_assert_eq(cache.count, 0);
    text_cache_open(&cache, 100000);
    for (uint32_t i = 0; i < 1000; i++) {
        char word[16];
        size_t bytes = (size_t)snprintf(word, sizeof(word), "word%u", i);
        uint32_t hash = text_cache_hash(word, bytes);
        ids[0] = i;
        text_cache_put(&cache, word, bytes, hash, ids, 2);
        const struct text_cache_entry *entry = text_cache_find(&cache, word, bytes, hash);
        cr_assert(entry != NULL && entry->id_count == 2 && entry->ids[0] == i);
    }
    text_cache_put(&cache, longest, sizeof(longest) - 1, 0, ids, 1);
    cr_assert_null(text_cache_find(&cache, longest, sizeof(longest) - 1, 0));
    text_cache_put(&cache, "b", 1, text_cache_hash("b", 1), ids, TEXT_CACHE_IDS + 1);
    cr_assert_null(text_cache_find(&cache, "b", 1, text_cache_hash("b", 1)));
    text_cache_release(&cache);
}

/* The same words with the same hash but other bytes are told apart. */
Test(text_cache, compares_the_word)
{
    struct text_cache cache = {0};
    uint32_t id = 7;

    text_cache_open(&cache, 100000);
    text_cache_put(&cache, "one", 3, 5, &id, 1);
    cr_assert_not_null(text_cache_find(&cache, "one", 3, 5));
    cr_assert_null(text_cache_find(&cache, "two", 3, 5));
    base_alloc_fail_from(1);
    struct text_cache none = {0};
    text_cache_open(&none, 100000);
    base_alloc_fail_from(0);
    cr_assert_eq(none.count, 0);
    text_cache_release(&cache);
}
