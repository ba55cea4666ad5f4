/*
 * Bytes to structs and back: the one place where hostile bytes meet protobuf-c.
 *
 * A message is two or three ZeroMQ frames behind the routing id:
 *     envelope  8 bytes: 'L' 'M' version kind, then u32 zero (reserved)
 *     body      protobuf, its size capped by kind
 *     tensor    raw little-endian numbers; only for STEP, RESULT and PARTIAL
 */
#ifndef WIRE_CODEC_H
#define WIRE_CODEC_H

#include "base_arena.h"
#include "wire_message.h"

/* Writes LIMIT_ENVELOPE_BYTES bytes. */
void wire_envelope_encode(enum wire_kind kind, uint8_t *ret_envelope);

/*
 * Checks magic, version and that kind is known. Returns BASE_OK, BASE_MALFORMED, or
 * BASE_UNSUPPORTED for another version or an unknown kind; *err (may be NULL) says which.
 */
int wire_envelope_decode(
    const uint8_t *data, size_t bytes, enum wire_kind *ret_kind, struct base_error *err);

/* Largest packed body of a kind, in bytes. */
size_t wire_body_bytes_max(enum wire_kind kind);

/* Whether a tensor frame may follow the body. */
bool wire_kind_has_tensor(enum wire_kind kind);

/* "STEP". Never NULL. */
const char *wire_kind_name(enum wire_kind kind);

/*
 * Decodes and validates one body. Borrows data for the call; *ret and all it points to
 * live in arena, whose budget bounds what a hostile body can cost (protobuf-c takes its
 * own temporaries from a second budget of LIMIT_UNPACK_FACTOR times the size). On failure
 * *ret is untouched, *err (may be NULL) names message and field. Returns BASE_OK,
 * BASE_MALFORMED, BASE_TOO_BIG or BASE_NOMEM. Any thread.
 */
int wire_decode(enum wire_kind kind, const uint8_t *data, size_t bytes, struct base_arena *arena,
    struct wire_message *ret, struct base_error *err);

/*
 * Encodes the body of a message into one block in arena. Returns BASE_OK, BASE_TOO_BIG
 * when the body is over its cap, or BASE_NOMEM.
 */
int wire_encode(const struct wire_message *message, struct base_arena *arena, uint8_t **ret_data,
    size_t *ret_bytes, struct base_error *err);

/*
 * Whether a tensor frame of tensor_bytes belongs to this decoded message (count and type
 * arithmetic, overflow-checked). Returns BASE_OK or
 * BASE_MALFORMED with *err filled.
 */
int wire_tensor_check(
    const struct wire_message *message, size_t tensor_bytes, struct base_error *err);

#endif
