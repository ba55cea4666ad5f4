/*
 * Bodies and envelopes from anyone. The first byte picks the kind, the rest is the body: what
 * decodes must encode, and from there on decode and encode change nothing. The whole input is
 * also read as an envelope.
 */
#include "base_assert.h"
#include "wire_codec.h"
#include <string.h>

#define BUDGET ((size_t)LIMIT_UNPACK_FACTOR * LIMIT_CLIENT_BYTES)

static const enum wire_kind kinds[] = {WIRE_REGISTER, WIRE_REGISTERED, WIRE_HEARTBEAT,
    WIRE_HEARTBEAT_ACK, WIRE_PLAN, WIRE_STAGE_STATUS, WIRE_SUSPECT, WIRE_DRAIN, WIRE_GOODBYE,
    WIRE_PROBE, WIRE_STATUS_QUERY, WIRE_STATUS_REPLY, WIRE_ERROR, WIRE_STEP, WIRE_RESULT,
    WIRE_STEP_ERROR, WIRE_LINK_HELLO, WIRE_CREDIT, WIRE_GENERATE, WIRE_SCORE, WIRE_CANCEL,
    WIRE_PING, WIRE_PARTIAL, WIRE_FINAL, WIRE_ROUTER_STATUS_QUERY, WIRE_ROUTER_STATUS,
    WIRE_ADMISSION, WIRE_ENROL, WIRE_ENROLLED};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void check_body(enum wire_kind kind, const uint8_t *data, size_t bytes)
{
    struct wire_message message, again;
    struct base_arena arena;
    struct base_error err = {0};
    uint8_t *first = NULL, *second = NULL;
    size_t first_bytes = 0, second_bytes = 0;

    base_arena_init(&arena, BUDGET);
    if (wire_decode(kind, data, bytes, &arena, &message, &err) == BASE_OK) {
        (void)wire_tensor_check(&message, bytes, &err);
        base_assert(wire_encode(&message, &arena, &first, &first_bytes, &err) == BASE_OK);
        base_assert(wire_decode(kind, first, first_bytes, &arena, &again, &err) == BASE_OK);
        base_assert(wire_encode(&again, &arena, &second, &second_bytes, &err) == BASE_OK);
        base_assert(first_bytes == second_bytes && memcmp(first, second, first_bytes) == 0);
    } else {
        base_assert(err.code != BASE_OK && err.text[0] != 0);
    }
    base_arena_release(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    enum wire_kind kind;

    if (wire_envelope_decode(data, bytes, &kind, NULL) == BASE_OK) {
        uint8_t envelope[LIMIT_ENVELOPE_BYTES];
        wire_envelope_encode(kind, envelope);
        base_assert(memcmp(envelope, data, sizeof(envelope)) == 0);
    }
    if (bytes > 0)
        check_body(kinds[data[0] % (sizeof(kinds) / sizeof(kinds[0]))], data + 1, bytes - 1);
    return 0;
}
