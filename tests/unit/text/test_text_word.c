#include "base_alloc.h"
#include "text_json_small.h"
#include "text_test.h"
#include "text_word.h"

static struct text_list encode(const struct text_tokenizer *tokenizer, struct text_word_work *work,
    const char *word, size_t bytes)
{
    struct text_list list = {0};

    cr_assert_eq(text_word_encode(tokenizer, work, word, bytes, &list), BASE_OK);
    return list;
}

/* Words from the cache are those that merging makes, for every kind and any text. */
Test(text_word, the_cache_changes_nothing)
{
    static const char *const files[] = {
        text_json_bpe, text_json_llama, text_json_unigram, text_json_wordpiece, text_json_words};
    uint64_t random = 9;

    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        struct text_tokenizer *tokenizer = NULL;
        struct text_word_work with = {0}, without = {0};
        unsigned found = 0;
        cr_assert_eq(
            text_tokenizer_open_json(files[i], strlen(files[i]), &tokenizer, NULL), BASE_OK);
        text_cache_open(&with.cache, 4096);
        for (int round = 0; round < 3000; round++) {
            static const char *const parts[] = {"a", "b", "ab", "un", "do", "\xe2\x96\x81", "x"};
            char word[64] = "";
            for (uint32_t left = 1 + text_test_random(&random) % 6; left > 0; left--)
                (void)strncat(word, parts[text_test_random(&random) % 7], 8);
            found += text_cache_find(&with.cache, word, strlen(word),
                         text_cache_hash(word, strlen(word))) != NULL;
            struct text_list a = encode(tokenizer, &with, word, strlen(word));
            struct text_list b = encode(tokenizer, &without, word, strlen(word));
            cr_assert_eq(a.count, b.count, "%s", word);
            cr_assert(a.count == 0 || memcmp(a.ids, b.ids, a.count * sizeof(*a.ids)) == 0);
            base_free(a.ids);
            base_free(b.ids);
        }
        cr_assert_gt(found, 10);
        text_word_work_release(&with);
        text_word_work_release(&without);
        text_tokenizer_close(&tokenizer);
    }
}

Test(text_word, bytes_that_have_no_token)
{
    struct text_tokenizer *spm = text_test_spm(), *words = NULL;
    struct text_list list = {0};

    cr_assert_eq(text_word_put_bytes(spm, "\xff", 1, &list), BASE_OK);
    cr_assert(list.count == 1 && list.ids[0] == 255);
    cr_assert_eq(
        text_tokenizer_open_json(text_json_words, strlen(text_json_words), &words, NULL), BASE_OK);
    cr_assert_eq(text_word_put_bytes(words, "\xff", 1, &list), BASE_OK);
    cr_assert(list.count == 2 && list.ids[1] == 0);
    base_free(list.ids);
    text_tokenizer_close(&spm);
    text_tokenizer_close(&words);
}
