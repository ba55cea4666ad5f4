/* Control plane: registration, heartbeats, plans, stage status. */
#include "wire_internal.h"

#include "control.pb-c.h"
#include <float.h>

#define INTERVAL_MS_MAX 86400000u
#define EMBEDDING_MAX   (LIMIT_TENSOR_BYTES / 4)

void wire_take_card(struct wire_decoder *self, const Layermesh__V1__ModelCard *card,
    bool with_layers, struct wire_model_card *ret)
{
    if (card == NULL)
        return;
    const uint32_t least = card->layer_count > 0 ? 1 : 0; /* 0 layers: no card */
    ret->fingerprint = card->fingerprint;
    wire_take_text(self, "model.name", card->name, ret->name, sizeof(ret->name));
    wire_take_text(self, "model.architecture", card->architecture, ret->architecture,
        sizeof(ret->architecture));
    ret->layer_count =
        wire_check_u32(self, "model.layer_count", card->layer_count, 0, LIMIT_LAYERS_MAX);
    ret->embedding_length = wire_check_u32(
        self, "model.embedding_length", card->embedding_length, least, EMBEDDING_MAX);
    ret->vocab_size =
        wire_check_u32(self, "model.vocab_size", card->vocab_size, least, LIMIT_VOCAB_MAX);
    ret->context_length =
        wire_check_u32(self, "model.context_length", card->context_length, least, UINT32_MAX);
    ret->kv_type = card->kv_type;

    const size_t expected = with_layers && ret->layer_count > 0 ? ret->layer_count + 2 : 0;
    if (card->n_layers != expected)
        wire_fail(
            self, BASE_MALFORMED, "model.layers", "%zu rows, not %zu", card->n_layers, expected);
    struct wire_layer_cost *layers =
        wire_take_rows(self, "model.layers", card->n_layers, expected, sizeof(*layers));
    for (size_t i = 0; layers != NULL && i < card->n_layers; i++) {
        const Layermesh__V1__LayerCost *layer = card->layers[i];
        layers[i] = (struct wire_layer_cost){.weight_type = layer->weight_type,
            .weight_bytes = layer->weight_bytes,
            .operations_per_token = layer->operations_per_token,
            .kv_bytes_per_token = layer->kv_bytes_per_token};
    }
    ret->layers = layers;
    ret->layers_count = card->n_layers;
}

Layermesh__V1__ModelCard *wire_put_card(
    struct wire_encoder *self, const struct wire_model_card *card, bool with_layers)
{
    if (card->layer_count == 0)
        return NULL;
    Layermesh__V1__ModelCard *pb = wire_put_message(self, &layermesh__v1__model_card__descriptor);
    if (pb == NULL)
        return NULL;
    pb->fingerprint = card->fingerprint;
    pb->name = (char *)card->name;
    pb->architecture = (char *)card->architecture;
    pb->layer_count = card->layer_count;
    pb->embedding_length = card->embedding_length;
    pb->vocab_size = card->vocab_size;
    pb->context_length = card->context_length;
    pb->kv_type = card->kv_type;
    const size_t count = with_layers ? card->layers_count : 0;
    pb->layers = wire_put_rows(self, count, sizeof(*pb->layers));
    for (size_t i = 0; pb->layers != NULL && i < count; i++) {
        Layermesh__V1__LayerCost *layer =
            wire_put_message(self, &layermesh__v1__layer_cost__descriptor);
        if (layer == NULL)
            return pb;
        layer->weight_type = card->layers[i].weight_type;
        layer->weight_bytes = card->layers[i].weight_bytes;
        layer->operations_per_token = card->layers[i].operations_per_token;
        layer->kv_bytes_per_token = card->layers[i].kv_bytes_per_token;
        pb->layers[pb->n_layers++] = layer;
    }
    return pb;
}

static void decode_register(
    struct wire_decoder *self, const void *unpacked, struct wire_message *message)
{
    const Layermesh__V1__Register *pb = unpacked;
    struct wire_register *ret = &message->register_;

    ret->protocol_version =
        wire_check_u32(self, "protocol_version", pb->protocol_version, 1, UINT32_MAX);
    ret->min_version =
        wire_check_u32(self, "min_version", pb->min_version, 0, pb->protocol_version);
    ret->features = pb->features;
    ret->role = (enum wire_role)wire_check_enum(
        self, "role", (int)pb->role, WIRE_ROLE_WORKER, WIRE_ROLE_ADMIN);
    wire_take_node(self, "node_id", pb->node_id, true, ret->node_id);
    ret->incarnation = pb->incarnation;
    wire_take_text(self, "host", pb->host, ret->host, sizeof(ret->host));
    ret->pid = pb->pid;
    wire_take_text(
        self, "data_endpoint", pb->data_endpoint, ret->data_endpoint, sizeof(ret->data_endpoint));
    ret->memory_bytes = pb->memory_bytes;
    ret->thread_count = pb->thread_count;
    struct wire_rate *rates =
        wire_take_rows(self, "rates", pb->n_rates, LIMIT_RATES_MAX, sizeof(*rates));
    for (size_t i = 0; rates != NULL && i < pb->n_rates; i++) {
        rates[i].weight_type = pb->rates[i]->weight_type;
        rates[i].gops = wire_check_real(self, "rates.gops", pb->rates[i]->gops, DBL_MIN, DBL_MAX);
        rates[i].gigabytes_per_s = wire_check_real(
            self, "rates.gigabytes_per_s", pb->rates[i]->gigabytes_per_s, DBL_MIN, DBL_MAX);
    }
    ret->rates = rates;
    ret->rate_count = pb->n_rates;
    wire_take_card(self, pb->model, true, &ret->model);
    ret->standby = pb->standby != 0;
    ret->plan_epoch = pb->plan_epoch;
}

static void encode_register(
    struct wire_encoder *self, const struct wire_message *message, void *unpacked)
{
    const struct wire_register *from = &message->register_;
    Layermesh__V1__Register *pb = unpacked;

    pb->protocol_version = from->protocol_version;
    pb->min_version = from->min_version;
    pb->features = from->features;
    pb->role = (Layermesh__V1__Role)from->role;
    pb->node_id = (char *)from->node_id;
    pb->incarnation = from->incarnation;
    pb->host = (char *)from->host;
    pb->pid = from->pid;
    pb->data_endpoint = (char *)from->data_endpoint;
    pb->memory_bytes = from->memory_bytes;
    pb->thread_count = from->thread_count;
    pb->rates = wire_put_rows(self, from->rate_count, sizeof(*pb->rates));
    for (size_t i = 0; pb->rates != NULL && i < from->rate_count; i++) {
        Layermesh__V1__Rate *rate = wire_put_message(self, &layermesh__v1__rate__descriptor);
        if (rate == NULL)
            return;
        rate->weight_type = from->rates[i].weight_type;
        rate->gops = from->rates[i].gops;
        rate->gigabytes_per_s = from->rates[i].gigabytes_per_s;
        pb->rates[pb->n_rates++] = rate;
    }
    pb->model = wire_put_card(self, &from->model, true);
    pb->standby = from->standby;
    pb->plan_epoch = from->plan_epoch;
}

static void decode_registered(
    struct wire_decoder *self, const void *unpacked, struct wire_message *message)
{
    const Layermesh__V1__Registered *pb = unpacked;
    struct wire_registered *ret = &message->registered;

    ret->protocol_version =
        wire_check_u32(self, "protocol_version", pb->protocol_version, 1, UINT32_MAX);
    ret->features = pb->features;
    ret->heartbeat_interval_ms = wire_check_u32(
        self, "heartbeat_interval_ms", pb->heartbeat_interval_ms, 1, INTERVAL_MS_MAX);
    ret->lease_ms = wire_check_u32(self, "lease_ms", pb->lease_ms, 1, INTERVAL_MS_MAX);
    ret->coordinator_incarnation = pb->coordinator_incarnation;
    ret->plan_epoch = pb->plan_epoch;
}

static void encode_registered(
    struct wire_encoder *self, const struct wire_message *message, void *unpacked)
{
    const struct wire_registered *from = &message->registered;
    Layermesh__V1__Registered *pb = unpacked;

    pb->protocol_version = from->protocol_version;
    pb->features = from->features;
    pb->heartbeat_interval_ms = from->heartbeat_interval_ms;
    pb->lease_ms = from->lease_ms;
    pb->coordinator_incarnation = from->coordinator_incarnation;
    pb->plan_epoch = from->plan_epoch;
}

static void decode_heartbeat(
    struct wire_decoder *self, const void *unpacked, struct wire_message *message)
{
    const Layermesh__V1__Heartbeat *pb = unpacked;
    struct wire_heartbeat *ret = &message->heartbeat;

    wire_take_node(self, "node_id", pb->node_id, true, ret->node_id);
    ret->incarnation = pb->incarnation;
    ret->plan_epoch = pb->plan_epoch;
    ret->state = (enum wire_worker_state)wire_check_enum(
        self, "state", (int)pb->state, WIRE_WORKER_SPARE, WIRE_WORKER_LOST);
    ret->last_progress_ms = pb->last_progress_ms;
    ret->busy_ms = pb->busy_ms;
    ret->queue_depth = pb->queue_depth;
    ret->kv_pages_total =
        wire_check_u32(self, "kv_pages_total", pb->kv_pages_total, 0, LIMIT_PAGES_MAX);
    ret->kv_pages_used =
        wire_check_u32(self, "kv_pages_used", pb->kv_pages_used, 0, ret->kv_pages_total);
    ret->step_ms = wire_check_real(self, "step_ms", pb->step_ms, 0, DBL_MAX);
    ret->step_tokens =
        wire_check_real(self, "step_tokens", pb->step_tokens, 0, LIMIT_BATCH_TOKENS_MAX);
    ret->step_context =
        wire_check_real(self, "step_context", pb->step_context, 0, LIMIT_CONTEXT_TOKENS_MAX);
    ret->last_batch_id = pb->last_batch_id;
    ret->requests_running = pb->requests_running;
    ret->requests_waiting = pb->requests_waiting;
}

static void encode_heartbeat(
    struct wire_encoder *self, const struct wire_message *message, void *unpacked)
{
    const struct wire_heartbeat *from = &message->heartbeat;
    Layermesh__V1__Heartbeat *pb = unpacked;

    (void)self;
    pb->node_id = (char *)from->node_id;
    pb->incarnation = from->incarnation;
    pb->plan_epoch = from->plan_epoch;
    pb->state = (Layermesh__V1__WorkerState)from->state;
    pb->last_progress_ms = from->last_progress_ms;
    pb->busy_ms = from->busy_ms;
    pb->queue_depth = from->queue_depth;
    pb->kv_pages_used = from->kv_pages_used;
    pb->kv_pages_total = from->kv_pages_total;
    pb->step_ms = from->step_ms;
    pb->step_tokens = from->step_tokens;
    pb->step_context = from->step_context;
    pb->last_batch_id = from->last_batch_id;
    pb->requests_running = from->requests_running;
    pb->requests_waiting = from->requests_waiting;
}

static void decode_heartbeat_ack(
    struct wire_decoder *self, const void *unpacked, struct wire_message *message)
{
    const Layermesh__V1__HeartbeatAck *pb = unpacked;

    (void)self;
    message->heartbeat_ack.coordinator_incarnation = pb->coordinator_incarnation;
    message->heartbeat_ack.plan_epoch = pb->plan_epoch;
}

static void encode_heartbeat_ack(
    struct wire_encoder *self, const struct wire_message *message, void *unpacked)
{
    Layermesh__V1__HeartbeatAck *pb = unpacked;

    (void)self;
    pb->coordinator_incarnation = message->heartbeat_ack.coordinator_incarnation;
    pb->plan_epoch = message->heartbeat_ack.plan_epoch;
}

/* Stages of a plan that is to run follow one another from block 0. */
static void take_stages(
    struct wire_decoder *self, const Layermesh__V1__Plan *pb, bool runs, struct wire_plan *ret)
{
    struct wire_stage *stages =
        wire_take_rows(self, "stages", pb->n_stages, LIMIT_STAGES_MAX, sizeof(*stages));
    uint32_t next = 0;

    if (runs && pb->n_stages == 0)
        wire_fail(self, BASE_MALFORMED, "stages", "are missing");
    for (size_t i = 0; stages != NULL && i < pb->n_stages; i++) {
        const Layermesh__V1__Stage *from = pb->stages[i];
        struct wire_stage *stage = &stages[i];
        wire_take_node(self, "stages.node_id", from->node_id, true, stage->node_id);
        stage->incarnation = from->incarnation;
        wire_take_text(
            self, "stages.endpoint", from->endpoint, stage->endpoint, sizeof(stage->endpoint));
        if (runs && stage->endpoint[0] == 0)
            wire_fail(self, BASE_MALFORMED, "stages.endpoint", "is missing");
        stage->layer_first =
            wire_check_u32(self, "stages.layer_first", from->layer_first, 0, LIMIT_LAYERS_MAX - 1);
        stage->layer_count = wire_check_u32(self, "stages.layer_count", from->layer_count, 1,
            LIMIT_LAYERS_MAX - stage->layer_first);
        if (runs && stage->layer_first != next)
            wire_fail(self, BASE_MALFORMED, "stages.layer_first",
                "stage %zu starts at block %u, not %u", i, stage->layer_first, next);
        next = stage->layer_first + stage->layer_count;
        stage->weight_bytes = from->weight_bytes;
        stage->kv_bytes = from->kv_bytes;
        stage->predicted_ms =
            wire_check_real(self, "stages.predicted_ms", from->predicted_ms, 0, DBL_MAX);
        wire_take_key(self, "stages.public_key", from->public_key, false, stage->public_key);
    }
    ret->stages = stages;
    ret->stage_count = pb->n_stages;
}

static void decode_plan(
    struct wire_decoder *self, const void *unpacked, struct wire_message *message)
{
    const Layermesh__V1__Plan *pb = unpacked;
    struct wire_plan *ret = &message->plan;

    ret->epoch = pb->epoch;
    ret->state = (enum wire_plan_state)wire_check_enum(
        self, "state", (int)pb->state, WIRE_PLAN_PREPARE, WIRE_PLAN_UNAVAILABLE);
    const bool runs = ret->state != WIRE_PLAN_UNAVAILABLE;
    const uint32_t least = runs ? 1 : 0;
    ret->fingerprint = pb->fingerprint;
    take_stages(self, pb, runs, ret);
    wire_take_node(self, "router_node_id", pb->router_node_id, false, ret->router_node_id);
    wire_take_text(self, "router_endpoint", pb->router_endpoint, ret->router_endpoint,
        sizeof(ret->router_endpoint));
    ret->page_tokens = wire_check_u32(
        self, "page_tokens", pb->page_tokens, runs ? LIMIT_PAGE_TOKENS : 0, LIMIT_PAGE_TOKENS);
    ret->page_count = wire_check_u32(self, "page_count", pb->page_count, least, LIMIT_PAGES_MAX);
    ret->context_length =
        wire_check_u32(self, "context_length", pb->context_length, least, LIMIT_CONTEXT_TOKENS_MAX);
    ret->embedding_length =
        wire_check_u32(self, "embedding_length", pb->embedding_length, least, EMBEDDING_MAX);
    ret->vocab_size = wire_check_u32(self, "vocab_size", pb->vocab_size, least, LIMIT_VOCAB_MAX);
    wire_take_text(self, "reason", pb->reason, ret->reason, sizeof(ret->reason));
    wire_take_fault(self, pb->error, &ret->error);
    wire_take_key(self, "router_public_key", pb->router_public_key, false, ret->router_public_key);
}

static void encode_plan(
    struct wire_encoder *self, const struct wire_message *message, void *unpacked)
{
    const struct wire_plan *from = &message->plan;
    Layermesh__V1__Plan *pb = unpacked;

    pb->epoch = from->epoch;
    pb->state = (Layermesh__V1__PlanState)from->state;
    pb->fingerprint = from->fingerprint;
    pb->stages = wire_put_rows(self, from->stage_count, sizeof(*pb->stages));
    for (size_t i = 0; pb->stages != NULL && i < from->stage_count; i++) {
        Layermesh__V1__Stage *stage = wire_put_message(self, &layermesh__v1__stage__descriptor);
        if (stage == NULL)
            return;
        stage->node_id = (char *)from->stages[i].node_id;
        stage->incarnation = from->stages[i].incarnation;
        stage->endpoint = (char *)from->stages[i].endpoint;
        stage->layer_first = from->stages[i].layer_first;
        stage->layer_count = from->stages[i].layer_count;
        stage->weight_bytes = from->stages[i].weight_bytes;
        stage->kv_bytes = from->stages[i].kv_bytes;
        stage->predicted_ms = from->stages[i].predicted_ms;
        stage->public_key = (char *)from->stages[i].public_key;
        pb->stages[pb->n_stages++] = stage;
    }
    pb->router_node_id = (char *)from->router_node_id;
    pb->router_endpoint = (char *)from->router_endpoint;
    pb->page_tokens = from->page_tokens;
    pb->page_count = from->page_count;
    pb->context_length = from->context_length;
    pb->embedding_length = from->embedding_length;
    pb->vocab_size = from->vocab_size;
    pb->reason = (char *)from->reason;
    pb->error = wire_put_fault(self, &from->error);
    pb->router_public_key = (char *)from->router_public_key;
}

static void decode_stage_status(
    struct wire_decoder *self, const void *unpacked, struct wire_message *message)
{
    const Layermesh__V1__StageStatus *pb = unpacked;
    struct wire_stage_status *ret = &message->stage_status;

    wire_take_node(self, "node_id", pb->node_id, true, ret->node_id);
    ret->incarnation = pb->incarnation;
    ret->epoch = pb->epoch;
    ret->state = (enum wire_stage_state)wire_check_enum(
        self, "state", (int)pb->state, WIRE_STAGE_LOADING, WIRE_STAGE_FAILED);
    ret->progress = wire_check_real(self, "progress", pb->progress, 0, 1);
    wire_take_fault(self, pb->error, &ret->error);
}

static void encode_stage_status(
    struct wire_encoder *self, const struct wire_message *message, void *unpacked)
{
    const struct wire_stage_status *from = &message->stage_status;
    Layermesh__V1__StageStatus *pb = unpacked;

    pb->node_id = (char *)from->node_id;
    pb->incarnation = from->incarnation;
    pb->epoch = from->epoch;
    pb->state = (Layermesh__V1__StageState)from->state;
    pb->progress = from->progress;
    pb->error = wire_put_fault(self, &from->error);
}

static void decode_suspect(
    struct wire_decoder *self, const void *unpacked, struct wire_message *message)
{
    const Layermesh__V1__Suspect *pb = unpacked;

    (void)self;
    message->suspect.epoch = pb->epoch;
    message->suspect.batch_id = pb->batch_id;
    message->suspect.waited_ms = pb->waited_ms;
}

static void encode_suspect(
    struct wire_encoder *self, const struct wire_message *message, void *unpacked)
{
    Layermesh__V1__Suspect *pb = unpacked;

    (void)self;
    pb->epoch = message->suspect.epoch;
    pb->batch_id = message->suspect.batch_id;
    pb->waited_ms = message->suspect.waited_ms;
}

static void decode_drain(
    struct wire_decoder *self, const void *unpacked, struct wire_message *message)
{
    const Layermesh__V1__Drain *pb = unpacked;

    wire_take_node(self, "node_id", pb->node_id, true, message->drain.node_id);
}

static void encode_drain(
    struct wire_encoder *self, const struct wire_message *message, void *unpacked)
{
    Layermesh__V1__Drain *pb = unpacked;

    (void)self;
    pb->node_id = (char *)message->drain.node_id;
}

static void decode_goodbye(
    struct wire_decoder *self, const void *unpacked, struct wire_message *message)
{
    const Layermesh__V1__Goodbye *pb = unpacked;
    struct wire_goodbye *ret = &message->goodbye;

    wire_take_node(self, "node_id", pb->node_id, true, ret->node_id);
    ret->incarnation = pb->incarnation;
    wire_take_text(self, "reason", pb->reason, ret->reason, sizeof(ret->reason));
}

static void encode_goodbye(
    struct wire_encoder *self, const struct wire_message *message, void *unpacked)
{
    const struct wire_goodbye *from = &message->goodbye;
    Layermesh__V1__Goodbye *pb = unpacked;

    (void)self;
    pb->node_id = (char *)from->node_id;
    pb->incarnation = from->incarnation;
    pb->reason = (char *)from->reason;
}

const struct wire_format wire_control_formats[] = {
    {WIRE_ROW(REGISTER, register, LIMIT_CONTROL_BYTES)},
    {WIRE_ROW(REGISTERED, registered, LIMIT_CONTROL_BYTES)},
    {WIRE_ROW(HEARTBEAT, heartbeat, LIMIT_CONTROL_BYTES)},
    {WIRE_ROW(HEARTBEAT_ACK, heartbeat_ack, LIMIT_CONTROL_BYTES)},
    {WIRE_ROW(PLAN, plan, LIMIT_CONTROL_BYTES)},
    {WIRE_ROW(STAGE_STATUS, stage_status, LIMIT_CONTROL_BYTES)},
    {WIRE_ROW(SUSPECT, suspect, LIMIT_CONTROL_BYTES)},
    {WIRE_ROW(DRAIN, drain, LIMIT_CONTROL_BYTES)},
    {WIRE_ROW(GOODBYE, goodbye, LIMIT_CONTROL_BYTES)},
};
const size_t wire_control_format_count =
    sizeof(wire_control_formats) / sizeof(wire_control_formats[0]);
