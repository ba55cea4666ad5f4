/* layermesh keys: the key store of a mesh, for whoever runs its coordinator. */
#include "cli_answer.h"
#include "cli_command.h"
#include "cli_parse.h"

#include "base_err.h"
#include "keys.h"
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TTL_TEXT_DEFAULT "1h"

struct keys_command {
    const struct cli_command *command;
    const char *folder, *role, *out, *expires, *ttl, *coordinator, *name;
    bool json;
    char default_folder[KEYS_PATH_BYTES];
};

/* "90s", "15m", "1h", "30d" in seconds; 0: is none of these. */
static uint64_t duration_s(const char *text)
{
    static const struct {
        char unit;
        uint64_t seconds;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
    const size_t digits = strspn(text, "0123456789");

    if (digits == 0 || digits > 6 || strlen(text) != digits + 1)
        return 0;
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
        if (text[digits] == units[i].unit)
            return strtoull(text, NULL, 10) * units[i].seconds;
    return 0;
}

static int until(struct keys_command *self, const char *option, const char *text, uint64_t *ret_s)
{
    const uint64_t seconds = duration_s(text);

    if (seconds == 0)
        return cli_usage(self->command, "%s %s: a time such as 90s, 15m, 1h or 30d", option, text);
    *ret_s = keys_now_s() + seconds;
    return CLI_EXIT_OK;
}

static int take_role(struct keys_command *self, enum wire_role *ret)
{
    if (self->role == NULL)
        return cli_usage(self->command, "--role worker, router, client or admin is required");
    if (!net_role_parse(self->role, ret))
        return cli_usage(self->command, "--role %s: worker, router, client or admin", self->role);
    return CLI_EXIT_OK;
}

/* ---- sub-commands ---- */

static int run_init(struct keys_command *self)
{
    struct base_error err = {0};

    if (keys_store_init(self->folder, &err) != BASE_OK)
        return cli_fail(self->command, "%s", err.text);
    (void)printf("%s: keys of the coordinator, the router and an admin\n", self->folder);
    return cli_finish(self->command);
}

static int run_issue(struct keys_command *self)
{
    char path[KEYS_PATH_BYTES], file[LIMIT_NAME_BYTES + 8];
    struct base_error err = {0};
    enum wire_role role;
    uint64_t expires_s = 0;
    int exit_status = CLI_EXIT_OK;

    if (self->name == NULL)
        return cli_usage(self->command, "whose key? issue NAME --role ROLE");
    exit_status = take_role(self, &role);
    if (exit_status == CLI_EXIT_OK && self->expires != NULL)
        exit_status = until(self, "--expires", self->expires, &expires_s);
    if (exit_status != CLI_EXIT_OK)
        return exit_status;
    /* A star in a file name would trap whoever types it. */
    (void)snprintf(file, sizeof(file), "%.*s.key", (int)strcspn(self->name, "*/"), self->name);
    const char *out = self->out;
    if (out == NULL) {
        if (keys_path(self->folder, file, path, &err) != BASE_OK)
            return cli_fail(self->command, "%s", err.text);
        out = path;
    }
    if (keys_store_issue(self->folder, role, self->name, expires_s, out, &err) != BASE_OK)
        return cli_fail(self->command, "%s", err.text);
    (void)printf("%s\n", out);
    return cli_finish(self->command);
}

static int run_revoke(struct keys_command *self)
{
    struct base_error err = {0};
    size_t count = 0;

    if (self->name == NULL)
        return cli_usage(self->command, "whose key? revoke NAME");
    if (keys_store_revoke(self->folder, self->name, &count, &err) != BASE_OK)
        return cli_fail(self->command, "%s", err.text);
    (void)printf("%s: %zu key%s revoked\n", self->name, count, count == 1 ? "" : "s");
    return cli_finish(self->command);
}

static int run_token(struct keys_command *self)
{
    char line[KEYS_TOKEN_BYTES];
    struct base_error err = {0};
    enum wire_role role;
    uint64_t expires_s = 0;
    int exit_status = take_role(self, &role);

    if (exit_status == CLI_EXIT_OK && self->coordinator == NULL)
        exit_status = cli_usage(self->command,
            "--coordinator ENDPOINT or LAYERMESH_COORDINATOR: where the newcomer connects");
    if (exit_status == CLI_EXIT_OK)
        exit_status = until(self, "--ttl", self->ttl, &expires_s);
    if (exit_status != CLI_EXIT_OK)
        return exit_status;
    if (keys_token_issue(self->folder, role, self->name == NULL ? "*" : self->name, expires_s,
            self->coordinator, line, &err) != BASE_OK)
        return cli_fail(self->command, "%s", err.text);
    (void)printf("%s\n", line);
    explicit_bzero(line, sizeof(line));
    return cli_finish(self->command);
}

/* ---- list ---- */

static const char *state_of(const struct keys_row *row, uint64_t now_s)
{
    return row->revoked_s != 0                              ? "revoked"
           : row->role == WIRE_ROLE_JOIN && row->used_by[0] ? "used"
           : !keys_row_is_admitted(row, now_s)              ? "expired"
                                                            : "admitted";
}

/* The first 16 digits of the key itself tell keys apart. */
static void fingerprint(const struct keys_row *row, char ret[17])
{
    char hex[NET_KEY_HEX_BYTES];

    net_key_to_hex(row->public_key, hex);
    memcpy(ret, hex, 16);
    ret[16] = 0;
}

static const char *date(uint64_t seconds, char *out, size_t capacity)
{
    const time_t at = (time_t)seconds;
    struct tm utc;

    if (seconds == 0 || gmtime_r(&at, &utc) == NULL ||
        strftime(out, capacity, "%Y-%m-%dT%H:%M:%SZ", &utc) == 0)
        (void)snprintf(out, capacity, "-");
    return out;
}

static bool print_rows_json(const struct keys_store *store, uint64_t now_s)
{
    json_t *rows = json_array();

    for (size_t i = 0; i < store->count; i++) {
        const struct keys_row *row = &store->rows[i];
        char print[17];
        fingerprint(row, print);
        (void)json_array_append_new(
            rows, json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:I}", "name", row->name, "role",
                      net_role_name(row->role), "state", state_of(row, now_s), "fingerprint", print,
                      "issued", (json_int_t)row->issued_s, "expires", (json_int_t)row->expires_s,
                      "revoked", (json_int_t)row->revoked_s));
    }
    return cli_json_print(
        json_pack("{s:I, s:o}", "serial", (json_int_t)store->serial, "keys", rows));
}

static void print_rows(const struct keys_store *store, uint64_t now_s)
{
    (void)printf("%-24s %-12s %-9s %-16s %-20s %-20s %s\n", "name", "role", "state", "fingerprint",
        "issued", "expires", "revoked");
    for (size_t i = 0; i < store->count; i++) {
        const struct keys_row *row = &store->rows[i];
        char print[17], issued[32], expires[32], revoked[32];
        fingerprint(row, print);
        (void)printf("%-24s %-12s %-9s %-16s %-20s %-20s %s\n", row->name, net_role_name(row->role),
            state_of(row, now_s), print, date(row->issued_s, issued, sizeof(issued)),
            date(row->expires_s, expires, sizeof(expires)),
            date(row->revoked_s, revoked, sizeof(revoked)));
    }
}

static int run_list(struct keys_command *self)
{
    const uint64_t now_s = keys_now_s();
    struct keys_store store;
    struct base_error err = {0};
    bool is_printed = true;

    if (keys_store_read(self->folder, &store, NULL, &err) != BASE_OK)
        return cli_fail(self->command, "%s", err.text);
    if (self->json)
        is_printed = print_rows_json(&store, now_s);
    else
        print_rows(&store, now_s);
    keys_store_release(&store);
    return is_printed ? cli_finish(self->command)
                      : cli_fail(self->command, "the list could not be printed");
}

/* ---- which one ---- */

static int run(struct keys_command *self, const char *what)
{
    static const struct {
        const char *name;
        int (*run)(struct keys_command *self);
    } rows[] = {{"init", run_init}, {"issue", run_issue}, {"list", run_list},
        {"revoke", run_revoke}, {"token", run_token}};

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (strcmp(what, rows[i].name) == 0)
            return rows[i].run(self);
    return cli_usage(self->command, "there is no 'keys %s'", what);
}

int cmd_keys(const struct cli_command *command, int argc, char **argv)
{
    struct keys_command self = {.command = command, .ttl = TTL_TEXT_DEFAULT};
    const char *home = getenv("HOME");
    const struct base_option options[] = {
        {"keys", 0, BASE_OPTION_STRING, &self.folder, 0, 0, "FOLDER", "LAYERMESH_KEYS",
            "the key store (default: ~/.layermesh)"},
        {"role", 0, BASE_OPTION_STRING, &self.role, 0, 0, "ROLE", NULL,
            "issue: worker, router, client or admin; token: worker or client"},
        {"out", 'o', BASE_OPTION_STRING, &self.out, 0, 0, "FILE", NULL,
            "issue: where the key is written (default: NAME.key in the store)"},
        {"expires", 0, BASE_OPTION_STRING, &self.expires, 0, 0, "TIME", NULL,
            "issue: end of the key from now, such as 90d (default: never)"},
        {"ttl", 0, BASE_OPTION_STRING, &self.ttl, 0, 0, "TIME", NULL,
            "token: how long it may be used"},
        {"coordinator", 'c', BASE_OPTION_STRING, &self.coordinator, 0, 0, "ENDPOINT",
            "LAYERMESH_COORDINATOR", "token: where the newcomer connects"},
        {"json", 0, BASE_OPTION_FLAG, &self.json, 0, 0, NULL, NULL, "list: print one object"},
    };
    const size_t option_count = sizeof(options) / sizeof(options[0]);
    int next = 1, exit_status = CLI_EXIT_OK;

    if (!cli_parse_options(command, options, option_count, argc, argv, &next, &exit_status))
        return exit_status;
    if (next >= argc)
        return cli_usage(command, "init, issue, list, revoke or token?");
    const char *what = argv[next];
    if (next + 1 < argc && argv[next + 1][0] != '-')
        self.name = argv[++next];
    /* Options may stand behind the words, too. */
    if (!cli_parse_options(
            command, options, option_count, argc - next, argv + next, NULL, &exit_status))
        return exit_status;
    if (self.folder == NULL || self.folder[0] == 0) {
        if (home == NULL || home[0] == 0)
            return cli_usage(command, "--keys FOLDER or LAYERMESH_KEYS: where the keys are");
        (void)snprintf(
            self.default_folder, sizeof(self.default_folder), "%.4000s/.layermesh", home);
        self.folder = self.default_folder;
    }
    return run(&self, what);
}
