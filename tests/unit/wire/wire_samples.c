#include "wire_samples.h"

#include "base_assert.h"
#include <string.h>

const enum wire_kind wire_sample_kinds[WIRE_SAMPLE_KINDS] = {WIRE_REGISTER, WIRE_REGISTERED,
    WIRE_HEARTBEAT, WIRE_HEARTBEAT_ACK, WIRE_PLAN, WIRE_STAGE_STATUS, WIRE_SUSPECT, WIRE_DRAIN,
    WIRE_GOODBYE, WIRE_PROBE, WIRE_STATUS_QUERY, WIRE_STATUS_REPLY, WIRE_ERROR, WIRE_STEP,
    WIRE_RESULT, WIRE_STEP_ERROR, WIRE_LINK_HELLO, WIRE_CREDIT, WIRE_GENERATE, WIRE_SCORE,
    WIRE_CANCEL, WIRE_PING, WIRE_PARTIAL, WIRE_FINAL, WIRE_ROUTER_STATUS_QUERY, WIRE_ROUTER_STATUS,
    WIRE_ADMISSION, WIRE_ENROL, WIRE_ENROLLED};

struct maker {
    uint64_t state;
    struct base_arena *arena;
};

uint64_t wire_sample_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * UINT64_C(2685821657736338717);
}

uint32_t wire_sample_between(uint64_t *state, uint32_t first, uint32_t last)
{
    return first + (uint32_t)(wire_sample_random(state) % ((uint64_t)last - first + 1));
}

static uint64_t any64(struct maker *self)
{
    return wire_sample_random(&self->state) | 1;
}

static uint32_t any32(struct maker *self)
{
    return (uint32_t)any64(self);
}

static uint32_t between(struct maker *self, uint32_t first, uint32_t last)
{
    return wire_sample_between(&self->state, first, last);
}

/* In [1/1024, 1]. */
static double part(struct maker *self)
{
    return between(self, 1, 1024) / 1024.0;
}

static void *rows(struct maker *self, size_t count, size_t row_bytes)
{
    void *memory = base_arena_alloc_zeroed(self->arena, count, row_bytes);
    base_assert(memory != NULL);
    return memory;
}

static void name(struct maker *self, char *out)
{
    static const char letters[] = "abcXYZ019._-";
    const uint32_t bytes = between(self, 1, LIMIT_NAME_BYTES - 1);

    for (uint32_t i = 0; i < bytes; i++)
        out[i] = letters[between(self, 0, sizeof(letters) - 2)];
}

/* Characters of one to four bytes, up to the capacity. */
static void text(struct maker *self, char *out, size_t capacity)
{
    static const char *const characters[] = {"a", "~", "\xc3\xa9", "\xe2\x82\xac", "\xed\x9f\xbf",
        "\xf0\x9f\x8e\x89", "\xf4\x8f\xbf\xbf"};
    size_t at = 0, want = between(self, 1, (uint32_t)capacity - 1);

    do {
        const char *character = characters[between(self, 0, 6)];
        const size_t bytes = strlen(character);
        if (at + bytes >= capacity)
            break;
        memcpy(out + at, character, bytes);
        at += bytes;
    } while (at < want);
}

static void key(struct maker *self, char *out)
{
    static const char letters[] = "09azAZ.-:+=^!/*?&<>()[]{}@%$#";

    for (uint32_t i = 0; i + 1 < LIMIT_KEY_BYTES; i++)
        out[i] = letters[between(self, 0, sizeof(letters) - 2)];
}

static struct wire_bytes bytes(struct maker *self, uint32_t most)
{
    const uint32_t count = between(self, 1, most);
    uint8_t *data = rows(self, count, 1);

    for (uint32_t i = 0; i < count; i++)
        data[i] = (uint8_t)any64(self);
    return (struct wire_bytes){.data = data, .bytes = count};
}

static const uint32_t *numbers(struct maker *self, size_t count, uint32_t end)
{
    uint32_t *values = rows(self, count, sizeof(*values));

    for (size_t i = 0; i < count; i++)
        values[i] = between(self, 0, end - 1);
    return values;
}

static void fault(struct maker *self, struct wire_fault *ret)
{
    ret->code = (int)between(self, 0, 15) + BASE_NOMEM;
    text(self, ret->text, sizeof(ret->text));
    name(self, ret->node);
}

static void card(struct maker *self, bool with_layers, struct wire_model_card *ret)
{
    ret->fingerprint = any64(self);
    text(self, ret->name, sizeof(ret->name));
    text(self, ret->architecture, sizeof(ret->architecture));
    ret->layer_count = between(self, 1, 40);
    ret->embedding_length = between(self, 1, 8192);
    ret->vocab_size = between(self, 1, LIMIT_VOCAB_MAX);
    ret->context_length = any32(self);
    ret->kv_type = any32(self);
    if (!with_layers)
        return;
    ret->layers_count = ret->layer_count + 2;
    struct wire_layer_cost *layers = rows(self, ret->layers_count, sizeof(*layers));
    for (size_t i = 0; i < ret->layers_count; i++)
        layers[i] = (struct wire_layer_cost){.weight_type = any32(self),
            .weight_bytes = any64(self),
            .operations_per_token = any64(self),
            .kv_bytes_per_token = any32(self)};
    ret->layers = layers;
}

static void make_register(struct maker *self, struct wire_register *ret)
{
    ret->protocol_version = between(self, 1, 9);
    ret->min_version = 1;
    ret->features = any64(self);
    ret->role = (enum wire_role)between(self, 1, 3);
    name(self, ret->node_id);
    ret->incarnation = any64(self);
    text(self, ret->host, sizeof(ret->host));
    ret->pid = any32(self);
    text(self, ret->data_endpoint, sizeof(ret->data_endpoint));
    ret->memory_bytes = any64(self);
    ret->thread_count = any32(self);
    ret->rate_count = between(self, 1, LIMIT_RATES_MAX);
    struct wire_rate *rates = rows(self, ret->rate_count, sizeof(*rates));
    for (size_t i = 0; i < ret->rate_count; i++)
        rates[i] = (struct wire_rate){
            .weight_type = any32(self), .gops = part(self), .gigabytes_per_s = part(self)};
    ret->rates = rates;
    card(self, true, &ret->model);
    ret->standby = true;
    ret->plan_epoch = any64(self);
}

static void make_heartbeat(struct maker *self, struct wire_heartbeat *ret)
{
    name(self, ret->node_id);
    ret->incarnation = any64(self);
    ret->plan_epoch = any64(self);
    ret->state = (enum wire_worker_state)between(self, 1, 5);
    ret->last_progress_ms = any64(self);
    ret->busy_ms = any32(self);
    ret->queue_depth = any32(self);
    ret->kv_pages_total = between(self, 1, LIMIT_PAGES_MAX);
    ret->kv_pages_used = between(self, 1, ret->kv_pages_total);
    ret->step_ms = part(self);
    ret->step_tokens = part(self);
    ret->step_context = part(self);
    ret->last_batch_id = any64(self);
    ret->requests_running = any32(self);
    ret->requests_waiting = any32(self);
}

static void make_plan(struct maker *self, struct wire_plan *ret)
{
    uint32_t next = 0;

    ret->epoch = any64(self);
    ret->state = (enum wire_plan_state)between(self, 1, 3);
    ret->fingerprint = any64(self);
    ret->stage_count = between(self, 2, LIMIT_STAGES_MAX);
    struct wire_stage *stages = rows(self, ret->stage_count, sizeof(*stages));
    for (size_t i = 0; i < ret->stage_count; i++) {
        name(self, stages[i].node_id);
        stages[i].incarnation = any64(self);
        text(self, stages[i].endpoint, sizeof(stages[i].endpoint));
        stages[i].layer_first = next;
        stages[i].layer_count = between(self, 1, LIMIT_LAYERS_MAX / LIMIT_STAGES_MAX);
        next += stages[i].layer_count;
        stages[i].weight_bytes = any64(self);
        stages[i].kv_bytes = any64(self);
        stages[i].predicted_ms = part(self);
        key(self, stages[i].public_key);
    }
    ret->stages = stages;
    name(self, ret->router_node_id);
    text(self, ret->router_endpoint, sizeof(ret->router_endpoint));
    ret->page_tokens = LIMIT_PAGE_TOKENS;
    ret->page_count = between(self, 1, LIMIT_PAGES_MAX);
    ret->context_length = between(self, 1, LIMIT_CONTEXT_TOKENS_MAX);
    ret->embedding_length = between(self, 1, 8192);
    ret->vocab_size = between(self, 1, LIMIT_VOCAB_MAX);
    text(self, ret->reason, sizeof(ret->reason));
    fault(self, &ret->error);
    key(self, ret->router_public_key);
}

static void make_admission(struct maker *self, struct wire_admission *ret)
{
    ret->serial = any64(self);
    ret->row_count = between(self, 1, 40);
    struct wire_admitted *admitted = rows(self, ret->row_count, sizeof(*admitted));
    for (size_t i = 0; i < ret->row_count; i++) {
        key(self, admitted[i].public_key);
        admitted[i].role = (enum wire_role)between(self, WIRE_ROLE_WORKER, WIRE_ROLE_JOIN);
        name(self, admitted[i].name);
        if (i % 2 == 0)
            admitted[i].name[strlen(admitted[i].name) - 1] = '*';
    }
    ret->rows = admitted;
}

static void make_status_reply(struct maker *self, struct wire_status_reply *ret)
{
    ret->plan_epoch = any64(self);
    ret->plan_state = (int)between(self, 1, 3);
    text(self, ret->plan_reason, sizeof(ret->plan_reason));
    ret->bottleneck_ms = part(self);
    ret->requests_running = any32(self);
    ret->requests_waiting = any32(self);
    ret->worker_count = between(self, 1, LIMIT_WORKERS_MAX);
    struct wire_worker_row *workers = rows(self, ret->worker_count, sizeof(*workers));
    for (size_t i = 0; i < ret->worker_count; i++) {
        struct wire_worker_row *row = &workers[i];
        name(self, row->node_id);
        row->pid = any32(self);
        text(self, row->host, sizeof(row->host));
        row->state = (enum wire_worker_state)between(self, 1, 5);
        row->has_stage = true;
        row->layer_first = between(self, 1, LIMIT_LAYERS_MAX - 1);
        row->layer_count = between(self, 1, LIMIT_LAYERS_MAX - row->layer_first);
        row->memory_bytes = any64(self);
        row->weight_bytes = any64(self);
        row->kv_bytes = any64(self);
        row->kv_pages_total = between(self, 1, LIMIT_PAGES_MAX);
        row->kv_pages_used = between(self, 1, row->kv_pages_total);
        row->predicted_ms = part(self);
        row->measured_ms = part(self);
        row->last_progress_ms = any64(self);
        text(self, row->reason, sizeof(row->reason));
        row->load_progress = part(self);
    }
    ret->workers = workers;
    card(self, false, &ret->model);
    ret->router_count = between(self, 1, LIMIT_ROUTERS_MAX);
    fault(self, &ret->error);
}

static void make_step(struct maker *self, struct wire_step *ret)
{
    ret->epoch = any64(self);
    ret->batch_id = any64(self);
    ret->embedding_length = between(self, 1, 8192);
    ret->sequence_count = between(self, 1, LIMIT_BATCH_SEQUENCES_MAX);
    struct wire_sequence *sequences = rows(self, ret->sequence_count, sizeof(*sequences));
    for (size_t i = 0; i < ret->sequence_count; i++) {
        struct wire_sequence *sequence = &sequences[i];
        sequence->sequence_id = any64(self);
        sequence->first_position = between(self, 1, 4096);
        sequence->token_count =
            between(self, 1, LIMIT_BATCH_TOKENS_MAX / LIMIT_BATCH_SEQUENCES_MAX);
        sequence->page_count =
            (sequence->first_position + sequence->token_count) / LIMIT_PAGE_TOKENS + 1;
        sequence->pages = numbers(self, sequence->page_count, LIMIT_PAGES_MAX);
        sequence->logits = (enum wire_logits_mode)between(self, 1, 3);
        sequence->top_count = between(self, 1, LIMIT_TOP_LOGITS_MAX);
        ret->token_count += sequence->token_count;
    }
    ret->sequences = sequences;
    ret->released_page_count = between(self, 1, LIMIT_RELEASES_PER_STEP);
    ret->released_pages = numbers(self, ret->released_page_count, LIMIT_PAGES_MAX);
    ret->hop_count = between(self, 1, LIMIT_STAGES_MAX);
    ret->hop_us = numbers(self, ret->hop_count, UINT32_MAX);
}

static void make_result(struct maker *self, struct wire_result *ret)
{
    ret->epoch = any64(self);
    ret->batch_id = any64(self);
    ret->row_count = between(self, 1, LIMIT_BATCH_TOKENS_MAX);
    struct wire_row_result *made = rows(self, ret->row_count, sizeof(*made));
    for (size_t i = 0; i < ret->row_count; i++)
        made[i] = (struct wire_row_result){.sequence_id = any64(self),
            .position = between(self, 1, LIMIT_CONTEXT_TOKENS_MAX - 1),
            .logits = (enum wire_logits_mode)between(self, WIRE_LOGITS_TOP, WIRE_LOGITS_FULL),
            .count = between(self, 1, LIMIT_TOP_LOGITS_MAX),
            .log_sum_exp = (float)part(self)};
    ret->rows = made;
    ret->hop_count = between(self, 1, LIMIT_STAGES_MAX);
    ret->hop_us = numbers(self, ret->hop_count, UINT32_MAX);
}

static void sampling(struct maker *self, struct wire_sampling *ret)
{
    ret->temperature = (float)part(self) * 100;
    ret->top_k = any32(self);
    ret->top_p = (float)part(self);
    ret->min_p = (float)part(self);
    ret->repeat_penalty = (float)part(self) * 100;
    ret->repeat_last_n = any32(self);
    ret->presence_penalty = (float)part(self) * -100;
    ret->frequency_penalty = (float)part(self) * 100;
    ret->seed = any64(self);
    ret->logit_bias_count = between(self, 1, LIMIT_LOGIT_BIASES);
    struct wire_logit_bias *biases = rows(self, ret->logit_bias_count, sizeof(*biases));
    for (size_t i = 0; i < ret->logit_bias_count; i++)
        biases[i] = (struct wire_logit_bias){
            .token_id = between(self, 1, LIMIT_VOCAB_MAX - 1), .bias = -(float)part(self)};
    biases[0].bias = -__builtin_inff();
    ret->logit_biases = biases;
    ret->top_logprobs = between(self, 1, LIMIT_TOP_LOGPROBS);
    ret->typical_p = (float)part(self);
    ret->min_keep = any32(self);
    ret->top_n_sigma = (float)part(self) * 1000;
    ret->dynatemp_range = (float)part(self) * 100;
    ret->dynatemp_exponent = (float)part(self) * 100;
    ret->xtc_probability = (float)part(self);
    ret->xtc_threshold = (float)part(self);
    ret->dry_multiplier = (float)part(self) * 100;
    ret->dry_base = (float)part(self) * 100;
    ret->dry_allowed_length = any32(self);
    ret->dry_last_n = any32(self);
    ret->dry_breaker_count = between(self, 1, LIMIT_DRY_BREAKERS);
    struct wire_bytes *breakers = rows(self, ret->dry_breaker_count, sizeof(*breakers));
    for (size_t i = 0; i < ret->dry_breaker_count; i++)
        breakers[i] = bytes(self, 20);
    ret->dry_breakers = breakers;
    ret->token_bytes = true;
}

static void make_generate(struct maker *self, struct wire_generate *ret)
{
    ret->request_id = any64(self);
    ret->prompt_kind = (enum wire_prompt_kind)between(self, 1, 3);
    if (ret->prompt_kind == WIRE_PROMPT_TEXT)
        ret->text = bytes(self, 20000);
    if (ret->prompt_kind == WIRE_PROMPT_IDS) {
        ret->id_count = between(self, 1, 5000);
        ret->ids = numbers(self, ret->id_count, LIMIT_VOCAB_MAX);
    }
    if (ret->prompt_kind == WIRE_PROMPT_CHAT) {
        ret->message_count = between(self, 1, LIMIT_CHAT_MESSAGES);
        struct wire_chat_message *messages = rows(self, ret->message_count, sizeof(*messages));
        for (size_t i = 0; i < ret->message_count; i++) {
            text(self, messages[i].role, sizeof(messages[i].role));
            messages[i].content = bytes(self, 40);
        }
        ret->messages = messages;
    }
    ret->max_tokens = any32(self);
    sampling(self, &ret->sampling);
    ret->stop_count = between(self, 1, LIMIT_STOP_STRINGS);
    struct wire_bytes *stops = rows(self, ret->stop_count, sizeof(*stops));
    for (size_t i = 0; i < ret->stop_count; i++)
        stops[i] = bytes(self, LIMIT_STOP_BYTES);
    ret->stops = stops;
    ret->ignore_eos = true;
    ret->deadline_ms = any32(self);
    ret->min_tokens = any32(self);
    ret->stop_id_count = between(self, 1, LIMIT_STOP_IDS);
    ret->stop_ids = numbers(self, ret->stop_id_count, LIMIT_VOCAB_MAX);
    ret->suppress_count = between(self, 1, LIMIT_LOGIT_BIASES);
    ret->suppress = numbers(self, ret->suppress_count, LIMIT_VOCAB_MAX);
    ret->choices = between(self, 1, LIMIT_CHOICES);
}

static void make_partial(struct maker *self, struct wire_partial *ret)
{
    char *shown = rows(self, 1, 400);

    ret->request_id = any64(self);
    ret->sequence = any32(self);
    ret->token_count = between(self, 1, 64);
    struct wire_token_part *tokens = rows(self, ret->token_count, sizeof(*tokens));
    for (size_t i = 0; i < ret->token_count; i++) {
        tokens[i].token_id = between(self, 1, LIMIT_VOCAB_MAX - 1);
        tokens[i].logprob = -(float)part(self);
        tokens[i].top_count = between(self, 1, LIMIT_TOP_LOGPROBS);
        struct wire_top_logprob *top = rows(self, tokens[i].top_count, sizeof(*top));
        for (size_t j = 0; j < tokens[i].top_count; j++)
            top[j] = (struct wire_top_logprob){.token_id = between(self, 1, LIMIT_VOCAB_MAX - 1),
                .logprob = -(float)part(self),
                .piece = bytes(self, 9)};
        tokens[i].top = top;
        tokens[i].piece = bytes(self, 20);
    }
    ret->tokens = tokens;
    text(self, shown, 400);
    ret->text = (struct wire_bytes){.data = (const uint8_t *)shown, .bytes = strlen(shown)};
    ret->first_position = between(self, 1, LIMIT_CONTEXT_TOKENS_MAX - 1);
    ret->row_count = between(self, 1, 16);
    ret->vocab_size = between(self, 1, LIMIT_VOCAB_MAX);
    ret->logprob_count = between(self, 1, 100);
    float *logprobs = rows(self, ret->logprob_count, sizeof(*logprobs));
    for (size_t i = 0; i < ret->logprob_count; i++)
        logprobs[i] = -(float)part(self);
    ret->logprobs = logprobs;
    ret->choice = between(self, 1, LIMIT_CHOICES - 1);
}

static void make_final(struct maker *self, struct wire_final *ret)
{
    ret->request_id = any64(self);
    ret->finish_reason = (enum wire_finish_reason)between(self, 1, 4);
    fault(self, &ret->error);
    ret->prompt_tokens = any32(self);
    ret->completion_tokens = any32(self);
    ret->ttft_ms = part(self);
    ret->total_ms = part(self);
    ret->resume_count = any32(self);
    ret->choice = between(self, 1, LIMIT_CHOICES - 1);
    ret->choices_open = between(self, 1, LIMIT_CHOICES - 1);
    ret->shared_tokens = between(self, 1, LIMIT_CONTEXT_TOKENS_MAX);
    ret->total_completion_tokens = any32(self);
}

static void make_stage_status(struct maker *self, struct wire_stage_status *ret)
{
    name(self, ret->node_id);
    ret->incarnation = any64(self);
    ret->epoch = any64(self);
    ret->state = (enum wire_stage_state)between(self, 1, 3);
    ret->progress = part(self);
    fault(self, &ret->error);
}

static void make_control(struct maker *self, struct wire_message *ret)
{
    switch (ret->kind) {
    case WIRE_REGISTERED:
        ret->registered = (struct wire_registered){.protocol_version = between(self, 1, 9),
            .features = any64(self),
            .heartbeat_interval_ms = between(self, 1, 5000),
            .lease_ms = between(self, 1, 60000),
            .coordinator_incarnation = any64(self),
            .plan_epoch = any64(self)};
        break;
    case WIRE_HEARTBEAT_ACK:
        ret->heartbeat_ack.coordinator_incarnation = any64(self);
        ret->heartbeat_ack.plan_epoch = any64(self);
        break;
    case WIRE_SUSPECT:
        ret->suspect.epoch = any64(self);
        ret->suspect.batch_id = any64(self);
        ret->suspect.waited_ms = any32(self);
        break;
    case WIRE_DRAIN:
        name(self, ret->drain.node_id);
        break;
    case WIRE_GOODBYE:
        name(self, ret->goodbye.node_id);
        ret->goodbye.incarnation = any64(self);
        text(self, ret->goodbye.reason, sizeof(ret->goodbye.reason));
        break;
    case WIRE_ERROR:
        fault(self, &ret->error);
        break;
    case WIRE_ADMISSION:
        make_admission(self, &ret->admission);
        break;
    case WIRE_ENROL:
        name(self, ret->enrol.node_id);
        key(self, ret->enrol.public_key);
        break;
    case WIRE_ENROLLED:
        ret->enrolled.role = (enum wire_role)between(self, WIRE_ROLE_WORKER, WIRE_ROLE_JOIN);
        key(self, ret->enrolled.router_public_key);
        break;
    case WIRE_ROUTER_STATUS:
        ret->router_status = (struct wire_router_status){.ready = true,
            .plan_epoch = any64(self),
            .requests_running = any32(self),
            .requests_waiting = any32(self),
            .kv_pages_used = between(self, 1, 1000),
            .kv_pages_total = between(self, 1000, LIMIT_PAGES_MAX),
            .kv_pages_saved = any32(self)};
        break;
    default:
        break; /* an empty body */
    }
}

static void make_small(struct maker *self, struct wire_message *ret)
{
    switch (ret->kind) {
    case WIRE_STEP_ERROR:
        ret->step_error.epoch = any64(self);
        ret->step_error.batch_id = any64(self);
        fault(self, &ret->step_error.error);
        break;
    case WIRE_LINK_HELLO:
        ret->link_hello.epoch = any64(self);
        name(self, ret->link_hello.node_id);
        ret->link_hello.incarnation = any64(self);
        break;
    case WIRE_CREDIT:
        ret->credit.epoch = any64(self);
        ret->credit.count = between(self, 1, LIMIT_BATCHES_IN_FLIGHT * 2);
        break;
    case WIRE_SCORE:
        ret->score = (struct wire_score){.request_id = any64(self),
            .id_count = between(self, 1, 3000),
            .all_positions = true,
            .want_logits = true,
            .want_logprobs = true,
            .deadline_ms = any32(self)};
        ret->score.ids = numbers(self, ret->score.id_count, LIMIT_VOCAB_MAX);
        break;
    case WIRE_CANCEL:
        ret->cancel.request_id = any64(self);
        ret->cancel.one_choice = true;
        ret->cancel.choice = between(self, 1, LIMIT_CHOICES - 1);
        break;
    default:
        make_control(self, ret);
        break;
    }
}

void wire_sample(
    enum wire_kind kind, uint64_t seed, struct base_arena *arena, struct wire_message *ret)
{
    struct maker self = {
        .state = seed * UINT64_C(0x9e3779b97f4a7c15) + (uint64_t)kind, .arena = arena};

    *ret = (struct wire_message){.kind = kind};
    switch (kind) {
    case WIRE_REGISTER:
        make_register(&self, &ret->register_);
        break;
    case WIRE_HEARTBEAT:
        make_heartbeat(&self, &ret->heartbeat);
        break;
    case WIRE_PLAN:
        make_plan(&self, &ret->plan);
        break;
    case WIRE_STAGE_STATUS:
        make_stage_status(&self, &ret->stage_status);
        break;
    case WIRE_STATUS_REPLY:
        make_status_reply(&self, &ret->status_reply);
        break;
    case WIRE_STEP:
        make_step(&self, &ret->step);
        break;
    case WIRE_RESULT:
        make_result(&self, &ret->result);
        break;
    case WIRE_GENERATE:
        make_generate(&self, &ret->generate);
        break;
    case WIRE_PARTIAL:
        make_partial(&self, &ret->partial);
        break;
    case WIRE_FINAL:
        make_final(&self, &ret->final);
        break;
    default:
        make_small(&self, ret);
        break;
    }
}
