/*
 * Shared by the files of wire/, included by nobody else: the row that describes a kind, the
 * capped unpacking, and the checks that move a field from protobuf-c's struct into ours.
 */
#ifndef WIRE_INTERNAL_H
#define WIRE_INTERNAL_H

#include "base_arena.h"
#include "wire_message.h"
#include <protobuf-c/protobuf-c.h>

struct Layermesh__V1__Error;
struct Layermesh__V1__ModelCard;
struct Layermesh__V1__Sampling;

/*
 * One decode under way. The first failed check is kept in rc and in *err; the checks after it
 * do nothing, so a decode function is a list of fields and its caller looks at rc once.
 */
struct wire_decoder {
    struct base_arena *arena; /* owns what the decoded message points to */
    struct base_error *err;   /* may be NULL */
    const char *message;      /* "STEP" */
    int rc;                   /* BASE_OK so far, else the first failure */
};

/* One encode under way: protobuf-c structs are built in scratch, then packed. */
struct wire_encoder {
    struct base_arena scratch;
    bool no_memory; /* an allocation failed; what was built is not to be packed */
};

/* How one kind is named, bounded, decoded and encoded. */
struct wire_format {
    enum wire_kind kind;
    const char *name;
    size_t bytes_max;
    const ProtobufCMessageDescriptor *descriptor;
    /* Moves *unpacked (a struct of descriptor's type) into *ret; NULL: the body has no fields. */
    void (*decode)(struct wire_decoder *self, const void *unpacked, struct wire_message *ret);
    /* Fills *unpacked, which is initialised, from *message; NULL: as above. */
    void (*encode)(struct wire_encoder *self, const struct wire_message *message, void *unpacked);
    /* Exact size of the tensor frame; false when it is over its limit. NULL: none may follow. */
    bool (*tensor_bytes)(const struct wire_message *message, uint64_t *ret_bytes);
};

/* Initialisers of a row, from the kind, the message's name in proto/ and its cap. */
#define WIRE_BARE_ROW(KIND, name_)                                                                 \
    .kind = WIRE_##KIND, .name = #KIND, .bytes_max = LIMIT_CONTROL_BYTES,                          \
    .descriptor = &layermesh__v1__##name_##__descriptor
#define WIRE_ROW(KIND, name_, bytes)                                                               \
    .kind = WIRE_##KIND, .name = #KIND, .bytes_max = (bytes),                                      \
    .descriptor = &layermesh__v1__##name_##__descriptor, .decode = decode_##name_,                 \
    .encode = encode_##name_

/* The kinds by plane. */
extern const struct wire_format wire_control_formats[];
extern const size_t wire_control_format_count;
extern const struct wire_format wire_key_formats[];
extern const size_t wire_key_format_count;
extern const struct wire_format wire_status_formats[];
extern const size_t wire_status_format_count;
extern const struct wire_format wire_data_formats[];
extern const size_t wire_data_format_count;
extern const struct wire_format wire_client_formats[];
extern const size_t wire_client_format_count;

/* NULL when kind is none of ours. */
const struct wire_format *wire_format_find(int kind);

/* ---- unpacking ---- */

/*
 * Unpacks into heap, whose budget the call sets from bytes. Returns the message (freed by
 * releasing heap, not by protobuf-c) or NULL with *ret_code BASE_MALFORMED, BASE_TOO_BIG (over
 * the budget) or BASE_NOMEM.
 */
const void *wire_unpack(const ProtobufCMessageDescriptor *descriptor, const uint8_t *data,
    size_t bytes, struct base_arena *heap, int *ret_code);

/* Bytes of a string that wire_unpack() made, counting what follows an embedded NUL. */
size_t wire_unpacked_string_bytes(const char *text);

/* ---- decoding ---- */

/* Records a failure of a field unless there is one already. */
void wire_fail(struct wire_decoder *self, int code, const char *field, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Each returns value, or min once a check has failed. Bounds are inclusive. */
uint64_t wire_check_u64(
    struct wire_decoder *self, const char *field, uint64_t value, uint64_t min, uint64_t max);
uint32_t wire_check_u32(
    struct wire_decoder *self, const char *field, uint32_t value, uint32_t min, uint32_t max);
int wire_check_enum(struct wire_decoder *self, const char *field, int value, int min, int max);
/* NaN is outside every range. */
double wire_check_real(
    struct wire_decoder *self, const char *field, double value, double min, double max);
float wire_check_float(
    struct wire_decoder *self, const char *field, float value, float min, float max);

/* Copies a string of wire_unpack() into out[capacity]. */
void wire_take_text(
    struct wire_decoder *self, const char *field, const char *text, char *out, size_t capacity);
/* As text, of [A-Za-z0-9._-] only, into out[LIMIT_NAME_BYTES]. */
void wire_take_node(
    struct wire_decoder *self, const char *field, const char *text, bool required, char *out);
/* A key: 40 characters of Z85, or "" when it is not required, into out[LIMIT_KEY_BYTES]. */
void wire_take_key(
    struct wire_decoder *self, const char *field, const char *text, bool required, char *out);
/* Copies into the arena. */
struct wire_bytes wire_take_bytes(struct wire_decoder *self, const char *field,
    const ProtobufCBinaryData *data, size_t bytes_max);
/* Copies into the arena; every value must be below value_end (0: any). */
const uint32_t *wire_take_u32s(struct wire_decoder *self, const char *field, const uint32_t *values,
    size_t count, size_t count_max, uint32_t value_end);
/* count zeroed rows in the arena; NULL when there are none or a check failed. */
void *wire_take_rows(
    struct wire_decoder *self, const char *field, size_t count, size_t count_max, size_t row_bytes);
/* error may be NULL: no error. */
void wire_take_fault(
    struct wire_decoder *self, const struct Layermesh__V1__Error *error, struct wire_fault *ret);
/* card may be NULL: no card. with_layers: all rows must be there, else none may. */
void wire_take_card(struct wire_decoder *self, const struct Layermesh__V1__ModelCard *card,
    bool with_layers, struct wire_model_card *ret);

/* Byte strings of 1..LIMIT_STOP_BYTES each. */
const struct wire_bytes *wire_take_strings(struct wire_decoder *self, const char *field,
    const ProtobufCBinaryData *from, size_t count, size_t count_max);
/* sampling may be NULL: all off. */
void wire_take_sampling(struct wire_decoder *self, const struct Layermesh__V1__Sampling *sampling,
    struct wire_sampling *ret);

bool wire_utf8_valid(const uint8_t *data, size_t bytes);

/* ---- encoding ---- */

/* count * item_bytes in scratch, zeroed; NULL when count is 0 or memory failed. */
void *wire_put_rows(struct wire_encoder *self, size_t count, size_t item_bytes);
/* An initialised message in scratch; NULL when memory failed. */
void *wire_put_message(struct wire_encoder *self, const ProtobufCMessageDescriptor *descriptor);
/* protobuf-c's structs have no const; packing does not write. */
ProtobufCBinaryData wire_put_bytes(struct wire_bytes bytes);
uint32_t *wire_put_u32s(const uint32_t *values);
/* NULL when there is no error. */
struct Layermesh__V1__Error *wire_put_fault(
    struct wire_encoder *self, const struct wire_fault *fault);
/* NULL when there is no card. with_layers: as for wire_take_card(). */
struct Layermesh__V1__ModelCard *wire_put_card(
    struct wire_encoder *self, const struct wire_model_card *card, bool with_layers);

/* *ret_count is 0 when memory failed. */
ProtobufCBinaryData *wire_put_strings(
    struct wire_encoder *self, const struct wire_bytes *from, size_t count, size_t *ret_count);
struct Layermesh__V1__Sampling *wire_put_sampling(
    struct wire_encoder *self, const struct wire_sampling *from);

/* The fields of an initialised Error from a fault, BASE_OK too. */
void wire_fill_fault(const struct wire_fault *fault, struct Layermesh__V1__Error *ret);

#endif
