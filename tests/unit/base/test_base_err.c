#include "base_err.h"
#include <criterion/criterion.h>
#include <string.h>

Test(base_err, every_code_has_text_and_name)
{
    cr_assert_str_eq(base_err_text(BASE_OK), "ok");
#define X(name, text)                                                                              \
    cr_assert_str_eq(base_err_text(BASE_##name), text);                                            \
    cr_assert_str_eq(base_err_name(BASE_##name), #name);
    BASE_ERR_MAP(X)
#undef X
    cr_assert_str_eq(base_err_name(12345), "UNKNOWN");
}

Test(base_err, context_goes_in_front_and_long_text_is_cut)
{
    struct base_error err = {0};

    cr_assert_eq(base_error_set(&err, BASE_IO, "open %s", "x"), BASE_IO);
    cr_assert_eq(base_error_prepend(&err, BASE_INTERNAL, "load %d", 7), BASE_IO);
    cr_assert_str_eq(err.text, "load 7: open x");
    for (int i = 0; i < 100; i++)
        (void)base_error_prepend(&err, BASE_IO, "0123456789");
    cr_assert_eq(strlen(err.text), sizeof(err.text) - 1);
    cr_assert_eq(base_error_set(NULL, BASE_IO, "no object"), BASE_IO);
}
