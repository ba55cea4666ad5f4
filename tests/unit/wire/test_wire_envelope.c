#include "wire_codec.h"
#include "wire_samples.h"
#include <criterion/criterion.h>
#include <string.h>

static void expect_refused(const uint8_t *data, size_t bytes, int code, const char *reason)
{
    enum wire_kind kind = WIRE_PING;
    struct base_error err = {0};

    cr_assert_eq(wire_envelope_decode(data, bytes, &kind, &err), code);
    cr_assert_eq(wire_envelope_decode(data, bytes, &kind, NULL), code);
    cr_assert_eq(kind, WIRE_PING, "left untouched");
    cr_assert(strstr(err.text, reason) != NULL, "%s", err.text);
}

Test(wire_envelope, every_kind_comes_back)
{
    for (int i = 0; i < WIRE_SAMPLE_KINDS; i++) {
        uint8_t envelope[LIMIT_ENVELOPE_BYTES];
        enum wire_kind kind = (enum wire_kind)0;
        wire_envelope_encode(wire_sample_kinds[i], envelope);
        cr_assert_eq(wire_envelope_decode(envelope, sizeof(envelope), &kind, NULL), BASE_OK);
        cr_assert_eq(kind, wire_sample_kinds[i]);
    }
}

Test(wire_envelope, the_bytes_are_fixed)
{
    static const uint8_t expected[] = {'L', 'M', 1, 32, 0, 0, 0, 0};
    uint8_t envelope[LIMIT_ENVELOPE_BYTES];

    wire_envelope_encode(WIRE_STEP, envelope);
    cr_assert_eq(memcmp(envelope, expected, sizeof(expected)), 0);
}

Test(wire_envelope, what_is_not_ours_is_refused)
{
    uint8_t good[LIMIT_ENVELOPE_BYTES], bad[LIMIT_ENVELOPE_BYTES + 1] = {0};

    wire_envelope_encode(WIRE_STEP, good);
    memcpy(bad, good, sizeof(good));
    expect_refused(bad, 9, BASE_MALFORMED, "9 bytes");
    for (size_t bytes = 0; bytes < 8; bytes++)
        expect_refused(good, bytes, BASE_MALFORMED, "bytes, not 8");
    bad[0] = 'l';
    expect_refused(bad, 8, BASE_MALFORMED, "not a layermesh");
    bad[0] = 'L', bad[1] = 'm';
    expect_refused(bad, 8, BASE_MALFORMED, "not a layermesh");
    bad[1] = 'M', bad[2] = 0;
    expect_refused(bad, 8, BASE_UNSUPPORTED, "version 0");
    bad[2] = 2;
    expect_refused(bad, 8, BASE_UNSUPPORTED, "version 2");
    bad[2] = 1;
    for (size_t i = 4; i < 8; i++) {
        bad[i] = 1;
        expect_refused(bad, 8, BASE_MALFORMED, "reserved");
        bad[i] = 0;
    }
}

Test(wire_envelope, exactly_the_listed_kinds_exist)
{
    unsigned known = 0;

    for (int value = 0; value < 256; value++) {
        uint8_t envelope[LIMIT_ENVELOPE_BYTES];
        enum wire_kind kind;
        wire_envelope_encode((enum wire_kind)value, envelope);
        if (wire_envelope_decode(envelope, 8, &kind, NULL) == BASE_OK) {
            known++;
            cr_assert_str_neq(wire_kind_name(kind), "UNKNOWN");
            cr_assert_gt(wire_body_bytes_max(kind), 0);
        } else {
            expect_refused(envelope, 8, BASE_UNSUPPORTED, "unknown kind");
            cr_assert_str_eq(wire_kind_name((enum wire_kind)value), "UNKNOWN");
            cr_assert_eq(wire_body_bytes_max((enum wire_kind)value), 0);
            cr_assert_not(wire_kind_has_tensor((enum wire_kind)value));
        }
    }
    cr_assert_eq(known, WIRE_SAMPLE_KINDS);
}
