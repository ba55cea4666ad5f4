/* One field at a time is put outside its bounds; the error names it. */
#include "wire_codec.h"
#include "wire_samples.h"
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#define BUDGET ((size_t)64 << 20)

static struct base_arena arena;
static struct wire_message message;

static void sample(enum wire_kind kind)
{
    base_arena_release(&arena);
    base_arena_init(&arena, BUDGET);
    wire_sample(kind, 9, &arena, &message);
}

/* Encodes the message as it stands now and decodes it. */
static int through(struct wire_message *ret, struct base_error *err)
{
    uint8_t *data = NULL;
    size_t bytes = 0;

    cr_assert_eq(wire_encode(&message, &arena, &data, &bytes, NULL), BASE_OK);
    return wire_decode(message.kind, data, bytes, &arena, ret, err);
}

static void refused(const char *field)
{
    struct wire_message decoded;
    struct base_error err = {0};

    cr_assert_eq(through(&decoded, &err), BASE_MALFORMED, "%s was accepted", field);
    cr_assert_eq(strncmp(err.text, field, strlen(field)), 0, "%s instead of %s", err.text, field);
    sample(message.kind);
}

static void accepted(void)
{
    struct wire_message decoded;
    struct base_error err = {0};

    cr_assert_eq(through(&decoded, &err), BASE_OK, "%s", err.text);
    sample(message.kind);
}

/* Sets one member, expects a refusal, and starts from a good message again. */
#define BAD(member, value, field) (message.member = (value), refused(field))
#define GOOD(member, value)       (message.member = (value), accepted())
/* The same for an element of an array of the sample. */
#define BAD_ROW(type, rows, index, member, value, field)                                           \
    (((struct type *)(uintptr_t)message.rows)[index].member = (value), refused(field))

Test(wire_fields, registration)
{
    sample(WIRE_REGISTER);
    accepted();
    BAD(register_.protocol_version, 0, "REGISTER.protocol_version");
    BAD(register_.min_version, 99, "REGISTER.min_version");
    BAD(register_.role, (enum wire_role)0, "REGISTER.role");
    BAD(register_.role, (enum wire_role)4, "REGISTER.role");
    BAD(register_.node_id[0], '/', "REGISTER.node_id");
    BAD(register_.node_id[0], 0, "REGISTER.node_id");
    BAD(register_.host[0], '\xff', "REGISTER.host");
    BAD_ROW(wire_rate, register_.rates, 0, gops, 0, "REGISTER.rates.gops");
    BAD_ROW(wire_rate, register_.rates, 0, gops, NAN, "REGISTER.rates.gops");
    BAD_ROW(
        wire_rate, register_.rates, 0, gigabytes_per_s, INFINITY, "REGISTER.rates.gigabytes_per_s");
    BAD_ROW(wire_rate, register_.rates, 0, gigabytes_per_s, -1, "REGISTER.rates.gigabytes_per_s");
    BAD(register_.model.layer_count, LIMIT_LAYERS_MAX + 1, "REGISTER.model.layer_count");
    BAD(register_.model.embedding_length, 0, "REGISTER.model.embedding_length");
    BAD(register_.model.vocab_size, 0, "REGISTER.model.vocab_size");
    BAD(register_.model.vocab_size, LIMIT_VOCAB_MAX + 1, "REGISTER.model.vocab_size");
    BAD(register_.model.layers_count, message.register_.model.layers_count - 1,
        "REGISTER.model.layers");
    GOOD(register_.model.layer_count, 0); /* no card */
    sample(WIRE_REGISTERED);
    BAD(registered.protocol_version, 0, "REGISTERED.protocol_version");
    BAD(registered.heartbeat_interval_ms, 0, "REGISTERED.heartbeat_interval_ms");
    BAD(registered.lease_ms, 0, "REGISTERED.lease_ms");
    BAD(registered.lease_ms, UINT32_MAX, "REGISTERED.lease_ms");
}

Test(wire_fields, too_many_rates)
{
    static struct wire_rate rates[LIMIT_RATES_MAX + 1];

    sample(WIRE_REGISTER);
    for (size_t i = 0; i <= LIMIT_RATES_MAX; i++)
        rates[i] = (struct wire_rate){.gops = 1, .gigabytes_per_s = 1};
    message.register_.rates = rates;
    BAD(register_.rate_count, LIMIT_RATES_MAX + 1, "REGISTER.rates");
    message.register_.rates = rates;
    GOOD(register_.rate_count, LIMIT_RATES_MAX);
}

Test(wire_fields, heartbeat_and_status)
{
    sample(WIRE_HEARTBEAT);
    BAD(heartbeat.state, (enum wire_worker_state)0, "HEARTBEAT.state");
    BAD(heartbeat.state, (enum wire_worker_state)6, "HEARTBEAT.state");
    BAD(heartbeat.kv_pages_total, LIMIT_PAGES_MAX + 1, "HEARTBEAT.kv_pages_total");
    BAD(heartbeat.kv_pages_used, message.heartbeat.kv_pages_total + 1, "HEARTBEAT.kv_pages_used");
    BAD(heartbeat.step_ms, -0.001, "HEARTBEAT.step_ms");
    BAD(heartbeat.step_ms, NAN, "HEARTBEAT.step_ms");
    GOOD(heartbeat.step_ms, 0);
    BAD(heartbeat.step_tokens, LIMIT_BATCH_TOKENS_MAX + 1, "HEARTBEAT.step_tokens");
    BAD(heartbeat.step_context, LIMIT_CONTEXT_TOKENS_MAX + 1, "HEARTBEAT.step_context");
    sample(WIRE_STAGE_STATUS);
    BAD(stage_status.state, (enum wire_stage_state)0, "STAGE_STATUS.state");
    BAD(stage_status.progress, 1.01, "STAGE_STATUS.progress");
    BAD(stage_status.progress, -0.01, "STAGE_STATUS.progress");
    GOOD(stage_status.error.code, BASE_OK);
    sample(WIRE_STATUS_REPLY);
    BAD(status_reply.plan_state, 4, "STATUS_REPLY.plan_state");
    BAD(status_reply.plan_state, -1, "STATUS_REPLY.plan_state");
    GOOD(status_reply.plan_state, 0);
    BAD(status_reply.bottleneck_ms, INFINITY, "STATUS_REPLY.bottleneck_ms");
    BAD(status_reply.router_count, LIMIT_ROUTERS_MAX + 1, "STATUS_REPLY.router_count");
    BAD_ROW(wire_worker_row, status_reply.workers, 0, layer_count, LIMIT_LAYERS_MAX,
        "STATUS_REPLY.workers.layer_count");
    BAD_ROW(wire_worker_row, status_reply.workers, 0, load_progress, 2,
        "STATUS_REPLY.workers.load_progress");
    BAD_ROW(
        wire_worker_row, status_reply.workers, 0, node_id[0], 0, "STATUS_REPLY.workers.node_id");
    BAD_ROW(wire_worker_row, status_reply.workers, 0, state, (enum wire_worker_state)9,
        "STATUS_REPLY.workers.state");
    sample(WIRE_ROUTER_STATUS);
    BAD(router_status.kv_pages_used, message.router_status.kv_pages_total + 1,
        "ROUTER_STATUS.kv_pages_used");
}

Test(wire_fields, a_plan_that_runs_covers_every_block)
{
    for (int state = WIRE_PLAN_PREPARE; state <= WIRE_PLAN_ACTIVE; state++) {
        const enum wire_plan_state runs = (enum wire_plan_state)state;
        sample(WIRE_PLAN);
        GOOD(plan.state, runs);
        message.plan.state = runs;
        BAD_ROW(wire_stage, plan.stages, 0, layer_first, 1, "PLAN.stages.layer_first");
        message.plan.state = runs;
        BAD_ROW(wire_stage, plan.stages, 1, layer_first, message.plan.stages[1].layer_first + 1,
            "PLAN.stages.layer_first"); /* gap */
        message.plan.state = runs;
        BAD_ROW(wire_stage, plan.stages, 1, layer_first, message.plan.stages[1].layer_first - 1,
            "PLAN.stages.layer_first"); /* overlap */
        message.plan.state = runs;
        BAD_ROW(wire_stage, plan.stages, 0, layer_count, 0, "PLAN.stages.layer_count");
        message.plan.state = runs;
        BAD_ROW(wire_stage, plan.stages, 0, endpoint[0], 0, "PLAN.stages.endpoint");
        message.plan.state = runs;
        BAD(plan.stage_count, 0, "PLAN.stages");
        message.plan.state = runs;
        BAD(plan.page_tokens, 32, "PLAN.page_tokens");
        message.plan.state = runs;
        BAD(plan.page_count, 0, "PLAN.page_count");
        message.plan.state = runs;
        BAD(plan.vocab_size, 0, "PLAN.vocab_size");
        message.plan.state = runs;
        GOOD(plan.router_endpoint[0], 0);
    }
}

Test(wire_fields, keys_are_forty_characters)
{
    sample(WIRE_PLAN);
    BAD_ROW(wire_stage, plan.stages, 0, public_key[39], 0, "PLAN.stages.public_key");
    BAD_ROW(wire_stage, plan.stages, 0, public_key[3], '~', "PLAN.stages.public_key");
    GOOD(plan.router_public_key[0], 0);
    BAD(plan.router_public_key[7], '"', "PLAN.router_public_key");
    sample(WIRE_ADMISSION);
    BAD_ROW(wire_admitted, admission.rows, 0, public_key[0], 0, "ADMISSION.rows.public_key");
    BAD_ROW(wire_admitted, admission.rows, 0, role, (enum wire_role)0, "ADMISSION.rows.role");
    BAD_ROW(wire_admitted, admission.rows, 0, role, (enum wire_role)7, "ADMISSION.rows.role");
    BAD_ROW(wire_admitted, admission.rows, 0, name[0], 0, "ADMISSION.rows.name");
    BAD_ROW(wire_admitted, admission.rows, 0, name[0], '/', "ADMISSION.rows.name");
    static struct wire_admitted many[LIMIT_KEYS_MAX + 1];
    for (size_t i = 0; i <= LIMIT_KEYS_MAX; i++)
        many[i] = message.admission.rows[0];
    message.admission.rows = many;
    BAD(admission.row_count, LIMIT_KEYS_MAX + 1, "ADMISSION.rows");
    message.admission.rows = many;
    GOOD(admission.row_count, LIMIT_KEYS_MAX); /* a full set fits into one message */
    sample(WIRE_ENROL);
    BAD(enrol.node_id[0], 0, "ENROL.node_id");
    BAD(enrol.public_key[0], 0, "ENROL.public_key");
    sample(WIRE_ENROLLED);
    BAD(enrolled.role, (enum wire_role)0, "ENROLLED.role");
    GOOD(enrolled.router_public_key[0], 0);
}

Test(wire_fields, a_plan_that_cannot_run_says_why)
{
    sample(WIRE_PLAN);
    BAD(plan.state, (enum wire_plan_state)0, "PLAN.state");
    BAD(plan.state, (enum wire_plan_state)4, "PLAN.state");
    BAD(plan.page_count, LIMIT_PAGES_MAX + 1, "PLAN.page_count");
    BAD(plan.context_length, LIMIT_CONTEXT_TOKENS_MAX + 1, "PLAN.context_length");
    message = (struct wire_message){.kind = WIRE_PLAN};
    message.plan.state = WIRE_PLAN_UNAVAILABLE;
    message.plan.error.code = BASE_UNAVAILABLE;
    accepted();
}

Test(wire_fields, a_step_adds_up)
{
    static uint32_t page = LIMIT_PAGES_MAX;

    sample(WIRE_STEP);
    accepted();
    BAD(step.token_count, message.step.token_count + 1, "STEP.token_count");
    BAD(step.token_count, message.step.token_count - 1, "STEP.token_count");
    BAD(step.token_count, LIMIT_BATCH_TOKENS_MAX + 1, "STEP.token_count");
    BAD(step.sequence_count, message.step.sequence_count - 1, "STEP.token_count");
    BAD(step.embedding_length, LIMIT_TENSOR_BYTES, "STEP.embedding_length");
    BAD(step.embedding_length, LIMIT_TENSOR_BYTES / 4, "STEP.embedding_length");
    BAD_ROW(wire_sequence, step.sequences, 0, token_count, 0, "STEP.sequences.token_count");
    BAD_ROW(
        wire_sequence, step.sequences, 0, token_count, UINT32_MAX, "STEP.sequences.token_count");
    BAD_ROW(wire_sequence, step.sequences, 0, first_position, LIMIT_CONTEXT_TOKENS_MAX,
        "STEP.sequences.first_position");
    BAD_ROW(wire_sequence, step.sequences, 0, page_count, 0, "STEP.sequences.pages");
    BAD_ROW(wire_sequence, step.sequences, 0, logits, (enum wire_logits_mode)4,
        "STEP.sequences.logits");
    BAD_ROW(wire_sequence, step.sequences, 0, top_count, LIMIT_TOP_LOGITS_MAX + 1,
        "STEP.sequences.top_count");
    ((struct wire_sequence *)(uintptr_t)message.step.sequences)[0].logits = WIRE_LOGITS_TOP;
    BAD_ROW(wire_sequence, step.sequences, 0, top_count, 0, "STEP.sequences.top_count");
    message.step.released_page_count = 1;
    BAD(step.released_pages, &page, "STEP.released_pages");
}

Test(wire_fields, pages_hold_all_positions_of_a_sequence)
{
    static const struct {
        uint32_t first, count, pages;
        bool good;
    } cases[] = {
        {0, 1, 1, true},
        {0, 64, 1, true},
        {0, 65, 1, false},
        {63, 1, 1, true},
        {64, 1, 1, false},
        {64, 1, 2, true},
        {LIMIT_CONTEXT_TOKENS_MAX - 1, 1, LIMIT_PAGES_PER_SEQUENCE, true},
        {LIMIT_CONTEXT_TOKENS_MAX - 1, 1, LIMIT_PAGES_PER_SEQUENCE - 1, false},
        {LIMIT_CONTEXT_TOKENS_MAX - 1, 2, LIMIT_PAGES_PER_SEQUENCE, false},
        {0, 1, LIMIT_PAGES_PER_SEQUENCE + 1, false},
    };
    static uint32_t pages[LIMIT_PAGES_PER_SEQUENCE + 1];

    base_arena_init(&arena, BUDGET);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct wire_sequence sequence = {.first_position = cases[i].first,
            .token_count = cases[i].count,
            .pages = pages,
            .page_count = cases[i].pages};
        struct wire_message decoded;
        message = (struct wire_message){.kind = WIRE_STEP};
        message.step.token_count = cases[i].count;
        message.step.sequences = &sequence;
        message.step.sequence_count = 1;
        cr_assert_eq(
            through(&decoded, NULL), cases[i].good ? BASE_OK : BASE_MALFORMED, "case %zu", i);
    }
}

Test(wire_fields, data_plane_bounds)
{
    sample(WIRE_RESULT);
    accepted();
    BAD_ROW(wire_row_result, result.rows, 0, logits, WIRE_LOGITS_FULL_ALL, "RESULT.rows.logits");
    BAD_ROW(wire_row_result, result.rows, 0, logits, WIRE_LOGITS_NONE, "RESULT.rows.logits");
    BAD_ROW(wire_row_result, result.rows, 0, count, 0, "RESULT.rows.count");
    BAD_ROW(wire_row_result, result.rows, 0, count, LIMIT_VOCAB_MAX + 1, "RESULT.rows.count");
    BAD_ROW(wire_row_result, result.rows, 0, log_sum_exp, NAN, "RESULT.rows.log_sum_exp");
    BAD_ROW(wire_row_result, result.rows, 0, log_sum_exp, INFINITY, "RESULT.rows.log_sum_exp");
    BAD_ROW(wire_row_result, result.rows, 0, position, LIMIT_CONTEXT_TOKENS_MAX,
        "RESULT.rows.position");
    sample(WIRE_CREDIT);
    BAD(credit.count, 0, "CREDIT.count");
    BAD(credit.count, LIMIT_BATCHES_IN_FLIGHT * 2 + 1, "CREDIT.count");
    sample(WIRE_STEP_ERROR);
    BAD(step_error.error.code, BASE_OK, "STEP_ERROR.error");
}

Test(wire_fields, rows_of_one_result_do_not_exceed_a_frame)
{
    static struct wire_row_result rows[17];

    base_arena_init(&arena, BUDGET);
    message = (struct wire_message){.kind = WIRE_RESULT};
    for (int i = 0; i < 17; i++)
        rows[i] = (struct wire_row_result){.logits = WIRE_LOGITS_FULL, .count = LIMIT_VOCAB_MAX};
    message.result.rows = rows;
    BAD(result.row_count, 17, "RESULT.rows");
    message = (struct wire_message){.kind = WIRE_RESULT};
    message.result.rows = rows;
    GOOD(result.row_count, 16);
}

Test(wire_fields, sampling)
{
    sample(WIRE_GENERATE);
    accepted();
    BAD(generate.sampling.temperature, NAN, "GENERATE.sampling.temperature");
    BAD(generate.sampling.temperature, -1, "GENERATE.sampling.temperature");
    BAD(generate.sampling.temperature, 101, "GENERATE.sampling.temperature");
    BAD(generate.sampling.top_p, 1.5f, "GENERATE.sampling.top_p");
    BAD(generate.sampling.min_p, -0.5f, "GENERATE.sampling.min_p");
    BAD(generate.sampling.repeat_penalty, INFINITY, "GENERATE.sampling.repeat_penalty");
    BAD(generate.sampling.presence_penalty, -101, "GENERATE.sampling.presence_penalty");
    BAD(generate.sampling.frequency_penalty, 101, "GENERATE.sampling.frequency_penalty");
    BAD(generate.sampling.top_logprobs, LIMIT_TOP_LOGPROBS + 1, "GENERATE.sampling.top_logprobs");
    BAD_ROW(wire_logit_bias, generate.sampling.logit_biases, 0, bias, NAN,
        "GENERATE.sampling.logit_biases.bias");
    BAD_ROW(wire_logit_bias, generate.sampling.logit_biases, 0, bias, INFINITY,
        "GENERATE.sampling.logit_biases.bias");
    BAD_ROW(wire_logit_bias, generate.sampling.logit_biases, 0, token_id, LIMIT_VOCAB_MAX,
        "GENERATE.sampling.logit_biases.token_id");
    BAD(generate.sampling.typical_p, 1.25f, "GENERATE.sampling.typical_p");
    BAD(generate.sampling.top_n_sigma, NAN, "GENERATE.sampling.top_n_sigma");
    BAD(generate.sampling.dynatemp_range, -1, "GENERATE.sampling.dynatemp_range");
    BAD(generate.sampling.dynatemp_exponent, INFINITY, "GENERATE.sampling.dynatemp_exponent");
    BAD(generate.sampling.xtc_probability, 2, "GENERATE.sampling.xtc_probability");
    BAD(generate.sampling.xtc_threshold, -0.5f, "GENERATE.sampling.xtc_threshold");
    BAD(generate.sampling.dry_multiplier, -1, "GENERATE.sampling.dry_multiplier");
    BAD(generate.sampling.dry_base, 101, "GENERATE.sampling.dry_base");
    static struct wire_bytes breakers[LIMIT_DRY_BREAKERS + 1];
    message.generate.sampling.dry_breakers = breakers;
    BAD(generate.sampling.dry_breaker_count, LIMIT_DRY_BREAKERS + 1,
        "GENERATE.sampling.dry_breakers");
    BAD_ROW(
        wire_bytes, generate.sampling.dry_breakers, 0, bytes, 0, "GENERATE.sampling.dry_breakers");
}

Test(wire_fields, choices_and_ends)
{
    static uint32_t ids[LIMIT_LOGIT_BIASES + 1];

    sample(WIRE_GENERATE);
    BAD(generate.choices, LIMIT_CHOICES + 1, "GENERATE.choices");
    GOOD(generate.choices, 0);
    message.generate.stop_ids = ids;
    BAD(generate.stop_id_count, LIMIT_STOP_IDS + 1, "GENERATE.stop_ids");
    message.generate.suppress = ids;
    BAD(generate.suppress_count, LIMIT_LOGIT_BIASES + 1, "GENERATE.suppress");
    ids[0] = LIMIT_VOCAB_MAX;
    message.generate.suppress = ids;
    BAD(generate.suppress_count, 1, "GENERATE.suppress");
    sample(WIRE_CANCEL);
    BAD(cancel.choice, LIMIT_CHOICES, "CANCEL.choice");
    sample(WIRE_PARTIAL);
    BAD(partial.choice, LIMIT_CHOICES, "PARTIAL.choice");
    static uint8_t piece[LIMIT_PIECE_BYTES + 1];
    BAD_ROW(wire_token_part, partial.tokens, 0, piece, ((struct wire_bytes){piece, sizeof(piece)}),
        "PARTIAL.tokens.piece");
    sample(WIRE_FINAL);
    BAD(final.choice, LIMIT_CHOICES, "FINAL.choice");
    BAD(final.choices_open, LIMIT_CHOICES, "FINAL.choices_open");
    BAD(final.shared_tokens, LIMIT_CONTEXT_TOKENS_MAX + 1, "FINAL.shared_tokens");
}

Test(wire_fields, prompts_and_stops)
{
    static uint8_t text[LIMIT_PROMPT_BYTES + 1];
    static uint32_t ids[LIMIT_CONTEXT_TOKENS_MAX + 1];
    static struct wire_chat_message messages[2];

    sample(WIRE_GENERATE);
    BAD(generate.prompt_kind, (enum wire_prompt_kind)0, "GENERATE.prompt");
    message.generate.prompt_kind = WIRE_PROMPT_TEXT;
    BAD(generate.text, ((struct wire_bytes){text, sizeof(text)}), "GENERATE.text");
    message.generate.prompt_kind = WIRE_PROMPT_TEXT;
    GOOD(generate.text, ((struct wire_bytes){text, sizeof(text) - 1}));
    message.generate.prompt_kind = WIRE_PROMPT_IDS;
    message.generate.ids = ids;
    BAD(generate.id_count, LIMIT_CONTEXT_TOKENS_MAX + 1, "GENERATE.ids");
    message.generate.prompt_kind = WIRE_PROMPT_IDS;
    message.generate.ids = ids;
    GOOD(generate.id_count, LIMIT_CONTEXT_TOKENS_MAX);
    ids[1] = LIMIT_VOCAB_MAX;
    message.generate.prompt_kind = WIRE_PROMPT_IDS;
    message.generate.ids = ids;
    BAD(generate.id_count, 2, "GENERATE.ids");
    message.generate.prompt_kind = WIRE_PROMPT_CHAT;
    messages[0].content = (struct wire_bytes){text, LIMIT_PROMPT_BYTES};
    messages[1].content = (struct wire_bytes){text, 1};
    message.generate.messages = messages;
    BAD(generate.message_count, 2, "GENERATE.chat.messages.content");
    BAD_ROW(wire_bytes, generate.stops, 0, bytes, 0, "GENERATE.stop");
    BAD_ROW(wire_bytes, generate.stops, 0, bytes, LIMIT_STOP_BYTES + 1, "GENERATE.stop");
}

Test(wire_fields, answers)
{
    sample(WIRE_PARTIAL);
    accepted();
    BAD(partial.row_count, LIMIT_CONTEXT_TOKENS_MAX + 1, "PARTIAL.row_count");
    message.partial.vocab_size = LIMIT_VOCAB_MAX;
    BAD(partial.row_count, 17, "PARTIAL.row_count: the tensor");
    BAD(partial.vocab_size, LIMIT_VOCAB_MAX + 1, "PARTIAL.vocab_size");
    BAD_ROW(
        wire_token_part, partial.tokens, 0, token_id, LIMIT_VOCAB_MAX, "PARTIAL.tokens.token_id");
    BAD_ROW(wire_token_part, partial.tokens, 0, logprob, NAN, "PARTIAL.tokens.logprob");
    sample(WIRE_FINAL);
    BAD(final.finish_reason, (enum wire_finish_reason)0, "FINAL.finish_reason");
    BAD(final.finish_reason, (enum wire_finish_reason)5, "FINAL.finish_reason");
    BAD(final.ttft_ms, -1, "FINAL.ttft_ms");
    BAD(final.total_ms, NAN, "FINAL.total_ms");
    BAD(final.error.node[0], ' ', "FINAL.error.node");
    GOOD(final.error.code, BASE_OK);
}

static void tensor(size_t bytes, bool good)
{
    struct base_error err = {0};
    const int rc = wire_tensor_check(&message, bytes, &err);

    cr_assert_eq(rc, good ? BASE_OK : BASE_MALFORMED, "%zu bytes", bytes);
    cr_assert(good || strstr(err.text, wire_kind_name(message.kind)) != NULL);
    cr_assert_eq(wire_tensor_check(&message, bytes, NULL), rc);
}

Test(wire_fields, tensor_frames_have_the_described_size)
{
    static const struct wire_row_result rows[] = {
        {.logits = WIRE_LOGITS_TOP, .count = 5}, {.logits = WIRE_LOGITS_FULL, .count = 7}};

    message = (struct wire_message){.kind = WIRE_STEP};
    tensor(0, true);
    tensor(4, false);
    message.step.token_count = 3;
    tensor(12, true);
    tensor(0, false);
    tensor(11, false);
    message.step.embedding_length = 10;
    tensor(120, true);
    tensor(12, false);
    message.step.token_count = UINT32_MAX;
    message.step.embedding_length = UINT32_MAX;
    tensor((size_t)4 * UINT32_MAX * UINT32_MAX, false);
    tensor(4, false);

    message = (struct wire_message){.kind = WIRE_RESULT};
    tensor(0, true);
    message.result.rows = rows;
    message.result.row_count = 2;
    tensor(5 * 8 + 7 * 4, true);
    tensor(5 * 8 + 7 * 4 + 1, false);

    message = (struct wire_message){.kind = WIRE_PARTIAL};
    tensor(0, true);
    tensor(1, false);
    message.partial.row_count = 2;
    tensor(0, true);
    message.partial.vocab_size = 3;
    tensor(24, true);
    tensor(0, false);
    message.partial.row_count = UINT32_MAX;
    message.partial.vocab_size = UINT32_MAX;
    tensor(4, false);

    message = (struct wire_message){.kind = WIRE_HEARTBEAT};
    tensor(0, true);
    tensor(4, false);
}

Test(wire_fields, only_three_kinds_have_a_tensor)
{
    for (int i = 0; i < WIRE_SAMPLE_KINDS; i++) {
        const enum wire_kind kind = wire_sample_kinds[i];
        cr_assert_eq(wire_kind_has_tensor(kind),
            kind == WIRE_STEP || kind == WIRE_RESULT || kind == WIRE_PARTIAL);
    }
}
