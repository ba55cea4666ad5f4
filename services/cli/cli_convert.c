/* Reads rows, turns them into the wanted type on all threads, and writes them as they come. */
#include "cli_convert.h"
#include "cli_command.h"
#include "cli_recipe.h"
#include "cli_vocabulary.h"

#include "base_alloc.h"
#include "base_clock.h"
#include "base_err.h"
#include "gguf.h"
#include "gguf_builder.h"
#include "gguf_writer.h"
#include "hf.h"
#include "tensor_pool.h"
#include "tensor_quantize.h"
#include "tensor_type.h"
#include "text_describe.h"
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define CHUNK_BYTES          ((size_t)8 << 20) /* of source rows or target rows at a time */
#define QUANTIZATION_VERSION 2                 /* of the block layouts */
#define PROGRESS_MS          200

struct converter {
    const struct cli_convert_options *options;
    struct gguf *source;
    struct gguf_builder *builder;
    struct gguf_writer *writer;
    struct tensor_pool *pool;
    struct cli_convert_result *result;
    uint64_t bytes_total, bytes_done;
    uint64_t shown_ms;
    bool progress;
    struct base_error *err;
};

/* ---- metadata ---- */

static bool key_is(const struct gguf_pair *pair, const char *prefix)
{
    size_t length = strlen(prefix);

    return pair->key.bytes >= length && memcmp(pair->key.data, prefix, length) == 0;
}

/* Pads the vocabulary to the rows of the embedding, as readers of GGUF want it. */
static size_t filler_count(const struct gguf *source, size_t token_count)
{
    const struct gguf_tensor *embedding = gguf_tensor_find(source, "token_embd.weight");

    return embedding != NULL && embedding->dimensions[1] > token_count
               ? (size_t)embedding->dimensions[1] - token_count
               : 0;
}

static void put_tokens(
    struct gguf_builder *builder, const struct text_description *text, size_t fillers)
{
    gguf_builder_strings(builder, "tokenizer.ggml.tokens", text->token_count + fillers);
    for (size_t i = 0; i < text->token_count; i++)
        gguf_builder_element(builder, text->tokens[i].data, text->tokens[i].bytes);
    for (size_t i = 0; i < fillers; i++) {
        char name[32];
        int length = snprintf(name, sizeof(name), "[PAD%zu]", text->token_count + i);
        gguf_builder_element(builder, name, (size_t)length);
    }
}

/* types and scores with what fillers have: unused, and a score of 0. */
static int put_token_numbers(
    struct converter *self, const struct text_description *text, size_t fillers)
{
    size_t count = text->token_count + fillers;
    int32_t *types = base_alloc_array(count, sizeof(*types));
    float *scores = base_alloc_zeroed(count, sizeof(*scores));

    if (types == NULL || scores == NULL) {
        base_free(types);
        base_free(scores);
        return base_error_set(self->err, BASE_NOMEM, "tokenizer: no memory");
    }
    for (size_t i = 0; i < count; i++)
        types[i] = i < text->token_count ? text->types[i] : 5;
    gguf_builder_array(self->builder, "tokenizer.ggml.token_type", GGUF_VALUE_I32, count, types);
    if (text->scores != NULL) {
        memcpy(scores, text->scores, text->token_count * sizeof(*scores));
        gguf_builder_array(self->builder, "tokenizer.ggml.scores", GGUF_VALUE_F32, count, scores);
    }
    base_free(types);
    base_free(scores);
    return BASE_OK;
}

static void put_special(struct gguf_builder *builder, const struct text_description *text)
{
    const struct {
        const char *key;
        int64_t id;
    } ids[] = {
        {"tokenizer.ggml.bos_token_id", text->bos_id},
        {"tokenizer.ggml.eos_token_id", text->eos_id},
        {"tokenizer.ggml.eot_token_id", text->eot_id},
        {"tokenizer.ggml.eom_token_id", text->eom_id},
        {"tokenizer.ggml.unknown_token_id", text->unknown_id},
        {"tokenizer.ggml.seperator_token_id", text->separator_id},
        {"tokenizer.ggml.padding_token_id", text->padding_id},
        {"tokenizer.ggml.mask_token_id", text->mask_id},
    };

    for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++)
        if (ids[i].id >= 0)
            gguf_builder_u32(builder, ids[i].key, (uint32_t)ids[i].id);
    gguf_builder_bool(builder, "tokenizer.ggml.add_bos_token", text->add_bos);
    gguf_builder_bool(builder, "tokenizer.ggml.add_eos_token", text->add_eos);
    gguf_builder_bool(builder, "tokenizer.ggml.add_sep_token", text->add_separator);
    if (text->end_ids != NULL)
        gguf_builder_array(builder, "tokenizer.ggml.eos_token_ids", GGUF_VALUE_U32, text->end_count,
            text->end_ids);
}

static int put_description(struct converter *self, const struct text_description *text)
{
    struct gguf_builder *builder = self->builder;
    size_t fillers = filler_count(self->source, text->token_count);
    bool t5 = strcmp(text->model, "t5") == 0;

    gguf_builder_string(builder, "tokenizer.ggml.model", text->model);
    if (text->pre != NULL)
        gguf_builder_string(builder, "tokenizer.ggml.pre", text->pre);
    put_tokens(builder, text, fillers);
    int rc = put_token_numbers(self, text, fillers);
    if (text->merges != NULL) {
        gguf_builder_strings(builder, "tokenizer.ggml.merges", text->merge_count);
        for (size_t i = 0; i < text->merge_count; i++)
            gguf_builder_element(builder, text->merges[i].data, text->merges[i].bytes);
    }
    put_special(builder, text);
    if (t5 || strcmp(text->model, "llama") == 0)
        gguf_builder_bool(builder, "tokenizer.ggml.add_space_prefix", text->add_space_prefix);
    if (t5)
        gguf_builder_bool(
            builder, "tokenizer.ggml.remove_extra_whitespaces", text->remove_extra_whitespaces);
    if (strcmp(text->model, "bert") == 0) {
        gguf_builder_bool(builder, "tokenizer.ggml.normalizer.lowercase", text->lowercase);
        gguf_builder_bool(builder, "tokenizer.ggml.normalizer.strip_accents", text->strip_accents);
    }
    if (text->charsmap.bytes > 0)
        gguf_builder_array(builder, "tokenizer.ggml.precompiled_charsmap", GGUF_VALUE_U8,
            text->charsmap.bytes, text->charsmap.data);
    return rc;
}

/* The tokenizer of a folder in GGUF's words, if it has words for it. */
static int put_tokenizer(struct converter *self, bool *ret_described)
{
    struct text_tokenizer *tokenizer = NULL;
    struct text_description text;
    struct base_error why = {0};
    int rc = text_tokenizer_open(self->source, &tokenizer, &why);

    *ret_described = false;
    if (rc == BASE_OK)
        rc = text_tokenizer_describe(tokenizer, &text, &why);
    if (rc == BASE_OK) {
        rc = put_description(self, &text);
        *ret_described = true;
        text_description_release(&text);
    } else if (rc != BASE_NOMEM) {
        (void)snprintf(self->result->note, sizeof(self->result->note),
            "the tokenizer is in the file as tokenizer.json only: %.200s", why.text);
        rc = BASE_OK;
    }
    text_tokenizer_close(&tokenizer);
    return rc;
}

static int put_metadata(struct converter *self)
{
    bool folder =
        gguf_tensor_count(self->source) > 0 && gguf_tensor_at(self->source, 0)->data == NULL;
    struct gguf_pair pair;
    bool described = false;
    int rc = folder ? put_tokenizer(self, &described) : BASE_OK;

    for (size_t i = 0; gguf_pair_at(self->source, i, &pair); i++) {
        bool again = described && key_is(&pair, "tokenizer.ggml.") &&
                     !key_is(&pair, "tokenizer.ggml.token_type_count");
        if (again || key_is(&pair, "split.") || key_is(&pair, "general.quantization_version") ||
            key_is(&pair, "general.alignment") ||
            (self->options->recipe != NULL && key_is(&pair, "general.file_type")))
            continue;
        gguf_builder_copy(self->builder, self->source, i);
    }
    if (self->options->recipe != NULL)
        gguf_builder_u32(
            self->builder, "general.file_type", cli_recipe_file_type(self->options->recipe));
    gguf_builder_u32(self->builder, "general.quantization_version", QUANTIZATION_VERSION);
    return rc;
}

static int put_table(struct converter *self)
{
    for (size_t i = 0; i < gguf_tensor_count(self->source); i++) {
        const struct gguf_tensor *tensor = gguf_tensor_at(self->source, i);
        uint32_t type = cli_recipe_type(self->options->recipe, self->source, tensor);
        if (type != tensor->type && !tensor_type_supported(tensor->type))
            return base_error_set(self->err, BASE_UNSUPPORTED,
                "%s: its type %s can be copied, but not converted", tensor->name,
                gguf_type_name(tensor->type));
        gguf_builder_tensor(
            self->builder, tensor->name, type, tensor->dimension_count, tensor->dimensions);
        self->bytes_total += tensor->bytes;
        self->result->source_bytes += tensor->bytes;
        self->result->target_bytes += gguf_builder_tensor_bytes(self->builder, i);
    }
    return gguf_builder_check(self->builder, self->err);
}

/* ---- rows ---- */

/* Rows that the threads take one after the other. */
struct job {
    atomic_size_t next;
    atomic_size_t failed; /* row + 1 that cannot be quantised; 0: none */
    size_t row_count, columns;
    uint32_t from_type, to_type;
    const uint8_t *from;
    uint8_t *to;
    float *scratch; /* [threads, columns] */
};

static void convert_rows(void *context, uint32_t thread_index, uint32_t thread_count)
{
    struct job *job = context;
    float *x = job->scratch + (size_t)thread_index * job->columns;
    size_t from_bytes = tensor_row_bytes(job->from_type, job->columns);
    size_t to_bytes = tensor_row_bytes(job->to_type, job->columns);

    for (;;) {
        size_t row = atomic_fetch_add(&job->next, 1);
        if (row >= job->row_count)
            return;
        tensor_dequantize_row(job->from_type, job->from + row * from_bytes, job->columns, x);
        if (!tensor_quantize_row(job->to_type, x, job->columns, job->to + row * to_bytes))
            atomic_store(&job->failed, row + 1);
    }
}

static void show_progress(struct converter *self, const char *name)
{
    uint64_t now = base_clock_ms();
    char bar[31];

    if (!self->progress || now - self->shown_ms < PROGRESS_MS)
        return;
    self->shown_ms = now;
    double share =
        self->bytes_total > 0 ? (double)self->bytes_done / (double)self->bytes_total : 1.0;
    for (size_t i = 0; i < sizeof(bar) - 1; i++)
        bar[i] = (double)i < share * (double)(sizeof(bar) - 1) ? '#' : '.';
    bar[sizeof(bar) - 1] = '\0';
    (void)fprintf(stderr, "\r[%s] %3.0f %% %-40.40s", bar, share * 100, name);
    (void)fflush(stderr);
}

/* What a tensor's conversion needs in memory. */
struct buffers {
    uint8_t *from, *to;
    float *scratch;
    size_t rows; /* at a time */
};

static int alloc_buffers(struct converter *self, const struct gguf_tensor *tensor, uint32_t type,
    struct buffers *ret_buffers)
{
    size_t columns = (size_t)tensor->dimensions[0];
    size_t row_bytes = gguf_row_bytes(tensor);
    size_t rows = CHUNK_BYTES / (columns * sizeof(float));
    uint64_t all = gguf_row_count(tensor);

    if (rows == 0)
        rows = 1;
    if (rows > all)
        rows = (size_t)all;
    ret_buffers->rows = rows;
    ret_buffers->from = base_alloc_array(rows, row_bytes);
    if (type != tensor->type) {
        ret_buffers->to = base_alloc_array(rows, tensor_row_bytes(type, columns));
        ret_buffers->scratch =
            base_alloc_array(tensor_pool_threads(self->pool) * columns, sizeof(float));
    }
    if (ret_buffers->from == NULL ||
        (type != tensor->type && (ret_buffers->to == NULL || ret_buffers->scratch == NULL)))
        return base_error_set(self->err, BASE_NOMEM, "%s: no memory", tensor->name);
    return BASE_OK;
}

static int convert_chunk(struct converter *self, const struct gguf_tensor *tensor, uint32_t type,
    const struct buffers *buffers, uint64_t row, size_t count)
{
    const uint8_t *from = NULL;
    size_t columns = (size_t)tensor->dimensions[0];
    int rc = gguf_read_rows(self->source, tensor, row, count, buffers->from, &from, self->err);

    if (rc != BASE_OK)
        return rc;
    if (type == tensor->type)
        return gguf_writer_append(self->writer, from, count * gguf_row_bytes(tensor), self->err);
    struct job job = {.row_count = count,
        .columns = columns,
        .from_type = tensor->type,
        .to_type = type,
        .from = from,
        .to = buffers->to,
        .scratch = buffers->scratch};
    tensor_pool_run(self->pool, convert_rows, &job);
    size_t failed = atomic_load(&job.failed);
    if (failed > 0)
        return base_error_set(self->err, BASE_MALFORMED,
            "%s: row %llu holds what is no number, or too large for %s", tensor->name,
            (unsigned long long)(row + failed - 1), gguf_type_name(type));
    return gguf_writer_append(
        self->writer, buffers->to, count * tensor_row_bytes(type, columns), self->err);
}

static int convert_tensor(struct converter *self, const struct gguf_tensor *tensor)
{
    uint32_t type = cli_recipe_type(self->options->recipe, self->source, tensor);
    uint64_t rows = gguf_row_count(tensor);
    struct buffers buffers = {NULL, NULL, NULL, 0};
    int rc = alloc_buffers(self, tensor, type, &buffers);

    gguf_advise(self->source, tensor, true);
    for (uint64_t row = 0; row < rows && rc == BASE_OK; row += buffers.rows) {
        size_t count = rows - row < buffers.rows ? (size_t)(rows - row) : buffers.rows;
        rc = convert_chunk(self, tensor, type, &buffers, row, count);
        self->bytes_done += count * gguf_row_bytes(tensor);
        show_progress(self, tensor->name);
        if (rc == BASE_OK && cli_interrupt_seen())
            rc = base_error_set(self->err, BASE_CANCELLED, "interrupted; nothing was written");
    }
    gguf_advise(self->source, tensor, false);
    base_free(buffers.from);
    base_free(buffers.to);
    base_free(buffers.scratch);
    return rc;
}

static int write_all(struct converter *self)
{
    const struct cli_convert_options *o = self->options;
    int rc = gguf_writer_new(o->target, self->builder, o->part_bytes_max, &self->writer, self->err);

    for (size_t i = 0; i < gguf_tensor_count(self->source) && rc == BASE_OK; i++)
        rc = convert_tensor(self, gguf_tensor_at(self->source, i));
    if (rc == BASE_OK)
        rc = gguf_writer_finish(self->writer, self->err);
    if (rc == BASE_OK)
        (void)snprintf(
            self->result->path, sizeof(self->result->path), "%s", gguf_writer_path(self->writer));
    if (self->progress && self->shown_ms > 0)
        (void)fprintf(stderr, "\r%*s\r", 80, "");
    return rc;
}

int cli_convert(const struct cli_convert_options *options, struct cli_convert_result *ret_result,
    struct base_error *err)
{
    struct converter self = {.options = options, .result = ret_result, .err = err};

    *ret_result = (struct cli_convert_result){0};
    self.progress = !options->quiet && isatty(STDERR_FILENO) == 1;
    if (!options->replace && access(options->target, F_OK) == 0)
        return base_error_set(
            err, BASE_IO, "%s: exists; --force replaces it", gguf_path_tail(options->target));
    int rc = hf_open_model(options->source, &self.source, err);
    if (rc == BASE_OK && gguf_builder_new(&self.builder) != BASE_OK)
        rc = base_error_set(err, BASE_NOMEM, "no memory");
    if (rc == BASE_OK)
        rc = put_metadata(&self);
    if (rc == BASE_OK)
        rc = put_table(&self);
    if (rc == BASE_OK && tensor_pool_new(options->threads, &self.pool) != BASE_OK)
        rc = base_error_set(err, BASE_NOMEM, "no threads");
    if (rc == BASE_OK)
        rc = write_all(&self);
    gguf_writer_destroy(&self.writer);
    tensor_pool_destroy(&self.pool);
    gguf_builder_destroy(&self.builder);
    gguf_close(&self.source);
    return rc;
}
