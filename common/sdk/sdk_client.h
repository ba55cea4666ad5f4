/*
 * Inside of liblayermesh: the connection to one router, the requests on it and what came for each.
 * One thread at a time, as layermesh.h says.
 */
#ifndef SDK_CLIENT_H
#define SDK_CLIENT_H

#include "base_arena.h"
#include "layermesh.h"
#include "net.h"

#define SDK_CONNECT_MS        5000  /* an unsent request waits so long for a router */
#define SDK_PING_MS           1000  /* between signs of life while requests run */
#define SDK_SILENCE_MS        10000 /* a router that answers nothing so long is given up */
#define SDK_RETRY_MS          50    /* between tries to send what found no room */
#define SDK_INBOX_PARTS_MAX   65536 /* parts that wait for their reader, per request... */
#define SDK_INBOX_BYTES_MAX   ((size_t)256 << 20) /* ...and their bytes */
#define SDK_REQUEST_BYTES_MAX ((size_t)32 << 20)  /* copy of a request before it is sent */

enum sdk_state {
    SDK_UNSENT,  /* message is kept in arena */
    SDK_RUNNING, /* the router has it */
    SDK_ENDED,   /* its final part is in the inbox or was read */
    SDK_FAILED,  /* code and error say why, after what is in the inbox */
};

/* A message that waits for its reader. */
struct sdk_inbound {
    struct net_inbound inbound;
    size_t bytes;
    struct sdk_inbound *next;
};

struct lmesh_request {
    struct lmesh_client *client; /* NULL once it was destroyed */
    struct lmesh_request *next;  /* of the same client */
    uint64_t id;
    enum sdk_state state;
    bool cancel_wanted;        /* CANCEL is still to be sent */
    bool cancel_choice_wanted; /* and such as are for one choice */
    bool cancel_choices[LIMIT_CHOICES];
    bool ended_read; /* the final part was given to the caller */
    uint64_t created_ms;
    uint32_t choices;                  /* asked for; 0 of a score, as 1 */
    uint32_t sequences[LIMIT_CHOICES]; /* number that the next PARTIAL of each must carry */
    bool is_answered;                  /* something came */
    struct base_arena arena;
    struct wire_message message;
    struct sdk_inbound *first, *last; /* inbox */
    size_t inbox_count, inbox_bytes;
    struct sdk_inbound *current; /* owns what part points to */
    struct base_arena part_arena;
    struct lmesh_part part;
    int code; /* FAILED: enum lmesh_code */
    struct base_error error;
};

struct lmesh_client {
    char endpoint[LIMIT_ENDPOINT_BYTES];
    struct net_context *context;
    struct net_socket *socket;
    struct lmesh_request *requests;
    uint64_t last_id;
    uint64_t ping_ms;     /* time of the last PING */
    uint64_t question_ms; /* time of the oldest status query without an answer; 0: none */
    uint64_t status_count;
    struct wire_router_status status;
    struct base_error error;
};

/* Notes a failure for lmesh_client_error() and returns code (enum lmesh_code). */
int sdk_client_fail(struct lmesh_client *self, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Sends what is due, takes what arrived. Stops early when reader (may be NULL) got something. */
void sdk_client_pump(struct lmesh_client *self, const struct lmesh_request *reader);

/*
 * Waits until something arrived, timeout_ms passed (-1: for ever) or work of sdk_client_pump()
 * is due. Returns false when a signal ended the wait.
 */
bool sdk_client_wait(struct lmesh_client *self, int timeout_ms);

/* Milliseconds from now until a deadline made by sdk_deadline_ms(), at least 0; -1: never. */
uint64_t sdk_deadline_ms(int timeout_ms);
int sdk_remaining_ms(uint64_t deadline_ms);

/* Puts the request into FAILED unless it has ended. */
void sdk_request_fail(struct lmesh_request *self, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Takes a PARTIAL or FINAL of this request; moves *inbound, whatever happens. */
void sdk_request_take(struct lmesh_request *self, struct net_inbound *inbound);

#endif
