#include "config_testing.h"
#include <stdio.h>

static char *print(void)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);

    cr_assert_not_null(out);
    config_print("test-program", "TEST_PROGRAM_", rows, ROW_COUNT, out);
    fclose(out);
    return text;
}

Test(config_print, the_reference_names_everything_of_a_row)
{
    make_table();
    char *text = print();

    cr_assert(strstr(text, "\n# A port.\n# --port-number, TEST_PROGRAM_PORT_NUMBER; 1 to 100\n"
                           "port-number: 5\n"),
        "%s", text);
    cr_assert(
        strstr(text, "\n# A name.\n# --name, TEST_CONFIG_NAME\nname: \"first\"\n"), "%s", text);
    cr_assert(strstr(text, "\n# --model, TEST_PROGRAM_MODEL\n# model: FILE\n"), "%s", text);
    cr_assert(strstr(text, "tokens: 1000\n") && strstr(text, "insecure: false\n"), "%s", text);
    cr_assert(strstr(text, "; bytes, or as 16GiB\nmemory: 4096\n"), "%s", text);
    cr_assert(strstr(text, "# peer: NAME\n"), "%s", text);
    cr_assert_null(strstr(text, "print-config"));
    free(text);
}

Test(config_print, what_is_printed_reads_back_the_same)
{
    struct base_error err = {0};

    make_table();
    model = "a \"b\" \\ \t# c: *d \xc3\xa9";
    ratio = 1.0 / 3;
    memory = UINT64_MAX;
    insecure = true;
    peers = (struct base_option_list){.items = {"x, y]", ""}, .count = 2};
    char *first = print();
    model = NULL;
    ratio = 0;
    memory = 0;
    insecure = false;
    peers.count = 0;
    cr_assert_eq(config_read_text(&config, "printed", first, strlen(first), rows, ROW_COUNT, &err),
        BASE_OK, "%s\n%s", err.text, first);
    char *second = print();
    cr_assert_str_eq(second, first);
    cr_assert_eq(ratio, 1.0 / 3);
    free(first);
    free(second);
    config_release(&config);
}
