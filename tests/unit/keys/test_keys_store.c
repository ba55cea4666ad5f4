/* The key store, key files and join tokens on a real folder. */
#include "base_err.h"
#include "keys.h"
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static char top[64], folder[80], path[256];
static struct base_error err;

static void start(void)
{
    (void)snprintf(top, sizeof(top), "%s/keys-XXXXXX", P_tmpdir);
    cr_assert_not_null(mkdtemp(top));
    (void)snprintf(folder, sizeof(folder), "%s/store", top);
    cr_assert_eq(keys_store_init(folder, &err), BASE_OK, "%s", err.text);
}

static void stop(void)
{
    char command[128];

    (void)snprintf(command, sizeof(command), "rm -rf '%s'", top);
    cr_assert_eq(system(command), 0);
}

TestSuite(keys_store, .init = start, .fini = stop);

static const char *in_folder(const char *name)
{
    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    return path;
}

static struct keys_identity identity_of(const char *name)
{
    struct keys_identity identity;

    cr_assert_eq(keys_identity_read(in_folder(name), &identity, &err), BASE_OK, "%s", err.text);
    return identity;
}

static struct keys_store store_now(void)
{
    struct keys_store store;

    cr_assert_eq(keys_store_read(folder, &store, NULL, &err), BASE_OK, "%s", err.text);
    return store;
}

static unsigned mode_of(const char *name)
{
    struct stat info;

    cr_assert_eq(stat(in_folder(name), &info), 0, "%s", path);
    return info.st_mode & 07777;
}

Test(keys_store, init_makes_the_mesh_and_no_second_one)
{
    const struct keys_identity coordinator = identity_of(KEYS_NAME_COORDINATOR),
                               router = identity_of(KEYS_NAME_ROUTER),
                               admin = identity_of(KEYS_NAME_ADMIN);

    cr_assert_eq(coordinator.role, WIRE_ROLE_COORDINATOR);
    cr_assert_eq(router.role, WIRE_ROLE_ROUTER);
    cr_assert_str_eq(router.name, "*");
    cr_assert_eq(admin.role, WIRE_ROLE_ADMIN);
    cr_assert_str_eq(admin.coordinator_key, coordinator.key.public_key);
    cr_assert_str_eq(admin.router_key, router.key.public_key);
    cr_assert_eq(mode_of("."), 0700);
    cr_assert_eq(mode_of(KEYS_NAME_STORE), 0600);
    cr_assert_eq(mode_of(KEYS_NAME_ADMIN), 0600);
    cr_assert_eq(keys_store_init(folder, &err), BASE_FULL);
    cr_assert_str_eq(identity_of(KEYS_NAME_ADMIN).key.secret_key, admin.key.secret_key);
}

Test(keys_store, a_key_is_issued_listed_and_revoked)
{
    size_t count = 0;
    uint64_t until_s = 1;
    struct wire_admitted rows[LIMIT_KEYS_MAX];

    cr_assert_eq(
        keys_store_issue(folder, WIRE_ROLE_WORKER, "w-1", 0, in_folder("w-1.key"), &err), BASE_OK);
    const struct keys_identity worker = identity_of("w-1.key");
    struct keys_store store = store_now();
    cr_assert_eq(store.count, 4);
    cr_assert_eq(
        keys_store_admitted(&store, keys_now_s(), 1u << WIRE_ROLE_WORKER, rows, &until_s), 1);
    cr_assert_eq(until_s, 0);
    cr_assert_str_eq(rows[0].public_key, worker.key.public_key);
    cr_assert_str_eq(rows[0].name, "w-1");
    const uint64_t serial = store.serial;
    keys_store_release(&store);

    /* Not twice, and a failure leaves neither row nor file. */
    cr_assert_eq(
        keys_store_issue(folder, WIRE_ROLE_WORKER, "w-1", 0, in_folder("x.key"), &err), BASE_FULL);
    cr_assert_neq(access(in_folder("x.key"), F_OK), 0);
    cr_assert_eq(keys_store_issue(folder, WIRE_ROLE_WORKER, "w-2", 0, in_folder("w-1.key"), &err),
        BASE_FULL);
    store = store_now();
    cr_assert_eq(store.count, 4);
    cr_assert_eq(store.serial, serial);
    keys_store_release(&store);

    cr_assert_eq(keys_store_revoke(folder, "w-1", &count, &err), BASE_OK);
    cr_assert_eq(count, 1);
    store = store_now();
    cr_assert_gt(store.serial, serial);
    cr_assert_null(keys_store_find_name(&store, WIRE_ROLE_WORKER, "w-1", keys_now_s()));
    cr_assert_eq(
        keys_store_admitted(&store, keys_now_s(), 1u << WIRE_ROLE_WORKER, rows, &until_s), 0);
    keys_store_release(&store);
    cr_assert_eq(keys_store_revoke(folder, "w-1", &count, &err), BASE_NOT_FOUND);
}

Test(keys_store, keys_expire)
{
    const uint64_t now_s = keys_now_s();
    uint64_t until_s = 0;
    struct wire_admitted rows[LIMIT_KEYS_MAX];

    cr_assert_eq(
        keys_store_issue(folder, WIRE_ROLE_CLIENT, "c", now_s + 100, in_folder("c.key"), &err),
        BASE_OK);
    struct keys_store store = store_now();
    cr_assert_eq(keys_store_admitted(&store, now_s, 1u << WIRE_ROLE_CLIENT, rows, &until_s), 1);
    cr_assert_eq(until_s, now_s + 100);
    cr_assert_eq(
        keys_store_admitted(&store, now_s + 100, 1u << WIRE_ROLE_CLIENT, rows, &until_s), 0);
    keys_store_release(&store);
}

Test(keys_store, names_and_roles_that_are_not_issued)
{
    const char *bad[] = {"", "a b", "a/b", "*a", "a*b", "**", "\xc3\xa9"};

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        cr_assert_eq(
            keys_store_issue(folder, WIRE_ROLE_WORKER, bad[i], 0, in_folder("bad.key"), &err),
            BASE_INVALID, "%s", bad[i]);
    cr_assert_eq(
        keys_store_issue(folder, WIRE_ROLE_COORDINATOR, "c", 0, in_folder("bad.key"), &err),
        BASE_INVALID);
    cr_assert_eq(
        keys_store_issue(folder, WIRE_ROLE_JOIN, "c", 0, in_folder("bad.key"), &err), BASE_INVALID);
    cr_assert_eq(
        keys_store_issue(folder, WIRE_ROLE_WORKER, "pool-*", 0, in_folder("pool.key"), &err),
        BASE_OK);
}

Test(keys_store, what_others_may_read_is_refused)
{
    struct keys_identity identity;
    struct keys_store store;
    static const mode_t wide[] = {0640, 0604, 0660, 0620, 0602, 0644, 0610};

    for (size_t i = 0; i < sizeof(wide) / sizeof(wide[0]); i++) {
        cr_assert_eq(chmod(in_folder(KEYS_NAME_ADMIN), wide[i]), 0);
        cr_assert_eq(keys_identity_read(path, &identity, &err), BASE_DENIED, "%o", wide[i]);
        cr_assert(strstr(err.text, path) != NULL, "%s", err.text);
        cr_assert_eq(chmod(in_folder(KEYS_NAME_STORE), wide[i]), 0);
        cr_assert_eq(keys_store_read(folder, &store, NULL, &err), BASE_DENIED);
    }
    cr_assert_eq(chmod(in_folder(KEYS_NAME_ADMIN), 0400), 0);
    cr_assert_eq(keys_identity_read(path, &identity, &err), BASE_OK);
    cr_assert_eq(keys_identity_read(folder, &identity, &err), BASE_DENIED);
    cr_assert_eq(keys_identity_read(in_folder("none"), &identity, &err), BASE_NOT_FOUND);
}

static void write_file(const char *name, const char *text)
{
    FILE *file = fopen(in_folder(name), "w");

    cr_assert_not_null(file);
    cr_assert_eq(fputs(text, file) < 0, 0);
    cr_assert_eq(fclose(file), 0);
    cr_assert_eq(chmod(path, 0600), 0);
}

Test(keys_store, damaged_files_are_refused_by_line)
{
    static const char *const stores[] = {"", "layermesh-store 2\nserial 1\n", "layermesh-store 1\n",
        "layermesh-store 1\nserial x\n", "layermesh-store 1\nserial 1\nkey\n",
        "layermesh-store 1\nserial 1\nkey short worker w 1 0 0 - -\n",
        "layermesh-store 1\nserial 1\nrow a b c d e f g h i j k l m n o p\n"};
    struct keys_identity identity = identity_of(KEYS_NAME_ADMIN);
    struct keys_store store;
    char text[512];

    for (size_t i = 0; i < sizeof(stores) / sizeof(stores[0]); i++) {
        write_file(KEYS_NAME_STORE, stores[i]);
        cr_assert_eq(keys_store_read(folder, &store, NULL, &err), BASE_MALFORMED, "%s", stores[i]);
        cr_assert(strstr(err.text, path) != NULL, "%s", err.text);
    }
    /* A secret of another key. */
    (void)snprintf(text, sizeof(text),
        "layermesh-key 1\nname a\nrole admin\npublic %s\nsecret %s\ncoordinator %s\n",
        identity.coordinator_key, identity.key.secret_key, identity.coordinator_key);
    write_file("mixed.key", text);
    cr_assert_eq(keys_identity_read(path, &identity, &err), BASE_MALFORMED);
    cr_assert(strstr(err.text, identity.key.secret_key) == NULL, "the error shows a secret");
}

/* ---- tokens ---- */

static struct keys_token token_for(const char *name, uint64_t expires_s)
{
    char line[KEYS_TOKEN_BYTES];
    struct keys_token token;

    cr_assert_eq(keys_token_issue(
                     folder, WIRE_ROLE_WORKER, name, expires_s, "tcp://10.0.0.1:7400", line, &err),
        BASE_OK, "%s", err.text);
    cr_assert_eq(
        line[strcspn(line, " \t\n\"'$`!&;<>(){}*?#|\\")], 0, "not safe in a shell: %s", line);
    cr_assert_eq(keys_token_parse(line, &token, &err), BASE_OK, "%s", err.text);
    cr_assert_str_eq(token.coordinator, "tcp://10.0.0.1:7400");
    cr_assert_str_eq(token.coordinator_key, identity_of(KEYS_NAME_COORDINATOR).key.public_key);
    return token;
}

static int redeem(const struct keys_token *token, const char *name, const struct net_key *key)
{
    enum wire_role role = (enum wire_role)0;
    const int rc =
        keys_token_redeem(folder, token->key.public_key, name, key->public_key, &role, &err);

    cr_assert(rc != BASE_OK || role == WIRE_ROLE_WORKER);
    return rc;
}

Test(keys_store, a_token_works_once)
{
    const struct keys_token token = token_for("*", keys_now_s() + 60);
    struct net_key first, second;

    cr_assert_eq(net_key_make(&first, NULL), BASE_OK);
    cr_assert_eq(net_key_make(&second, NULL), BASE_OK);
    cr_assert_eq(redeem(&token, "w-1", &first), BASE_OK, "%s", err.text);
    cr_assert_eq(redeem(&token, "w-2", &second), BASE_DENIED);
    cr_assert(strstr(err.text, "used") != NULL, "%s", err.text);
    cr_assert_eq(redeem(&token, "w-1", &first), BASE_OK); /* its answer got lost */
    struct keys_store store = store_now();
    cr_assert_not_null(keys_store_find_name(&store, WIRE_ROLE_WORKER, "w-1", keys_now_s()));
    cr_assert_null(keys_store_find_name(&store, WIRE_ROLE_WORKER, "w-2", keys_now_s()));
    keys_store_release(&store);
}

Test(keys_store, tokens_that_let_nobody_in)
{
    struct net_key key;
    size_t count;
    const struct keys_token expired = token_for("*", keys_now_s() - 1),
                            named = token_for("gpu-*", keys_now_s() + 60);

    cr_assert_eq(net_key_make(&key, NULL), BASE_OK);
    cr_assert_eq(redeem(&expired, "w-1", &key), BASE_DENIED);
    cr_assert(strstr(err.text, "expired") != NULL, "%s", err.text);
    cr_assert_eq(redeem(&named, "w-1", &key), BASE_DENIED);
    /* Nobody takes the name of a worker that is there. */
    cr_assert_eq(
        keys_store_issue(folder, WIRE_ROLE_WORKER, "gpu-1", 0, in_folder("gpu-1.key"), &err),
        BASE_OK);
    cr_assert_eq(redeem(&named, "gpu-1", &key), BASE_DENIED);
    cr_assert_eq(keys_store_revoke(folder, "gpu-*", &count, &err), BASE_OK);
    cr_assert_eq(redeem(&named, "gpu-2", &key), BASE_DENIED);
    /* An ordinary key is no token. */
    struct keys_token forged = expired;
    forged.key = identity_of(KEYS_NAME_ADMIN).key;
    cr_assert_eq(redeem(&forged, "w-9", &key), BASE_DENIED);
    char line[KEYS_TOKEN_BYTES];
    cr_assert_eq(
        keys_token_issue(folder, WIRE_ROLE_ADMIN, "*", 0, "tcp://h:1", line, &err), BASE_INVALID);
}

Test(keys_store, a_store_that_is_being_written_is_not_waited_for)
{
    const struct keys_token token = token_for("*", keys_now_s() + 60);
    struct net_key key;
    const int fd = open(in_folder("lock"), O_RDWR);

    cr_assert_geq(fd, 0);
    cr_assert_eq(flock(fd, LOCK_EX), 0);
    cr_assert_eq(net_key_make(&key, NULL), BASE_OK);
    cr_assert_eq(redeem(&token, "w-1", &key), BASE_AGAIN);
    cr_assert_eq(close(fd), 0);
    cr_assert_eq(redeem(&token, "w-1", &key), BASE_OK);
}

Test(keys_store, lines_that_are_no_tokens)
{
    char line[KEYS_TOKEN_BYTES], good[KEYS_TOKEN_BYTES];
    struct keys_token token;

    cr_assert_eq(
        keys_token_issue(folder, WIRE_ROLE_WORKER, "*", 0, "tcp://h:1", good, &err), BASE_OK);
    for (size_t i = 0; i < strlen(good); i++) {
        memcpy(line, good, sizeof(line));
        line[i] = 0; /* cut anywhere before the endpoint's first letter */
        if (i <= strlen(good) - strlen("tcp://h:1"))
            cr_assert_eq(keys_token_parse(line, &token, &err), BASE_INVALID, "%zu", i);
        if (i < strlen(good) - strlen("tcp://h:1")) {
            memcpy(line, good, sizeof(line));
            line[i] = 'Z';
            cr_assert_eq(keys_token_parse(line, &token, &err), BASE_INVALID, "%zu", i);
        }
    }
    memset(line, 'a', sizeof(line) - 1);
    line[sizeof(line) - 1] = 0;
    cr_assert_eq(keys_token_parse(line, &token, &err), BASE_INVALID);
}

Test(keys_store, a_change_is_noticed)
{
    struct keys_store store;
    struct keys_stamp stamp;
    size_t count;

    cr_assert_eq(keys_store_read(folder, &store, &stamp, &err), BASE_OK);
    keys_store_release(&store);
    cr_assert_not(keys_store_changed(folder, &stamp));
    cr_assert_eq(keys_store_revoke(folder, "admin", &count, &err), BASE_OK);
    cr_assert(keys_store_changed(folder, &stamp));
}
