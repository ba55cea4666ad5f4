#include "cli_inspect.h"

#include "base_alloc.h"
#include "base_err.h"
#include "base_options.h"
#include "gguf.h"
#include "model.h"
#include "plan.h"
#include "tensor_type.h"
#include <string.h>

/* As the coordinator plans where it has measured nothing else. */
#define ASSUMED_GOPS            100.0
#define ASSUMED_GIGABYTES_PER_S 20.0
#define MEMORY_RESERVE          0.08
#define STAGE_OVERHEAD_MS       0.1
#define LINK_MS                 0.1
#define BATCH_TOKENS            8
#define CONTEXT_TOKENS          512
#define KV_TOKENS               16384
#define KV_TOKENS_MIN           1024
#define ACTIVATION_FLOATS       (96u * 24u) /* tokens, and floats of each per embedding element */
#define LOGITS_ROWS             64u
#define TEXT_MAX                120 /* of a metadata value */
#define KV_TYPE                 TENSOR_F16

int cli_cluster_parse(const char *text, struct cli_cluster *ret_cluster, struct base_error *err)
{
    char item[64];
    uint64_t bytes = 0;
    const struct base_option option = {
        .name = "workers", .type = BASE_OPTION_BYTES, .target = &bytes};

    *ret_cluster = (struct cli_cluster){.worker_count = 0};
    for (const char *at = text; at != NULL;
         at = strchr(at, ',') != NULL ? strchr(at, ',') + 1 : NULL) {
        size_t length = strcspn(at, ",");
        if (ret_cluster->worker_count == LIMIT_WORKERS_MAX)
            return base_error_set(err, BASE_INVALID, "--workers: more than %d", LIMIT_WORKERS_MAX);
        (void)snprintf(item, sizeof(item), "%.*s", (int)length, at);
        int rc = base_option_set(&option, BASE_OPTION_FROM_COMMAND_LINE, item, "--workers", err);
        if (rc != BASE_OK)
            return rc;
        ret_cluster->memory_bytes[ret_cluster->worker_count++] = bytes;
    }
    return BASE_OK;
}

static json_t *integer(uint64_t value)
{
    return json_integer((json_int_t)value);
}

/* ---- the file ---- */

static json_t *pair_value(const struct gguf *file, const struct gguf_pair *pair, const char *key)
{
    struct gguf_string text;
    float real = 0;
    uint32_t number = 0;
    bool flag = false;

    if (pair->type == GGUF_VALUE_ARRAY)
        return json_sprintf(
            "[%llu of %s]", (unsigned long long)pair->count, gguf_value_name(pair->element_type));
    if (gguf_get_string(file, key, &text, NULL) == BASE_OK) {
        size_t bytes = text.bytes < TEXT_MAX ? text.bytes : TEXT_MAX;
        json_t *value = json_stringn(text.data, bytes);
        /* What is no UTF-8, or cut within a character. */
        while (value == NULL && bytes > 0)
            value = json_stringn(text.data, --bytes);
        return value != NULL ? value : json_string("");
    }
    if (gguf_get_bool(file, key, &flag, NULL) == BASE_OK)
        return json_boolean(flag);
    if (gguf_get_u32(file, key, &number, NULL) == BASE_OK)
        return integer(number);
    if (gguf_get_f32(file, key, &real, NULL) == BASE_OK)
        return json_real((double)real);
    return json_string(gguf_value_name(pair->type));
}

static json_t *metadata(const struct gguf *file)
{
    json_t *object = json_object();
    struct gguf_pair pair;

    for (size_t i = 0; gguf_pair_at(file, i, &pair); i++) {
        char key[160];
        (void)snprintf(key, sizeof(key), "%.*s", (int)pair.key.bytes, pair.key.data);
        (void)json_object_set_new(object, key, pair_value(file, &pair, key));
    }
    return object;
}

/* Bytes and tensors of each type. */
static json_t *types(const struct gguf *file, uint64_t *ret_bytes, uint64_t *ret_parameters)
{
    json_t *object = json_object();

    for (size_t i = 0; i < gguf_tensor_count(file); i++) {
        const struct gguf_tensor *tensor = gguf_tensor_at(file, i);
        const char *name = gguf_type_name(tensor->type);
        json_t *row = json_object_get(object, name);
        if (row == NULL) {
            (void)json_object_set_new(
                object, name, json_pack("{s:i, s:i}", "tensors", 0, "bytes", 0));
            row = json_object_get(object, name);
        }
        json_t *count = json_object_get(row, "tensors"), *bytes = json_object_get(row, "bytes");
        (void)json_integer_set(count, json_integer_value(count) + 1);
        (void)json_integer_set(bytes, json_integer_value(bytes) + (json_int_t)tensor->bytes);
        *ret_bytes += tensor->bytes;
        *ret_parameters += gguf_row_count(tensor) * tensor->dimensions[0];
    }
    return object;
}

/* ---- the model ---- */

static json_t *layers(const struct model *model)
{
    uint32_t last = model_get_config(model)->layer_count + 1;
    json_t *list = json_array();

    for (uint32_t i = 0; i <= last; i++) {
        struct model_layer_cost cost;
        model_layer_cost(model, i, KV_TYPE, &cost);
        (void)json_array_append_new(list,
            json_pack("{s:s*, s:s, s:o, s:i, s:o}", "part",
                i == 0      ? "embedding"
                : i == last ? "head"
                            : "block",
                "weight_type", gguf_type_name(cost.weight_type), "weight_bytes",
                integer(cost.weight_bytes), "kv_bytes_per_token", (int)cost.kv_bytes_per_token,
                "operations_per_token", integer(cost.operations_per_token)));
    }
    return list;
}

static void describe(json_t *report, const struct model *model)
{
    const struct model_config *c = model_get_config(model);
    uint64_t kv = 0;

    for (uint32_t i = 1; i <= c->layer_count; i++) {
        struct model_layer_cost cost;
        model_layer_cost(model, i, KV_TYPE, &cost);
        kv += cost.kv_bytes_per_token;
    }
    (void)json_object_update_new(report,
        json_pack("{s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:b, s:o, s:s, s:o}", "family",
            c->family->name, "layer_count", (int)c->layer_count, "embedding_length",
            (int)c->embedding_length, "feed_forward_length", (int)c->feed_forward_length,
            "head_count", (int)c->head_count, "kv_head_count", (int)c->kv_head_count, "head_dim",
            (int)c->head_dim, "vocab_size", (int)c->vocab_size, "context_length",
            (int)c->context_length, "tied_output", (int)c->tied_output, "kv_bytes_per_token",
            integer(kv), "kv_type", gguf_type_name(KV_TYPE), "layers", layers(model)));
    if (c->expert_count > 0)
        (void)json_object_update_new(
            report, json_pack("{s:i, s:i}", "expert_count", (int)c->expert_count,
                        "expert_used_count", (int)c->expert_used_count));
}

/* ---- the plan ---- */

static const char *exclusion_text(enum plan_exclusion exclusion)
{
    switch (exclusion) {
    case PLAN_EXCLUDED_MEMORY:
        return "too little memory for one layer, its KV and buffers";
    case PLAN_EXCLUDED_STANDBY:
        return "kept as a spare";
    case PLAN_EXCLUDED_SLOWER:
        return "with it the slowest stage would not get faster";
    case PLAN_EXCLUDED_STAGE_COUNT:
        return "the number of stages is reached without it";
    case PLAN_EXCLUDED_NO_RATE:
        return "no rate";
    default:
        return "used";
    }
}

static json_t *plan_report(const struct plan_problem *problem, const struct plan_solution *solution,
    const struct cli_cluster *cluster)
{
    json_t *stages = json_array(), *left_out = json_array();

    for (size_t i = 0; i < solution->stage_count; i++) {
        const struct plan_stage *s = &solution->stages[i];
        (void)json_array_append_new(
            stages, json_pack("{s:i, s:o, s:i, s:i, s:o, s:o, s:f}", "worker", (int)s->worker,
                        "memory_bytes", integer(cluster->memory_bytes[s->worker]), "layer_first",
                        (int)s->layer_first, "layer_count", (int)s->layer_count, "weight_bytes",
                        integer(s->weight_bytes), "kv_bytes", integer(s->kv_bytes), "predicted_ms",
                        s->predicted_ms));
    }
    for (size_t i = 0; i < cluster->worker_count; i++)
        if (solution->exclusion[i] != PLAN_USED)
            (void)json_array_append_new(left_out, json_pack("{s:i, s:s}", "worker", (int)i, "why",
                                                      exclusion_text(solution->exclusion[i])));
    return json_pack("{s:o, s:o, s:o, s:f, s:f, s:f}", "stages", stages, "left_out", left_out,
        "kv_tokens", integer(problem->kv_tokens), "bottleneck_ms", solution->bottleneck_ms,
        "assumed_gops", ASSUMED_GOPS, "assumed_gigabytes_per_s", ASSUMED_GIGABYTES_PER_S);
}

/* As many KV positions as usual, or half, a quarter... of them, as the coordinator does. */
static int solve(
    struct plan_problem *problem, struct plan_solution *solution, struct base_error *err)
{
    int rc;

    problem->kv_tokens = KV_TOKENS;
    for (;;) {
        rc = plan_solve(problem, solution, err);
        if (rc != BASE_UNAVAILABLE || problem->kv_tokens <= KV_TOKENS_MIN)
            return rc;
        problem->kv_tokens /= 2;
    }
}

static void fill_layers(const struct model *model, struct plan_layer *ret_layers, size_t count,
    struct plan_worker *worker)
{
    for (size_t i = 0; i < count; i++) {
        struct model_layer_cost cost;
        bool known = false;
        model_layer_cost(model, (uint32_t)i, KV_TYPE, &cost);
        ret_layers[i] = (struct plan_layer){cost.weight_type, cost.weight_bytes,
            cost.operations_per_token, cost.kv_bytes_per_token};
        for (size_t j = 0; j < worker->rate_count; j++)
            known = known || worker->rates[j].weight_type == cost.weight_type;
        if (!known && worker->rate_count < LIMIT_RATES_MAX)
            worker->rates[worker->rate_count++] =
                (struct plan_rate){cost.weight_type, ASSUMED_GOPS, ASSUMED_GIGABYTES_PER_S};
    }
}

static json_t *plan(const struct model *model, const struct cli_cluster *cluster)
{
    const struct model_config *c = model_get_config(model);
    size_t count = (size_t)c->layer_count + 2;
    struct plan_layer *costs = base_alloc_zeroed(count, sizeof(*costs));
    struct plan_solution *solution = base_alloc_zeroed(1, sizeof(*solution));
    struct plan_worker *workers = base_alloc_zeroed(cluster->worker_count, sizeof(*workers));
    struct base_error err = {0};
    json_t *report = NULL;

    if (costs != NULL && solution != NULL && workers != NULL) {
        fill_layers(model, costs, count, &workers[0]);
        for (size_t i = 0; i < cluster->worker_count; i++) {
            workers[i] = workers[0];
            workers[i].memory_bytes = cluster->memory_bytes[i];
            workers[i].link_ms = LINK_MS;
            workers[i].slowdown = 1;
        }
        struct plan_problem problem = {.workers = workers,
            .worker_count = cluster->worker_count,
            .layers = costs,
            .layer_count = count,
            .embedding_length = c->embedding_length,
            .batch_tokens = BATCH_TOKENS,
            .context_tokens = CONTEXT_TOKENS,
            .activation_bytes = (uint64_t)ACTIVATION_FLOATS * c->embedding_length * sizeof(float) +
                                (uint64_t)LOGITS_ROWS * c->vocab_size * sizeof(float),
            .memory_reserve = MEMORY_RESERVE,
            .stage_overhead_ms = STAGE_OVERHEAD_MS};
        report = solve(&problem, solution, &err) == BASE_OK
                     ? plan_report(&problem, solution, cluster)
                     : json_pack("{s:s}", "impossible", err.text);
    }
    base_free(costs);
    base_free(solution);
    base_free(workers);
    return report;
}

json_t *cli_inspect(
    const struct gguf *file, const struct model *model, const struct cli_cluster *cluster)
{
    uint64_t bytes = 0, parameters = 0;
    json_t *by_type = types(file, &bytes, &parameters);
    json_t *report = json_pack("{s:s, s:o, s:i, s:o, s:o, s:o}", "path", gguf_path(file),
        "metadata", metadata(file), "tensor_count", (int)gguf_tensor_count(file), "parameters",
        integer(parameters), "weight_bytes", integer(bytes), "types", by_type);

    if (report == NULL || model == NULL)
        return report;
    describe(report, model);
    if (cluster->worker_count > 0)
        (void)json_object_set_new(report, "plan", plan(model, cluster));
    return report;
}

/* ---- text ---- */

static double mib(const json_t *object, const char *key)
{
    return (double)json_integer_value(json_object_get(object, key)) / 1048576;
}

static int number(const json_t *object, const char *key)
{
    return (int)json_integer_value(json_object_get(object, key));
}

static void print_metadata(const json_t *object)
{
    const char *key;
    json_t *value;

    (void)printf("metadata\n");
    json_object_foreach((json_t *)object, key, value)
    {
        char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(7));
        (void)printf("  %-44s %s\n", key, text != NULL ? text : "");
        free(text);
    }
}

/* Equal neighbours are one line. */
static void print_layers(const json_t *list)
{
    size_t count = json_array_size(list);

    (void)printf("layers\n");
    for (size_t i = 0, next; i < count; i = next) {
        const json_t *layer = json_array_get(list, i);
        for (next = i + 1; next < count && json_equal(layer, json_array_get(list, next)); next++)
            ;
        char name[48];
        const char *part = json_string_value(json_object_get(layer, "part"));
        if (strcmp(part, "block") != 0)
            (void)snprintf(name, sizeof(name), "%s", part);
        else if (next == i + 1)
            (void)snprintf(name, sizeof(name), "block %zu", i - 1);
        else
            (void)snprintf(name, sizeof(name), "blocks %zu to %zu, each", i - 1, next - 2);
        (void)printf("  %-24s %9.2f MiB %-7s %6d bytes of KV a token\n", name,
            mib(layer, "weight_bytes"), json_string_value(json_object_get(layer, "weight_type")),
            number(layer, "kv_bytes_per_token"));
    }
}

static void print_plan(const json_t *object)
{
    const json_t *stages = json_object_get(object, "stages");
    const json_t *left_out = json_object_get(object, "left_out");
    const char *impossible = json_string_value(json_object_get(object, "impossible"));

    if (impossible != NULL) {
        (void)printf("plan: there is none: %s\n", impossible);
        return;
    }
    (void)printf("plan for %d positions of KV, all workers at %g GOP/s and %g GB/s\n",
        number(object, "kv_tokens"), json_real_value(json_object_get(object, "assumed_gops")),
        json_real_value(json_object_get(object, "assumed_gigabytes_per_s")));
    for (size_t i = 0; i < json_array_size(stages); i++) {
        const json_t *s = json_array_get(stages, i);
        int first = number(s, "layer_first");
        (void)printf("  worker %d (%.0f MiB): %sblocks %d to %d%s, weights %.1f MiB, KV %.1f MiB, "
                     "%.2f ms\n",
            number(s, "worker"), mib(s, "memory_bytes"), i == 0 ? "embedding, " : "", first,
            first + number(s, "layer_count") - 1, i + 1 == json_array_size(stages) ? ", head" : "",
            mib(s, "weight_bytes"), mib(s, "kv_bytes"),
            json_real_value(json_object_get(s, "predicted_ms")));
    }
    for (size_t i = 0; i < json_array_size(left_out); i++) {
        const json_t *w = json_array_get(left_out, i);
        (void)printf("  worker %d has no layers: %s\n", number(w, "worker"),
            json_string_value(json_object_get(w, "why")));
    }
}

void cli_inspect_print(const json_t *report)
{
    const json_t *by_type = json_object_get(report, "types");
    const char *family = json_string_value(json_object_get(report, "family"));
    const char *type;
    json_t *row;

    (void)printf("%s\n", json_string_value(json_object_get(report, "path")));
    print_metadata(json_object_get(report, "metadata"));
    (void)printf("weights: %.3f G parameters, %d tensors, %.1f MiB\n",
        (double)json_integer_value(json_object_get(report, "parameters")) / 1e9,
        number(report, "tensor_count"), mib(report, "weight_bytes"));
    json_object_foreach((json_t *)by_type, type, row)(void)
        printf("  %-7s %5d tensors %10.1f MiB\n", type, number(row, "tensors"), mib(row, "bytes"));
    if (family == NULL)
        return;
    (void)printf("family %s: %d layers, width %d, feed-forward %d, %d heads (%d for keys and "
                 "values) of %d, vocabulary %d, context %d\n",
        family, number(report, "layer_count"), number(report, "embedding_length"),
        number(report, "feed_forward_length"), number(report, "head_count"),
        number(report, "kv_head_count"), number(report, "head_dim"), number(report, "vocab_size"),
        number(report, "context_length"));
    if (json_object_get(report, "expert_count") != NULL)
        (void)printf("experts: %d, of which %d are used for a token\n",
            number(report, "expert_count"), number(report, "expert_used_count"));
    print_layers(json_object_get(report, "layers"));
    (void)printf("KV: %d bytes a token in %s\n", number(report, "kv_bytes_per_token"),
        json_string_value(json_object_get(report, "kv_type")));
    if (json_object_get(report, "plan") != NULL)
        print_plan(json_object_get(report, "plan"));
}
