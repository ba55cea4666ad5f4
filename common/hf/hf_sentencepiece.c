/*
 * A tokenizer.model: SentencePiece's ModelProto, read field by field as hostile input. Only what
 * GGUF's keys hold is looked at: pieces (field 1: text 1, score 2, type 3), the kind of model
 * (trainer_spec 2: model_type 3) and the leading space (normalizer_spec 3: add_dummy_prefix 3).
 */
#include "hf_internal.h"

#include "base_alloc.h"
#include "base_bytes.h"
#include "base_err.h"
#include "base_limits.h"
#include "gguf_builder.h"
#include <string.h>

enum wire { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };
enum { MODEL_UNIGRAM = 1, MODEL_BPE = 2, PIECE_NORMAL = 1, PIECE_UNKNOWN = 2, PIECE_TYPES = 6 };

struct span {
    const uint8_t *data;
    size_t bytes;
};

struct field {
    uint64_t number;
    enum wire wire;
    uint64_t value;   /* of a varint */
    struct span text; /* of bytes, or of the 4 or 8 of a fixed one */
};

static bool take_varint(struct span *from, uint64_t *ret_value)
{
    uint64_t value = 0;

    for (unsigned shift = 0; shift < 64 && from->bytes > 0; shift += 7) {
        uint8_t byte = *from->data++;
        from->bytes--;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if ((byte & 0x80) == 0) {
            *ret_value = value;
            return true;
        }
    }
    return false;
}

/* The next field; false when there is none that can be read. */
static bool take_field(struct span *from, struct field *ret_field)
{
    uint64_t tag = 0;
    uint64_t bytes = 0;

    if (!take_varint(from, &tag))
        return false;
    *ret_field = (struct field){.number = tag >> 3, .wire = (enum wire)(tag & 7)};
    switch (ret_field->wire) {
    case WIRE_VARINT:
        return take_varint(from, &ret_field->value);
    case WIRE_BYTES:
        if (!take_varint(from, &bytes))
            return false;
        break;
    case WIRE_32:
        bytes = 4;
        break;
    case WIRE_64:
        bytes = 8;
        break;
    default:
        return false;
    }
    if (bytes > from->bytes)
        return false;
    ret_field->text = (struct span){from->data, (size_t)bytes};
    from->data += (size_t)bytes;
    from->bytes -= (size_t)bytes;
    return true;
}

struct piece {
    struct span text;
    float score;
    int32_t type;
};

static bool read_piece(struct span from, struct piece *ret_piece)
{
    struct field field;

    *ret_piece = (struct piece){.type = PIECE_NORMAL};
    while (from.bytes > 0) {
        if (!take_field(&from, &field))
            return false;
        if (field.number == 1 && field.wire == WIRE_BYTES)
            ret_piece->text = field.text;
        else if (field.number == 2 && field.wire == WIRE_32)
            ret_piece->score = base_load_f32(field.text.data);
        else if (field.number == 3 && field.wire == WIRE_VARINT)
            ret_piece->type = field.value <= PIECE_TYPES ? (int32_t)field.value : PIECE_NORMAL;
    }
    return true;
}

/* A number of a message within a message; otherwise when it is not there. */
static uint64_t inner_number(struct span from, uint64_t number, uint64_t otherwise)
{
    struct field field;

    while (from.bytes > 0 && take_field(&from, &field))
        if (field.number == number && field.wire == WIRE_VARINT)
            otherwise = field.value;
    return otherwise;
}

struct vocabulary {
    struct piece *pieces;
    size_t count;
    uint64_t model_type;
    bool space_prefix;
};

/* Reads all; with pieces NULL it counts them only. */
static bool read_model(struct span from, struct vocabulary *self)
{
    struct field field;

    self->count = 0;
    while (from.bytes > 0) {
        struct piece piece;
        if (!take_field(&from, &field))
            return false;
        if (field.wire != WIRE_BYTES)
            continue;
        if (field.number == 2)
            self->model_type = inner_number(field.text, 3, MODEL_UNIGRAM);
        if (field.number == 3)
            self->space_prefix = inner_number(field.text, 3, 1) != 0;
        if (field.number != 1)
            continue;
        if (!read_piece(field.text, &piece))
            return false;
        if (self->pieces != NULL)
            self->pieces[self->count] = piece;
        self->count++;
    }
    return true;
}

static int put_vocabulary(
    const struct vocabulary *self, struct gguf_builder *builder, struct base_error *err)
{
    float *scores = base_alloc_array(self->count, sizeof(*scores));
    int32_t *types = base_alloc_array(self->count, sizeof(*types));
    int rc = BASE_OK;

    if (scores == NULL || types == NULL) {
        rc = base_error_set(err, BASE_NOMEM, "tokenizer.model: no memory");
    } else {
        gguf_builder_string(builder, "tokenizer.ggml.model", "llama");
        gguf_builder_string(builder, "tokenizer.ggml.pre", "default");
        gguf_builder_strings(builder, "tokenizer.ggml.tokens", self->count);
        for (size_t i = 0; i < self->count; i++) {
            const struct piece *piece = &self->pieces[i];
            gguf_builder_element(builder, (const char *)piece->text.data, piece->text.bytes);
            scores[i] = piece->score;
            types[i] = piece->type;
        }
        gguf_builder_array(builder, "tokenizer.ggml.scores", GGUF_VALUE_F32, self->count, scores);
        gguf_builder_array(
            builder, "tokenizer.ggml.token_type", GGUF_VALUE_I32, self->count, types);
        gguf_builder_bool(builder, "tokenizer.ggml.add_space_prefix", self->space_prefix);
        for (size_t i = 0; i < self->count; i++)
            if (types[i] == PIECE_UNKNOWN) {
                gguf_builder_u32(builder, "tokenizer.ggml.unknown_token_id", (uint32_t)i);
                break;
            }
    }
    base_free(scores);
    base_free(types);
    return rc;
}

int hf_read_sentencepiece(
    const uint8_t *data, size_t bytes, struct gguf_builder *builder, struct base_error *err)
{
    struct vocabulary self = {.model_type = MODEL_UNIGRAM, .space_prefix = true};
    struct span all = {data, bytes};

    if (!read_model(all, &self) || self.count == 0)
        return base_error_set(err, BASE_MALFORMED, "tokenizer.model: not a SentencePiece model");
    if (self.count > LIMIT_VOCAB_MAX)
        return base_error_set(err, BASE_TOO_BIG, "tokenizer.model: %zu pieces, at most %d",
            self.count, LIMIT_VOCAB_MAX);
    if (self.model_type != MODEL_BPE)
        return base_error_set(err, BASE_UNSUPPORTED,
            "tokenizer.model: model_type %llu is not supported (supported: BPE; others by "
            "tokenizer.json)",
            (unsigned long long)self.model_type);
    self.pieces = base_alloc_array(self.count, sizeof(*self.pieces));
    if (self.pieces == NULL)
        return base_error_set(err, BASE_NOMEM, "tokenizer.model: no memory");
    (void)read_model(all, &self);
    int rc = put_vocabulary(&self, builder, err);
    base_free(self.pieces);
    return rc;
}
