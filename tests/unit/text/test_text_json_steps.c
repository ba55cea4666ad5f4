#include "text_json_small.h"
#include "text_test.h"

/* A WordLevel model shows what the steps leave: words of letters and digits by number. */
#define MODEL                                                                                      \
    "\"model\":{\"type\":\"WordLevel\",\"unk_token\":\"?\",\"vocab\":{\"?\":0,\"a\":1,\"b\":2,"    \
    "\"ab\":3,\"1\":4,\"12\":5,\".\":6,\"..\":7,\"a.\":8,\".b\":9,\"\\u2581a\":10,\"\\u2581\":11," \
    "\"a b\":12,\"-a\":13,\"a-\":14,\"\\u00e9\":15}}"

static void expect(const char *steps, const char *text, const char *expected)
{
    char json[2048];
    struct text_tokenizer *tokenizer = NULL;
    struct base_error err = {0};

    (void)snprintf(json, sizeof(json), "{%s" MODEL "}", steps);
    cr_assert_eq(text_tokenizer_open_json(json, strlen(json), &tokenizer, &err), BASE_OK, "%s: %s",
        steps, err.text);
    text_test_expect(tokenizer, text, strlen(text), 0, expected);
    text_tokenizer_close(&tokenizer);
}

#define PRE(text) "\"pre_tokenizer\":{\"type\":" text "},"
#define SPLIT(pattern, behavior)                                                                   \
    PRE("\"Split\",\"pattern\":{" pattern "},\"behavior\":\"" behavior "\",\"invert\":false")
#define DOT "\"String\":\".\""

Test(text_json_steps, split_behaviors)
{
    expect(SPLIT(DOT, "Removed"), "a.b", "1 2");
    expect(SPLIT(DOT, "Isolated"), "a..b", "1 6 6 2");
    expect(SPLIT(DOT, "MergedWithPrevious"), "a..b", "8 6 2");
    expect(SPLIT(DOT, "MergedWithNext"), "a..b", "1 6 9");
    expect(SPLIT(DOT, "Contiguous"), "a..b", "1 7 2");
    expect(SPLIT("\"Regex\":\"[.]+\"", "Isolated"), "a..b", "1 7 2");
    expect(PRE("\"Split\",\"pattern\":{\"Regex\":\"[a-z]+\"},\"behavior\":\"Removed\",\"invert\":"
               "true"),
        "a..b", "1 2");
    expect(SPLIT(DOT, "MergedWithNext"), ".", "6");
    expect(SPLIT(DOT, "MergedWithPrevious"), ".b", "6 2");
}

Test(text_json_steps, pre_tokenizers)
{
    expect(PRE("\"Whitespace\""), "ab .. a", "3 7 1");
    expect(PRE("\"WhitespaceSplit\""), " a.\xc2\xa0 b", "8 2");
    expect(PRE("\"BertPreTokenizer\""), "a..b", "1 6 6 2");
    expect(PRE("\"Punctuation\""), "a..b", "1 6 6 2");
    expect(PRE("\"Punctuation\",\"behavior\":\"Contiguous\""), "a..b", "1 7 2");
    expect(PRE("\"Digits\",\"individual_digits\":true"), "a12", "1 4 0");
    expect(PRE("\"Digits\",\"individual_digits\":false"), "a12", "1 5");
    expect(PRE("\"CharDelimiterSplit\",\"delimiter\":\".\""), "a.b", "1 2");
    expect(PRE("\"Metaspace\",\"replacement\":\"\\u2581\",\"prepend_scheme\":\"always\""), "a a",
        "10 10");
    expect(PRE("\"Metaspace\",\"replacement\":\"\\u2581\",\"prepend_scheme\":\"never\""), "a a",
        "1 10");
    expect(PRE("\"Metaspace\",\"replacement\":\"\\u2581\",\"add_prefix_space\":true"), "a", "10");
    expect(PRE("\"Sequence\",\"pretokenizers\":[{\"type\":\"WhitespaceSplit\"},{\"type\":"
               "\"Punctuation\"}]"),
        "a. b", "1 6 2");
    expect("", "a b", "12");
}

/* Only the text's own start counts, not that of a fragment behind an added token. */
Test(text_json_steps, a_space_in_front_of_the_first_word_only)
{
    static const char first[] =
        "\"added_tokens\":[{\"id\":16,\"content\":\"<x>\",\"special\":false,\"normalized\":false}],"
        "\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"\\u2581\","
        "\"prepend_scheme\":\"first\"},";

    expect(first, "a<x>a a", "10 16 1 10");
    expect(first, "<x>a", "16 1");
}

Test(text_json_steps, normalizers)
{
    expect("\"normalizer\":{\"type\":\"NFC\"},", "e\xcc\x81", "15");
    expect("\"normalizer\":{\"type\":\"Lowercase\"},", "AB", "3");
    expect("\"normalizer\":{\"type\":\"StripAccents\"},", "a\xcc\x81", "1");
    expect("\"normalizer\":{\"type\":\"Nmt\"},", "a\tb", "12");
    expect("\"normalizer\":{\"type\":\"Strip\",\"strip_left\":true,\"strip_right\":false},", " a",
        "1");
    expect("\"normalizer\":{\"type\":\"Prepend\",\"prepend\":\"-\"},", "a", "13");
    expect(
        "\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"x+\"},\"content\":\"a\"},",
        "xx", "1");
    expect(
        "\"normalizer\":{\"type\":\"BertNormalizer\",\"clean_text\":true,\"handle_chinese_chars\":"
        "false,\"strip_accents\":false,\"lowercase\":true},",
        "A\tB", "12");
}

/* Added tokens that take the white space beside them, and those that must stand alone. */
Test(text_json_steps, flags_of_added_tokens)
{
    static const char lstrip[] = "\"added_tokens\":[{\"id\":16,\"content\":\"<x>\",\"special\":"
                                 "false,\"normalized\":false,\"lstrip\":true}],";
    static const char rstrip[] = "\"added_tokens\":[{\"id\":16,\"content\":\"<x>\",\"special\":"
                                 "false,\"normalized\":false,\"rstrip\":true}],";
    static const char single[] = "\"added_tokens\":[{\"id\":16,\"content\":\"a\",\"special\":false,"
                                 "\"normalized\":false,\"single_word\":true}],";

    expect(lstrip, "a \t<x>b", "1 16 2");
    expect(rstrip, "a<x> \nb", "1 16 2");
    expect(single, "a-a", "16 0 16");
    expect(single, "ab", "3");
}

/* Falcon's shape: steps behind ByteLevel see the alphabet of bytes, where U+00B2 is a digit. */
Test(text_json_steps, steps_behind_the_alphabet)
{
    static const char json[] =
        "{\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"ByteLevel\","
        "\"add_prefix_space\":false,\"use_regex\":true},{\"type\":\"Digits\",\"individual_digits\":"
        "true}]},\"decoder\":{\"type\":\"ByteLevel\"},\"model\":{\"type\":\"BPE\",\"vocab\":{\"1\":"
        "0,"
        "\"2\":1,\"12\":2,\"\\u00c2\":3,\"\\u00b2\":4,\"\\u00c2\\u00b2\":5},\"merges\":[\"1 2\","
        "\"\\u00c2 \\u00b2\"]}}";
    struct text_tokenizer *tokenizer = NULL;

    cr_assert_eq(text_tokenizer_open_json(json, sizeof(json) - 1, &tokenizer, NULL), BASE_OK);
    text_test_expect(tokenizer, "12", 2, 0, "0 1");
    text_test_expect(tokenizer, "\xc2\xb2", 2, 0, "3 4");
    text_tokenizer_close(&tokenizer);
}
