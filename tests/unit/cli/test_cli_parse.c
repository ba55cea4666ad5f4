#include "cli_parse.h"

#include "base_alloc.h"
#include "base_err.h"
#include "base_limits.h"
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void expect_ids(const char *text, const uint32_t *expected, size_t expected_count)
{
    uint32_t *ids = NULL;
    size_t count = 0;
    struct base_error err = {0};

    cr_assert_eq(cli_parse_ids(text, &ids, &count, &err), BASE_OK, "'%s': %s", text, err.text);
    cr_assert_eq(count, expected_count, "'%s': %zu ids", text, count);
    cr_assert_eq(memcmp(ids, expected, count * sizeof(*ids)), 0, "'%s'", text);
    base_free(ids);
}

Test(cli_parse, reads_ids_with_commas_and_spaces)
{
    const uint32_t three[] = {1, 22, 333}, one[] = {0}, last[] = {LIMIT_VOCAB_MAX - 1};

    expect_ids("1,22,333", three, 3);
    expect_ids("1 22 333", three, 3);
    expect_ids(" 1 , 22,\t333\n", three, 3);
    expect_ids("0", one, 1);
    expect_ids("000", one, 1);
    expect_ids("1048575", last, 1);
}

Test(cli_parse, refuses_what_is_not_a_list_of_ids)
{
    static const char *const bad[] = {"", " ", ",", "1,", ",1", "1,,2", "1, ,2", "-1", "+1", "1.0",
        "1e3", "0x1", "a", "1;2", "1,2x", "1048576", "4294967297", "18446744073709551617", "1\xff"};

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        uint32_t *ids = NULL;
        size_t count = 7;
        struct base_error err = {0};
        cr_assert_eq(cli_parse_ids(bad[i], &ids, &count, &err), BASE_INVALID, "'%s'", bad[i]);
        cr_assert_null(ids);
        cr_assert_eq(count, 7);
        cr_assert_neq(err.text[0], '\0', "'%s' has no reason", bad[i]);
    }
}

Test(cli_parse, says_which_id_is_wrong)
{
    uint32_t *ids = NULL;
    size_t count = 0;
    struct base_error err = {0};

    (void)cli_parse_ids("5,6,seven,8", &ids, &count, &err);
    cr_assert_not_null(strstr(err.text, "number 3"), "%s", err.text);
    cr_assert_not_null(strstr(err.text, "seven"), "%s", err.text);
}

Test(cli_parse, bounds_the_number_of_ids)
{
    size_t most = LIMIT_CONTEXT_TOKENS_MAX;
    char *text = malloc(2 * (most + 1) + 1);
    uint32_t *ids = NULL;
    size_t count = 0;

    for (size_t i = 0; i <= most; i++)
        memcpy(text + 2 * i, "7,", 2);
    text[2 * most - 1] = '\0';
    cr_assert_eq(cli_parse_ids(text, &ids, &count, NULL), BASE_OK);
    cr_assert_eq(count, most);
    base_free(ids);
    text[2 * most - 1] = ',';
    text[2 * most + 1] = '\0';
    cr_assert_eq(cli_parse_ids(text, &ids, &count, NULL), BASE_TOO_BIG);
    free(text);
}

Test(cli_parse, reads_a_logit_bias)
{
    struct lmesh_logit_bias bias = {0};

    cr_assert_eq(cli_parse_logit_bias("12=-1.5", &bias, NULL), BASE_OK);
    cr_assert_eq(bias.token_id, 12);
    cr_assert_eq(bias.bias, -1.5f);
    cr_assert_eq(cli_parse_logit_bias("0=-inf", &bias, NULL), BASE_OK);
    cr_assert(isinf(bias.bias) && bias.bias < 0);
}

Test(cli_parse, refuses_a_bad_logit_bias)
{
    static const char *const bad[] = {"", "=", "1", "1=", "=1", "1=x", "1=1x", "1= 1", "-1=1",
        "1=nan", "1=inf", "1=1e9", "1048576=1", "1==2"};

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct lmesh_logit_bias bias = {0};
        struct base_error err = {0};
        cr_assert_eq(cli_parse_logit_bias(bad[i], &bias, &err), BASE_INVALID, "'%s'", bad[i]);
        cr_assert_neq(err.text[0], '\0');
    }
}

Test(cli_parse, reads_a_chat_in_both_forms)
{
    static const char *const forms[] = {
        "[{\"role\":\"system\",\"content\":\"Be \\u00e9\"},{\"role\":\"user\",\"content\":\"\"}]",
        "{\"model\":\"x\",\"messages\":[{\"content\":\"Be \xc3\xa9\",\"role\":\"system\"},"
        "{\"role\":\"user\",\"content\":\"\"}]}"};

    for (size_t i = 0; i < 2; i++) {
        struct cli_chat chat = {0};
        struct base_error err = {0};
        cr_assert_eq(
            cli_parse_chat(forms[i], strlen(forms[i]), &chat, &err), BASE_OK, "%s", err.text);
        cr_assert_eq(chat.count, 2);
        cr_assert_str_eq(chat.messages[0].role, "system");
        cr_assert_str_eq(chat.messages[0].content, "Be \xc3\xa9");
        cr_assert_str_eq(chat.messages[1].role, "user");
        cr_assert_str_eq(chat.messages[1].content, "");
        cli_chat_release(&chat);
        cr_assert_null(chat.messages);
    }
}

Test(cli_parse, refuses_what_is_not_a_chat)
{
    static const struct {
        const char *text, *reason;
    } bad[] = {
        {"", "line 1"},
        {"{", "line 1"},
        {"[]", "empty"},
        {"{}", "expected a list"},
        {"7", "line 1"},
        {"{\"messages\":{}}", "expected a list"},
        {"[1]", "message 0 is not an object"},
        {"[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"tool\",\"content\":\"a\"}]",
            "message 1: role"},
        {"[{\"content\":\"a\"}]", "message 0: role"},
        {"[{\"role\":\"user\"}]", "message 0: content"},
        {"[{\"role\":\"user\",\"content\":[]}]", "message 0: content"},
        {"[{\"role\":\"user\",\"content\":\"a\",\"name\":\"b\"}]", "keys beside"},
        {"[{\"role\":\"user\",\"role\":\"user\",\"content\":\"a\"}]", "line 1"},
        {"[{\"role\":\"user\",\"content\":\"a\\u0000b\"}]", "line 1"},
        {"[{\"role\":\"user\",\"content\":\"\xff\"}]", "line 1"},
        {"[{\"role\":\"user\",\"content\":\"a\"}] x", "line 1"},
    };

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct cli_chat chat = {0};
        struct base_error err = {0};
        cr_assert_eq(cli_parse_chat(bad[i].text, strlen(bad[i].text), &chat, &err), BASE_MALFORMED,
            "'%s'", bad[i].text);
        cr_assert_not_null(strstr(err.text, bad[i].reason), "'%s': %s", bad[i].text, err.text);
        cr_assert_null(chat.owner);
    }
}

Test(cli_parse, bounds_the_number_of_messages)
{
    static const char message[] = "{\"role\":\"user\",\"content\":\"a\"},";
    size_t bytes = strlen(message);
    char *text = malloc(2 + bytes * (LIMIT_CHAT_MESSAGES + 1));
    struct cli_chat chat = {0};
    size_t used = 0;

    text[used++] = '[';
    for (int i = 0; i <= LIMIT_CHAT_MESSAGES; i++, used += bytes)
        memcpy(text + used, message, bytes);
    text[used - 1] = ']';
    cr_assert_eq(cli_parse_chat(text, used, &chat, NULL), BASE_TOO_BIG);
    free(text);
}

Test(cli_parse, survives_without_memory)
{
    static const char chat_text[] = "[{\"role\":\"user\",\"content\":\"a\"}]";
    uint32_t *ids = NULL;
    size_t count = 0;
    struct cli_chat chat = {0};

    base_alloc_fail_from(1);
    cr_assert_eq(cli_parse_ids("1,2", &ids, &count, NULL), BASE_NOMEM);
    cr_assert_eq(cli_parse_chat(chat_text, strlen(chat_text), &chat, NULL), BASE_NOMEM);
    base_alloc_fail_from(0);
    cr_assert_null(ids);
    cr_assert_null(chat.owner);
}
