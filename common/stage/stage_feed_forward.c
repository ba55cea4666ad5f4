/* The dense feed-forward, and the gate that experts share with it. */
#include "stage_internal.h"

#include "tensor_activation.h"
#include "tensor_ops.h"

/* Of gate and up of all tokens that stay in a thread's cache until they are activated. */
#define CHUNK_BYTES ((size_t)512 << 10)
/* A chunk has whole blocks of every form, and enough rows that activations are worth reading. */
#define CHUNK_ROWS ((size_t)256)

/* gate = activation(gate + bias, up + bias) */
static void activate(const struct model_config *config, float *gate, float *up, size_t count,
    const float *gate_bias, const float *up_bias)
{
    if (gate_bias != NULL)
        tensor_add(gate_bias, count, gate);
    if (up_bias != NULL)
        tensor_add(up_bias, count, up);
    switch (config->family->activation) {
    case MODEL_SWIGLU:
        tensor_silu_mul(gate, up, count, gate);
        break;
    case MODEL_GEGLU:
        tensor_gelu_mul(gate, up, count, gate);
        break;
    case MODEL_SWIGLU_CLAMPED:
        tensor_swiglu_clamped(gate, up, count, gate);
        break;
    case MODEL_GELU:
        tensor_gelu_erf(up, count, gate);
        break;
    }
}

/* Columns [first, last) of a token, which are rows of gate and up, become activations of down. */
static void finish_columns(const struct stage_run_context *run, const struct stage_gate *gate,
    size_t token, size_t first, size_t last)
{
    const struct stage_buffers *b = &run->stage->buffers;
    size_t at = token * gate->length + first;

    activate(run->stage->config, b->gate + at, b->up + at, last - first,
        gate->gate_bias != NULL ? gate->gate_bias + first : NULL,
        gate->up_bias != NULL ? gate->up_bias + first : NULL);
    tensor_activations_prepare(&run->inner, token, first, last - first);
}

/* Rows [first, last) of gate and up, and all that comes of them, while they are in the cache. */
static void run_rows(
    const struct stage_run_context *run, const struct stage_gate *gate, size_t first, size_t last)
{
    const struct stage_buffers *b = &run->stage->buffers;
    size_t tokens = run->outer.token_count;
    size_t chunk = CHUNK_BYTES / (tokens * 2 * sizeof(float)) / CHUNK_ROWS * CHUNK_ROWS;

    if (chunk == 0)
        chunk = CHUNK_ROWS;
    for (size_t row = first; row < last; row += chunk) {
        size_t end = last - row < chunk ? last : row + chunk;
        if (gate->gate != NULL)
            tensor_matmul_rows(gate->gate, &run->outer, row, end, b->gate, gate->length);
        tensor_matmul_rows(gate->up, &run->outer, row, end, b->up, gate->length);
        for (size_t token = 0; token < tokens; token++)
            finish_columns(run, gate, token, row, end);
    }
}

/* Any rows of gate and up; activated when all are there. */
static void run_in_two_phases(const struct stage_run_context *run, const struct stage_gate *gate)
{
    const struct stage_buffers *b = &run->stage->buffers;
    const struct stage_product products[] = {{gate->up, b->up}, {gate->gate, b->gate}};
    size_t pieces = (gate->length + CHUNK_ROWS - 1) / CHUNK_ROWS, first, last;

    stage_multiply(run, products, gate->gate != NULL ? 2 : 1, &run->outer);
    stage_barrier(run);
    stage_split(run, pieces * run->outer.token_count, &first, &last);
    for (size_t i = first; i < last; i++) {
        size_t column = i % pieces * CHUNK_ROWS, left = gate->length - column;
        finish_columns(
            run, gate, i / pieces, column, column + (left < CHUNK_ROWS ? left : CHUNK_ROWS));
    }
}

void stage_run_gate(struct stage_run_context *run, const struct stage_gate *gate)
{
    uint32_t forms = stage_forms(gate->down);
    size_t unit = stage_form_unit(forms), units = (gate->length + unit - 1) / unit, first, last;
    size_t most = (units + run->thread_count - 1) / run->thread_count;

    stage_set_inner(run, run->stage->buffers.gate, run->outer.token_count, gate->length, forms);
    /* Whole blocks of columns may not come out even between many threads. */
    if (most * run->thread_count > units + units / 8) {
        run_in_two_phases(run, gate);
        return;
    }
    stage_split(run, units, &first, &last);
    run_rows(run, gate, first * unit, last * unit < gate->length ? last * unit : gate->length);
}

void stage_feed_forward(struct stage_run_context *run)
{
    struct tensor_matrix *const *w = run->block->matrices;
    float *const *vectors = run->block->vectors;
    const struct stage_gate gate = {
        .gate = w[MODEL_GATE],
        .up = w[MODEL_UP],
        .down = w[MODEL_DOWN],
        .gate_bias = vectors[MODEL_GATE_BIAS],
        .up_bias = vectors[MODEL_UP_BIAS],
        .length = run->description->feed_forward_length,
    };
    const struct stage_product down = {w[MODEL_DOWN], run->stage->buffers.projected};

    stage_run_gate(run, &gate);
    stage_barrier(run);
    stage_multiply(run, &down, 1, &run->inner);
}
