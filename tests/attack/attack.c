/*
 * A hostile peer for the tests: does one thing to a daemon's TCP socket for a while, seeded, and says
 * in one JSON line what came back. It breaks no rule of ZeroMQ unless the attack is that.
 *
 *   attack MODE ENDPOINT [--key FILE] [--server ROLE] [--seed N] [--seconds S] [--count N] [--name X]
 *
 * Without --key: random-key modes use a fresh key. --server: whose public key from FILE is expected
 * at ENDPOINT (coordinator, router), or 40 characters of Z85.
 */
#include "attack.h"

#include "base_clock.h"
#include "base_options.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zmq.h>

static const struct {
    const char *name;
    void (*run)(struct attack *self);
} modes[] = {
    {"null", attack_null},           /* no encryption */
    {"knock", attack_knock},         /* tries to get in with a key, again and again */
    {"raw", attack_raw},             /* bytes that are no ZMTP, and handshakes cut anywhere */
    {"half-open", attack_half_open}, /* connections that never say anything */
    {"oversize", attack_oversize},   /* one frame over the limit */
    {"frames", attack_frames},       /* one message of 5 000 frames */
    {"endless", attack_endless},     /* a message that never ends */
    {"flood", attack_flood},         /* as many messages as fit through */
    {"slow", attack_slow},           /* asks and never reads */
    {"steal", attack_steal},         /* registers and beats as somebody else */
    {"roles", attack_roles},         /* sends every kind of message there is */
    {"hop", attack_hop},             /* speaks for a stage that is another's */
    {"fuzz", attack_fuzz},           /* good messages with damage */
};

uint64_t attack_random(struct attack *self)
{
    self->state ^= self->state >> 12;
    self->state ^= self->state << 25;
    self->state ^= self->state >> 27;
    return self->state * UINT64_C(2685821657736338717);
}

bool attack_goes_on(const struct attack *self)
{
    return base_clock_ms() < self->end_ms;
}

/* ---- sockets ---- */

void *attack_connect(struct attack *self)
{
    const int zero = 0, hwm = 2000;
    void *zmq = zmq_socket(self->context, ZMQ_DEALER);

    (void)zmq_setsockopt(zmq, ZMQ_LINGER, &zero, sizeof(zero));
    (void)zmq_setsockopt(zmq, ZMQ_SNDHWM, &hwm, sizeof(hwm));
    if (self->server_key[0] != 0) {
        (void)zmq_setsockopt(zmq, ZMQ_CURVE_SERVERKEY, self->server_key, LIMIT_KEY_BYTES);
        (void)zmq_setsockopt(zmq, ZMQ_CURVE_PUBLICKEY, self->key.public_key, LIMIT_KEY_BYTES);
        (void)zmq_setsockopt(zmq, ZMQ_CURVE_SECRETKEY, self->key.secret_key, LIMIT_KEY_BYTES);
    }
    (void)snprintf(self->monitor_name, sizeof(self->monitor_name), "inproc://monitor-%u",
        self->monitor_count++);
    (void)zmq_socket_monitor(zmq, self->monitor_name, ZMQ_EVENT_ALL);
    self->monitor = zmq_socket(self->context, ZMQ_PAIR);
    (void)zmq_setsockopt(self->monitor, ZMQ_LINGER, &zero, sizeof(zero));
    (void)zmq_connect(self->monitor, self->monitor_name);
    if (zmq_connect(zmq, self->endpoint) != 0) {
        (void)fprintf(stderr, "attack: %s: %s\n", self->endpoint, zmq_strerror(errno));
        exit(2);
    }
    return zmq;
}

void attack_close(struct attack *self, void *zmq)
{
    (void)zmq_socket_monitor(zmq, NULL, 0);
    (void)zmq_close(self->monitor);
    (void)zmq_close(zmq);
    self->monitor = NULL;
}

/* Counts what the monitor tells. */
void attack_look(struct attack *self)
{
    uint8_t head[6];
    uint16_t event;
    char address[1];

    while (
        self->monitor != NULL && zmq_recv(self->monitor, head, sizeof(head), ZMQ_DONTWAIT) >= 0) {
        (void)zmq_recv(self->monitor, address, sizeof(address), 0);
        memcpy(&event, head, sizeof(event));
        self->let_in += event == ZMQ_EVENT_HANDSHAKE_SUCCEEDED;
        self->turned_away += event == ZMQ_EVENT_HANDSHAKE_FAILED_AUTH ||
                             event == ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL ||
                             event == ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL;
        self->cut_off += event == ZMQ_EVENT_DISCONNECTED;
    }
}

/* Waits until something happens on the monitor or the socket; takes what came. */
void attack_wait(struct attack *self, void *zmq, int timeout_ms)
{
    zmq_pollitem_t items[] = {
        {.socket = self->monitor, .events = ZMQ_POLLIN}, {.socket = zmq, .events = ZMQ_POLLIN}};
    uint8_t frame[65536];
    int more;

    (void)zmq_poll(items, zmq == NULL ? 1 : 2, timeout_ms);
    attack_look(self);
    while (zmq != NULL) {
        const int bytes = zmq_recv(zmq, frame, sizeof(frame), ZMQ_DONTWAIT);
        size_t size = sizeof(more);
        if (bytes < 0)
            return;
        if (bytes == LIMIT_ENVELOPE_BYTES && frame[0] == 'L' && frame[1] == 'M') {
            self->replies++;
            self->errors += frame[3] == WIRE_ERROR;
        }
        self->denied += bytes > 6 && memmem(frame, (size_t)bytes, "DENIED", 6) != NULL;
        if (zmq_getsockopt(zmq, ZMQ_RCVMORE, &more, &size) != 0)
            return;
    }
}

bool attack_enter(struct attack *self, void *zmq)
{
    const unsigned before = self->let_in, away = self->turned_away;

    while (self->let_in == before && self->turned_away == away && attack_goes_on(self))
        attack_wait(self, zmq, 100);
    return self->let_in > before;
}

/* ---- start ---- */

static void take_keys(struct attack *self, const char *path, const char *server)
{
    struct keys_identity identity = {.role = (enum wire_role)0};
    struct base_error err = {0};

    if (path != NULL && keys_identity_read(path, &identity, &err) != BASE_OK) {
        (void)fprintf(stderr, "attack: %s\n", err.text);
        exit(2);
    }
    if (server != NULL && strcmp(server, "coordinator") == 0)
        server = identity.coordinator_key;
    else if (server != NULL && strcmp(server, "router") == 0)
        server = identity.router_key;
    if (server != NULL)
        (void)snprintf(self->server_key, sizeof(self->server_key), "%s", server);
    if (path != NULL && !self->is_stranger)
        self->key = identity.key;
    else
        (void)net_key_make(&self->key, &err);
}

int main(int argc, char **argv)
{
    struct attack self = {.count = 1};
    const char *key = NULL, *server = NULL;
    uint64_t seed = 1;
    double seconds = 5;
    const struct base_option options[] = {
        {"key", 0, BASE_OPTION_STRING, &key, 0, 0, "FILE", NULL, "key to attack with"},
        {"server", 0, BASE_OPTION_STRING, &server, 0, 0, "KEY", NULL, "who is there"},
        {"stranger", 0, BASE_OPTION_FLAG, &self.is_stranger, 0, 0, NULL, NULL,
            "use a fresh key, FILE only for the server's"},
        {"name", 0, BASE_OPTION_STRING, &self.name, 0, 0, "NAME", NULL, "node id to claim"},
        {"seed", 0, BASE_OPTION_U64, &seed, 0, 0, "N", NULL, "of all that is random"},
        {"seconds", 0, BASE_OPTION_F64, &seconds, 0.01, 3600, "S", NULL, "at most"},
        {"epoch", 0, BASE_OPTION_U64, &self.epoch, 0, 0, "N", NULL, "of the plan to meddle with"},
        {"count", 0, BASE_OPTION_U32, &self.count, 1, 1000000, "N", NULL, "how many of it"},
    };
    struct base_error err = {0};
    int next = 0;

    if (argc < 3 || base_options_parse(options, sizeof(options) / sizeof(options[0]), argc - 2,
                        argv + 2, 0, &next, &err) != BASE_OK) {
        (void)fprintf(stderr, "usage: attack MODE ENDPOINT [OPTION]... %s\n", err.text);
        return 2;
    }
    self.endpoint = argv[2];
    self.state = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
    self.end_ms = base_clock_ms() + (uint64_t)(seconds * 1000);
    self.context = zmq_ctx_new();
    take_keys(&self, key, server);
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        if (strcmp(modes[i].name, argv[1]) != 0)
            continue;
        modes[i].run(&self);
        (void)printf("{\"sent\": %llu, \"let_in\": %u, \"turned_away\": %u, \"cut_off\": %u, "
                     "\"replies\": %u, \"errors\": %u, \"denied\": %u}\n",
            (unsigned long long)self.sent, self.let_in, self.turned_away, self.cut_off,
            self.replies, self.errors, self.denied);
        (void)fflush(stdout);
        _exit(0); /* without waiting for what is still to be sent */
    }
    (void)fprintf(stderr, "attack: there is no '%s'\n", argv[1]);
    return 2;
}
