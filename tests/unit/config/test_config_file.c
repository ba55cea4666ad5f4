#include "config_testing.h"
#include <stdio.h>

static struct base_error err;

static int read_text(const char *text, size_t bytes)
{
    make_table();
    peers.count = 0;
    err = (struct base_error){0};
    int rc = config_read_text(&config, "file.yaml", text, bytes, rows, ROW_COUNT, &err);
    cr_assert(rc == BASE_OK || strncmp(err.text, "file.yaml", 9) == 0, "%d %s", rc, err.text);
    return rc;
}

static int read_it(const char *text)
{
    return read_text(text, strlen(text));
}

Test(config_file, every_type_and_form)
{
    cr_assert_eq(read_it("# comment\n---\nmodel: 'a: b'\nname: \"x\\ty\"\ninsecure: true # why\n"
                         "port-number: 7\ntokens: 4096\nmemory: 2GiB\nratio: 1.5\n"
                         "peer:\n  - a\n  - \"b c\"\nlog-level: debug\n"),
        BASE_OK, "%s", err.text);
    cr_assert_str_eq(model, "a: b");
    cr_assert_str_eq(name, "x\ty");
    cr_assert(insecure && port == 7 && tokens == 4096 && memory == 2ull << 30 && ratio == 1.5);
    cr_assert(peers.count == 2 && strcmp(peers.items[1], "b c") == 0);
    cr_assert_str_eq(config.log_level, "debug");
    config_release(&config);
    cr_assert_eq(read_it(""), BASE_OK);
    cr_assert_eq(read_it("# nothing\n"), BASE_OK);
    cr_assert_eq(read_it("{port-number: 9, peer: one}"), BASE_OK, "%s", err.text);
    cr_assert(port == 9 && peers.count == 1);
    config_release(&config);
}

Test(config_file, what_is_no_setting_is_refused_with_its_line)
{
    const struct {
        const char *text, *line, *words;
    } cases[] = {
        {"port-number: 7\nprot: 8\n", ":2:", "'prot'"},
        {"port-number: 7\nname: a\nport-number: 8\n", ":3:", "line 1"},
        {"\n\nport-number: 700\n", ":3: port-number", "100"},
        {"port-number: seven\n", ":1: port-number", "seven"},
        {"port-number: -1\n", ":1:", "-1"},
        {"port-number:\n", ":1:", "no value"},
        {"name: ~\n", ":1:", "no value"},
        {"insecure: yes\n", ":1:", "true"},
        {"check: true\n", ":1:", "'check'"},
        {"config: other.yaml\n", ":1:", "'config'"},
        {"port-number: [1, 2]\n", ":1:", "single"},
        {"name: {a: b}\n", ":1:", "single"},
        {"peer: [[a]]\n", ":1:", "single values"},
        {"- a\n- b\n", ":1:", "name: value"},
        {"hello\n", ":1:", "name: value"},
        {"[a]: b\n", ":1:", "name of a setting"},
        {"name: &x a\nmodel: b\n", ":1:", "anchors"},
        {"name: !!str a\n", ":1:", "tags"},
        {"name: a\nmodel: *x\n", ":2:", ""},
        {"name: a\n---\nname: b\n", ":2:", "second document"},
        {"name: \"a\n", "", ""},
        {"name: a\n\tmodel: b\n", ":2:", ""},
        {"name: a: b\n", ":1:", ""},
        {"name: \"a\\0b\"\n", ":1:", "NUL"},
        {"name: \xff\xfe\n", ":1:", ""},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        cr_assert_neq(read_it(cases[i].text), BASE_OK, "case %zu", i);
        cr_assert(strstr(err.text, cases[i].line) && strstr(err.text, cases[i].words),
            "case %zu: %s", i, err.text);
        config_release(&config);
    }
}

Test(config_file, every_cut_of_a_file_is_read_or_refused)
{
    const char text[] = "model: 'a: b'\npeer:\n  - \"x\\ty\"\n  - b\nport-number: 7\n{a: [b]}\n";

    for (size_t bytes = 0; bytes < sizeof(text); bytes++) {
        (void)read_text(text, bytes);
        config_release(&config);
    }
    /* Nesting is refused where it begins, however deep. */
    static char deep[50000];
    memset(deep, '[', sizeof(deep) - 1);
    cr_assert_neq(read_it(deep), BASE_OK);
    config_release(&config);
}

Test(config_file, files_that_cannot_be_read)
{
    make_table();
    cr_assert_eq(config_read_file(&config, "/nonexistent", rows, ROW_COUNT, &err), BASE_IO);
    cr_assert(strstr(err.text, "/nonexistent"), "%s", err.text);
    cr_assert_eq(config_read_file(&config, "/tmp", rows, ROW_COUNT, &err), BASE_IO);
    cr_assert_eq(config_read_file(&config, "/dev/zero", rows, ROW_COUNT, &err), BASE_TOO_BIG);
    cr_assert(strstr(err.text, "/dev/zero"), "%s", err.text);
}
