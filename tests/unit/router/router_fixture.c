#include "router_fixture.h"

#include <criterion/criterion.h>
#include <string.h>

#include "base_alloc.h"
#include "base_bytes.h"

/* ---- sink ---- */

static void send_coordinator(void *context, const struct wire_message *message)
{
    struct fixture *self = context;
    if (self->coordinator_count == 64) {
        memmove(self->coordinator, self->coordinator + 1, 63 * sizeof(*message));
        self->coordinator_count--;
    }
    self->coordinator[self->coordinator_count++] = *message;
}

static void link_first_stage(
    void *context, uint64_t epoch, const char *endpoint, const char *public_key)
{
    struct fixture *self = context;
    self->linked_epoch = epoch;
    self->is_linked = endpoint != NULL;
    if (endpoint != NULL)
        memcpy(self->linked_endpoint, endpoint, strlen(endpoint) + 1);
}

static bool send_step(
    void *context, const struct wire_message *message, const void *tensor, size_t bytes)
{
    struct fixture *self = context;
    if (self->link_full)
        return false;
    cr_assert_lt(self->step_count, FIXTURE_STEPS);
    cr_assert_eq(bytes, message->step.token_count * 4);
    struct fixture_step *copy = &self->steps[self->step_count++];
    copy->step = message->step;
    self->steps_sent++;
    copy->tokens = base_alloc(bytes + 1);
    memcpy(copy->tokens, tensor, bytes);
    struct wire_sequence *sequences =
        base_alloc_zeroed(message->step.sequence_count + 1, sizeof(*sequences));
    uint32_t *released = base_alloc_zeroed(message->step.released_page_count + 1, 4);
    if (message->step.released_page_count > 0)
        memcpy(released, message->step.released_pages, message->step.released_page_count * 4);
    for (size_t i = 0; i < message->step.sequence_count; i++) {
        sequences[i] = message->step.sequences[i];
        uint32_t *pages = base_alloc_array(sequences[i].page_count, sizeof(*pages));
        memcpy(pages, sequences[i].pages, sequences[i].page_count * sizeof(*pages));
        sequences[i].pages = pages;
    }
    copy->step.sequences = sequences;
    copy->step.released_pages = released;
    return true;
}

struct fixture_answer *fixture_answer_of(struct fixture *self, uint64_t client, uint64_t request_id)
{
    return fixture_choice_of(self, client, request_id, 0);
}

struct fixture_answer *fixture_choice_of(
    struct fixture *self, uint64_t client, uint64_t request_id, uint32_t choice)
{
    for (size_t i = 0; i < self->answer_count; i++)
        if (self->answers[i].client == client && self->answers[i].request_id == request_id &&
            self->answers[i].choice == choice)
            return &self->answers[i];
    cr_assert_lt(self->answer_count, FIXTURE_ANSWERS);
    struct fixture_answer *answer = &self->answers[self->answer_count++];
    answer->client = client;
    answer->request_id = request_id;
    answer->choice = choice;
    return answer;
}

static void take_partial(
    struct fixture *self, uint64_t client, const struct wire_partial *partial, const float *tensor)
{
    struct fixture_answer *answer =
        fixture_choice_of(self, client, partial->request_id, partial->choice);
    cr_assert_eq(answer->final_count, 0, "a PARTIAL behind the FINAL");
    cr_assert_eq(partial->sequence, answer->partial_count, "PARTIALs are numbered without gap");
    answer->partial_count++;
    for (size_t i = 0; i < partial->token_count; i++) {
        answer->ids[answer->id_count] = partial->tokens[i].token_id;
        answer->logprobs[answer->id_count++] = partial->tokens[i].logprob;
        answer->top_count = partial->tokens[i].top_count;
        for (size_t k = 0; k < answer->top_count; k++) {
            answer->top[k] = partial->tokens[i].top[k];
            answer->top[k].piece.data = NULL; /* borrowed for the call */
        }
        if (partial->tokens[i].piece.bytes > 0)
            memcpy(answer->pieces + answer->piece_bytes, partial->tokens[i].piece.data,
                partial->tokens[i].piece.bytes);
        answer->piece_bytes += partial->tokens[i].piece.bytes;
    }
    if (partial->text.bytes > 0)
        memcpy(answer->text + answer->text_bytes, partial->text.data, partial->text.bytes);
    answer->text_bytes += partial->text.bytes;
    for (size_t i = 0; i < partial->logprob_count; i++) {
        answer->scores[partial->first_position + 1 + i] = partial->logprobs[i];
        answer->score_count++;
    }
    if (partial->row_count == 0)
        return;
    size_t row = partial->vocab_size;
    if (answer->row_count == 0)
        answer->first_row = partial->first_position;
    cr_assert_eq(partial->first_position, answer->first_row + answer->row_count);
    answer->logits = base_realloc_array(
        answer->logits, (answer->row_count + partial->row_count) * row, sizeof(float));
    memcpy(
        answer->logits + answer->row_count * row, tensor, partial->row_count * row * sizeof(float));
    answer->row_count += partial->row_count;
}

static enum router_sent send_client(void *context, uint64_t client,
    const struct wire_message *message, const void *tensor, size_t bytes)
{
    struct fixture *self = context;
    if (self->client_takes[client] != ROUTER_SENT)
        return self->client_takes[client];
    if (message->kind == WIRE_PARTIAL && self->partials_taken[client] == 0)
        return ROUTER_SENT_NOT;
    if (message->kind == WIRE_PARTIAL && self->partials_taken[client] > 0)
        self->partials_taken[client]--;
    if (message->kind == WIRE_PARTIAL) {
        cr_assert_eq(bytes, (size_t)message->partial.row_count * message->partial.vocab_size * 4);
        take_partial(self, client, &message->partial, tensor);
    } else if (message->kind == WIRE_FINAL) {
        struct fixture_answer *answer =
            fixture_choice_of(self, client, message->final.request_id, message->final.choice);
        answer->final_count++;
        answer->final = message->final;
    } else {
        cr_assert_eq(message->kind, WIRE_ROUTER_STATUS);
        self->status = message->router_status;
        self->status_count++;
    }
    return ROUTER_SENT;
}

/* ---- life ---- */

struct router_options fixture_options(void)
{
    struct router_options options;
    router_options_default(&options);
    memcpy(options.node_id, "router-a", 9);
    memcpy(options.data_endpoint, "inproc://router", 16);
    options.incarnation = 11;
    return options;
}

struct fixture *fixture_new(
    const struct router_options *options, const struct text_tokenizer *tokenizer)
{
    struct fixture *self = base_alloc_zeroed(1, sizeof(*self));
    self->now_us = 1000000;
    self->vocab_size = FIXTURE_VOCAB;
    for (size_t i = 0; i < 8; i++)
        self->partials_taken[i] = -1;
    struct router_sink sink = {.context = self,
        .send_coordinator = send_coordinator,
        .link_first_stage = link_first_stage,
        .send_step = send_step,
        .send_client = send_client};
    cr_assert_eq(router_new(options, &sink, tokenizer, &self->router), BASE_OK);
    return self;
}

static void step_free(struct fixture_step *step)
{
    for (size_t i = 0; i < step->step.sequence_count; i++)
        base_free((void *)step->step.sequences[i].pages);
    base_free((void *)step->step.sequences);
    base_free((void *)step->step.released_pages);
    base_free(step->tokens);
}

static void forget_steps(struct fixture *self)
{
    for (size_t i = 0; i < self->step_count; i++)
        step_free(&self->steps[i]);
    self->step_count = 0;
}

void fixture_destroy(struct fixture *self)
{
    router_destroy(&self->router);
    forget_steps(self);
    sim_kv_release(&self->kv);
    for (size_t i = 0; i < self->answer_count; i++)
        base_free(self->answers[i].logits);
    base_free(self);
}

/* ---- coordinator ---- */

static struct wire_message plan_message(
    uint64_t epoch, enum wire_plan_state state, const struct wire_stage *stage)
{
    struct wire_message message = {.kind = WIRE_PLAN,
        .plan = {.epoch = epoch,
            .state = state,
            .stages = stage,
            .stage_count = stage != NULL,
            .router_node_id = "router-a",
            .router_endpoint = "inproc://router",
            .page_tokens = LIMIT_PAGE_TOKENS,
            .context_length = 4096,
            .embedding_length = SIM_EMBEDDING}};
    return message;
}

void fixture_plan(struct fixture *self, uint64_t epoch, uint32_t page_count)
{
    struct wire_stage stage = {
        .node_id = "worker-z", .endpoint = "inproc://z", .layer_count = SIM_LAYERS};
    struct wire_message message = plan_message(epoch, WIRE_PLAN_ACTIVE, &stage);
    message.plan.page_count = page_count;
    message.plan.vocab_size = self->vocab_size;
    memcpy(message.plan.reason, "worker-q was lost", 18);
    forget_steps(self);
    sim_kv_release(&self->kv);
    sim_kv_init(&self->kv, 0, SIM_LAYERS, page_count, epoch * 1000);
    memset(self->pages_used, 0, sizeof(self->pages_used));
    router_coordinator_message(self->router, self->now_us, &message);
}

void fixture_plan_state(
    struct fixture *self, uint64_t epoch, enum wire_plan_state state, const char *error_node)
{
    struct wire_message message = plan_message(epoch, state, NULL);
    if (error_node != NULL) {
        message.plan.error.code = BASE_UNAVAILABLE;
        memcpy(message.plan.error.node, error_node, strlen(error_node) + 1);
        memcpy(message.plan.error.text, "lost", 5);
    }
    router_coordinator_message(self->router, self->now_us, &message);
}

/* ---- clients ---- */

void fixture_send(struct fixture *self, uint64_t client, const struct wire_message *message)
{
    router_client_message(self->router, self->now_us, client, message);
}

struct wire_message fixture_generate(
    uint64_t request_id, const uint32_t *ids, size_t count, uint32_t max_tokens)
{
    return (struct wire_message){.kind = WIRE_GENERATE,
        .generate = {.request_id = request_id,
            .prompt_kind = WIRE_PROMPT_IDS,
            .ids = ids,
            .id_count = count,
            .max_tokens = max_tokens}};
}

/* ---- the stage ---- */

static struct fixture_step take_step(struct fixture *self)
{
    struct fixture_step step = self->steps[0];
    self->step_count--;
    memmove(self->steps, self->steps + 1, self->step_count * sizeof(step));
    return step;
}

static void count_pages(struct fixture *self, const struct wire_step *step)
{
    for (size_t i = 0; i < step->released_page_count; i++)
        self->pages_used[step->released_pages[i]] = false;
    for (size_t i = 0; i < step->sequence_count; i++)
        for (size_t k = 0; k < step->sequences[i].page_count; k++)
            self->pages_used[step->sequences[i].pages[k]] = true;
}

bool fixture_step_once(struct fixture *self)
{
    if (self->step_count == 0)
        return false;
    struct fixture_step step = take_step(self);
    uint64_t hashes[LIMIT_BATCH_TOKENS_MAX];
    struct wire_row_result rows[LIMIT_BATCH_TOKENS_MAX];
    struct wire_message message = {.kind = WIRE_RESULT,
        .result = {.epoch = step.step.epoch, .batch_id = step.step.batch_id, .rows = rows}};
    count_pages(self, &step.step);
    const char *fault = sim_kv_run(&self->kv, &step.step, step.tokens, hashes);
    cr_assert_null(fault, "%s", fault);
    uint8_t *payload;
    size_t bytes;
    sim_result(
        &step.step, hashes, self->vocab_size, rows, &message.result.row_count, &payload, &bytes);
    step_free(&step);
    self->now_us += 1000;
    self->is_taken =
        router_data_message(self->router, self->now_us, self->sender_key, &message, payload, bytes);
    base_free(payload);
    return true;
}

void fixture_lose(struct fixture *self)
{
    struct fixture_step step = take_step(self);
    step_free(&step);
}

void fixture_run(struct fixture *self)
{
    for (int i = 0; i < 100000 && fixture_step_once(self); i++)
        ;
    cr_assert_eq(self->step_count, 0);
}

void fixture_wait_ms(struct fixture *self, uint32_t ms)
{
    uint64_t end_us = self->now_us + (uint64_t)ms * 1000;
    bool again = false;
    for (;;) {
        uint64_t next_us = router_next_tick_us(self->router);
        if (next_us > end_us)
            break;
        cr_assert(next_us + 60000000 > self->now_us, "the next tick is long past");
        /* A tick that asks for itself again must not stop the clock. */
        self->now_us = next_us > self->now_us ? next_us : self->now_us + again;
        again = true;
        router_tick(self->router, self->now_us);
    }
    self->now_us = end_us;
    router_tick(self->router, self->now_us);
}

size_t fixture_pages_used(const struct fixture *self)
{
    size_t count = 0;
    for (size_t i = 0; i < 4096; i++)
        count += self->pages_used[i];
    return count;
}

void fixture_greedy(const uint32_t *ids, size_t count, uint32_t wanted, uint32_t *ret)
{
    uint32_t log[FIXTURE_TOKENS];
    uint64_t hashes[FIXTURE_TOKENS];
    memcpy(log, ids, count * sizeof(*ids));
    for (uint32_t i = 0; i < wanted; i++) {
        sim_log_hashes(log, (uint32_t)count, hashes);
        uint32_t best = 0;
        for (uint32_t id = 1; id < FIXTURE_VOCAB; id++)
            if (sim_logit(hashes[count - 1], id) > sim_logit(hashes[count - 1], best))
                best = id;
        log[count++] = ret[i] = best;
    }
}
