/* Bodies that another program wrote to hurt: amplification, strings that lie, unknown fields. */
#include "base_alloc.h"
#include "wire_codec.h"
#include <criterion/criterion.h>
#include <string.h>

#define BUDGET ((size_t)64 << 20)

struct body {
    uint8_t *data;
    size_t bytes, capacity;
};

static void put(struct body *self, const void *data, size_t bytes)
{
    if (self->bytes + bytes > self->capacity) {
        self->capacity = 2 * (self->bytes + bytes);
        self->data = base_realloc_array(self->data, self->capacity, 1);
    }
    memcpy(self->data + self->bytes, data, bytes);
    self->bytes += bytes;
}

static void put_varint(struct body *self, uint64_t value)
{
    do {
        const uint8_t byte = (uint8_t)((value & 127) | (value > 127 ? 128 : 0));
        put(self, &byte, 1);
        value >>= 7;
    } while (value > 0);
}

static void put_number(struct body *self, unsigned field, uint64_t value)
{
    put_varint(self, field << 3);
    put_varint(self, value);
}

static void put_block(struct body *self, unsigned field, const void *data, size_t bytes)
{
    put_varint(self, field << 3 | 2);
    put_varint(self, bytes);
    put(self, data, bytes);
}

static int decode(enum wire_kind kind, const struct body *body, struct base_arena *arena,
    struct wire_message *ret, struct base_error *err)
{
    base_arena_init(arena, BUDGET);
    return wire_decode(kind, body->data, body->bytes, arena, ret, err);
}

static void expect(enum wire_kind kind, struct body *body, int code, const char *reason)
{
    struct base_arena arena;
    struct wire_message message;
    struct base_error err = {0};

    cr_assert_eq(decode(kind, body, &arena, &message, &err), code, "%s", err.text);
    cr_assert(strstr(err.text, reason) != NULL, "%s", err.text);
    base_arena_release(&arena);
    base_free(body->data);
    *body = (struct body){0};
}

Test(wire_unpack, many_empty_messages_end_at_the_budget)
{
    struct body body = {0}, chat = {0};

    while (body.bytes < LIMIT_STEP_BYTES - 2)
        put_block(&body, 5, "", 0);
    expect(WIRE_STEP, &body, BASE_TOO_BIG, "STEP: body");

    while (chat.bytes < LIMIT_CLIENT_BYTES - 100)
        put_block(&chat, 1, "", 0);
    put_block(&body, 4, chat.data, chat.bytes);
    base_free(chat.data);
    expect(WIRE_GENERATE, &body, BASE_TOO_BIG, "GENERATE: body");
}

Test(wire_unpack, many_empty_strings_end_at_the_budget)
{
    struct body body = {0};

    while (body.bytes < LIMIT_CLIENT_BYTES - 2)
        put_block(&body, 7, "", 0);
    expect(WIRE_GENERATE, &body, BASE_TOO_BIG, "GENERATE: body");
}

Test(wire_unpack, many_unknown_fields_end_at_the_budget)
{
    struct body body = {0};

    while (body.bytes < LIMIT_CONTROL_BYTES - 2)
        put_number(&body, 15, 1);
    expect(WIRE_PING, &body, BASE_TOO_BIG, "PING: body");
}

Test(wire_unpack, counts_are_bounded_where_memory_is_not)
{
    struct body body = {0};

    put_number(&body, 1, 1);
    for (int i = 0; i < LIMIT_BATCH_SEQUENCES_MAX + 1; i++)
        put_block(&body, 5, "\x18\x01\x22\x01\x00", 5);
    expect(WIRE_STEP, &body, BASE_MALFORMED, "STEP.sequences: 65 of them, limit 64");
}

Test(wire_unpack, the_smallest_rows_fit_up_to_their_limit)
{
    struct body body = {0}, chat = {0};
    struct base_arena arena;
    struct wire_message message;
    struct base_error err = {0};

    for (int i = 0; i < LIMIT_CHAT_MESSAGES; i++)
        put_block(&chat, 1, "\x0a\x01u\x12\x01x", 6);
    put_block(&body, 4, chat.data, chat.bytes);
    base_free(chat.data);
    cr_assert_eq(decode(WIRE_GENERATE, &body, &arena, &message, &err), BASE_OK, "%s", err.text);
    cr_assert_eq(message.generate.message_count, LIMIT_CHAT_MESSAGES);
    cr_assert_str_eq(message.generate.messages[LIMIT_CHAT_MESSAGES - 1].role, "u");
    base_arena_release(&arena);
    base_free(body.data);
}

Test(wire_unpack, unknown_fields_are_skipped_and_not_sent_on)
{
    struct body body = {0};
    struct base_arena arena;
    struct wire_message message;
    uint8_t *out = NULL;
    size_t bytes = 0;

    put_number(&body, 1, 7);
    put_number(&body, 2, 3);
    put_block(&body, 900, "from a newer version", 20);
    cr_assert_eq(decode(WIRE_CREDIT, &body, &arena, &message, NULL), BASE_OK);
    cr_assert(message.credit.epoch == 7 && message.credit.count == 3);
    cr_assert_eq(wire_encode(&message, &arena, &out, &bytes, NULL), BASE_OK);
    cr_assert_eq(bytes, 4);
    base_arena_release(&arena);
    base_free(body.data);
}

Test(wire_unpack, strings_that_lie_are_refused)
{
    char longest[LIMIT_NAME_BYTES];
    struct body body = {0};

    memset(longest, 'a', sizeof(longest));
    put_block(&body, 1, "node\0evil", 9);
    expect(WIRE_DRAIN, &body, BASE_MALFORMED, "DRAIN.node_id: holds a NUL");
    put_block(&body, 1, "\0", 1);
    expect(WIRE_DRAIN, &body, BASE_MALFORMED, "DRAIN.node_id: holds a NUL");
    put_block(&body, 1, "a b", 3);
    expect(WIRE_DRAIN, &body, BASE_MALFORMED, "DRAIN.node_id: has a character");
    put_block(&body, 1, "", 0);
    expect(WIRE_DRAIN, &body, BASE_MALFORMED, "DRAIN.node_id: is missing");
    put_block(&body, 1, longest, sizeof(longest));
    expect(WIRE_DRAIN, &body, BASE_MALFORMED, "DRAIN.node_id: 64 bytes, limit 63");
    put_block(&body, 1, longest, sizeof(longest) - 1);
    expect(WIRE_DRAIN, &body, BASE_OK, "");
    /* The last of a field that is sent twice counts. */
    put_block(&body, 1, "a b", 3);
    put_block(&body, 1, "ab", 2);
    expect(WIRE_DRAIN, &body, BASE_OK, "");
    put_block(&body, 1, "ab", 2);
    put_block(&body, 1, "a\0", 2);
    expect(WIRE_DRAIN, &body, BASE_MALFORMED, "holds a NUL");
}

Test(wire_unpack, text_must_be_utf8)
{
    static const char *const bad[] = {"\x80", "\xc0\x80", "\xc1\xbf", "\xc3", "\xc3(",
        "\xe0\x9f\xbf", "\xe2\x82", "\xe2(\xac", "\xe2\x82(", "\xed\xa0\x80", "\xf0\x8f\xbf\xbf",
        "\xf0\x9f\x8e", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff", "ok\xfe"};
    static const char *const good[] = {"", "a", "\x7f", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80",
        "\xed\x9f\xbf", "\xee\x80\x80", "\xef\xbf\xbf", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"};
    struct body body = {0};

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        put_block(&body, 2, bad[i], strlen(bad[i]));
        expect(WIRE_ERROR, &body, BASE_MALFORMED, "ERROR.error.text: is not valid UTF-8");
        put_block(&body, 4, bad[i], strlen(bad[i]));
        expect(WIRE_PARTIAL, &body, BASE_MALFORMED, "PARTIAL.text: is not valid UTF-8");
    }
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        put_block(&body, 2, good[i], strlen(good[i]));
        expect(WIRE_ERROR, &body, BASE_OK, "");
    }
}

Test(wire_unpack, a_failure_that_is_not_known_here_is_internal)
{
    struct body body = {0};
    struct base_arena arena;
    struct wire_message message;

    put_block(&body, 1, "NEWER_REASON", 12);
    cr_assert_eq(decode(WIRE_ERROR, &body, &arena, &message, NULL), BASE_OK);
    cr_assert_eq(message.error.code, BASE_INTERNAL);
    base_arena_release(&arena);
    base_free(body.data);
}

Test(wire_unpack, a_field_of_another_type_is_refused)
{
    struct body body = {0};

    put_number(&body, 1, 5);
    expect(WIRE_DRAIN, &body, BASE_MALFORMED, "DRAIN: body");
    put_block(&body, 1, "x", 1);
    put_varint(&body, UINT64_MAX);
    expect(WIRE_DRAIN, &body, BASE_MALFORMED, "DRAIN: body");
}
