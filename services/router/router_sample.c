/* What comes out of the last stage: checked, then sampled or scored. */
#include "router_internal.h"

#include <math.h>
#include <string.h>

#include "base_alloc.h"
#include "base_bytes.h"

/* ---- checking ---- */

size_t router_row_bytes(const struct wire_row_result *row)
{
    return (size_t)row->count * (row->logits == WIRE_LOGITS_TOP ? 8 : 4);
}

/* -inf is what a model may say of a token that cannot come; the others are nonsense. */
static bool logits_valid(const uint8_t *logits, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        float logit = base_load_f32(logits + (size_t)i * 4);
        if (isnan(logit) || (isinf(logit) && logit > 0))
            return false;
    }
    return true;
}

static bool row_valid(const struct router *self, const struct router_batch_item *item,
    const struct wire_row_result *row, uint32_t position, const uint8_t *payload, size_t bytes)
{
    uint32_t vocab = self->plan.vocab_size;
    bool is_top = item->logits == WIRE_LOGITS_TOP;
    if (row->sequence_id != item->sequence_id || row->position != position ||
        row->logits != (is_top ? WIRE_LOGITS_TOP : WIRE_LOGITS_FULL) ||
        row->count != (is_top ? item->top_count : vocab) || !isfinite(row->log_sum_exp) ||
        router_row_bytes(row) > bytes)
        return false;
    if (is_top)
        for (uint32_t i = 0; i < row->count; i++)
            if (base_load_u32(payload + (size_t)i * 4) >= vocab)
                return false;
    return logits_valid(is_top ? payload + (size_t)row->count * 4 : payload, row->count);
}

bool router_rows_valid(const struct router *self, const struct router_batch *batch,
    const struct wire_result *result, const uint8_t *tensor, size_t tensor_bytes)
{
    size_t row_index = 0, offset = 0;
    for (size_t i = 0; i < batch->item_count; i++) {
        const struct router_batch_item *item = &batch->items[i];
        uint32_t end = item->first_position + item->token_count;
        uint32_t position = item->logits == WIRE_LOGITS_NONE       ? end
                            : item->logits == WIRE_LOGITS_FULL_ALL ? item->first_position
                                                                   : end - 1;
        for (; position < end; position++) {
            if (row_index >= result->row_count || tensor == NULL)
                return false;
            const struct wire_row_result *row = &result->rows[row_index++];
            if (!row_valid(self, item, row, position, tensor + offset, tensor_bytes - offset))
                return false;
            offset += router_row_bytes(row);
        }
    }
    return row_index == result->row_count && offset == tensor_bytes;
}

/* ---- generate ---- */

/* One row of raw logits, as top list or in full. */
struct row_view {
    const uint8_t *ids; /* NULL: the index is the id */
    const uint8_t *logits;
    uint32_t count;
};

static struct text_candidate row_at(const struct row_view *view, uint32_t index)
{
    return (struct text_candidate){
        view->ids != NULL ? base_load_u32(view->ids + (size_t)index * 4) : index,
        base_load_f32(view->logits + (size_t)index * 4)};
}

static bool is_better(struct text_candidate a, struct text_candidate b)
{
    return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
}

/* The best few of a row by insertion. Returns how many. */
static size_t row_top(const struct row_view *view, size_t most, struct text_candidate *ret)
{
    size_t count = 0;
    for (uint32_t i = 0; i < view->count && most > 0; i++) {
        struct text_candidate candidate = row_at(view, i);
        if (count == most && !is_better(candidate, ret[count - 1]))
            continue;
        size_t place = count < most ? count++ : count - 1;
        for (; place > 0 && is_better(candidate, ret[place - 1]); place--)
            ret[place] = ret[place - 1];
        ret[place] = candidate;
    }
    return count;
}

static float raw_logit(const struct row_view *view, uint32_t id)
{
    if (view->ids == NULL)
        return base_load_f32(view->logits + (size_t)id * 4);
    for (uint32_t i = 0; i < view->count; i++)
        if (base_load_u32(view->ids + (size_t)i * 4) == id)
            return base_load_f32(view->logits + (size_t)i * 4);
    return -INFINITY;
}

/* Room for one more token in the log. */
static int log_reserve(struct router_request *request)
{
    if (request->sequence.length < request->token_capacity)
        return BASE_OK;
    uint32_t capacity = request->token_capacity * 2;
    uint32_t *tokens = base_realloc_array(request->tokens, capacity, sizeof(*tokens));
    if (tokens == NULL)
        return BASE_NOMEM;
    request->tokens = tokens;
    request->token_capacity = capacity;
    return BASE_OK;
}

/* Adds the chosen token's text to the answer. *ret_stopped: a stop string was met. */
static int push_text(struct router *self, struct router_request *request,
    const struct wire_token_part *part, bool is_end, bool *ret_stopped)
{
    const char *text = "";
    size_t text_bytes = 0;
    bool has_text = self->tokenizer != NULL && part->token_id < text_vocab_size(self->tokenizer);
    *ret_stopped = false;
    if (!is_end && has_text) {
        int rc = text_stream_push(request->stream, part->token_id, &text, &text_bytes, ret_stopped);
        if (rc != BASE_OK)
            return rc;
    }
    return router_emit_token(request, part, text, text_bytes);
}

/* Text that was held back: a stop string might have begun, or half a character. */
static int finish_text(struct router_request *request)
{
    const char *text;
    size_t text_bytes;
    if (request->stream == NULL)
        return BASE_OK;
    int rc = text_stream_finish(request->stream, &text, &text_bytes);
    return rc == BASE_OK ? router_emit_token(request, NULL, text, text_bytes) : rc;
}

/* An end token, unless those are ignored, or a stop id. */
static bool ends(const struct router_request *request, uint32_t id)
{
    const struct router_group *group = request->group;
    for (size_t i = group->ignore_eos ? group->end_count : 0; i < group->banned_count; i++)
        if (group->banned[i] == id)
            return true;
    return false;
}

static void count_token(struct router *self, uint64_t now_us, struct router_request *request)
{
    bool is_first = request->first_token_us == 0;
    if (is_first)
        request->first_token_us = now_us;
    uint64_t since_us = is_first ? request->arrived_us : request->last_token_us;
    request->last_token_us = now_us;
    if (!router_is_canary(request->client))
        metrics_observe_us(is_first ? &self->metrics.first_token : &self->metrics.between_tokens,
            now_us - since_us);
}

/* Appends the token to log and answer; ends the request when it is the last. */
static int push_token(struct router *self, uint64_t now_us, struct router_request *request,
    const struct wire_token_part *part)
{
    struct schedule_sequence *sequence = &request->sequence;
    bool is_end = ends(request, part->token_id);
    bool stopped;
    int rc = log_reserve(request);
    if (rc == BASE_OK)
        rc = push_text(self, request, part, is_end, &stopped);
    if (rc != BASE_OK)
        return rc;
    request->tokens[sequence->length] = part->token_id;
    schedule_append(self->schedule, sequence);
    count_token(self, now_us, request);
    if (!is_end && !stopped && sequence->length < sequence->limit) {
        router_request_want(self, request);
        router_flush(self, now_us, request);
        return BASE_OK;
    }
    if (!stopped)
        rc = finish_text(request);
    if (rc == BASE_OK && (is_end || stopped))
        router_end(self, now_us, request, WIRE_FINISH_STOP, NULL);
    else if (rc == BASE_OK)
        router_end_at_limit(self, now_us, request);
    return rc;
}

void router_take_token(struct router *self, uint64_t now_us, struct router_request *request,
    const struct wire_row_result *row, const uint8_t *payload)
{
    struct row_view view = {.count = row->count, .logits = payload};
    if (row->logits == WIRE_LOGITS_TOP) {
        view.ids = payload;
        view.logits = payload + (size_t)row->count * 4;
    }
    struct text_candidate best[LIMIT_TOP_LOGPROBS];
    struct wire_top_logprob top[LIMIT_TOP_LOGPROBS];
    size_t top_count = row_top(&view, request->group->top_logprobs, best), banned_count;
    for (size_t i = 0; i < top_count; i++)
        top[i] = (struct wire_top_logprob){
            .token_id = best[i].id, .logprob = best[i].logit - row->log_sum_exp};
    for (uint32_t i = 0; i < row->count; i++)
        self->scratch[i] = row_at(&view, i);
    uint32_t length = request->sequence.length;
    const uint32_t *banned = router_request_banned(request, &banned_count);
    uint32_t id = text_sample(&request->sampling, self->scratch, row->count, request->tokens,
        length, banned, banned_count, length);
    struct wire_token_part part = {.token_id = id,
        .logprob = raw_logit(&view, id) - row->log_sum_exp,
        .top = top,
        .top_count = top_count};
    if (push_token(self, now_us, request, &part) != BASE_OK) {
        struct wire_fault fault =
            router_fault(BASE_NOMEM, self->options.node_id, "no memory for the answer");
        router_end(self, now_us, request, WIRE_FINISH_ERROR, &fault);
    }
}

/* ---- score ---- */

/* Numbers of the rows of item from `first` on, which lie at payload. */
static int emit_rows(struct router *self, uint64_t now_us, struct router_request *request,
    const struct router_batch_item *item, uint32_t first, const struct wire_row_result *rows,
    const uint8_t *payload)
{
    float logprobs[LIMIT_BATCH_TOKENS_MAX];
    uint32_t end = item->first_position + item->token_count;
    size_t row_bytes = (size_t)self->plan.vocab_size * 4;
    struct router_score_part part = {.first_position = first, .logprobs = logprobs};
    for (uint32_t p = first; request->want_logprobs && p < end && p + 1 < request->prompt_count;
         p++) {
        const uint8_t *row = payload + (size_t)(p - first) * row_bytes;
        logprobs[part.logprob_count++] =
            base_load_f32(row + (size_t)request->tokens[p + 1] * 4) - rows[p - first].log_sum_exp;
    }
    if (request->want_logits && request->all_positions) {
        part.row_count = end - first;
        part.tensor = (uint8_t *)payload;
    }
    int rc = BASE_OK;
    if (part.row_count > 0 || part.logprob_count > 0)
        rc = router_emit_score(self, now_us, request, &part);
    if (rc != BASE_OK || !request->want_logits || request->all_positions || !item->last)
        return rc;
    part = (struct router_score_part){.first_position = end - 1,
        .row_count = 1,
        .tensor = (uint8_t *)payload + (size_t)(end - 1 - first) * row_bytes};
    return router_emit_score(self, now_us, request, &part);
}

void router_take_scores(struct router *self, uint64_t now_us, struct router_request *request,
    const struct router_batch_item *item, const struct wire_row_result *rows,
    const uint8_t *payload)
{
    uint32_t end = item->first_position + item->token_count;
    uint32_t first = item->logits == WIRE_LOGITS_FULL ? end - 1 : item->first_position;
    int rc = BASE_OK;
    if (request->first_token_us == 0)
        request->first_token_us = now_us;
    if (item->logits != WIRE_LOGITS_NONE && end > request->scored) {
        uint32_t skip = first < request->scored ? request->scored - first : 0;
        rc = emit_rows(self, now_us, request, item, first + skip, rows + skip,
            payload + (size_t)skip * self->plan.vocab_size * 4);
        request->scored = end;
    }
    if (rc != BASE_OK) {
        struct wire_fault fault =
            router_fault(BASE_NOMEM, self->options.node_id, "no memory for the scores");
        router_end(self, now_us, request, WIRE_FINISH_ERROR, &fault);
    } else if (item->last) {
        router_end(self, now_us, request, WIRE_FINISH_STOP, NULL);
    }
}
