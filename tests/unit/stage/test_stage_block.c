/* What only some families do within a block, where the fixtures have no model of it. */
#include "stage.h"

#include "base_err.h"
#include "gguf.h"
#include "model.h"
#include "tiny_gguf.h"
#include "tiny_mesh.h"
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define TOKENS 48u
#define ROW    64u

static float rows[2][TOKENS][ROW];

/* Every token's row of a tiny model of 64 tokens and 64 wide. */
static void run_family(const char *family, uint32_t second_text, float to[TOKENS][ROW])
{
    const struct tiny_gguf_options tiny = {.seed = 5, .family = family, .vocab_size = ROW};
    const struct tiny_mesh_options options = {
        .threads = 1, .page_tokens = 64, .page_count = 1, .batch_tokens_max = TOKENS};
    const uint32_t page = 0;
    struct base_error err = {0};
    struct gguf *file = NULL;
    struct model *model = NULL;
    struct tiny_mesh mesh;
    struct stage_output output;
    uint32_t tokens[TOKENS];
    size_t bytes = 0;
    uint8_t *data = tiny_gguf_build(&tiny, &bytes);

    cr_assert_eq(gguf_open_memory(data, bytes, "tiny", &file, &err), BASE_OK, "%s", err.text);
    cr_assert_eq(model_open_gguf(&file, &model, &err), BASE_OK, "%s", err.text);
    cr_assert_eq(tiny_mesh_init(model, &options, &mesh, &err), BASE_OK, "%s", err.text);
    for (uint32_t i = 0; i < TOKENS; i++)
        tokens[i] = i * 29 % ROW;
    const struct stage_sequence sequence = {.token_count = TOKENS,
        .pages = &page,
        .page_count = 1,
        .logits = model_get_config(model)->has_head ? STAGE_LOGITS_FULL_ALL : STAGE_HIDDEN_ALL,
        .second_text = second_text};
    int rc = tiny_mesh_run(&mesh, &sequence, 1, tokens, TOKENS, &output, &err);
    cr_assert_eq(rc, BASE_OK, "%s", err.text);
    for (uint32_t i = 0; i < TOKENS; i++) {
        cr_assert_eq(output.rows[i].count, ROW);
        memcpy(to[i], tiny_mesh_logits(&output, i), sizeof(to[i]));
    }
    tiny_mesh_release(&mesh);
    model_close(&model);
    free(data);
}

/* The same weights with and without: the first training's length is 32 positions. */
Test(stage_block, temperature_begins_behind_the_first_trainings_length)
{
    run_family("llama-yarn", 0, rows[0]);
    run_family("mistral3", 0, rows[1]);
    cr_assert_eq(memcmp(rows[0], rows[1], 32 * sizeof(rows[0][0])), 0);
    for (uint32_t i = 32; i < TOKENS; i++)
        cr_assert_neq(memcmp(rows[0][i], rows[1][i], sizeof(rows[0][i])), 0, "position %u", i);
}

Test(stage_block, the_second_text_of_a_pair_has_its_own_embedding)
{
    run_family("bert", 0, rows[0]);
    run_family("bert", TOKENS, rows[1]);
    cr_assert_eq(memcmp(rows[0], rows[1], sizeof(rows[0])), 0, "none of it is the second");
    run_family("bert", 40, rows[1]);
    for (uint32_t i = 0; i < TOKENS; i++) /* every token sees all others */
        cr_assert_neq(memcmp(rows[0][i], rows[1][i], sizeof(rows[0][i])), 0, "position %u", i);
}
