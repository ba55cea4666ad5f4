/* Clients: what they ask, what they get, and what they should have got. */
#include "sim.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base_bytes.h"
#include "text_sampler.h"

#define PING_US     1500000u
#define PATIENCE_US 8000000u

void sim_start_clients(struct sim *self)
{
    for (int i = 0; i < SIM_CLIENTS; i++) {
        if (sim_process_new(self, SIM_CLIENT, i) == NULL)
            return;
        self->clients[i] = self->process_count - 1;
        struct sim_process *client = self->processes[self->clients[i]];
        client->control = sim_connect(self, self->clients[i], self->router, SIM_CLIENT_PLANE, 0);
        sim_push(
            self, (struct sim_event){.kind = SIM_EVENT_PING, .process = self->clients[i]}, PING_US);
    }
}

void sim_request_plan(struct sim *self, uint64_t start_us)
{
    size_t index = self->request_count++;
    struct sim_request *request = &self->requests[index];
    *request = (struct sim_request){.client = self->clients[sim_random(self, SIM_CLIENTS)],
        .id = 1000 + index,
        .start_us = start_us,
        .is_score = sim_chance(self, 15),
        .prompt_count = (uint32_t)(1 + sim_random(self, sim_chance(self, 30) ? 180 : 30)),
        .max_tokens = (uint32_t)(1 + sim_random(self, sim_chance(self, 15) ? 320 : 60))};
    for (uint32_t i = 0; i < request->prompt_count; i++)
        request->prompt[i] = (uint32_t)sim_random(self, SIM_VOCAB);
    if (sim_chance(self, 50)) {
        request->sampling.temperature = 0.9f;
        request->sampling.seed = sim_random(self, UINT64_MAX);
        request->sampling.top_k = sim_chance(self, 50) ? 6 : 0;
    }
    request->choices = request->is_score || sim_chance(self, 60)
                           ? 1
                           : (uint32_t)(2 + sim_random(self, SIM_CHOICES - 1));
    for (uint32_t i = 1; i < request->choices; i++) {
        struct sim_request *other = &self->requests[self->request_count++];
        *other = *request;
        other->choice = i;
        other->sampling.seed += i;
    }
    sim_push(self, (struct sim_event){.kind = SIM_EVENT_REQUEST, .number = index},
        start_us - self->now_us);
    if (self->faults && sim_chance(self, 10))
        sim_push(self,
            (struct sim_event){
                .kind = SIM_EVENT_CANCEL, .number = index + sim_random(self, request->choices)},
            start_us - self->now_us + sim_random(self, 3000000));
}

static void send_to_router(struct sim *self, int process, const struct wire_message *message)
{
    const struct sim_process *client = self->processes[process];
    if (client->alive)
        sim_conn_send(self, client->control, 0, sim_packet_of(self, message, NULL, 0));
}

void sim_request_send(struct sim *self, size_t index)
{
    struct sim_request *request = &self->requests[index];
    struct wire_message message = {.kind = WIRE_GENERATE};
    if (!self->processes[request->client]->alive)
        return;
    for (uint32_t i = 0; i < request->choices; i++)
        self->requests[index + i].sent = true;
    if (request->is_score) {
        message.kind = WIRE_SCORE;
        message.score = (struct wire_score){.request_id = request->id,
            .ids = request->prompt,
            .id_count = request->prompt_count,
            .want_logits = true,
            .want_logprobs = true};
    } else {
        message.generate = (struct wire_generate){.request_id = request->id,
            .prompt_kind = WIRE_PROMPT_IDS,
            .ids = request->prompt,
            .id_count = request->prompt_count,
            .max_tokens = request->max_tokens,
            .choices = request->choices,
            .sampling = request->sampling};
    }
    send_to_router(self, request->client, &message);
}

void sim_request_cancel(struct sim *self, size_t index)
{
    struct sim_request *request = &self->requests[index];
    struct wire_message message = {.kind = WIRE_CANCEL, .cancel = {.request_id = request->id}};
    if (!request->sent || request->final_count > 0)
        return;
    message.cancel.one_choice = sim_chance(self, 50);
    message.cancel.choice = request->choice;
    for (size_t i = 0; i < self->request_count; i++)
        if (self->requests[i].id == request->id && (!message.cancel.one_choice || i == index))
            self->requests[i].cancelled = true;
    send_to_router(self, request->client, &message);
}

void sim_client_ping(struct sim *self, int process)
{
    struct wire_message message = {.kind = WIRE_PING};
    if (!self->processes[process]->alive)
        return;
    send_to_router(self, process, &message);
    sim_push(self, (struct sim_event){.kind = SIM_EVENT_PING, .process = process}, PING_US);
}

enum router_sent sim_client_takes(struct sim *self, int conn)
{
    int node = self->processes[self->conns[conn].from]->node;
    if (!self->conns[conn].open)
        return ROUTER_CLIENT_GONE;
    return self->client_slow_until_us[node] > self->now_us ? ROUTER_SENT_NOT : ROUTER_SENT;
}

/* ---- answers ---- */

static struct sim_request *request_of(struct sim *self, int process, uint64_t id, uint32_t choice)
{
    for (size_t i = 0; i < self->request_count; i++)
        if (self->requests[i].client == process && self->requests[i].id == id &&
            self->requests[i].choice == choice)
            return &self->requests[i];
    return NULL;
}

/* How many FINALs of the request came, and whether one of them said that it was the last. */
static uint32_t count_finals(const struct sim *self, uint64_t id, bool *ret_over)
{
    uint32_t count = 0;
    *ret_over = false;
    for (size_t i = 0; i < self->request_count; i++) {
        const struct sim_request *request = &self->requests[i];
        if (request->id != id || request->final_count == 0)
            continue;
        count++;
        *ret_over |= request->final.choices_open == 0;
    }
    return count;
}

/* A FINAL says how many are still to come. One that is refused as a whole gets one for all. */
static void take_final(
    struct sim *self, struct sim_request *request, const struct wire_final *final)
{
    bool is_over;
    uint32_t before = count_finals(self, request->id, &is_over);
    bool is_refusal = before == 0 && final->choices_open == 0 && request->choice == 0 &&
                      final->finish_reason == WIRE_FINISH_ERROR;
    request->final = *final;
    if (is_over || (!is_refusal && final->choices_open != request->choices - 1 - before))
        sim_fail(self, "request %llu: %u choices left at FINAL %u of %u",
            (unsigned long long)request->id, final->choices_open, before + 1, request->choices);
    for (size_t i = 0; i < self->request_count && is_refusal; i++) {
        struct sim_request *other = &self->requests[i];
        if (other->id != request->id || other == request)
            continue;
        if (other->partial_count > 0)
            sim_fail(self, "request %llu was refused in its middle", (unsigned long long)other->id);
        other->final_count++;
        other->final = *final;
    }
}

static void take_partial(
    struct sim *self, struct sim_request *request, const struct wire_partial *partial)
{
    if (request->final_count > 0 || partial->sequence != request->partial_count) {
        sim_fail(self, "request %llu: PARTIAL %u after %u others and %d FINALs",
            (unsigned long long)request->id, partial->sequence, request->partial_count,
            request->final_count);
        return;
    }
    request->partial_count++;
    for (size_t i = 0; i < partial->token_count && request->token_count < SIM_TOKENS_MAX; i++)
        request->tokens[request->token_count++] = partial->tokens[i].token_id;
    if (partial->logprob_count > 0 && partial->first_position != request->score_count)
        sim_fail(self, "request %llu: scores from position %u, not %u",
            (unsigned long long)request->id, partial->first_position, request->score_count);
    for (size_t i = 0; i < partial->logprob_count && request->score_count < SIM_TOKENS_MAX; i++)
        request->scores[request->score_count++] = partial->logprobs[i];
}

void sim_client_message(
    struct sim *self, int process, const struct wire_message *message, const void *tensor)
{
    (void)tensor;
    self->progress_us = self->now_us;
    if (message->kind == WIRE_PARTIAL) {
        struct sim_request *request =
            request_of(self, process, message->partial.request_id, message->partial.choice);
        if (request == NULL)
            sim_fail(self, "a PARTIAL for nobody");
        else
            take_partial(self, request, &message->partial);
    } else if (message->kind == WIRE_FINAL) {
        struct sim_request *request =
            request_of(self, process, message->final.request_id, message->final.choice);
        if (request == NULL || request->final_count > 0)
            sim_fail(self, "a second FINAL, or one for nobody");
        else
            take_final(self, request, &message->final);
        if (request != NULL)
            request->final_count++;
    }
}

/* ---- checks ---- */

static uint32_t next_token(
    const struct sim_request *request, uint64_t hash, const uint32_t *log, uint32_t count)
{
    struct text_candidate candidates[SIM_VOCAB];
    struct text_sampling sampling = {.temperature = request->sampling.temperature,
        .top_k = request->sampling.top_k,
        .seed = request->sampling.seed};
    for (uint32_t id = 0; id < SIM_VOCAB; id++)
        candidates[id] = (struct text_candidate){id, sim_logit(hash, id)};
    return text_sample(&sampling, candidates, SIM_VOCAB, log, count, NULL, 0, count);
}

/* Every token that came must be what an undisturbed computation of the log gives. */
static void check_tokens(struct sim *self, const struct sim_request *request)
{
    uint32_t log[SIM_TOKENS_MAX * 2];
    struct sim_log model = {0};
    uint64_t hash = 0;
    for (uint32_t i = 0; i < request->prompt_count; i++) {
        log[i] = request->prompt[i];
        hash = sim_log_push(&model, log[i]);
    }
    for (uint32_t i = 0; i < request->token_count; i++) {
        uint32_t count = request->prompt_count + i;
        uint32_t expected = next_token(request, hash, log, count);
        if (request->tokens[i] != expected) {
            sim_fail(self, "request %llu: token %u is %u, undisturbed it is %u",
                (unsigned long long)request->id, i, request->tokens[i], expected);
            break;
        }
        log[count] = expected;
        hash = sim_log_push(&model, expected);
    }
    sim_log_release(&model);
}

static void check_scores(struct sim *self, const struct sim_request *request)
{
    struct sim_log model = {0};
    for (uint32_t i = 0; i < request->score_count; i++) {
        uint64_t hash = sim_log_push(&model, request->prompt[i]);
        float expected = sim_logit(hash, request->prompt[i + 1]) - sim_log_sum_exp(hash, SIM_VOCAB);
        if (request->scores[i] != expected) {
            sim_fail(self, "request %llu: score of token %u is %g, undisturbed it is %g",
                (unsigned long long)request->id, i + 1, (double)request->scores[i],
                (double)expected);
            break;
        }
    }
    sim_log_release(&model);
}

static void check_final(struct sim *self, const struct sim_request *request)
{
    const struct wire_final *final = &request->final;
    switch (final->finish_reason) {
    case WIRE_FINISH_LENGTH:
    case WIRE_FINISH_STOP:
        self->done_count++;
        if (request->is_score ? request->score_count + 1 != request->prompt_count
                              : request->token_count != request->max_tokens)
            sim_fail(self, "request %llu is finished with %u tokens and %u scores of %u and %u",
                (unsigned long long)request->id, request->token_count, request->score_count,
                request->max_tokens, request->prompt_count - 1);
        break;
    case WIRE_FINISH_CANCELLED:
        self->cancelled_count++;
        if (!request->cancelled)
            sim_fail(self, "request %llu was cancelled by nobody", (unsigned long long)request->id);
        break;
    case WIRE_FINISH_ERROR:
        self->error_count++;
        if (!self->faults || final->error.text[0] == 0 ||
            (final->error.code != BASE_UNAVAILABLE && final->error.code != BASE_TIMEOUT))
            sim_fail(self, "request %llu failed: %s %s", (unsigned long long)request->id,
                base_err_name(final->error.code), final->error.text);
        break;
    }
    self->resumed_count += final->resume_count;
    self->shared_count += final->shared_tokens;
}

/* Once everything is well, somebody whose request is open gets something all the time. */
void sim_requests_watch(struct sim *self)
{
    uint64_t since_us = self->progress_us > SIM_HEAL_US ? self->progress_us : SIM_HEAL_US;
    for (size_t i = 0; i < self->request_count; i++) {
        const struct sim_request *request = &self->requests[i];
        if (request->final_count > 0 || !self->processes[request->client]->alive ||
            self->now_us < request->start_us + PATIENCE_US || self->now_us < since_us + PATIENCE_US)
            continue;
        sim_fail(self, "request %llu is open, and for %u s nobody got anything",
            (unsigned long long)request->id, PATIENCE_US / 1000000);
        return;
    }
}

bool sim_requests_done(const struct sim *self)
{
    for (size_t i = 0; i < self->request_count; i++) {
        const struct sim_request *request = &self->requests[i];
        bool is_over = request->final_count > 0 || !self->processes[request->client]->alive;
        if (!is_over || request->start_us > self->now_us)
            return false;
    }
    return true;
}

void sim_requests_check(struct sim *self)
{
    for (size_t i = 0; i < self->request_count; i++) {
        const struct sim_request *request = &self->requests[i];
        if (request->is_score)
            check_scores(self, request);
        else
            check_tokens(self, request);
        if (!self->processes[request->client]->alive)
            continue; /* it was not there to get a FINAL */
        if (request->final_count != 1)
            sim_fail(self, "request %llu got %d FINALs", (unsigned long long)request->id,
                request->final_count);
        else
            check_final(self, request);
    }
}
