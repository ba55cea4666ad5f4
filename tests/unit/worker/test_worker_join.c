/* A worker that comes with a token, before a coordinator of the test's own making. */
#include "base_clock.h"
#include "base_err.h"
#include "net.h"
#include "worker_join.h"
#include <criterion/criterion.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ANSWERS_MAX 4

static char folder[64], path[256], pending[300];
static struct base_error err;
static struct net_context *context, *server_context;
static struct net_socket *server;
static struct net_key server_key, router_key;
static struct keys_token token;

/* What the coordinator does with each ENROL in turn; after the last it does that again. */
static struct {
    struct wire_message answers[ANSWERS_MAX];
    size_t answer_count;
    struct wire_enrol asked[ANSWERS_MAX + 16];
    size_t asked_count;
    atomic_bool stop;
    pthread_t thread;
    bool runs;
} coordinator;

static void *serve(void *unused)
{
    struct net_inbound inbound;

    (void)unused;
    while (!atomic_load(&coordinator.stop)) {
        struct net_poll_item item = {.socket = server};
        (void)net_poll(&item, 1, 20);
        while (net_receive(server, &inbound) == BASE_OK) {
            if (inbound.message.kind == WIRE_ENROL && coordinator.asked_count < 16) {
                size_t turn = coordinator.asked_count++;
                coordinator.asked[turn] = inbound.message.enrol;
                if (turn >= coordinator.answer_count)
                    turn = coordinator.answer_count - 1;
                if (coordinator.answer_count > 0)
                    (void)net_send(server, &inbound.from, &coordinator.answers[turn], NULL, NULL);
            }
            net_inbound_release(&inbound);
        }
    }
    net_close(&server);
    return NULL;
}

static void admit_token(void)
{
    struct wire_admitted row = {.role = WIRE_ROLE_JOIN, .name = "*"};

    memcpy(row.public_key, token.key.public_key, LIMIT_KEY_BYTES);
    cr_assert_eq(net_admit(server_context, &row, 1), BASE_OK);
}

static void start(void)
{
    (void)snprintf(folder, sizeof(folder), "%s/join-XXXXXX", P_tmpdir);
    cr_assert_not_null(mkdtemp(folder));
    (void)snprintf(path, sizeof(path), "%s/sub/w-1.key", folder);
    (void)snprintf(pending, sizeof(pending), "%s.pending", path);
    cr_assert_eq(net_context_new(&context, &err), BASE_OK);
    cr_assert_eq(net_context_new_library(&server_context, &err), BASE_OK);
    cr_assert_eq(net_key_make(&server_key, &err), BASE_OK);
    cr_assert_eq(net_key_make(&router_key, &err), BASE_OK);
    cr_assert_eq(net_key_make(&token.key, &err), BASE_OK);
    cr_assert_eq(
        net_context_secure(server_context, &server_key, true, &err), BASE_OK, "%s", err.text);
    cr_assert_eq(
        net_bind(server_context, NET_PLANE_CONTROL, "tcp://127.0.0.1:*", &server, &err), BASE_OK);
    memcpy(token.coordinator_key, server_key.public_key, LIMIT_KEY_BYTES);
    (void)snprintf(token.coordinator, sizeof(token.coordinator), "%s", net_endpoint(server));
    admit_token();
}

static void stop(void)
{
    char command[128];

    atomic_store(&coordinator.stop, true);
    if (coordinator.runs)
        cr_assert_eq(pthread_join(coordinator.thread, NULL), 0);
    net_close(&server);
    net_context_destroy(&context);
    net_context_destroy(&server_context);
    (void)snprintf(command, sizeof(command), "rm -rf '%s'", folder);
    cr_assert_eq(system(command), 0);
}

TestSuite(worker_join, .init = start, .fini = stop);

/* From now on the socket is the thread's. */
static void run_coordinator(void)
{
    coordinator.runs = true;
    cr_assert_eq(pthread_create(&coordinator.thread, NULL, serve, NULL), 0);
}

static void answer(const struct wire_message *message)
{
    coordinator.answers[coordinator.answer_count++] = *message;
}

static void answer_enrolled(enum wire_role role)
{
    struct wire_message message = {.kind = WIRE_ENROLLED, .enrolled = {.role = role}};

    memcpy(message.enrolled.router_public_key, router_key.public_key, LIMIT_KEY_BYTES);
    answer(&message);
}

static void answer_error(int code)
{
    const struct wire_message message = {
        .kind = WIRE_ERROR, .error = {.code = code, .text = "says the test"}};

    answer(&message);
}

static int join(void)
{
    return worker_join(context, &token, "w-1", path, &err);
}

static bool exists(const char *file)
{
    return access(file, F_OK) == 0;
}

static struct keys_identity read_key(const char *file)
{
    struct keys_identity identity;

    cr_assert_eq(keys_identity_read(file, &identity, &err), BASE_OK, "%s", err.text);
    return identity;
}

Test(worker_join, the_key_is_made_here_and_kept_when_it_is_admitted)
{
    answer_enrolled(WIRE_ROLE_WORKER);
    run_coordinator();
    cr_assert_eq(join(), BASE_OK, "%s", err.text);
    const struct keys_identity identity = read_key(path);
    struct stat info;
    cr_assert_eq(identity.role, WIRE_ROLE_WORKER);
    cr_assert_str_eq(identity.name, "w-1");
    cr_assert_str_eq(identity.coordinator_key, server_key.public_key);
    cr_assert_str_eq(identity.router_key, router_key.public_key);
    cr_assert_str_eq(identity.coordinator, token.coordinator);
    cr_assert_str_eq(coordinator.asked[0].node_id, "w-1");
    cr_assert_str_eq(coordinator.asked[0].public_key, identity.key.public_key);
    cr_assert_str_neq(identity.key.public_key, token.key.public_key);
    cr_assert_not(exists(pending));
    cr_assert_eq(stat(path, &info), 0);
    cr_assert_eq(info.st_mode & 07777, 0600);
}

Test(worker_join, a_busy_coordinator_and_other_messages_are_no_answer)
{
    const struct wire_message probe = {.kind = WIRE_PROBE};

    answer_error(BASE_AGAIN);
    answer(&probe);
    answer_enrolled(WIRE_ROLE_WORKER);
    run_coordinator();
    cr_assert_eq(join(), BASE_OK, "%s", err.text);
    cr_assert_eq(coordinator.asked_count, 3);
    for (size_t i = 1; i < 3; i++)
        cr_assert_str_eq(coordinator.asked[i].public_key, coordinator.asked[0].public_key);
}

Test(worker_join, a_refusal_leaves_no_key_and_the_next_try_uses_the_same)
{
    answer_error(BASE_DENIED);
    answer_enrolled(WIRE_ROLE_WORKER);
    run_coordinator();
    cr_assert_eq(join(), BASE_DENIED);
    cr_assert(strstr(err.text, "says the test") != NULL, "%s", err.text);
    cr_assert_not(exists(path));
    cr_assert(exists(pending), "a key that may have been admitted was lost");
    cr_assert_eq(join(), BASE_OK, "%s", err.text);
    cr_assert_str_eq(coordinator.asked[1].public_key, coordinator.asked[0].public_key);
    cr_assert_str_eq(read_key(path).key.public_key, coordinator.asked[0].public_key);
}

Test(worker_join, a_token_for_another_role_makes_no_worker)
{
    answer_enrolled(WIRE_ROLE_CLIENT);
    run_coordinator();
    cr_assert_eq(join(), BASE_DENIED);
    cr_assert_not(exists(path));
}

Test(worker_join, a_key_that_is_there_is_not_overwritten)
{
    struct keys_identity other = {.role = WIRE_ROLE_WORKER, .name = "w-1"};

    answer_enrolled(WIRE_ROLE_WORKER);
    run_coordinator();
    cr_assert_eq(net_key_make(&other.key, &err), BASE_OK);
    memcpy(other.coordinator_key, server_key.public_key, LIMIT_KEY_BYTES);
    (void)snprintf(path, sizeof(path), "%s/w-1.key", folder);
    cr_assert_eq(keys_identity_write(path, &other, false, &err), BASE_OK);
    cr_assert_eq(join(), BASE_FULL);
    cr_assert_str_eq(read_key(path).key.public_key, other.key.public_key);
}

/* A pending key of another mesh, or of another name, is not shown to this coordinator. */
Test(worker_join, a_pending_key_of_elsewhere_is_not_used)
{
    struct keys_identity other = {.role = WIRE_ROLE_WORKER, .name = "w-1"};

    answer_enrolled(WIRE_ROLE_WORKER);
    run_coordinator();
    (void)snprintf(path, sizeof(path), "%s/w-1.key", folder);
    (void)snprintf(pending, sizeof(pending), "%s.pending", path);
    cr_assert_eq(net_key_make(&other.key, &err), BASE_OK);
    memcpy(other.coordinator_key, router_key.public_key, LIMIT_KEY_BYTES);
    cr_assert_eq(keys_identity_write(pending, &other, false, &err), BASE_OK);
    cr_assert_eq(join(), BASE_OK, "%s", err.text);
    cr_assert_str_neq(coordinator.asked[0].public_key, other.key.public_key);
}

Test(worker_join, a_pending_key_that_others_may_have_read_is_refused)
{
    struct keys_identity other = {.role = WIRE_ROLE_WORKER, .name = "w-1"};

    run_coordinator();
    (void)snprintf(path, sizeof(path), "%s/w-1.key", folder);
    (void)snprintf(pending, sizeof(pending), "%s.pending", path);
    cr_assert_eq(net_key_make(&other.key, &err), BASE_OK);
    memcpy(other.coordinator_key, server_key.public_key, LIMIT_KEY_BYTES);
    cr_assert_eq(keys_identity_write(pending, &other, false, &err), BASE_OK);
    cr_assert_eq(chmod(pending, 0644), 0);
    cr_assert_eq(join(), BASE_DENIED);
    cr_assert(strstr(err.text, pending) != NULL, "%s", err.text);
    cr_assert_eq(coordinator.asked_count, 0);
    cr_assert_not(exists(path));
}

/* Used, expired or revoked: the door stays shut, and that is said instead of waiting on. */
Test(worker_join, a_token_that_is_not_admitted_is_told_from_silence)
{
    const uint64_t start_ms = base_clock_ms();

    cr_assert_eq(net_admit(server_context, NULL, 0), BASE_OK);
    run_coordinator();
    cr_assert_eq(join(), BASE_DENIED);
    cr_assert(strstr(err.text, "used, has expired or was revoked") != NULL, "%s", err.text);
    cr_assert_lt(base_clock_ms() - start_ms, WORKER_JOIN_MS);
    cr_assert_not(exists(path));
}

Test(worker_join, a_signal_ends_the_wait)
{
    run_coordinator(); /* which says nothing */
    cr_assert_eq(kill(getpid(), SIGTERM), 0);
    cr_assert_eq(join(), BASE_CANCELLED);
    cr_assert_not(exists(path));
}

Test(worker_join, a_path_that_cannot_be)
{
    static char endless[KEYS_PATH_BYTES];

    memset(endless, 'a', sizeof(endless) - 1);
    cr_assert_eq(worker_join(context, &token, "w-1", endless, &err), BASE_INVALID);
    cr_assert_eq(worker_join(context, &token, "w-1", "/proc/none/w-1.key", &err), BASE_IO);
}

Test(worker_join, where_keys_usually_are)
{
    static char home[KEYS_PATH_BYTES + 1];
    char found[KEYS_PATH_BYTES];

    cr_assert_eq(setenv("HOME", "/home/w", 1), 0);
    cr_assert(worker_join_usual_path("w-1", found));
    cr_assert_str_eq(found, "/home/w/.layermesh/w-1.key");
    cr_assert_eq(setenv("HOME", "", 1), 0);
    cr_assert_not(worker_join_usual_path("w-1", found));
    cr_assert_eq(unsetenv("HOME"), 0);
    cr_assert_not(worker_join_usual_path("w-1", found));
    memset(home, 'h', sizeof(home) - 1);
    cr_assert_eq(setenv("HOME", home, 1), 0);
    cr_assert_not(worker_join_usual_path("w-1", found));
}
