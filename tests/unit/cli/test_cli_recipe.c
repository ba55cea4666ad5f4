/* Types that mixtures give to tensors of a model of 16 layers. */
#include "cli_recipe.h"

#include "base_alloc.h"
#include "gguf.h"
#include "gguf_builder.h"
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#define LAYERS 16

static struct gguf *model;
static uint8_t *header;

static void add(struct gguf_builder *builder, const char *name, uint64_t columns, uint64_t rows)
{
    const uint64_t shape[] = {columns, rows};

    gguf_builder_tensor(builder, name, GGUF_F32, 2, shape);
}

static void open_model(bool tied, uint64_t columns)
{
    struct gguf_builder *builder = NULL;
    size_t bytes = 0;
    char name[64];

    cr_assert_eq(gguf_builder_new(&builder), 0);
    gguf_builder_string(builder, "general.architecture", "llama");
    gguf_builder_u32(builder, "llama.block_count", LAYERS);
    add(builder, "token_embd.weight", columns, 2);
    if (!tied)
        add(builder, "output.weight", columns, 2);
    add(builder, "blk.0.ffn_gate_inp.weight", columns, 2);
    add(builder, "output_norm.weight", columns, 1);
    for (int i = 0; i < LAYERS; i++) {
        const char *const parts[] = {"attn_q", "attn_v", "attn_output", "ffn_down"};
        for (size_t j = 0; j < 4; j++) {
            (void)snprintf(name, sizeof(name), "blk.%d.%s.weight", i, parts[j]);
            add(builder, name, columns, 2);
        }
    }
    cr_assert_eq(gguf_builder_header(builder, NULL, &header, &bytes, NULL), 0);
    /* Data behind it, so that it is a file. */
    size_t all = bytes + 32 + (size_t)(columns * 8 + 64) * (4 * LAYERS + 4);
    header = base_realloc_array(header, all, 1);
    memset(header + bytes, 0, all - bytes);
    cr_assert_eq(gguf_open_memory(header, all, "m", &model, NULL), 0);
    gguf_builder_destroy(&builder);
}

static void close_model(void)
{
    gguf_close(&model);
    base_free(header);
}

static const char *type_of(const char *recipe, const char *tensor)
{
    const struct cli_recipe *found = cli_recipe_find(recipe);
    const struct gguf_tensor *of = gguf_tensor_find(model, tensor);

    cr_assert_not_null(found, "%s", recipe);
    cr_assert_not_null(of, "%s", tensor);
    return gguf_type_name(cli_recipe_type(found, model, of));
}

/* Layers with the given type of a part, as digits. */
static const char *layers_with(const char *recipe, const char *part, const char *type)
{
    static char digits[LAYERS + 1];
    char name[64];

    for (int i = 0; i < LAYERS; i++) {
        (void)snprintf(name, sizeof(name), "blk.%d.%s.weight", i, part);
        digits[i] = strcmp(type_of(recipe, name), type) == 0 ? '1' : '0';
    }
    return digits;
}

Test(cli_recipe, names)
{
    cr_assert_null(cli_recipe_find("q9_k"));
    cr_assert_eq(cli_recipe_find("Q4_K_M"), cli_recipe_find("q4_k"));
    cr_assert_eq(cli_recipe_file_type(cli_recipe_find("q4_k_m")), 15);
    cr_assert_not_null(strstr(cli_recipe_names(), "iq4_xs, mxfp4"), "%s", cli_recipe_names());
}

Test(cli_recipe, mixtures)
{
    open_model(false, 256);
    cr_expect_str_eq(type_of("q4_k_m", "token_embd.weight"), "Q4_K");
    cr_expect_str_eq(type_of("q4_k_m", "output.weight"), "Q6_K");
    cr_expect_str_eq(type_of("q4_0", "output.weight"), "Q6_K");
    cr_expect_str_eq(type_of("q8_0", "output.weight"), "Q8_0");
    cr_expect_str_eq(type_of("q4_k_m", "blk.0.ffn_gate_inp.weight"), "F32");
    cr_expect_str_eq(type_of("q4_k_m", "output_norm.weight"), "F32");
    cr_expect_str_eq(layers_with("q4_k_m", "attn_q", "Q4_K"), "1111111111111111");
    cr_expect_str_eq(layers_with("q4_k_m", "attn_v", "Q6_K"), "1100100100100111");
    cr_expect_str_eq(layers_with("q4_k_m", "ffn_down", "Q6_K"), "1100100100100111");
    cr_expect_str_eq(layers_with("q4_k_s", "attn_v", "Q5_K"), "1111000000000000");
    cr_expect_str_eq(layers_with("q4_k_s", "ffn_down", "Q5_K"), "1100000000000000");
    cr_expect_str_eq(layers_with("q3_k_m", "attn_v", "Q5_K"), "1100000000000000");
    cr_expect_str_eq(layers_with("q3_k_m", "attn_v", "Q4_K"), "0011111111111111");
    cr_expect_str_eq(layers_with("q3_k_m", "attn_output", "Q4_K"), "1111111111111111");
    cr_expect_str_eq(layers_with("q2_k", "ffn_down", "Q3_K"), "1111111111111111");
    cr_expect_str_eq(layers_with("q5_k_s", "ffn_down", "Q6_K"), "1100000000000000");
    close_model();
}

Test(cli_recipe, tied_and_odd_rows)
{
    open_model(true, 96);
    cr_expect_str_eq(type_of("q4_k_m", "token_embd.weight"), "Q8_0", "Q6_K's stand-in");
    cr_expect_str_eq(type_of("q4_k_m", "blk.0.attn_q.weight"), "Q5_0");
    cr_expect_str_eq(type_of("q5_k_m", "blk.0.attn_q.weight"), "Q5_1");
    cr_expect_str_eq(type_of("q2_k", "blk.0.attn_q.weight"), "Q4_0");
    cr_expect_str_eq(type_of("iq4_xs", "blk.0.attn_q.weight"), "IQ4_NL");
    cr_expect_eq(
        cli_recipe_type(NULL, model, gguf_tensor_find(model, "blk.0.attn_q.weight")), GGUF_F32);
    close_model();
    open_model(true, 24);
    cr_expect_str_eq(type_of("q4_0", "blk.0.attn_q.weight"), "F16");
    close_model();
}
