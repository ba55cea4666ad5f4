/* Small tokenizers as the text of a tokenizer.json, for tests and the fuzz harness. */
#ifndef TEXT_JSON_SMALL_H
#define TEXT_JSON_SMALL_H

#include <stdio.h>
#include <string.h>

#define TEXT_JSON_SPECIAL(id, content, flags)                                                      \
    "{\"id\":" id ",\"content\":\"" content "\",\"special\":true,\"normalized\":false" flags "}"

/* Byte-level BPE of a, b, ab, bc and a space; every other byte has no token. */
#define TEXT_JSON_BPE_MODEL                                                                        \
    "{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"c\":2,\"\\u0120\":3,\"ab\":4,\"\\u0120ab\":5," \
    "\"bc\":6},\"merges\":[[\"a\",\"b\"],\"\\u0120 ab\",\"b c\"]}"

static const char text_json_bpe[] = "{\"added_tokens\":[" TEXT_JSON_SPECIAL("7", "<s>",
    "") ","
        "{\"id\":8,\"content\":\"<think>\",\"special\":false,\"normalized\":false}],"
        "\"normalizer\":{\"type\":\"NFC\"},"
        "\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":true},"
        "\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":"
        "\"<s>\",\"type_id\":0}},{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}],\"special_tokens\":{"
        "\"<s>\":{\"id\":\"<s>\",\"ids\":[7],\"tokens\":[\"<s>\"]}}},"
        "\"decoder\":{\"type\":\"ByteLevel\"},\"model\":" TEXT_JSON_BPE_MODEL "}";

/* Llama's shape: characters merged by rules, spaces as U+2581, bytes for the rest. */
static const char text_json_llama[] =
    "{\"added_tokens\":[" TEXT_JSON_SPECIAL("0", "<unk>", "") "," TEXT_JSON_SPECIAL("1", "<s>",
        ",\"rstrip\":true") "],"
                            "\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":"
                            "\"Prepend\",\"prepend\":"
                            "\"\\u2581\"},{\"type\":\"Replace\",\"pattern\":{\"String\":\" "
                            "\"},\"content\":\"\\u2581\"}]},"
                            "\"pre_tokenizer\":null,\"post_processor\":null,"
                            "\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{\"type\":"
                            "\"Replace\",\"pattern\":{\"String\":"
                            "\"\\u2581\"},\"content\":\" "
                            "\"},{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"},{\"type\":"
                            "\"Strip\",\"content\":\" \",\"start\":1,\"stop\":0}]},"
                            "\"model\":{\"type\":\"BPE\",\"unk_token\":\"<unk>\",\"fuse_unk\":true,"
                            "\"byte_fallback\":true,"
                            "\"vocab\":{\"<unk>\":0,\"<s>\":1,\"<0xC3>\":2,\"<0xA9>\":3,"
                            "\"\\u2581\":4,\"a\":5,\"b\":6,"
                            "\"ab\":7,\"\\u2581ab\":8},\"merges\":[\"a b\",\"\\u2581 ab\"]}}";

static const char text_json_unigram[] = "{\"added_tokens\":[" TEXT_JSON_SPECIAL("0", "</s>",
    "") "],"
        "\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFKC\"},{\"type\":"
        "\"Strip\","
        "\"strip_left\":false,\"strip_right\":true}]},"
        "\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"\\u2581\",\"prepend_scheme\":"
        "\"always\",\"split\":true},"
        "\"post_processor\":{\"type\":\"BertProcessing\",\"sep\":[\"</s>\",0],\"cls\":[\"</"
        "s>\",0]},"
        "\"decoder\":{\"type\":\"Metaspace\",\"replacement\":\"\\u2581\",\"prepend_scheme\":"
        "\"always\"},"
        "\"model\":{\"type\":\"Unigram\",\"unk_id\":1,\"vocab\":[[\"</s>\",0],[\"<unk>\",0],"
        "[\"\\u2581\",-2],[\"a\",-3],[\"b\",-3],[\"ab\",-4],[\"\\u2581ab\",-5.5],[\"abb\",-7]]}}";

static const char text_json_wordpiece[] = "{\"added_tokens\":[" TEXT_JSON_SPECIAL(
    "0", "[UNK]", "") "," TEXT_JSON_SPECIAL("1", "[CLS]", "") "," TEXT_JSON_SPECIAL("2", "[SEP]",
    "") "],"
        "\"normalizer\":{\"type\":\"BertNormalizer\",\"clean_text\":true,\"handle_chinese_chars\":"
        "true,"
        "\"strip_accents\":null,\"lowercase\":true},\"pre_tokenizer\":{\"type\":"
        "\"BertPreTokenizer\"},"
        "\"post_processor\":{\"type\":\"Sequence\",\"processors\":[{\"type\":\"RobertaProcessing\","
        "\"sep\":[\"[SEP]\",2],\"cls\":[\"[CLS]\",1]}]},"
        "\"decoder\":{\"type\":\"WordPiece\",\"prefix\":\"##\",\"cleanup\":true},"
        "\"model\":{\"type\":\"WordPiece\",\"unk_token\":\"[UNK]\",\"continuing_subword_prefix\":"
        "\"##\","
        "\"max_input_chars_per_word\":5,\"vocab\":{\"[UNK]\":0,\"[CLS]\":1,\"[SEP]\":2,\"un\":3,"
        "\"##do\":4,\"##ing\":5,\"do\":6,\".\":7,\"##d\":8}}}";

static const char text_json_words[] =
    "{\"added_tokens\":[{\"id\":4,\"content\":\"new york\",\"special\":false,\"normalized\":true,"
    "\"single_word\":true,\"lstrip\":true}],\"normalizer\":{\"type\":\"Lowercase\"},"
    "\"pre_tokenizer\":{\"type\":\"Whitespace\"},\"post_processor\":null,\"decoder\":null,"
    "\"model\":{\"type\":\"WordLevel\",\"unk_token\":\"[UNK]\",\"vocab\":{\"[UNK]\":0,\"hello\":1,"
    "\"world\":2,\"!\":3}}}";

#endif
