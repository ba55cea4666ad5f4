#include "base_alloc.h"
#include "text_special.h"
#include "text_test.h"

static void add(struct text_specials *specials, const char *text, uint32_t id, bool always)
{
    struct text_special item = {
        .text = text, .bytes = (uint32_t)strlen(text), .id = id, .always = always};

    cr_assert_eq(text_specials_add(specials, &item, NULL), BASE_OK);
}

/* All that is found, as "id@offset". */
static void expect_found(
    const struct text_specials *specials, const char *text, bool controls, const char *expected)
{
    char got[256] = "";
    size_t used = 0, from = 0, at, end;

    for (const struct text_special *found; (found = text_specials_find(specials, text, strlen(text),
                                                from, controls, &at, &end)) != NULL;
         from = end)
        used += (size_t)snprintf(got + used, sizeof(got) - used, "%u@%zu ", found->id, at);
    cr_expect_str_eq(got, expected, "\"%s\": %s, expected %s", text, got, expected);
}

Test(text_special, the_first_and_of_those_the_longest)
{
    struct text_specials specials = {0};

    text_specials_seal(&specials);
    expect_found(&specials, "<a>", true, "");
    add(&specials, "<a>", 1, true);
    add(&specials, "<a><b>", 2, false);
    add(&specials, "<a><b><c>", 3, true);
    add(&specials, "b>", 4, true);
    add(&specials, "", 5, true);
    add(&specials, "\xff", 6, true);
    add(&specials, "<a>", 7, false); /* twice: one of them is found without controls */
    text_specials_seal(&specials);
    expect_found(&specials, "x<a><b><c>", true, "3@1 ");
    expect_found(&specials, "x<a><b><c", true, "2@1 ");
    expect_found(&specials, "x<a><b><c", false, "1@1 4@5 ");
    expect_found(&specials, "<<a>", true, "1@1 ");
    expect_found(&specials, "<a", true, "");
    expect_found(&specials, "\xff\xff", false, "6@0 6@1 ");
    expect_found(&specials, "", true, "");
    text_specials_release(&specials);
}

Test(text_special, refuses_what_would_make_searching_slow)
{
    static char longest[TEXT_SPECIAL_BYTES_MAX + 1];
    struct text_specials specials = {0};
    struct text_special item = {
        .text = longest, .bytes = TEXT_SPECIAL_BYTES_MAX + 1, .id = 3, .always = true};
    struct base_error err = {0};

    cr_assert_eq(text_specials_add(&specials, &item, &err), BASE_MALFORMED);
    cr_assert_not_null(strstr(err.text, "added token 3 has 513 bytes"));
    item.bytes--;
    base_alloc_fail_from(1);
    cr_assert_eq(text_specials_add(&specials, &item, &err), BASE_NOMEM);
    base_alloc_fail_from(0);
    cr_assert_eq(text_specials_add(&specials, &item, &err), BASE_OK);
    text_specials_release(&specials);
}
