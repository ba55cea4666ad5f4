/*
 * Who may talk to us. Keys are CURVE keys (Curve25519) as 40 characters of Z85, the text form of
 * libzmq. A context that was given a key encrypts every TCP socket and knows the peer of every
 * message by its key; ipc and inproc stay plain, guarded by the permissions of their files.
 *
 * Trust: every program knows the coordinator's public key. The coordinator knows which keys are
 * admitted and with which role, and tells the others over its own, authenticated sockets.
 */
#ifndef NET_SECURITY_H
#define NET_SECURITY_H

#include "wire_message.h"
#include <stdbool.h>

struct base_error;
struct net_context;

struct net_key {
    char public_key[LIMIT_KEY_BYTES];
    char secret_key[LIMIT_KEY_BYTES];
};

/* A new random pair. Returns BASE_OK or BASE_IO. */
int net_key_make(struct net_key *ret, struct base_error *err);

/* Fills public_key from secret_key. Returns BASE_OK, or BASE_INVALID when that is no key. */
int net_key_derive(struct net_key *self, struct base_error *err);

/* Whether text is 40 characters that Z85 allows. */
bool net_key_is_text(const char *text);

/* Overwrites what was secret. */
void net_key_forget(struct net_key *self);

/* 32 bytes of a key as 64 lower-case hexadecimal digits and back: for shells, which Z85 is not. */
#define NET_KEY_HEX_BYTES 65
void net_key_to_hex(const char *key, char ret_hex[NET_KEY_HEX_BYTES]);
bool net_key_from_hex(const char *hex, char ret_key[LIMIT_KEY_BYTES]);

/* "worker", "router", "coordinator", "client", "admin", "join"; "nobody" for anything else. */
const char *net_role_name(enum wire_role role);
bool net_role_parse(const char *text, enum wire_role *ret);

/*
 * Gives the context its key; before any socket is opened. serves: sockets will be bound, so the
 * handler that decides about keys (ZAP) is started on a thread of its own, which no signal can end,
 * and is tested: a random key must be refused and our own let in, else the call fails. Nobody else
 * is admitted before net_admit(). Returns BASE_OK, BASE_INVALID, BASE_IO, BASE_NOMEM, or
 * BASE_INTERNAL when the test fails.
 */
int net_context_secure(
    struct net_context *self, const struct net_key *key, bool serves, struct base_error *err);

/* Allows TCP without a key; without this or net_context_secure(), TCP sockets are refused. */
void net_context_allow_plain(struct net_context *self);

bool net_context_is_secure(const struct net_context *self);
/* Our own; "" without one. Borrowed. */
const char *net_context_public_key(const struct net_context *self);

/*
 * The keys that may talk to us from now on, also on connections that exist: each message is held
 * against the newest set. rows are copied; any thread. Returns BASE_OK, BASE_INVALID (a row that
 * is no key), BASE_TOO_BIG (over LIMIT_KEYS_MAX) or BASE_NOMEM; the old set stays then.
 */
int net_admit(struct net_context *self, const struct wire_admitted *rows, size_t count);

/* Who sent a message. role 0: the socket is plain, and anybody may say anything there. */
struct net_sender {
    enum wire_role role;
    char name[LIMIT_NAME_BYTES]; /* that the key was issued for; may end in "*" */
    char public_key[LIMIT_KEY_BYTES];
};

/* Whether a key issued for pattern may act as name: the same, or pattern ends in "*" and name
 * begins with what stands before it. */
bool net_name_fits(const char *pattern, const char *name);

/* Why something was refused. */
enum net_refusal {
    NET_REFUSED_FRAMES,    /* wrong number of frames */
    NET_REFUSED_MALFORMED, /* envelope, body or tensor is not what it should be */
    NET_REFUSED_KEY,       /* handshake with a key that is not admitted here */
    NET_REFUSED_REVOKED,   /* message on a connection whose key is no longer admitted */
    NET_REFUSED_ROLE,      /* a kind that the key's role may not send */
    NET_REFUSED_NAME,      /* a name that the key was not issued for */
    NET_REFUSED_RATE,      /* more messages than a peer may send */
    NET_REFUSED_HANDSHAKE, /* no key, wrong mechanism, garbage, or no end of the handshake */
    NET_REFUSED_HALF_OPEN, /* closed: too many connections without a finished handshake */
    NET_REFUSED_BACKLOG,   /* closed: sent far more than it let us read as messages */
    NET_REFUSED_TOKEN,     /* a join token that was used or has expired */
    NET_REFUSED_HOP,       /* a step, result or hello from a key that the plan has elsewhere */
    NET_REFUSAL_COUNT,
};

/* "frames", "malformed"... Never NULL. */
const char *net_refusal_name(enum net_refusal reason);

/* How often since the context was made. Any thread. */
uint64_t net_refusals(const struct net_context *self, enum net_refusal reason);

/* Counts one; logs the 1st, 2nd, 4th, 8th... so that an attack does not fill the log. */
void net_refuse_count(struct net_context *self, enum net_refusal reason, const char *text);

#endif
