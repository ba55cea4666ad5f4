/*
 * A token's logits are the same bits however they are computed. For each family, weight type and
 * seed: a random tiny model and random sequences; the reference decodes them one token at a time on
 * one thread and one stage. Then random cuts, threads, page sizes and orders, batch mixes and prompt
 * chunkings must give the same hash of every token's full row, and the same top candidates.
 *
 * usage: property_bits [seed_first [seed_count]]
 */
#include "base_err.h"
#include "gguf.h"
#include "model.h"
#include "stage.h"
#include "tensor_type.h"
#include "tiny_gguf.h"
#include "tiny_mesh.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define SEQUENCES_MAX      4
#define TOKENS_MAX         64
#define VARIANTS           3
#define SEEDS_DEFAULT      1
#define WEIGHT_TYPES_MAX   64 /* ids of types are below */
#define TOP_COUNT          5
#define SEED_FIRST_DEFAULT 1

struct sequence {
    uint32_t tokens[TOKENS_MAX];
    uint32_t count;
    uint64_t hashes[TOKENS_MAX]; /* of the row of each position */
    uint32_t best[TOKENS_MAX];   /* its largest logit's token */
    float log_sums[TOKENS_MAX];  /* its log_sum_exp */
    uint32_t done;               /* positions run in the present variant */
    uint32_t pages[TOKENS_MAX];
    uint32_t page_count;
};

struct trial {
    uint64_t seed;
    uint64_t random;
    const char *family;
    uint32_t weight_type;
    uint32_t kv_type;
    struct model *model;
    const struct model_config *config;
    struct sequence sequences[SEQUENCES_MAX];
    uint32_t sequence_count;
    uint64_t rows_compared;
    bool whole;          /* sequences run in one batch: an encoder */
    uint32_t row_length; /* of what comes out for a token */
};

static uint64_t random_next(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static uint32_t pick(struct trial *trial, uint32_t low, uint32_t high)
{
    return low + (uint32_t)(random_next(&trial->random) % (high - low + 1));
}

static int fail(const struct trial *trial, const char *what)
{
    (void)printf("FAIL seed %" PRIu64 ", family %s, weight type %" PRIu32 ", kv type %" PRIu32
                 ": %s\n",
        trial->seed, trial->family, trial->weight_type, trial->kv_type, what);
    return -1;
}

static uint64_t row_hash(const struct trial *trial, const float *row)
{
    return XXH3_64bits(row, trial->row_length * sizeof(float));
}

static uint32_t largest(const float *row, uint32_t count)
{
    uint32_t best = 0;

    for (uint32_t i = 1; i < count; i++)
        if (row[i] > row[best])
            best = i;
    return best;
}

/* Gives the sequences disjoint pages: in order, or shuffled. Returns how many were needed. */
static uint32_t deal_pages(struct trial *trial, uint32_t page_tokens, bool shuffle)
{
    uint32_t ids[SEQUENCES_MAX * TOKENS_MAX];
    uint32_t total = 0;
    uint32_t next = 0;

    for (uint32_t i = 0; i < trial->sequence_count; i++) {
        struct sequence *s = &trial->sequences[i];
        s->page_count = (s->count + page_tokens - 1) / page_tokens;
        s->done = 0;
        total += s->page_count;
    }
    for (uint32_t i = 0; i < total; i++) {
        uint32_t at = shuffle ? pick(trial, 0, i) : i;
        ids[i] = ids[at];
        ids[at] = i;
    }
    for (uint32_t i = 0; i < trial->sequence_count; i++)
        for (uint32_t j = 0; j < trial->sequences[i].page_count; j++)
            trial->sequences[i].pages[j] = ids[next++];
    return total;
}

static int mesh_init(struct trial *trial, struct tiny_mesh_options *options, bool shuffle,
    struct tiny_mesh *ret_mesh)
{
    struct base_error err = {0};

    options->page_count = deal_pages(trial, options->page_tokens, shuffle) + (shuffle ? 3 : 0);
    if (tiny_mesh_init(trial->model, options, ret_mesh, &err) != BASE_OK)
        return fail(trial, err.text);
    return 0;
}

/* What is computed of positions [first, first + count) of a sequence, noted as the truth. */
static int note_rows(
    struct trial *trial, struct tiny_mesh *mesh, struct sequence *s, uint32_t first, uint32_t count)
{
    const struct stage_sequence batch = {first, count, s->pages, s->page_count,
        trial->whole ? STAGE_HIDDEN_ALL : STAGE_LOGITS_FULL, 0};
    struct base_error err = {0};
    struct stage_output output;

    if (tiny_mesh_run(mesh, &batch, 1, s->tokens + first, count, &output, &err) != BASE_OK)
        return fail(trial, err.text);
    for (uint32_t i = 0; i < count; i++) {
        const float *row = tiny_mesh_logits(&output, i);
        uint32_t p = first + i;
        s->hashes[p] = row_hash(trial, row);
        s->best[p] = largest(row, trial->row_length);
        s->log_sums[p] = output.rows[i].log_sum_exp;
        /* All rows of a broken model would agree. */
        if (!isfinite(row[0]) || !isfinite(s->log_sums[p]) ||
            (p > 0 && s->hashes[p] == s->hashes[p - 1] && s->tokens[p] != s->tokens[p - 1]))
            return fail(trial, "the model does not tell tokens apart");
    }
    return 0;
}

/* One token (encoders: one sequence), one thread, one stage at a time. */
static int run_reference(struct trial *trial)
{
    struct tiny_mesh_options options = {.cuts = 0,
        .threads = 1,
        .page_tokens = 64,
        .batch_tokens_max = trial->whole ? TOKENS_MAX : 1,
        .kv_type = trial->kv_type};
    struct tiny_mesh mesh;
    int rc = 0;

    if (mesh_init(trial, &options, false, &mesh) != 0)
        return -1;
    for (uint32_t i = 0; i < trial->sequence_count && rc == 0; i++) {
        struct sequence *s = &trial->sequences[i];
        uint32_t step = trial->whole ? s->count : 1;
        for (uint32_t p = 0; p < s->count && rc == 0; p += step)
            rc = note_rows(trial, &mesh, s, p, step);
    }
    tiny_mesh_release(&mesh);
    return rc;
}

static int compare_row(struct trial *trial, const struct sequence *s,
    const struct stage_output *output, const struct stage_row *row)
{
    const uint8_t *payload = output->payload + row->offset;
    uint32_t id = 0;

    trial->rows_compared++;
    if (memcmp(&row->log_sum_exp, &s->log_sums[row->position], sizeof(float)) != 0)
        return fail(trial, "log_sum_exp differs");
    if (row->logits == STAGE_LOGITS_TOP) {
        memcpy(&id, payload, sizeof(id));
        return id == s->best[row->position] ? 0 : fail(trial, "the top candidate differs");
    }
    if (row_hash(trial, (const float *)(const void *)payload) == s->hashes[row->position])
        return 0;
    return fail(trial, "logits differ");
}

/* A batch of random parts of a random choice of the sequences that have tokens left. */
static uint32_t make_batch(struct trial *trial, uint32_t tokens_max, struct stage_sequence *batch,
    uint32_t *owners, uint32_t *tokens, uint32_t *ret_token_count)
{
    uint32_t count = 0;
    uint32_t used = 0;
    uint32_t offset = pick(trial, 0, trial->sequence_count - 1);

    for (uint32_t i = 0; i < trial->sequence_count && used < tokens_max; i++) {
        uint32_t owner = (i + offset) % trial->sequence_count;
        struct sequence *s = &trial->sequences[owner];
        uint32_t left = s->count - s->done;
        if (left == 0 || (count > 0 && pick(trial, 0, 3) == 0))
            continue;
        if (trial->whole && left > tokens_max - used)
            continue;
        if (left > tokens_max - used)
            left = tokens_max - used;
        uint32_t part = pick(trial, 0, 2) == 0 ? 1 : pick(trial, 1, left);
        enum stage_logits logits =
            pick(trial, 0, 4) == 0 ? STAGE_LOGITS_TOP : STAGE_LOGITS_FULL_ALL;
        if (trial->whole) {
            part = left;
            logits = STAGE_HIDDEN_ALL;
        }
        batch[count] =
            (struct stage_sequence){s->done, part, s->pages, s->page_count, logits, TOP_COUNT};
        memcpy(tokens + used, s->tokens + s->done, part * sizeof(*tokens));
        owners[count++] = owner;
        used += part;
        s->done += part;
    }
    *ret_token_count = used;
    return count;
}

static int run_batches(struct trial *trial, struct tiny_mesh *mesh, uint32_t tokens_max)
{
    struct stage_sequence batch[SEQUENCES_MAX];
    uint32_t owners[SEQUENCES_MAX];
    uint32_t tokens[SEQUENCES_MAX * TOKENS_MAX];
    uint32_t token_count = 0;
    uint32_t count;

    while ((count = make_batch(trial, tokens_max, batch, owners, tokens, &token_count)) > 0) {
        struct base_error err = {0};
        struct stage_output output;
        if (tiny_mesh_run(mesh, batch, count, tokens, token_count, &output, &err) != BASE_OK)
            return fail(trial, err.text);
        for (size_t i = 0; i < output.row_count; i++) {
            const struct stage_row *row = &output.rows[i];
            if (compare_row(trial, &trial->sequences[owners[row->sequence]], &output, row) != 0)
                return -1;
        }
    }
    return 0;
}

static int run_variant(struct trial *trial)
{
    struct tiny_mesh_options options = {
        .cuts = random_next(&trial->random),
        .threads = pick(trial, 1, 4),
        .page_tokens = 1u << pick(trial, 0, 6),
        .batch_tokens_max = pick(trial, trial->whole ? TOKENS_MAX : 1, 256),
        .kv_type = trial->kv_type,
    };
    struct tiny_mesh mesh;

    if (mesh_init(trial, &options, true, &mesh) != 0)
        return -1;
    int rc = run_batches(trial, &mesh, options.batch_tokens_max);
    if (rc != 0)
        (void)printf("  stages %u, threads %u, page_tokens %u, batch_tokens_max %u\n",
            mesh.stage_count, options.threads, options.page_tokens, options.batch_tokens_max);
    tiny_mesh_release(&mesh);
    return rc;
}

static void make_sequences(struct trial *trial)
{
    trial->sequence_count = pick(trial, 1, SEQUENCES_MAX);
    for (uint32_t i = 0; i < trial->sequence_count; i++) {
        struct sequence *s = &trial->sequences[i];
        s->count = pick(trial, 1, TOKENS_MAX);
        for (uint32_t j = 0; j < s->count; j++)
            s->tokens[j] = pick(trial, 0, trial->config->vocab_size - 1);
    }
}

/* Shapes that the type's blocks allow; large enough, at times, that the pool is woken. */
static struct tiny_gguf_options choose_model(struct trial *trial)
{
    const uint32_t heads[] = {2, 4, 8};
    uint32_t block = (uint32_t)tensor_block_columns(trial->weight_type);
    bool large = block > 32 || pick(trial, 0, 3) == 0;
    uint32_t unit = block > 32 ? block : 32;
    struct tiny_gguf_options options = {
        .seed = trial->seed,
        .family = trial->family,
        .weight_type = trial->weight_type,
        .layer_count = pick(trial, 1, 5),
        .embedding_length = large ? 256 : 64,
        .feed_forward = unit * pick(trial, 1, large ? 512 / unit : 5),
        .head_count = heads[pick(trial, 0, 2)],
        .vocab_size = pick(trial, TOP_COUNT, 300),
        .expert_count = pick(trial, 1, 6),
        .tied = pick(trial, 0, 1) == 1,
        .rope_factors = pick(trial, 0, 1) == 1 && strcmp(trial->family, "bert") != 0,
        .biases = pick(trial, 0, 1) == 1,
        .rope_scaling_factor = pick(trial, 0, 1) == 1 ? 2.0f : 0.0f,
    };

    options.kv_head_count = pick(trial, 0, 1) == 1 ? options.head_count : options.head_count / 2;
    return options;
}

static const uint32_t kv_types[] = {TENSOR_F32, TENSOR_F16, TENSOR_Q8_0};

static int run_trial(
    uint64_t seed, const char *family, uint32_t weight_type, uint64_t *rows_compared)
{
    struct trial trial = {
        .seed = seed, .random = seed, .family = family, .weight_type = weight_type};
    struct base_error err = {0};
    struct gguf *file = NULL;
    size_t bytes = 0;

    for (const char *c = family; *c != '\0'; c++) /* each family and type has its own shapes */
        trial.random = trial.random * 31 + (uint8_t)*c;
    trial.random = trial.random * 31 + weight_type;
    trial.kv_type = kv_types[pick(&trial, 0, 2)];
    struct tiny_gguf_options options = choose_model(&trial);
    uint8_t *data = tiny_gguf_build(&options, &bytes);

    int rc = gguf_open_memory(data, bytes, "tiny", &file, &err);
    if (rc == BASE_OK)
        rc = model_open_gguf(&file, &trial.model, &err);
    if (rc != BASE_OK) {
        rc = fail(&trial, err.text);
    } else {
        trial.config = model_get_config(trial.model);
        trial.whole = !trial.config->has_head;
        trial.row_length = trial.whole ? trial.config->embedding_length : trial.config->vocab_size;
        make_sequences(&trial);
        rc = run_reference(&trial);
        for (int i = 0; i < VARIANTS && rc == 0; i++)
            rc = run_variant(&trial);
    }
    model_close(&trial.model);
    gguf_close(&file);
    free(data);
    *rows_compared += trial.rows_compared;
    return rc;
}

int main(int argc, char **argv)
{
    uint64_t first = argc > 1 ? strtoull(argv[1], NULL, 10) : SEED_FIRST_DEFAULT;
    uint64_t count = argc > 2 ? strtoull(argv[2], NULL, 10) : SEEDS_DEFAULT;
    uint64_t rows = 0;
    unsigned trials = 0;
    int failures = 0;

    for (uint64_t seed = first; seed < first + count; seed++)
        for (size_t f = 0; tiny_gguf_families[f] != NULL; f++)
            for (uint32_t type = 0; type < WEIGHT_TYPES_MAX; type++)
                if (tensor_type_supported(type)) {
                    failures += run_trial(seed, tiny_gguf_families[f], type, &rows) != 0;
                    trials++;
                }
    (void)printf("%" PRIu64 " seeds from %" PRIu64 ", %u trials, %" PRIu64
                 " rows compared, %d failures\n",
        count, first, trials, rows, failures);
    return failures == 0 && rows > 0 ? 0 : 1;
}
