#include "wire_codec.h"

#include "wire_internal.h"
#include <string.h>

_Static_assert(LIMIT_ENVELOPE_BYTES == 8, "the layout below");

void wire_envelope_encode(enum wire_kind kind, uint8_t *ret_envelope)
{
    const uint8_t envelope[LIMIT_ENVELOPE_BYTES] = {
        'L', 'M', WIRE_PROTOCOL_VERSION, (uint8_t)kind, 0, 0, 0, 0};

    memcpy(ret_envelope, envelope, sizeof(envelope));
}

int wire_envelope_decode(
    const uint8_t *data, size_t bytes, enum wire_kind *ret_kind, struct base_error *err)
{
    if (bytes != LIMIT_ENVELOPE_BYTES)
        return base_error_set(err, BASE_MALFORMED, "envelope: %zu bytes, not 8", bytes);
    if (data[0] != 'L' || data[1] != 'M')
        return base_error_set(err, BASE_MALFORMED, "envelope: not a layermesh message");
    if (data[2] < WIRE_PROTOCOL_MIN || data[2] > WIRE_PROTOCOL_VERSION)
        return base_error_set(err, BASE_UNSUPPORTED,
            "envelope: version %u; this program speaks %u to %u", data[2], WIRE_PROTOCOL_MIN,
            WIRE_PROTOCOL_VERSION);
    if (wire_format_find(data[3]) == NULL)
        return base_error_set(err, BASE_UNSUPPORTED, "envelope: unknown kind %u", data[3]);
    if (data[4] != 0 || data[5] != 0 || data[6] != 0 || data[7] != 0)
        return base_error_set(err, BASE_MALFORMED, "envelope: reserved bytes are not zero");
    *ret_kind = (enum wire_kind)data[3];
    return BASE_OK;
}
