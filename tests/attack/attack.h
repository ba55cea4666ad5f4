/* Shared by the files of the hostile peer. */
#ifndef ATTACK_H
#define ATTACK_H

#include "keys.h"
#include "wire_message.h"

struct attack {
    const char *endpoint, *name;
    uint32_t count;
    uint64_t epoch;
    bool is_stranger;
    uint64_t end_ms;
    uint64_t state; /* of the random numbers */
    void *context;
    void *monitor; /* of the newest socket */
    char monitor_name[64];
    unsigned monitor_count;
    struct net_key key;
    char server_key[LIMIT_KEY_BYTES]; /* "": NULL mechanism */
    uint64_t sent;
    unsigned let_in, turned_away, cut_off; /* handshakes, connections */
    unsigned replies, errors, denied;      /* messages */
};

uint64_t attack_random(struct attack *self);
bool attack_goes_on(const struct attack *self);
/* A DEALER with a monitor; the monitor of an older one is forgotten. */
void *attack_connect(struct attack *self);
void attack_close(struct attack *self, void *zmq);
void attack_look(struct attack *self);
void attack_wait(struct attack *self, void *zmq, int timeout_ms);
/* Waits for the end of the handshake. */
bool attack_enter(struct attack *self, void *zmq);

/* attack_entry.c */
void attack_null(struct attack *self);
void attack_knock(struct attack *self);
void attack_raw(struct attack *self);
void attack_half_open(struct attack *self);

/* attack_message.c */
void attack_oversize(struct attack *self);
void attack_frames(struct attack *self);
void attack_endless(struct attack *self);
void attack_flood(struct attack *self);
void attack_slow(struct attack *self);
void attack_steal(struct attack *self);
void attack_roles(struct attack *self);
void attack_hop(struct attack *self);
void attack_fuzz(struct attack *self);

#endif
