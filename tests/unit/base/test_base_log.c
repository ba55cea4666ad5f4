#include "base_err.h"
#include "base_log.h"
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static char line[8192];
static int pipe_fds[2], kept;

/* stderr into a pipe, for one line. */
static void begin(void)
{
    cr_assert_eq(pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK), 0);
    kept = dup(STDERR_FILENO);
    dup2(pipe_fds[1], STDERR_FILENO);
}

static const char *end(void)
{
    dup2(kept, STDERR_FILENO);
    ssize_t bytes = read(pipe_fds[0], line, sizeof(line) - 1);
    line[bytes > 0 ? bytes : 0] = '\0';
    close(kept);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
    return line;
}

Test(base_log, a_line_of_text)
{
    char rest[64];

    base_log_init("prog", BASE_LOG_INFO);
    begin();
    base_log(BASE_LOG_WARN, "lost", "peer=%d error=\"%s\"", 4, "a\nb");
    base_log(BASE_LOG_DEBUG, "hidden", "x=1");
    snprintf(rest, sizeof(rest), " warn prog[%ld] lost peer=4 error=\"a\\nb\"\n", (long)getpid());
    cr_assert_eq(strlen(end()), 24 + strlen(rest), "%s", line);
    cr_assert_str_eq(line + 24, rest);
    cr_assert(line[10] == 'T' && line[19] == '.' && line[23] == 'Z', "%s", line);
    begin();
    base_log(BASE_LOG_INFO, "bare", "%s", "");
    cr_assert(strstr(end(), "] bare\n"), "%s", line);
}

Test(base_log, a_line_of_json)
{
    char rest[160];

    base_log_init("prog", BASE_LOG_INFO);
    base_log_set_format(BASE_LOG_JSON);
    begin();
    base_log(BASE_LOG_ERROR, "lost", "peer=%d request=%u epoch=%llu node=%s", 4, 9u, 12ull, "w-1");
    snprintf(rest, sizeof(rest),
        "\"level\":\"error\",\"program\":\"prog\",\"pid\":%ld,\"message\":\"lost\",\"peer\":4,"
        "\"request\":9,\"epoch\":12,\"node\":\"w-1\"}\n",
        (long)getpid());
    cr_assert(strstr(end(), rest), "%s", line);
    cr_assert_eq(strncmp(line, "{\"time\":\"", 9), 0, "%s", line);
    cr_assert_eq(strlen(line), 9 + 24 + 2 + strlen(rest), "%s", line);
}

Test(base_log, the_longest_line_is_one_line_and_valid)
{
    char text[5000];

    memset(text, 0x01, sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    for (int format = BASE_LOG_TEXT; format <= BASE_LOG_JSON; format++) {
        base_log_set_format(format);
        begin();
        base_log(BASE_LOG_INFO, "long", "a=\"%s\" b=%d", text, 5);
        size_t bytes = strlen(end());
        cr_assert(bytes > 900 && bytes <= 4096, "%zu", bytes);
        cr_assert_eq(strchr(line, '\n'), line + bytes - 1);
        cr_assert(format == BASE_LOG_TEXT || strcmp(line + bytes - 3, "\"}\n") == 0, "%s",
            line + bytes - 20);
    }
}

Test(base_log, names_of_levels_and_formats)
{
    enum base_log_level level = BASE_LOG_INFO;
    enum base_log_format format = BASE_LOG_TEXT;

    cr_assert(base_log_level_parse("debug", &level) == BASE_OK && level == BASE_LOG_DEBUG);
    cr_assert_eq(base_log_level_parse("loud", &level), BASE_INVALID);
    cr_assert(base_log_format_parse("json", &format) == BASE_OK && format == BASE_LOG_JSON);
    cr_assert(base_log_format_parse("text", &format) == BASE_OK && format == BASE_LOG_TEXT);
    cr_assert_eq(base_log_format_parse("xml", &format), BASE_INVALID);
}
