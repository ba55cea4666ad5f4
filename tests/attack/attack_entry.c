/* Attacks on the way in. */
#include "attack.h"

#include "base_clock.h"
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SOCKETS_MAX 1000

/* Tries until the time is over or count tries were turned away. */
void attack_knock(struct attack *self)
{
    void *zmq = attack_connect(self);
    unsigned seen = 0;

    while (attack_goes_on(self) && self->let_in == 0) {
        attack_wait(self, zmq, 100);
        if (self->turned_away == seen)
            continue;
        seen = self->turned_away;
        if (self->turned_away >= self->count)
            break;
        (void)poll(NULL, 0, 20);
        attack_close(self, zmq); /* libzmq itself gives up after a refusal */
        zmq = attack_connect(self);
    }
    attack_close(self, zmq);
}

void attack_null(struct attack *self)
{
    self->server_key[0] = 0;
    attack_knock(self);
}

static int dial(const struct attack *self)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    const char *colon = strrchr(self->endpoint, ':');

    address.sin_port = htons((uint16_t)strtoul(colon + 1, NULL, 10));
    (void)inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (const void *)&address, sizeof(address)) == 0)
        return fd;
    if (fd >= 0)
        (void)close(fd);
    return -1;
}

/* A ZMTP 3 greeting for CURVE, so that what follows reaches the handshake. */
static size_t greeting(uint8_t *out)
{
    memset(out, 0, 64);
    out[0] = 0xff;
    out[8] = 1;
    out[9] = 0x7f;
    out[10] = 3;
    memcpy(out + 12, "CURVE", 5);
    return 64;
}

static bool is_closed(int fd, int timeout_ms)
{
    struct pollfd item = {.fd = fd, .events = POLLIN};
    uint8_t data[512];

    while (poll(&item, 1, timeout_ms) > 0) {
        const ssize_t bytes = recv(fd, data, sizeof(data), MSG_DONTWAIT);
        if (bytes == 0 || (bytes < 0 && errno != EAGAIN))
            return true;
        timeout_ms = 0;
    }
    return false;
}

/* Random bytes, sometimes behind a good greeting and a good begin of a HELLO, cut anywhere. */
void attack_raw(struct attack *self)
{
    uint8_t data[4096];

    while (attack_goes_on(self) && self->sent < self->count) {
        const int fd = dial(self);
        if (fd < 0)
            continue;
        size_t bytes = 64 + attack_random(self) % (sizeof(data) - 64);
        for (size_t i = 0; i < bytes; i++)
            data[i] = (uint8_t)attack_random(self);
        if (attack_random(self) % 3 != 0) {
            (void)greeting(data);
            if (attack_random(self) % 2 == 0) {
                memcpy(data + 64, "\x04\xc8\x05HELLO\x01", 9);
                bytes = 64 + 2 + 200;
            }
        }
        if (attack_random(self) % 4 == 0)
            bytes = 1 + attack_random(self) % bytes;
        (void)send(fd, data, bytes, MSG_NOSIGNAL);
        self->sent++;
        self->cut_off += is_closed(fd, (int)(attack_random(self) % 20));
        (void)close(fd);
    }
}

/* count connections that are opened and held; some with a greeting. Until the time is over. */
void attack_half_open(struct attack *self)
{
    static int fds[SOCKETS_MAX];
    uint8_t data[64];
    size_t count = self->count < SOCKETS_MAX ? self->count : SOCKETS_MAX;

    for (size_t i = 0; i < count; i++) {
        fds[i] = dial(self);
        if (fds[i] >= 0 && i % 2 == 0)
            (void)send(fds[i], data, greeting(data), MSG_NOSIGNAL);
        self->sent += fds[i] >= 0;
    }
    while (attack_goes_on(self) && self->cut_off < count) {
        for (size_t i = 0; i < count; i++) {
            if (fds[i] < 0 || !is_closed(fds[i], 0))
                continue;
            (void)close(fds[i]);
            fds[i] = -1;
            self->cut_off++;
        }
        (void)poll(NULL, 0, 20);
    }
    for (size_t i = 0; i < count; i++)
        if (fds[i] >= 0)
            (void)close(fds[i]);
}
