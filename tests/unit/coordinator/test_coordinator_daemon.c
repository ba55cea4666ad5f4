/* The real program on a real socket: leases are long here, so that only connections can tell. */
#include "base_clock.h"
#include "net.h"
#include <criterion/criterion.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

#define WAIT_MS 10000

struct daemon {
    char folder[64], path[80], endpoint[128];
    pid_t pid;
    struct net_context *context;
};

static struct daemon daemon_;

static void start(void)
{
    const char *program = getenv("LAYERMESH_TEST_COORDINATOR");
    const char *arguments[] = {"layermesh-coordinator", "--listen", daemon_.endpoint, "--lease-ms",
        "60000", "--min-workers", "2", "--settle-ms", "0", "--log-level", "error", NULL};
    struct base_error err = {0};

    cr_assert_not_null(program, "the build gives the program's path");
    (void)snprintf(daemon_.folder, sizeof(daemon_.folder), "%s/coordinator-XXXXXX", P_tmpdir);
    cr_assert_not_null(mkdtemp(daemon_.folder));
    (void)snprintf(daemon_.path, sizeof(daemon_.path), "%s/c", daemon_.folder);
    (void)snprintf(daemon_.endpoint, sizeof(daemon_.endpoint), "ipc://%s", daemon_.path);
    cr_assert_eq(posix_spawn(&daemon_.pid, program, NULL, NULL, (char **)arguments, environ), 0);
    cr_assert_eq(net_context_new(&daemon_.context, &err), BASE_OK, "%s", err.text);
}

static void stop(void)
{
    int status = 0;

    cr_assert_eq(kill(daemon_.pid, SIGTERM), 0);
    cr_assert_eq(waitpid(daemon_.pid, &status, 0), daemon_.pid);
    cr_assert(WIFEXITED(status));
    cr_assert_eq(WEXITSTATUS(status), 0);
    net_context_destroy(&daemon_.context);
    (void)unlink(daemon_.path);
    cr_assert_eq(rmdir(daemon_.folder), 0);
}

TestSuite(coordinator_daemon, .init = start, .fini = stop);

static void send_until_taken(struct net_socket *socket, const struct wire_message *message)
{
    uint64_t end_ms = base_clock_ms() + WAIT_MS;
    struct base_error err = {0};
    int rc;

    while ((rc = net_send(socket, NULL, message, NULL, &err)) == BASE_AGAIN) {
        struct net_poll_item item = {.socket = socket};

        cr_assert_lt(base_clock_ms(), end_ms, "no connection");
        (void)net_poll(&item, 1, 10);
    }
    cr_assert_eq(rc, BASE_OK, "%s", err.text);
}

/* Waits for a message of a kind (and, of plans, of a state); returns a plan's epoch or 0. */
static uint64_t await(struct net_socket *socket, enum wire_kind kind, int plan_state,
    uint64_t epoch_above, size_t *ret_stage_count)
{
    uint64_t end_ms = base_clock_ms() + WAIT_MS;

    while (base_clock_ms() < end_ms) {
        struct net_poll_item item = {.socket = socket};
        struct net_inbound inbound;

        (void)net_poll(&item, 1, 100);
        while (net_receive(socket, &inbound) == BASE_OK) {
            const struct wire_plan *plan = &inbound.message.plan;
            bool is_plan = inbound.message.kind == WIRE_PLAN;
            uint64_t epoch = is_plan ? plan->epoch : 0;
            bool found = inbound.message.kind == kind &&
                         (!is_plan || ((int)plan->state == plan_state && epoch > epoch_above));

            if (found && is_plan && ret_stage_count)
                *ret_stage_count = plan->stage_count;
            net_inbound_release(&inbound);
            if (found)
                return epoch;
        }
    }
    cr_assert_fail("message %d did not come", (int)kind);
    return 0;
}

static struct net_socket *join(const char *node_id, enum wire_role role, uint64_t incarnation)
{
    static struct wire_layer_cost layers[6];
    struct wire_rate rate = {.weight_type = 8, .gops = 100, .gigabytes_per_s = 10};
    struct wire_message message = {
        .kind = WIRE_REGISTER,
        .register_ = {.protocol_version = 1,
            .min_version = 1,
            .role = role,
            .incarnation = incarnation,
            .memory_bytes = UINT64_C(1) << 30,
            .rates = &rate,
            .rate_count = 1},
    };
    struct base_error err = {0};
    struct net_socket *socket = NULL;

    for (int i = 0; i < 6; i++)
        layers[i] = (struct wire_layer_cost){8, 1 << 20, 1 << 21, i > 0 && i < 5 ? 64 : 0};
    (void)snprintf(message.register_.node_id, LIMIT_NAME_BYTES, "%s", node_id);
    (void)snprintf(
        message.register_.data_endpoint, LIMIT_ENDPOINT_BYTES, "ipc:///nowhere/%s", node_id);
    if (role == WIRE_ROLE_WORKER)
        message.register_.model = (struct wire_model_card){.fingerprint = 5,
            .name = "tiny",
            .layer_count = 4,
            .embedding_length = 64,
            .vocab_size = 100,
            .context_length = 512,
            .layers = layers,
            .layers_count = 6};
    cr_assert_eq(
        net_connect(daemon_.context, NET_PLANE_CONTROL, daemon_.endpoint, NULL, &socket, &err),
        BASE_OK, "%s", err.text);
    send_until_taken(socket, &message);
    (void)await(socket, WIRE_REGISTERED, 0, 0, NULL);
    return socket;
}

static void report_ready(
    struct net_socket *socket, const char *node_id, uint64_t incarnation, uint64_t epoch)
{
    struct wire_message message = {
        .kind = WIRE_STAGE_STATUS,
        .stage_status = {.incarnation = incarnation,
            .epoch = epoch,
            .state = WIRE_STAGE_READY,
            .progress = 1},
    };

    (void)snprintf(message.stage_status.node_id, LIMIT_NAME_BYTES, "%s", node_id);
    send_until_taken(socket, &message);
}

Test(coordinator_daemon, a_closed_connection_is_noticed_long_before_the_lease_ends)
{
    struct net_socket *router = join("router", WIRE_ROLE_ROUTER, 9);
    struct net_socket *first = join("first", WIRE_ROLE_WORKER, 1);
    struct net_socket *second = join("second", WIRE_ROLE_WORKER, 2);
    size_t stage_count = 0;
    uint64_t epoch = await(first, WIRE_PLAN, WIRE_PLAN_PREPARE, 0, &stage_count);

    cr_assert_eq(stage_count, 2);
    report_ready(first, "first", 1, epoch);
    report_ready(second, "second", 2, epoch);
    cr_assert_eq(await(router, WIRE_PLAN, WIRE_PLAN_ACTIVE, 0, NULL), epoch);
    net_close(&second);
    epoch = await(first, WIRE_PLAN, WIRE_PLAN_PREPARE, epoch, &stage_count);
    cr_assert_eq(stage_count, 1);
    report_ready(first, "first", 1, epoch);
    cr_assert_eq(await(router, WIRE_PLAN, WIRE_PLAN_ACTIVE, 0, &stage_count), epoch);
    net_close(&first);
    (void)await(router, WIRE_PLAN, WIRE_PLAN_UNAVAILABLE, epoch, NULL);
    net_close(&router);
}

Test(coordinator_daemon, anybody_may_ask_for_the_status)
{
    struct base_error err = {0};
    struct net_socket *socket = NULL;

    cr_assert_eq(
        net_connect(daemon_.context, NET_PLANE_CONTROL, daemon_.endpoint, NULL, &socket, &err),
        BASE_OK);
    send_until_taken(socket, &(struct wire_message){.kind = WIRE_STATUS_QUERY});
    (void)await(socket, WIRE_STATUS_REPLY, 0, 0, NULL);
    net_close(&socket);
}
