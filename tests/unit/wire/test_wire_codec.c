/* Round trips: nothing is lost, everything hostile is refused without harm. */
#include "base_alloc.h"
#include "wire_codec.h"
#include "wire_samples.h"
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#define ROUNDS     12
#define BUDGET     ((size_t)64 << 20)
#define PATH_BYTES 16

/* Every field of every message, as proto/ numbers them; a prefix is a message. */
static const struct {
    enum wire_kind kind;
    const char *paths;
} all_fields[] = {
    {WIRE_REGISTER, " 1 2 3 4 5 6 7 8 9 10 11 12.1 12.2 12.3 13.1 13.2 13.3 13.4 13.5 13.6 13.7 "
                    "13.8.1 13.8.2 13.8.3 13.8.4 13.9 14 15 "},
    {WIRE_REGISTERED, " 1 2 3 4 5 6 "},
    {WIRE_HEARTBEAT, " 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 "},
    {WIRE_HEARTBEAT_ACK, " 1 2 "},
    {WIRE_PLAN, " 1 2 3 4.1 4.2 4.3 4.4 4.5 4.6 4.7 4.8 4.9 5 6 7 8 9 10 11 12 13.1 13.2 13.3 14 "},
    {WIRE_STAGE_STATUS, " 1 2 3 4 5 6.1 6.2 6.3 "},
    {WIRE_SUSPECT, " 1 2 3 "},
    {WIRE_DRAIN, " 1 "},
    {WIRE_GOODBYE, " 1 2 3 "},
    {WIRE_PROBE, " "},
    {WIRE_STATUS_QUERY, " "},
    {WIRE_STATUS_REPLY,
        " 1 2 3 4 5 6 7.1 7.2 7.3 7.4 7.5 7.6 7.7 7.8 7.9 7.10 7.11 7.12 7.13 7.14 7.15 7.16 7.17 "
        "8.1 8.2 8.3 8.4 8.5 8.6 8.7 8.9 9 10.1 10.2 10.3 "},
    {WIRE_ERROR, " 1 2 3 "},
    {WIRE_STEP, " 1 2 3 4 5.1 5.2 5.3 5.4 5.5 5.6 6 7 "},
    {WIRE_RESULT, " 1 2 3.1 3.2 3.3 3.4 3.5 4 "},
    {WIRE_STEP_ERROR, " 1 2 3.1 3.2 3.3 "},
    {WIRE_LINK_HELLO, " 1 2 3 "},
    {WIRE_CREDIT, " 1 2 "},
    {WIRE_GENERATE, " 1 2 3.1 4.1.1 4.1.2 5 6.1 6.2 6.3 6.4 6.5 6.6 6.7 6.8 6.9 6.10.1 6.10.2 "
                    "6.11 6.12 6.13 6.14 6.15 6.16 6.17 6.18 6.19 6.20 6.21 6.22 6.23 6.24 7 8 9 "
                    "10 11 12 13 "},
    {WIRE_SCORE, " 1 2.1 3 4 5 6 "},
    {WIRE_CANCEL, " 1 2 3 "},
    {WIRE_PING, " "},
    {WIRE_PARTIAL, " 1 2 3.1 3.2 3.3.1 3.3.2 3.3.3 3.4 4 5 6 7 8 9 "},
    {WIRE_FINAL, " 1 2 3.1 3.2 3.3 4 5 6 7 8 9 10 11 12 "},
    {WIRE_ROUTER_STATUS_QUERY, " "},
    {WIRE_ROUTER_STATUS, " 1 2 3 4 5 6 7 "},
    {WIRE_ADMISSION, " 1 2.1 2.2 2.3 "},
    {WIRE_ENROL, " 1 2 "},
    {WIRE_ENROLLED, " 1 2 "},
};

static uint64_t varint(const uint8_t **at)
{
    uint64_t value = 0;

    for (unsigned shift = 0;; shift += 7) {
        const uint8_t byte = *(*at)++;
        value |= (uint64_t)(byte & 127) << shift;
        if (byte < 128)
            return value;
    }
}

/* Marks in seen[] (one flag per character of paths) each field that a valid body holds. */
static void walk(const uint8_t *at, size_t bytes, const char *prefix, const char *paths, bool *seen)
{
    const uint8_t *const end = at + bytes;

    while (at < end) {
        const uint64_t tag = varint(&at);
        const unsigned type = tag & 7;
        char path[PATH_BYTES + 24], needle[PATH_BYTES + 32];
        (void)snprintf(path, sizeof(path), "%s%u", prefix, (unsigned)(tag >> 3));
        const uint64_t length = type == 1 ? 8 : type == 5 ? 4 : varint(&at);

        (void)snprintf(needle, sizeof(needle), " %s.", path);
        if (type == 2 && strstr(paths, needle) != NULL) {
            (void)snprintf(needle, sizeof(needle), "%.20s.", path);
            walk(at, length, needle, paths, seen);
        } else {
            (void)snprintf(needle, sizeof(needle), " %s ", path);
            const char *found = strstr(paths, needle);
            cr_assert_not_null(found, "field %s is in no table", path);
            seen[found - paths] = true;
        }
        if (type != 0)
            at += length;
    }
    cr_assert_eq(at, end);
}

static const uint8_t *encode(
    const struct wire_message *message, struct base_arena *arena, size_t *ret_bytes)
{
    uint8_t *data = NULL;
    struct base_error err = {0};

    cr_assert_eq(wire_encode(message, arena, &data, ret_bytes, &err), BASE_OK, "%s", err.text);
    return data;
}

Test(wire_codec, no_field_of_any_kind_is_forgotten)
{
    for (size_t k = 0; k < WIRE_SAMPLE_KINDS; k++) {
        bool seen[512] = {false};
        cr_assert_eq(all_fields[k].kind, wire_sample_kinds[k]);
        for (uint64_t seed = 1; seed <= ROUNDS; seed++) {
            struct base_arena arena;
            struct wire_message message;
            size_t bytes;
            base_arena_init(&arena, BUDGET);
            wire_sample(all_fields[k].kind, seed, &arena, &message);
            const uint8_t *data = encode(&message, &arena, &bytes);
            walk(data, bytes, "", all_fields[k].paths, seen);
            base_arena_release(&arena);
        }
        for (const char *p = all_fields[k].paths; p[1] != 0; p = strchr(p + 1, ' '))
            cr_assert(seen[p - all_fields[k].paths], "%s: field%.6s... was never sent",
                wire_kind_name(all_fields[k].kind), p);
    }
}

/* With the test above: each field is moved by decode, or the second encoding would lack it. */
Test(wire_codec, what_is_encoded_comes_back)
{
    for (size_t k = 0; k < WIRE_SAMPLE_KINDS; k++) {
        for (uint64_t seed = 1; seed <= ROUNDS; seed++) {
            struct base_arena arena;
            struct wire_message message, decoded;
            struct base_error err = {0};
            size_t bytes, again_bytes;
            base_arena_init(&arena, BUDGET);
            wire_sample(wire_sample_kinds[k], seed, &arena, &message);
            const uint8_t *data = encode(&message, &arena, &bytes);
            cr_assert_eq(wire_decode(message.kind, data, bytes, &arena, &decoded, &err), BASE_OK,
                "%s", err.text);
            cr_assert_eq(decoded.kind, message.kind);
            const uint8_t *again = encode(&decoded, &arena, &again_bytes);
            cr_assert_eq(bytes, again_bytes);
            cr_assert_eq(memcmp(data, again, bytes), 0, "%s", wire_kind_name(message.kind));
            base_arena_release(&arena);
        }
    }
}

Test(wire_codec, values_are_what_they_were)
{
    struct base_arena arena;
    struct wire_message in, out;
    size_t bytes;

    base_arena_init(&arena, BUDGET);
    wire_sample(WIRE_STEP, 5, &arena, &in);
    const uint8_t *data = encode(&in, &arena, &bytes);
    cr_assert_eq(wire_decode(WIRE_STEP, data, bytes, &arena, &out, NULL), BASE_OK);
    cr_assert_eq(out.step.epoch, in.step.epoch);
    cr_assert_eq(out.step.batch_id, in.step.batch_id);
    cr_assert_eq(out.step.token_count, in.step.token_count);
    cr_assert_eq(out.step.embedding_length, in.step.embedding_length);
    cr_assert_eq(out.step.sequence_count, in.step.sequence_count);
    for (size_t i = 0; i < in.step.sequence_count; i++) {
        const struct wire_sequence *a = &in.step.sequences[i], *b = &out.step.sequences[i];
        cr_assert(a->sequence_id == b->sequence_id && a->first_position == b->first_position &&
                  a->token_count == b->token_count && a->page_count == b->page_count &&
                  a->logits == b->logits && a->top_count == b->top_count);
        cr_assert_eq(memcmp(a->pages, b->pages, a->page_count * sizeof(*a->pages)), 0);
    }
    cr_assert_eq(out.step.released_page_count, in.step.released_page_count);
    cr_assert_eq(memcmp(out.step.released_pages, in.step.released_pages,
                     in.step.released_page_count * sizeof(uint32_t)),
        0);

    wire_sample(WIRE_HEARTBEAT, 5, &arena, &in);
    data = encode(&in, &arena, &bytes);
    cr_assert_eq(wire_decode(WIRE_HEARTBEAT, data, bytes, &arena, &out, NULL), BASE_OK);
    cr_assert_str_eq(out.heartbeat.node_id, in.heartbeat.node_id);
    cr_assert_eq(out.heartbeat.kv_pages_used, in.heartbeat.kv_pages_used);
    cr_assert_eq(out.heartbeat.kv_pages_total, in.heartbeat.kv_pages_total);
    cr_assert_eq(out.heartbeat.step_ms, in.heartbeat.step_ms);
    cr_assert_eq(out.heartbeat.step_tokens, in.heartbeat.step_tokens);
    cr_assert_eq(out.heartbeat.step_context, in.heartbeat.step_context);
    cr_assert_eq(out.heartbeat.requests_running, in.heartbeat.requests_running);
    cr_assert_eq(out.heartbeat.requests_waiting, in.heartbeat.requests_waiting);
    base_arena_release(&arena);
}

/* Bytes as another implementation of proto/ writes them. */
Test(wire_codec, the_bytes_are_those_of_the_proto_files)
{
    static const uint8_t credit[] = {0x08, 0x07, 0x10, 0x02};
    static const uint8_t suspect[] = {0x08, 0x03, 0x10, 0xac, 0x02, 0x18, 0x05};
    static const uint8_t cancel[] = {0x09, 1, 2, 3, 4, 5, 6, 7, 8};
    static const uint8_t fault[] = {
        0x0a, 7, 'T', 'I', 'M', 'E', 'O', 'U', 'T', 0x12, 1, 'x', 0x1a, 2, 'w', '1'};
    struct base_arena arena;
    struct wire_message out;

    base_arena_init(&arena, BUDGET);
    cr_assert_eq(wire_decode(WIRE_CREDIT, credit, sizeof(credit), &arena, &out, NULL), BASE_OK);
    cr_assert(out.credit.epoch == 7 && out.credit.count == 2);
    cr_assert_eq(wire_decode(WIRE_SUSPECT, suspect, sizeof(suspect), &arena, &out, NULL), BASE_OK);
    cr_assert(out.suspect.epoch == 3 && out.suspect.batch_id == 300 && out.suspect.waited_ms == 5);
    cr_assert_eq(wire_decode(WIRE_CANCEL, cancel, sizeof(cancel), &arena, &out, NULL), BASE_OK);
    cr_assert_eq(out.cancel.request_id, UINT64_C(0x0807060504030201));
    cr_assert_eq(wire_decode(WIRE_ERROR, fault, sizeof(fault), &arena, &out, NULL), BASE_OK);
    cr_assert_eq(out.error.code, BASE_TIMEOUT);
    cr_assert_str_eq(out.error.text, "x");
    cr_assert_str_eq(out.error.node, "w1");
    base_arena_release(&arena);
}

/* Whatever still decodes also encodes, and its encoding is stable. */
static void poke(enum wire_kind kind, const uint8_t *data, size_t bytes)
{
    struct base_arena arena;
    struct wire_message message, again;
    struct base_error err = {0};
    uint8_t *first = NULL, *second = NULL;
    size_t first_bytes = 0, second_bytes = 0, tensor = 0;

    base_arena_init(&arena, BUDGET);
    message.kind = (enum wire_kind)0;
    const int rc = wire_decode(kind, data, bytes, &arena, &message, &err);
    if (rc != BASE_OK) {
        cr_assert(rc == BASE_MALFORMED || rc == BASE_TOO_BIG, "%d", rc);
        cr_assert_eq(err.code, rc);
        cr_assert_eq(strncmp(err.text, wire_kind_name(kind), strlen(wire_kind_name(kind))), 0);
        cr_assert_eq((int)message.kind, 0, "left untouched");
    } else {
        (void)wire_tensor_check(&message, tensor, NULL);
        cr_assert_eq(wire_encode(&message, &arena, &first, &first_bytes, NULL), BASE_OK);
        cr_assert_eq(
            wire_decode(kind, first, first_bytes, &arena, &again, &err), BASE_OK, "%s", err.text);
        cr_assert_eq(wire_encode(&again, &arena, &second, &second_bytes, NULL), BASE_OK);
        cr_assert_eq(first_bytes, second_bytes);
        cr_assert_eq(memcmp(first, second, first_bytes), 0);
    }
    base_arena_release(&arena);
}

/* The body in a heap block of its own size, so that a read past its end is seen. */
static uint8_t *exact(const uint8_t *data, size_t bytes)
{
    uint8_t *copy = base_alloc(bytes > 0 ? bytes : 1);

    if (bytes > 0)
        memcpy(copy, data, bytes);
    return copy;
}

Test(wire_codec, every_truncation_is_survived)
{
    for (size_t k = 0; k < WIRE_SAMPLE_KINDS; k++) {
        struct base_arena arena;
        struct wire_message message;
        size_t bytes;
        base_arena_init(&arena, BUDGET);
        wire_sample(wire_sample_kinds[k], 3, &arena, &message);
        const uint8_t *data = encode(&message, &arena, &bytes);
        const size_t stride = 1 + bytes / 400;
        for (size_t cut = 0; cut < bytes; cut += cut < 400 ? 1 : stride) {
            uint8_t *copy = exact(data, cut);
            poke(message.kind, copy, cut);
            base_free(copy);
        }
        base_arena_release(&arena);
    }
}

Test(wire_codec, flipped_bits_are_survived)
{
    uint64_t state = 77;

    for (size_t k = 0; k < WIRE_SAMPLE_KINDS; k++) {
        struct base_arena arena;
        struct wire_message message;
        size_t bytes;
        base_arena_init(&arena, BUDGET);
        wire_sample(wire_sample_kinds[k], 4, &arena, &message);
        const uint8_t *data = encode(&message, &arena, &bytes);
        for (int round = 0; bytes > 0 && round < 300; round++) {
            uint8_t *copy = exact(data, bytes);
            const uint32_t flips = wire_sample_between(&state, 1, 4);
            for (uint32_t i = 0; i < flips; i++)
                copy[wire_sample_random(&state) % (round % 2 == 0 || bytes < 64 ? bytes : 64)] ^=
                    (uint8_t)(1u << (wire_sample_random(&state) % 8));
            poke(message.kind, copy, bytes);
            base_free(copy);
        }
        base_arena_release(&arena);
    }
}

Test(wire_codec, a_body_over_its_cap_is_refused)
{
    struct base_arena arena;
    struct wire_message message;
    struct base_error err = {0};
    uint8_t *big = base_alloc_zeroed(1, LIMIT_CLIENT_BYTES + 1), *out = NULL;
    size_t out_bytes = 0;

    base_arena_init(&arena, BUDGET);
    for (size_t k = 0; k < WIRE_SAMPLE_KINDS; k++) {
        const size_t bytes = wire_body_bytes_max(wire_sample_kinds[k]) + 1;
        cr_assert_eq(
            wire_decode(wire_sample_kinds[k], big, bytes, &arena, &message, &err), BASE_TOO_BIG);
        cr_assert(strstr(err.text, "limit") != NULL);
    }
    message = (struct wire_message){.kind = WIRE_GENERATE};
    message.generate.prompt_kind = WIRE_PROMPT_TEXT;
    message.generate.text = (struct wire_bytes){.data = big, .bytes = LIMIT_CLIENT_BYTES};
    cr_assert_eq(wire_encode(&message, &arena, &out, &out_bytes, &err), BASE_TOO_BIG);
    cr_assert_null(out);
    base_free(big);
    base_arena_release(&arena);
}

Test(wire_codec, kinds_that_do_not_exist_are_refused)
{
    struct base_arena arena;
    struct wire_message message = {.kind = (enum wire_kind)200};
    uint8_t *out = NULL;
    size_t bytes = 0;

    base_arena_init(&arena, BUDGET);
    cr_assert_eq(wire_encode(&message, &arena, &out, &bytes, NULL), BASE_INVALID);
    cr_assert_eq(wire_decode((enum wire_kind)200, (const uint8_t *)"", 0, &arena, &message, NULL),
        BASE_MALFORMED);
    cr_assert_eq(wire_tensor_check(&message, 0, NULL), BASE_MALFORMED);
    base_arena_release(&arena);
}

/* Each allocation fails once: no crash, no leak, a typed answer. */
Test(wire_codec, memory_may_fail_anywhere)
{
    static const enum wire_kind kinds[] = {
        WIRE_REGISTER, WIRE_PLAN, WIRE_STEP, WIRE_RESULT, WIRE_GENERATE, WIRE_PARTIAL, WIRE_SCORE};

    for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
        struct base_arena samples;
        struct wire_message message, decoded;
        size_t bytes;
        bool done = false;
        base_arena_init(&samples, BUDGET);
        wire_sample(kinds[k], 2, &samples, &message);
        const uint8_t *data = encode(&message, &samples, &bytes);
        for (unsigned long n = 1; !done; n++) {
            struct base_arena arena;
            uint8_t *out = NULL;
            size_t out_bytes = 0;
            base_arena_init(&arena, BUDGET);
            base_alloc_fail_from(n);
            int rc = wire_decode(kinds[k], data, bytes, &arena, &decoded, NULL);
            if (rc == BASE_OK)
                rc = wire_encode(&decoded, &arena, &out, &out_bytes, NULL);
            base_alloc_fail_from(0);
            cr_assert(rc == BASE_OK || rc == BASE_NOMEM, "%d", rc);
            done = rc == BASE_OK;
            base_arena_release(&arena);
        }
        base_arena_release(&samples);
    }
}

Test(wire_codec, the_callers_budget_holds)
{
    struct base_arena samples, small;
    struct wire_message message;
    struct base_error err = {0};
    size_t bytes;

    base_arena_init(&samples, BUDGET);
    base_arena_init(&small, 64);
    wire_sample(WIRE_SCORE, 2, &samples, &message);
    const uint8_t *data = encode(&message, &samples, &bytes);
    cr_assert_eq(wire_decode(WIRE_SCORE, data, bytes, &small, &message, &err), BASE_NOMEM);
    cr_assert(strstr(err.text, "SCORE.ids") != NULL, "%s", err.text);
    base_arena_release(&small);
    base_arena_release(&samples);
}
