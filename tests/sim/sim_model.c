#include "sim_model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base_alloc.h"
#include "base_bytes.h"

/* The finaliser of splitmix64 over both words. */
uint64_t sim_mix(uint64_t a, uint64_t b)
{
    uint64_t z = a * UINT64_C(0x9e3779b97f4a7c15) + (b ^ UINT64_C(0xd1b54a32d192ed03));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static void *take(size_t count, size_t item_bytes)
{
    void *memory = base_alloc_zeroed(count, item_bytes);
    if (memory == NULL)
        exit(70);
    return memory;
}

void sim_kv_init(struct sim_kv *self, uint32_t layer_first, uint32_t layer_count,
    uint32_t page_count, uint64_t noise)
{
    size_t slots = (size_t)page_count * LIMIT_PAGE_TOKENS;
    *self = (struct sim_kv){
        .layer_first = layer_first, .layer_count = layer_count, .page_count = page_count};
    self->states = take(slots * layer_count, sizeof(*self->states));
    self->sequences = take(slots, sizeof(*self->sequences));
    self->positions = take(slots, sizeof(*self->positions));
    for (size_t i = 0; i < slots * layer_count; i++)
        self->states[i] = noise + i;
}

void sim_kv_release(struct sim_kv *self)
{
    base_free(self->states);
    base_free(self->sequences);
    base_free(self->positions);
    *self = (struct sim_kv){0};
}

/* The other earlier position that a position looks at. */
static uint32_t looks_back_to(uint32_t position)
{
    return (uint32_t)(sim_mix(position, 7) % position);
}

static uint64_t layer_state(
    uint64_t input, uint32_t layer, uint32_t position, uint64_t before, uint64_t earlier)
{
    return sim_mix(sim_mix(sim_mix(input, layer), position), sim_mix(before, earlier));
}

static size_t slot_of(const struct wire_sequence *sequence, uint32_t position)
{
    return (size_t)sequence->pages[position / LIMIT_PAGE_TOKENS] * LIMIT_PAGE_TOKENS +
           position % LIMIT_PAGE_TOKENS;
}

static uint64_t run_position(
    struct sim_kv *self, const struct wire_sequence *sequence, uint32_t position, uint64_t hidden)
{
    size_t slots = (size_t)self->page_count * LIMIT_PAGE_TOKENS;
    for (uint32_t layer = 0; layer < self->layer_count; layer++) {
        uint64_t *states = self->states + slots * layer;
        uint64_t before = position > 0 ? states[slot_of(sequence, position - 1)] : 1;
        uint64_t earlier = position > 0 ? states[slot_of(sequence, looks_back_to(position))] : 2;
        hidden = layer_state(hidden, self->layer_first + layer, position, before, earlier);
        states[slot_of(sequence, position)] = hidden;
    }
    return hidden;
}

const char *sim_kv_run(
    struct sim_kv *self, const struct wire_step *step, const void *input, uint64_t *output)
{
    const uint8_t *bytes = input;
    size_t index = 0;
    for (size_t i = 0; i < step->sequence_count; i++) {
        const struct wire_sequence *sequence = &step->sequences[i];
        for (uint32_t t = 0; t < sequence->token_count; t++, index++) {
            uint32_t position = sequence->first_position + t;
            uint64_t hidden = self->layer_first == 0 ? base_load_u32(bytes + index * 4)
                                                     : base_load_u64(bytes + index * 8);
            size_t slot = slot_of(sequence, position);
            if (self->sequences[slot] == sequence->sequence_id && self->positions[slot] == position)
                return "a position was run twice";
            self->sequences[slot] = sequence->sequence_id;
            self->positions[slot] = position;
            output[index] = run_position(self, sequence, position, hidden);
        }
    }
    return NULL;
}

float sim_logit(uint64_t hash, uint32_t id)
{
    return (float)(sim_mix(hash, id) >> 40) / (float)(1 << 20) - 8.0f;
}

float sim_log_sum_exp(uint64_t hash, uint32_t vocab_size)
{
    double sum = 0;
    for (uint32_t id = 0; id < vocab_size; id++)
        sum += exp((double)sim_logit(hash, id));
    return (float)log(sum);
}

static void put_top(uint64_t hash, uint32_t vocab_size, uint32_t count, uint8_t *payload)
{
    uint32_t held = 0;
    uint8_t *logits = payload + (size_t)count * 4;
    for (uint32_t id = 0; id < vocab_size; id++) {
        float logit = sim_logit(hash, id);
        uint32_t place = held < count ? held++ : count;
        if (place == count && !(logit > base_load_f32(logits + (size_t)(count - 1) * 4)))
            continue;
        if (place == count)
            place--;
        for (; place > 0 && logit > base_load_f32(logits + (size_t)(place - 1) * 4); place--) {
            memcpy(logits + (size_t)place * 4, logits + (size_t)(place - 1) * 4, 4);
            memcpy(payload + (size_t)place * 4, payload + (size_t)(place - 1) * 4, 4);
        }
        base_store_f32(logits + (size_t)place * 4, logit);
        base_store_u32(payload + (size_t)place * 4, id);
    }
}

static size_t sequence_rows(const struct wire_sequence *sequence)
{
    return sequence->logits == WIRE_LOGITS_NONE       ? 0
           : sequence->logits == WIRE_LOGITS_FULL_ALL ? sequence->token_count
                                                      : 1;
}

void sim_result(const struct wire_step *step, const uint64_t *hashes, uint32_t vocab_size,
    struct wire_row_result *rows, size_t *ret_row_count, uint8_t **ret_payload,
    size_t *ret_payload_bytes)
{
    size_t bytes = 0, row_count = 0, index = 0;
    for (size_t i = 0; i < step->sequence_count; i++) {
        const struct wire_sequence *s = &step->sequences[i];
        bytes += sequence_rows(s) *
                 (s->logits == WIRE_LOGITS_TOP ? (size_t)s->top_count * 8 : (size_t)vocab_size * 4);
    }
    uint8_t *payload = take(bytes + 1, 1);
    size_t offset = 0;
    for (size_t i = 0; i < step->sequence_count; i++) {
        const struct wire_sequence *s = &step->sequences[i];
        size_t count = sequence_rows(s);
        index += s->token_count;
        for (size_t k = 0; k < count; k++) {
            uint64_t hash = hashes[index - count + k];
            bool is_top = s->logits == WIRE_LOGITS_TOP;
            rows[row_count++] = (struct wire_row_result){.sequence_id = s->sequence_id,
                .position = s->first_position + s->token_count - (uint32_t)(count - k),
                .logits = is_top ? WIRE_LOGITS_TOP : WIRE_LOGITS_FULL,
                .count = is_top ? s->top_count : vocab_size,
                .log_sum_exp = sim_log_sum_exp(hash, vocab_size)};
            if (is_top)
                put_top(hash, vocab_size, s->top_count, payload + offset);
            else
                for (uint32_t id = 0; id < vocab_size; id++)
                    base_store_f32(payload + offset + (size_t)id * 4, sim_logit(hash, id));
            offset += is_top ? (size_t)s->top_count * 8 : (size_t)vocab_size * 4;
        }
    }
    *ret_row_count = row_count;
    *ret_payload = payload;
    *ret_payload_bytes = offset;
}

uint64_t sim_log_push(struct sim_log *self, uint32_t token)
{
    uint32_t position = self->count;
    if (position == self->capacity) {
        uint32_t capacity = self->capacity < 64 ? 64 : self->capacity * 2;
        uint64_t *states =
            base_realloc_array(self->states, (size_t)capacity * SIM_LAYERS, sizeof(*states));
        if (states == NULL)
            exit(70);
        self->states = states;
        self->capacity = capacity;
    }
    uint64_t hidden = token;
    for (uint32_t layer = 0; layer < SIM_LAYERS; layer++) {
        uint64_t before =
            position > 0 ? self->states[(size_t)(position - 1) * SIM_LAYERS + layer] : 1;
        uint64_t earlier =
            position > 0 ? self->states[(size_t)looks_back_to(position) * SIM_LAYERS + layer] : 2;
        hidden = layer_state(hidden, layer, position, before, earlier);
        self->states[(size_t)position * SIM_LAYERS + layer] = hidden;
    }
    self->count++;
    return hidden;
}

void sim_log_release(struct sim_log *self)
{
    base_free(self->states);
    *self = (struct sim_log){0};
}

void sim_log_hashes(const uint32_t *tokens, uint32_t count, uint64_t *ret)
{
    struct sim_log log = {0};
    for (uint32_t p = 0; p < count; p++)
        ret[p] = sim_log_push(&log, tokens[p]);
    sim_log_release(&log);
}
