/*
 * Speed of tokenizers: megabytes a second and core on English text, and seconds for a megabyte of
 * inputs that could take more than linear time. One JSON line per row on stdout; nothing is asserted.
 *
 *     bench-text TOKENIZER [TEXT_FILE]
 *
 * TOKENIZER is a .gguf file or a tokenizer.json; without TEXT_FILE the text is generated.
 */
#include "base_clock.h"
#include "base_err.h"
#include "gguf.h"
#include "text_tokenizer.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MEGABYTE 1000000u

/* Common words; rarer ones are made of a stem and an ending. */
static const char *const words[] = {"the", "of", "and", "to", "a", "in", "is", "it", "you", "that",
    "he", "was", "for", "on", "are", "with", "as", "I", "his", "they", "be", "at", "one", "have",
    "this", "from", "or", "had", "by", "not", "word", "but", "what", "some", "we", "can", "out",
    "other", "were", "all", "there", "when", "up", "use", "your", "how", "said", "an", "each",
    "she", "which", "do", "their", "time", "if", "will", "way", "about", "many", "then", "them",
    "write", "would", "like", "so", "these", "her", "long", "make", "thing", "see", "him", "two",
    "has", "look", "more", "day", "could", "go", "come", "did", "number", "sound", "no", "most",
    "people", "my", "over", "know", "water", "than", "call", "first", "who", "may", "down", "side",
    "been", "now", "find", "don't", "it's", "machine", "between", "letter", "mountain", "river"};
static const char *const stems[] = {"act", "form", "port", "struct", "spect", "press", "rupt",
    "script", "tract", "vert", "mit", "duct", "claim", "fine", "pose", "serve", "sist", "tain",
    "tend", "cede", "ceive", "clude", "cur", "fect", "fer", "gress", "ject", "late", "lect",
    "logue", "miss", "move", "mount", "note", "part", "pend", "plant", "quire", "sign", "solve",
    "sume", "tempt", "test", "turn", "value", "voke", "volve", "work", "light", "stone", "wind"};
static const char *const beginnings[] = {"", "re", "de", "con", "in", "un", "pre", "dis", "trans",
    "inter", "ex", "per", "sub", "over", "com", "ad"};
static const char *const endings[] = {"", "s", "ed", "ing", "ion", "er", "able", "ment", "ly",
    "ness", "ions", "ers", "ation", "ive", "al", "ful"};

static uint32_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

#define PICK(list, state) list[next_random(state) % (sizeof(list) / sizeof(list[0]))]

/* A word: one of the commonest half of the time, a made one a fifth of it. */
static int make_word(char *ret, size_t room, uint64_t *state)
{
    uint32_t kind = next_random(state) % 100;
    uint32_t rank = next_random(state) % (sizeof(words) / sizeof(words[0]));

    if (kind < 3)
        return snprintf(ret, room, "%u", next_random(state) % 3000);
    if (kind < 23)
        return snprintf(
            ret, room, "%s%s%s", PICK(beginnings, state), PICK(stems, state), PICK(endings, state));
    if (kind < 60)
        rank = rank * (next_random(state) % 100) / 100;
    return snprintf(ret, room, "%s", words[rank]);
}

/* Sentences and paragraphs of such words. */
static void make_english(char *text, size_t bytes)
{
    uint64_t state = 1;
    size_t used = 0;
    unsigned left = 0;

    while (used < bytes) {
        char word[80];
        bool begins = left == 0;
        if (begins)
            left = 4 + next_random(&state) % 20;
        int length = make_word(word, sizeof(word) - 4, &state);
        if (begins && word[0] >= 'a')
            word[0] = (char)(word[0] - 32);
        left--;
        const char *end = left > 0 && next_random(&state) % 12 == 0 ? ", "
                          : left > 0                                ? " "
                          : next_random(&state) % 6 == 0            ? ".\n\n"
                                                                    : ". ";
        length += snprintf(word + length, sizeof(word) - (size_t)length, "%s", end);
        for (int i = 0; i < length && used < bytes; i++)
            text[used++] = word[i];
    }
}

static void repeat(char *text, size_t bytes, const char *unit)
{
    size_t unit_bytes = strlen(unit);

    for (size_t i = 0; i < bytes; i++)
        text[i] = i / unit_bytes * unit_bytes + unit_bytes <= bytes ? unit[i % unit_bytes] : ' ';
}

/* The best of some runs. Returns false when encoding fails. */
static bool measure(const struct text_tokenizer *tokenizer, const char *name, const char *text,
    size_t bytes, unsigned runs)
{
    double best = 1e9;
    size_t count = 0;

    for (unsigned i = 0; i < runs; i++) {
        struct text_ids ids = {0};
        struct base_error err = {0};
        uint64_t before = base_clock_us();
        if (text_encode(tokenizer, text, bytes, 0, &ids, &err) != BASE_OK) {
            printf("{\"bench\":\"text\",\"input\":\"%s\",\"error\":\"%s\"}\n", name, err.text);
            return false;
        }
        double seconds = (double)(base_clock_us() - before) * 1e-6;
        best = seconds < best ? seconds : best;
        count = ids.count;
        text_ids_release(&ids);
    }
    printf("{\"bench\":\"text\",\"input\":\"%s\",\"bytes\":%zu,\"tokens\":%zu,\"seconds\":%.4f,"
           "\"MB_per_s\":%.1f}\n",
        name, bytes, count, best, (double)bytes / best / 1e6);
    return true;
}

static char *read_file(const char *path, size_t *ret_bytes)
{
    FILE *file = fopen(path, "rb");
    char *text = NULL;

    if (file == NULL || fseek(file, 0, SEEK_END) != 0)
        return NULL;
    *ret_bytes = (size_t)ftell(file);
    rewind(file);
    text = malloc(*ret_bytes + 1);
    if (text != NULL && fread(text, 1, *ret_bytes, file) != *ret_bytes) {
        free(text);
        text = NULL;
    }
    (void)fclose(file);
    return text;
}

static struct text_tokenizer *open_tokenizer(const char *path, struct base_error *err)
{
    struct text_tokenizer *tokenizer = NULL;
    struct gguf *file = NULL;
    size_t path_bytes = strlen(path), bytes;

    if (path_bytes > 5 && strcmp(path + path_bytes - 5, ".json") == 0) {
        char *json = read_file(path, &bytes);
        if (json == NULL)
            (void)base_error_set(err, BASE_IO, "%s: cannot be read", path);
        else
            (void)text_tokenizer_open_json(json, bytes, &tokenizer, err);
        free(json);
        return tokenizer;
    }
    if (gguf_open(path, &file, err) == BASE_OK)
        (void)text_tokenizer_open(file, &tokenizer, err);
    gguf_close(&file);
    return tokenizer;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name, *unit;
    } rows[] = {{"letter", "a"}, {"upper", "A"}, {"spaces", " "}, {"spaces_x", "    x"},
        {"newlines", "\n"}, {"space_newline", " \n"}, {"digits", "7"},
        {"marks", "\xcc\x81\xcc\xa3"}, {"emoji", "\xf0\x9f\x98\x80"},
        {"han", "\xe4\xb8\xad\xe6\x96\x87"}, {"hangul", "\xed\x95\x9c"}, {"punctuation", "!?"},
        {"apostrophe", "'s"}, {"less", "<|im_"}, {"invalid", "\xff"}, {"nul", "\x01"}};
    struct base_error err = {0};
    size_t bytes = 2 * MEGABYTE;
    char *text = argc > 2 ? read_file(argv[2], &bytes) : malloc(bytes);
    char *hostile = malloc(MEGABYTE);
    struct text_tokenizer *tokenizer = argc > 1 ? open_tokenizer(argv[1], &err) : NULL;
    bool good = text != NULL && hostile != NULL && tokenizer != NULL;

    if (!good)
        (void)fprintf(stderr, "usage: bench-text TOKENIZER [TEXT_FILE]\n%s\n", err.text);
    if (good && argc <= 2)
        make_english(text, bytes);
    good = good && measure(tokenizer, argc > 2 ? "file" : "english", text, bytes, 5);
    for (size_t i = 0; good && i < sizeof(rows) / sizeof(rows[0]); i++) {
        repeat(hostile, MEGABYTE, rows[i].unit);
        good = measure(tokenizer, rows[i].name, hostile, MEGABYTE, 1);
    }
    text_tokenizer_close(&tokenizer);
    free(text);
    free(hostile);
    return good ? 0 : 1;
}
