#include "text_pre.h"

#include "base_err.h"
#include "text_patterns.h"
#include "text_split.h"
#include <stdio.h>
#include <string.h>

#define SHORT  TEXT_PATTERN_SHORT
#define TAIL   TEXT_PATTERN_TAIL
#define GPT2   TEXT_PATTERN_GPT2
#define SUFFIX TEXT_PATTERN_SUFFIX
#define LLAMA3 TEXT_PATTERN_LLAMA3
#define CASED  TEXT_PATTERN_CASED

#define ASCII_WORDS                                                                                \
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+"                                        \
    "|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|" TAIL

#define CJK "[一-龥ࠀ-一가-퟿]+"

#define FALCON "[\\p{P}\\$\\+<=>\\^~\\|`]+"

/* The formatter counts bytes where the eye counts characters. */
/* clang-format off */
#define DEEPSEEK_LETTERS \
    "A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅ" \
    "Ὀ-Ὅὐ-ὗὙὛὝὟ-ώᾀ-ᾴᾶ-ᾼιῂ-ῄῆ-ῌῐ-ΐῖ-Ίῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤΩℨK-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛ" \
    "Ꜣ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃"
#define DEEPSEEK_MARKS "\\s?[!-/:-~！-／：-～‘-‟　-。]+"
#define AFMOE_SCRIPTS "[一-鿿㐀-䶿豈-﫿぀-ゟ゠-ヿ･-ﾟ⼀-⿟เ-๿຀-໿ក-៿က-႟ꩠ-ꩿꧠ-꧿가-힯ᄀ-ᇿ]+"
#define YOUTU_SCRIPTS "[가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|[一-龥぀-ゟ゠-ヿ]+"
#define KANA "[一-龥぀-ゟ゠-ヿ]+"
#define BLOOM " ?[^(\\s|.,!?…。，、।۔،)]+"
/* clang-format on */

const char *const text_pre_gpt2 = GPT2;

static const struct text_pre rows[] = {
    {" gpt-2 phi-2 mpt olmo jais trillion granite-docling gigachat jina-es jina-de jina-v2-es "
     "jina-v2-de a.x-4.0 mellum exaone4 modern-bert ",
        0, {GPT2}},
    {" roberta-bpe jina-v1-en jina-v2-code ", TEXT_PRE_ADDS_BOS | TEXT_PRE_ADDS_EOS, {GPT2}},
    {" llama-bpe llama3 llama-v3 falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano ",
        TEXT_PRE_IGNORES_MERGES | TEXT_PRE_ADDS_BOS, {LLAMA3("\\p{N}{1,3}")}},
    {" dbrx smaug-bpe chatglm-bpe glm4 ", 0, {LLAMA3("\\p{N}{1,3}")}},
    {" qwen2 kormo f2llmv2 ", TEXT_PRE_NFC, {LLAMA3("\\p{N}")}},
    {" stablelm2 deepseek-r1-qwen megrez hunyuan solar-open grok-2 ", 0, {LLAMA3("\\p{N}")}},
    {" qwen35 ", TEXT_PRE_NFC, {TEXT_PATTERN_QWEN35}},
    {" starcoder refact command-r smollm codeshell exaone minerva-7b mellum2 ", 0,
        {"\\p{N}", GPT2}},
    {" falcon ", 0, {FALCON, GPT2, "[0-9][0-9][0-9]"}},
    {" deepseek-llm ", 0,
        {"[\\r\\n]", "\\s?[" DEEPSEEK_LETTERS "]+", DEEPSEEK_MARKS, "\\s+$", CJK, "\\p{N}+"}},
    {" deepseek-coder ", 0, {"[\\r\\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", CJK, "\\p{N}"}},
    {" deepseek-v3 hunyuan-dense joyai-llm ", 0, {"\\p{N}{1,3}", KANA, ASCII_WORDS}},
    {" gpt-4o llama4 minimax-m2 kanana2 talkie ", 0, {TEXT_PATTERN_GPT4O}},
    {" granite-embed-multi-97m ", TEXT_PRE_IGNORES_MERGES, {TEXT_PATTERN_GPT4O}},
    {" tekken ", TEXT_PRE_IGNORES_MERGES | TEXT_PRE_ADDS_BOS, {TEXT_PATTERN_TEKKEN}},
    {" tiny_aya cohere2moe ", 0, {TEXT_PATTERN_GROUPS, TEXT_PATTERN_GPT4O}},
    {" kimi-k2 ", TEXT_PRE_BY_ID,
        {"[\\p{Han}]+|" CASED(SUFFIX, "\\p{N}{1,3}", "&&[^\\p{Han}]", "[\\r\\n]*")}},
    {" youtu ", TEXT_PRE_IGNORES_MERGES,
        {YOUTU_SCRIPTS, CASED(SUFFIX, "\\p{N}", "", "[\\r\\n/]*")}},
    {" jais-2 ", 0,
        {"(?i:" SHORT ")|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|"
         "\\s*[\\r\\n]+|\\s{512}(?!\\S)|\\s{256}(?!\\S)|\\s{128}(?!\\S)|\\s{64}(?!\\S)|"
         "\\s{32}(?!\\S)|\\s{16}(?!\\S)|\\s{8}(?!\\S)|\\s{4}(?!\\S)|\\s{1,2}(?!\\S)|\\s{1}"}},
    {" poro-chat bloom gpt3-finnish ", 0, {BLOOM}},
    {" viking ", 0, {BLOOM, "\\p{N}"}},
    {" chameleon ", TEXT_PRE_ADDS_BOS,
        {"<sentinel:[0-9]+>", "(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z", "([\\t\\n]|    |  )", "\\p{N}",
            "[\\p{P}!-/:-@\\[-`{-~]", GPT2}},
    {" superbpe ", 0, {"\\p{N}+", TEXT_PATTERN_GROUP_CUTS}},
    {" bailingmoe bailingmoe2 llada-moe ", 0,
        {"'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}+|\\p{N}"
         "| ?[^\\s\\p{L}\\p{N}]++[\\r\\n]*|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+"}},
    {" seed-coder ", 0,
        {"(?i:" SHORT ")|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1}| ?[^\\s\\p{L}\\p{N}\\r\\n]+|"
         "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"}},
    {" afmoe ", 0, {TEXT_PATTERN_GROUPS_ANY, AFMOE_SCRIPTS, ASCII_WORDS}},
    {" laguna ", 0, {"[^\\n]+|[\\n]+", LLAMA3("\\p{N}")}},
    {" exaone-moe ", 0,
        {"(?i:" SHORT ")|[^\\r\\n\\p{L}\\p{N}]?(?:\\p{L}\\p{M}*(?: \\p{L}\\p{M}*)*)+|\\p{N}"
         "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]?|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+"}},
    {" minicpm5 ", TEXT_PRE_IGNORES_MERGES, {"\\p{N}{1,3}", LLAMA3("\\p{N}+")}},
    {" gemma4 granite-embed-multi-311m ", TEXT_PRE_RAW | TEXT_PRE_FORCES_BOS, {"[^\\n]+|[\\n]+"}},
    {" sarvam-moe ", TEXT_PRE_RAW, {"[^\\n]+|[\\n]+"}},
    {" whitespace ", TEXT_PRE_RAW | TEXT_PRE_REMOVES_GAPS, {"\\S+"}},
    {" default ", 0, {"[\\p{P}\\$\\+<=>\\^~\\|]+", GPT2, "\\p{N}+", "[0-9][0-9][0-9]"}},
};

#define ROW_COUNT (sizeof(rows) / sizeof(rows[0]))

/* First names by row, NUL-terminated; they are prefixes of the lists, so they need a place. */
static const char *const first_names[ROW_COUNT] = {"gpt-2", "roberta-bpe", "llama-bpe", "dbrx",
    "qwen2", "stablelm2", "qwen35", "starcoder", "falcon", "deepseek-llm", "deepseek-coder",
    "deepseek-v3", "gpt-4o", "granite-embed-multi-97m", "tekken", "tiny_aya", "kimi-k2", "youtu",
    "jais-2", "poro-chat", "viking", "chameleon", "superbpe", "bailingmoe", "seed-coder", "afmoe",
    "laguna", "exaone-moe", "minicpm5", "gemma4", "sarvam-moe", "whitespace", "default"};

size_t text_pre_count(void)
{
    return ROW_COUNT;
}

const struct text_pre *text_pre_at(size_t index)
{
    return &rows[index];
}

const char *text_pre_name(const struct text_pre *self)
{
    return first_names[self - rows];
}

const struct text_pre *text_pre_find(const char *name, size_t name_bytes)
{
    char word[64];

    if (name_bytes == 0 || name_bytes > sizeof(word) - 3 || memchr(name, ' ', name_bytes) != NULL ||
        memchr(name, '\0', name_bytes) != NULL)
        return NULL;
    (void)snprintf(word, sizeof(word), " %.*s ", (int)name_bytes, name);
    for (size_t i = 0; i < ROW_COUNT; i++) {
        if (strstr(rows[i].names, word) != NULL)
            return &rows[i];
    }
    return NULL;
}

void text_pre_names(char *ret, size_t ret_bytes)
{
    size_t used = 0;

    ret[0] = '\0';
    for (size_t i = 0; i < ROW_COUNT; i++) {
        int written = snprintf(ret + used, ret_bytes - used, " %s", first_names[i]);
        if (written < 0 || (size_t)written >= ret_bytes - used)
            break;
        used += (size_t)written;
    }
}

/* One character of a pattern's text; "\r" and a carriage return are the same. */
static char pattern_next(const char **at)
{
    const char *p = *at;

    if (p[0] == '\\' && (p[1] == 'r' || p[1] == 'n' || p[1] == 't')) {
        *at = p + 2;
        return p[1] == 'r' ? '\r' : p[1] == 'n' ? '\n' : '\t';
    }
    *at = p + 1;
    return p[0];
}

static bool same_pattern(const char *a, const char *b)
{
    while (*a != '\0' && *b != '\0') {
        if (pattern_next(&a) != pattern_next(&b))
            return false;
    }
    return *a == *b;
}

static bool same_steps(const struct text_pre *row, const struct text_split *split)
{
    size_t count = text_split_step_count(split), bytes;

    for (size_t i = 0; i < count; i++) {
        const char *pattern = text_split_pattern(split, i, &bytes);
        if (i == TEXT_PRE_PATTERNS || row->patterns[i] == NULL || pattern == NULL ||
            strlen(pattern) != bytes || !same_pattern(row->patterns[i], pattern))
            return false;
    }
    return row->patterns[count] == NULL;
}

const struct text_pre *text_pre_recognise(
    const struct text_split *split, bool ignores_merges, bool nfc, const char **ret_name)
{
    const struct text_pre *best = NULL;

    if (text_split_step_count(split) > TEXT_PRE_PATTERNS)
        return NULL;
    for (size_t i = 0; i < ROW_COUNT; i++) {
        const struct text_pre *row = &rows[i];
        if ((row->flags & (TEXT_PRE_RAW | TEXT_PRE_REMOVES_GAPS | TEXT_PRE_ADDS_EOS)) != 0 ||
            ((row->flags & TEXT_PRE_IGNORES_MERGES) != 0) != ignores_merges ||
            !same_steps(row, split))
            continue;
        if (best == NULL || ((row->flags & TEXT_PRE_NFC) != 0) == nfc)
            best = row;
    }
    if (best != NULL)
        *ret_name = text_pre_name(best);
    return best;
}

static int add_patterns(
    const struct text_pre *row, struct text_split *split, struct base_error *err)
{
    bool removes = (row->flags & TEXT_PRE_REMOVES_GAPS) != 0;
    int rc = BASE_OK;

    for (size_t i = 0; rc == BASE_OK && row->patterns[i] != NULL; i++)
        rc = text_split_add_regex(split, row->patterns[i], strlen(row->patterns[i]),
            removes ? TEXT_SPLIT_REMOVED : TEXT_SPLIT_ISOLATED, removes, err);
    return rc;
}

int text_split_named(const char *name, size_t name_bytes, struct text_split **ret_split,
    const struct text_pre **ret_pre, struct base_error *err)
{
    const struct text_pre *row = text_pre_find(name, name_bytes);
    struct text_split *split = NULL;
    char known[BASE_ERROR_TEXT_BYTES - 100];
    int rc;

    if (row == NULL) {
        text_pre_names(known, sizeof(known));
        return base_error_set(err, BASE_UNSUPPORTED,
            "tokenizer.ggml.pre: \"%.*s\" is not known; known, with their aliases:%s",
            (int)(name_bytes < 64 ? name_bytes : 64), name, known);
    }
    rc = text_split_new(&split);
    if (rc != BASE_OK)
        return base_error_set(err, rc, "tokenizer: no memory for the pre-tokenizer");
    rc = add_patterns(row, split, err);
    if (rc != BASE_OK) {
        text_split_destroy(&split);
        return base_error_prepend(err, rc, "tokenizer.ggml.pre: \"%s\"", text_pre_name(row));
    }
    *ret_split = split;
    *ret_pre = row;
    return BASE_OK;
}
