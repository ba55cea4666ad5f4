/*
 * Patterns of pre-tokenizers as published, in Oniguruma's dialect; macros, so that the table of
 * names and the hand-written matchers mean the same text. Private to this module.
 */
#ifndef TEXT_PATTERNS_H
#define TEXT_PATTERNS_H

#define TEXT_PATTERN_SHORT "'s|'t|'re|'ve|'m|'ll|'d"
#define TEXT_PATTERN_TAIL  "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define TEXT_PATTERN_GPT2                                                                          \
    TEXT_PATTERN_SHORT "| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"

/* Llama 3 and its relatives; they differ in how digits are taken. */
#define TEXT_PATTERN_LLAMA3(digits)                                                                \
    "(?i:" TEXT_PATTERN_SHORT ")|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" digits                            \
    "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|" TEXT_PATTERN_TAIL

#define TEXT_PATTERN_QWEN35                                                                        \
    "(?i:" TEXT_PATTERN_SHORT ")|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}"                     \
    "| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|" TEXT_PATTERN_TAIL

/* Words in which lower case follows upper case; suffix: contractions, or nothing. */
#define TEXT_PATTERN_UPPER  "\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}"
#define TEXT_PATTERN_LOWER  "\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}"
#define TEXT_PATTERN_SUFFIX "(?i:" TEXT_PATTERN_SHORT ")?"
#define TEXT_PATTERN_CASED(suffix, digits, except, ends)                                           \
    "[^\\r\\n\\p{L}\\p{N}]?[" TEXT_PATTERN_UPPER except "]*[" TEXT_PATTERN_LOWER except            \
    "]+" suffix "|[^\\r\\n\\p{L}\\p{N}]?[" TEXT_PATTERN_UPPER except                               \
    "]+[" TEXT_PATTERN_LOWER except "]*" suffix "|" digits "| ?[^\\s\\p{L}\\p{N}]+" ends           \
    "|" TEXT_PATTERN_TAIL
#define TEXT_PATTERN_GPT4O  TEXT_PATTERN_CASED(TEXT_PATTERN_SUFFIX, "\\p{N}{1,3}", "", "[\\r\\n/]*")
#define TEXT_PATTERN_TEKKEN TEXT_PATTERN_CASED("", "\\p{N}", "", "[\\r\\n/]*")

/* Digits in groups of three, counted from the right. */
#define TEXT_PATTERN_GROUPS     "\\d{1,3}(?=(?:\\d{3})*\\b)"
#define TEXT_PATTERN_GROUP_CUTS "(?=(\\d{3})+(?!\\d))"
#define TEXT_PATTERN_GROUPS_ANY "\\p{N}{1,3}(?=(?:\\p{N}{3})*(?!\\p{N}))"

#endif
