/* ADMISSION, ENROL and ENROLLED, as bytes of our own making: the encoder would not make some. */
#include "wire_codec.h"
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#define BUDGET ((size_t)16 << 20)

static struct base_arena arena;
static struct wire_message message;
static struct base_error err;

static const char KEY[] = "0123456789abcdefghijABCDEFGHIJ.-:+=^!/*?"; /* every kind of letter */

/* A body under construction. */
struct body {
    uint8_t data[2048];
    size_t bytes;
};

static void put(struct body *self, const void *data, size_t bytes)
{
    cr_assert_leq(self->bytes + bytes, sizeof(self->data));
    memcpy(self->data + self->bytes, data, bytes);
    self->bytes += bytes;
}

static void put_number(struct body *self, uint32_t field, uint8_t value)
{
    const uint8_t head[] = {(uint8_t)(field << 3), value};

    put(self, head, sizeof(head));
}

static void put_bytes(struct body *self, uint32_t field, const void *data, size_t bytes)
{
    const uint8_t head[] = {
        (uint8_t)(field << 3 | 2), (uint8_t)(bytes | 0x80), (uint8_t)(bytes >> 7)};

    put(self, head, sizeof(head));
    put(self, data, bytes);
}

static void put_text(struct body *self, uint32_t field, const char *text)
{
    put_bytes(self, field, text, strlen(text));
}

static int decode(enum wire_kind kind, const struct body *body)
{
    base_arena_release(&arena);
    base_arena_init(&arena, BUDGET);
    memset(&message, 0x5a, sizeof(message));
    return wire_decode(kind, body->data, body->bytes, &arena, &message, &err);
}

static void stop(void)
{
    base_arena_release(&arena);
}

TestSuite(wire_keys, .fini = stop);

static void put_row(struct body *self, const char *key, uint8_t role, const char *name)
{
    struct body row = {.bytes = 0};

    put_text(&row, 1, key);
    put_number(&row, 2, role);
    put_text(&row, 3, name);
    put_bytes(self, 2, row.data, row.bytes);
}

/* One row between two good ones. */
static int admission(const char *key, uint8_t role, const char *name)
{
    struct body body = {.bytes = 0};

    put_number(&body, 1, 9);
    put_row(&body, KEY, WIRE_ROLE_ROUTER, "*");
    put_row(&body, key, role, name);
    put_row(&body, KEY, WIRE_ROLE_CLIENT, "app");
    return decode(WIRE_ADMISSION, &body);
}

Test(wire_keys, an_admission_arrives_in_order)
{
    cr_assert_eq(admission(KEY, WIRE_ROLE_WORKER, "w-1"), BASE_OK, "%s", err.text);
    const struct wire_admission *got = &message.admission;
    cr_assert_eq(message.kind, WIRE_ADMISSION);
    cr_assert_eq(got->serial, 9);
    cr_assert_eq(got->row_count, 3);
    cr_assert_str_eq(got->rows[0].name, "*");
    cr_assert_str_eq(got->rows[1].name, "w-1");
    cr_assert_str_eq(got->rows[1].public_key, KEY);
    cr_assert_eq(got->rows[1].role, WIRE_ROLE_WORKER);
    cr_assert_eq(got->rows[2].role, WIRE_ROLE_CLIENT);
    struct body nobody = {.bytes = 0};
    cr_assert_eq(decode(WIRE_ADMISSION, &nobody), BASE_OK);
    cr_assert_eq(message.admission.row_count, 0);
}

static void expect_fault(int rc, const char *field)
{
    cr_assert_eq(rc, BASE_MALFORMED, "%s was taken", field);
    cr_assert(strstr(err.text, field) != NULL, "%s instead of %s", err.text, field);
    cr_assert_eq(*(const uint8_t *)&message, 0x5a, "a refused message was written");
}

Test(wire_keys, names_of_an_admission)
{
    static const char *const good[] = {"*", "w-*", "w", "A.b_c-9", "-", "...*"};
    static const char *const bad[] = {
        "", "**", "w*1", "*w", "w 1", "w/1", "w\n", "w\x01", "\xc3\xa4", "w-1\"", "w;"};
    char longest[LIMIT_NAME_BYTES + 1];

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        cr_assert_eq(admission(KEY, WIRE_ROLE_WORKER, good[i]), BASE_OK, "%s", good[i]);
        cr_assert_str_eq(message.admission.rows[1].name, good[i]);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        expect_fault(admission(KEY, WIRE_ROLE_WORKER, bad[i]), "ADMISSION.rows.name");
    memset(longest, 'w', sizeof(longest));
    longest[LIMIT_NAME_BYTES] = 0;
    expect_fault(admission(KEY, WIRE_ROLE_WORKER, longest), "ADMISSION.rows.name");
    longest[LIMIT_NAME_BYTES - 1] = 0;
    cr_assert_eq(admission(KEY, WIRE_ROLE_WORKER, longest), BASE_OK);
    longest[LIMIT_NAME_BYTES - 2] = '*';
    cr_assert_eq(admission(KEY, WIRE_ROLE_WORKER, longest), BASE_OK);
}

Test(wire_keys, roles_of_an_admission)
{
    for (unsigned role = 0; role < 128; role++) {
        const int rc = admission(KEY, (uint8_t)role, "w-1");
        const bool is_role = role >= WIRE_ROLE_WORKER && role <= WIRE_ROLE_JOIN;
        cr_assert_eq(rc, is_role ? BASE_OK : BASE_MALFORMED, "role %u", role);
    }
}

/* A key must be 40 characters of Z85: the last byte of each bad one is what is wrong with it. */
static const char *const bad_keys[] = {"", "0", "0123456789abcdefghijABCDEFGHIJ.-:+=^!/*",
    "0123456789abcdefghijABCDEFGHIJ.-:+=^!/*?0", "0123456789abcdefghijABCDEFGHIJ.-:+=^!/*~",
    "0123456789abcdefghijABCDEFGHIJ.-:+=^!/*\"", "0123456789abcdefghijABCDEFGHIJ.-:+=^!/* ",
    "0123456789abcdefghijABCDEFGHIJ.-:+=^!/*\n", "0123456789abcdefghijABCDEFGHIJ.-:+=^!/*\x7f",
    "0123456789abcdefghijABCDEFGHIJ.-:+=^!/\xc3\xa4"};
#define BAD_KEY_COUNT (sizeof(bad_keys) / sizeof(bad_keys[0]))

static int enrol(const char *node, const char *key)
{
    struct body body = {.bytes = 0};

    put_text(&body, 1, node);
    put_text(&body, 2, key);
    return decode(WIRE_ENROL, &body);
}

static int enrolled(uint8_t role, const char *router_key)
{
    struct body body = {.bytes = 0};

    put_number(&body, 1, role);
    if (router_key != NULL)
        put_text(&body, 2, router_key);
    return decode(WIRE_ENROLLED, &body);
}

Test(wire_keys, what_is_no_key)
{
    for (size_t i = 0; i < BAD_KEY_COUNT; i++) {
        expect_fault(admission(bad_keys[i], WIRE_ROLE_WORKER, "w"), "ADMISSION.rows.public_key");
        expect_fault(enrol("w-1", bad_keys[i]), "ENROL.public_key");
        if (bad_keys[i][0] != 0)
            expect_fault(enrolled(WIRE_ROLE_WORKER, bad_keys[i]), "ENROLLED.router_public_key");
    }
}

/* Who enrols is one node: no star, or it would be all of them. */
Test(wire_keys, an_enrolment_names_one_node)
{
    static const char *const bad[] = {"", "*", "w-*", "w/1", "w 1", "w\n", "\xc3\xa4"};

    cr_assert_eq(enrol("w-1", KEY), BASE_OK, "%s", err.text);
    cr_assert_str_eq(message.enrol.node_id, "w-1");
    cr_assert_str_eq(message.enrol.public_key, KEY);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        expect_fault(enrol(bad[i], KEY), "ENROL.node_id");
}

Test(wire_keys, an_enrolment_may_come_without_a_router)
{
    cr_assert_eq(enrolled(WIRE_ROLE_WORKER, NULL), BASE_OK);
    cr_assert_eq(message.enrolled.role, WIRE_ROLE_WORKER);
    cr_assert_str_eq(message.enrolled.router_public_key, "");
    cr_assert_eq(enrolled(WIRE_ROLE_CLIENT, KEY), BASE_OK);
    cr_assert_str_eq(message.enrolled.router_public_key, KEY);
    expect_fault(enrolled(0, KEY), "ENROLLED.role");
    expect_fault(enrolled(WIRE_ROLE_JOIN + 1, KEY), "ENROLLED.role");
}

/* A NUL would end the text for us and not for somebody else. */
Test(wire_keys, a_text_with_an_end_inside)
{
    struct body body = {.bytes = 0}, row = {.bytes = 0};

    put_bytes(&body, 1, "w-1\0x", 5);
    put_text(&body, 2, KEY);
    cr_assert_eq(decode(WIRE_ENROL, &body), BASE_MALFORMED);
    put_text(&row, 1, KEY);
    put_number(&row, 2, WIRE_ROLE_WORKER);
    put_bytes(&row, 3, "w\0*", 3);
    body.bytes = 0;
    put_bytes(&body, 2, row.data, row.bytes);
    cr_assert_eq(decode(WIRE_ADMISSION, &body), BASE_MALFORMED);
}

/* Cut anywhere, and with each byte changed: refused or taken whole, never more than that. */
Test(wire_keys, damage)
{
    struct body good = {.bytes = 0};

    put_row(&good, KEY, WIRE_ROLE_WORKER, "w-*");
    put_row(&good, KEY, WIRE_ROLE_CLIENT, "app");
    for (size_t i = 0; i < good.bytes; i++) {
        struct body cut = good;
        cut.bytes = i;
        if (decode(WIRE_ADMISSION, &cut) == BASE_OK)
            cr_assert_leq(message.admission.row_count, 1, "a row out of nothing, cut at %zu", i);
        for (unsigned value = 0; value < 256; value++) {
            struct body changed = good;
            changed.data[i] = (uint8_t)value;
            if (decode(WIRE_ADMISSION, &changed) != BASE_OK)
                continue;
            for (size_t k = 0; k < message.admission.row_count; k++) {
                const struct wire_admitted *row = &message.admission.rows[k];
                cr_assert_eq(strnlen(row->public_key, LIMIT_KEY_BYTES), LIMIT_KEY_BYTES - 1);
                cr_assert_lt(strnlen(row->name, LIMIT_NAME_BYTES), LIMIT_NAME_BYTES);
                cr_assert(row->role >= WIRE_ROLE_WORKER && row->role <= WIRE_ROLE_JOIN);
            }
        }
    }
}
