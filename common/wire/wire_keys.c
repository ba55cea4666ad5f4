/* Control plane: who is admitted, and how a newcomer gets its key admitted. */
#include "wire_internal.h"

#include "control.pb-c.h"
#include <string.h>

/* As a node id, and a "*" may end it. */
static void take_name(struct wire_decoder *self, const char *field, const char *text, char *out)
{
    wire_take_text(self, field, text, out, LIMIT_NAME_BYTES);
    if (self->rc != BASE_OK)
        return;
    const size_t bytes = strlen(out);
    const bool has_star = bytes > 0 && out[bytes - 1] == '*';
    if (has_star)
        out[bytes - 1] = 0;
    if (bytes == 0 || out[strspn(out, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                      "0123456789._-")] != 0)
        wire_fail(self, BASE_MALFORMED, field, "is not a name, or the begin of one and a star");
    if (has_star)
        out[bytes - 1] = '*';
}

static void decode_admission(
    struct wire_decoder *self, const void *unpacked, struct wire_message *message)
{
    const Layermesh__V1__Admission *pb = unpacked;
    struct wire_admitted *rows =
        wire_take_rows(self, "rows", pb->n_rows, LIMIT_KEYS_MAX, sizeof(*rows));

    for (size_t i = 0; rows != NULL && i < pb->n_rows; i++) {
        const Layermesh__V1__Admitted *from = pb->rows[i];
        wire_take_key(self, "rows.public_key", from->public_key, true, rows[i].public_key);
        rows[i].role = (enum wire_role)wire_check_enum(
            self, "rows.role", (int)from->role, WIRE_ROLE_WORKER, WIRE_ROLE_JOIN);
        take_name(self, "rows.name", from->name, rows[i].name);
    }
    message->admission.serial = pb->serial;
    message->admission.rows = rows;
    message->admission.row_count = pb->n_rows;
}

static void encode_admission(
    struct wire_encoder *self, const struct wire_message *message, void *unpacked)
{
    const struct wire_admission *from = &message->admission;
    Layermesh__V1__Admission *pb = unpacked;

    pb->serial = from->serial;
    pb->rows = wire_put_rows(self, from->row_count, sizeof(*pb->rows));
    for (size_t i = 0; pb->rows != NULL && i < from->row_count; i++) {
        Layermesh__V1__Admitted *row = wire_put_message(self, &layermesh__v1__admitted__descriptor);
        if (row == NULL)
            return;
        row->public_key = (char *)from->rows[i].public_key;
        row->role = (Layermesh__V1__Role)from->rows[i].role;
        row->name = (char *)from->rows[i].name;
        pb->rows[pb->n_rows++] = row;
    }
}

static void decode_enrol(
    struct wire_decoder *self, const void *unpacked, struct wire_message *message)
{
    const Layermesh__V1__Enrol *pb = unpacked;

    wire_take_node(self, "node_id", pb->node_id, true, message->enrol.node_id);
    wire_take_key(self, "public_key", pb->public_key, true, message->enrol.public_key);
}

static void encode_enrol(
    struct wire_encoder *self, const struct wire_message *message, void *unpacked)
{
    Layermesh__V1__Enrol *pb = unpacked;

    (void)self;
    pb->node_id = (char *)message->enrol.node_id;
    pb->public_key = (char *)message->enrol.public_key;
}

static void decode_enrolled(
    struct wire_decoder *self, const void *unpacked, struct wire_message *message)
{
    const Layermesh__V1__Enrolled *pb = unpacked;
    struct wire_enrolled *ret = &message->enrolled;

    ret->role = (enum wire_role)wire_check_enum(
        self, "role", (int)pb->role, WIRE_ROLE_WORKER, WIRE_ROLE_JOIN);
    wire_take_key(self, "router_public_key", pb->router_public_key, false, ret->router_public_key);
}

static void encode_enrolled(
    struct wire_encoder *self, const struct wire_message *message, void *unpacked)
{
    Layermesh__V1__Enrolled *pb = unpacked;

    (void)self;
    pb->role = (Layermesh__V1__Role)message->enrolled.role;
    pb->router_public_key = (char *)message->enrolled.router_public_key;
}

const struct wire_format wire_key_formats[] = {
    {WIRE_ROW(ADMISSION, admission, LIMIT_CONTROL_BYTES)},
    {WIRE_ROW(ENROL, enrol, LIMIT_CONTROL_BYTES)},
    {WIRE_ROW(ENROLLED, enrolled, LIMIT_CONTROL_BYTES)},
};
const size_t wire_key_format_count = sizeof(wire_key_formats) / sizeof(wire_key_formats[0]);
