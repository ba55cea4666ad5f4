/* Tokenizer keys from the folder's files: ids by text and by number, ends, templates, sampling. */
#include "gguf_builder.h"
#include "hf_folder.h"
#include "hf_internal.h"

#include "base_alloc.h"
#include "base_err.h"
#include <criterion/criterion.h>
#include <string.h>

static struct gguf *file;
static uint8_t *header;

static int read_folder(const char *config, struct base_error *err)
{
    struct gguf_builder *builder = NULL;
    json_t *json = json_loads(config, 0, NULL);
    size_t bytes = 0;

    cr_assert_not_null(json);
    cr_assert_eq(gguf_builder_new(&builder), BASE_OK);
    int rc = hf_read_tokenizer(hf_folder_path(), json, builder, err);
    if (rc == BASE_OK) {
        cr_assert_eq(
            gguf_builder_header(builder, NULL, &header, &bytes, err), BASE_OK, "%s", err->text);
        cr_assert_eq(gguf_open_memory(header, bytes, "t", &file, err), BASE_OK);
    }
    json_decref(json);
    gguf_builder_destroy(&builder);
    return rc;
}

static void finish(void)
{
    gguf_close(&file);
    base_free(header);
    hf_folder_remove();
}

TestSuite(hf_tokenizer, .init = hf_folder_make, .fini = finish);

static uint32_t u32(const char *key)
{
    uint32_t value = UINT32_MAX;

    (void)gguf_get_u32(file, key, &value, NULL);
    return value;
}

static bool text_is(const char *key, const char *wanted)
{
    struct gguf_string text;

    return gguf_get_string(file, key, &text, NULL) == BASE_OK && text.bytes == strlen(wanted) &&
           memcmp(text.data, wanted, text.bytes) == 0;
}

Test(hf_tokenizer, everything)
{
    const char *tokenizer =
        "{\"version\":\"1.0\",\"added_tokens\": [{\"id\":7,\"content\":\"<s>\"},"
        "{\"id\":8,\"content\":\"<end>\"}],\"model\":{}}";
    struct base_error err = {0};
    struct gguf_array array;
    int64_t id = 0;
    bool flag = false;
    float temperature = 0;

    hf_folder_text("tokenizer.json", tokenizer);
    hf_folder_text("tokenizer_config.json",
        "{\"bos_token\":{\"content\":\"<s>\"},\"eos_token\":\"<end>\",\"pad_token\":\"<pad>\","
        "\"add_bos_token\":true,\"added_tokens_decoder\":{\"9\":{\"content\":\"<pad>\"}},"
        "\"chat_template\":[{\"name\":\"default\",\"template\":\"T\"},"
        "{\"name\":\"tool_use\",\"template\":\"U\"}]}");
    hf_folder_text(
        "generation_config.json", "{\"eos_token_id\":[8,11],\"temperature\":0.5,\"top_k\":20}");
    cr_assert_eq(
        read_folder("{\"unk_token_id\":3,\"eos_token_id\":12}", &err), BASE_OK, "%s", err.text);
    cr_expect(text_is("tokenizer.huggingface.json", tokenizer));
    cr_expect_eq(u32("tokenizer.ggml.bos_token_id"), 7, "from tokenizer.json");
    cr_expect_eq(u32("tokenizer.ggml.eos_token_id"), 8);
    cr_expect_eq(u32("tokenizer.ggml.padding_token_id"), 9, "from added_tokens_decoder");
    cr_expect_eq(u32("tokenizer.ggml.unknown_token_id"), 3, "by number");
    cr_expect_eq(gguf_get_array(file, "tokenizer.ggml.eos_token_ids", &array, &err), BASE_OK);
    const int64_t ends[] = {8, 11, 12};
    for (size_t i = 0; i < 3; i++)
        cr_expect(gguf_array_next_i64(&array, &id) && id == ends[i]);
    cr_expect_eq(gguf_get_bool(file, "tokenizer.ggml.add_bos_token", &flag, &err), BASE_OK);
    cr_expect(flag);
    cr_expect_eq(gguf_get_bool(file, "tokenizer.ggml.add_eos_token", &flag, &err), BASE_NOT_FOUND);
    cr_expect(text_is("tokenizer.chat_template", "T"));
    cr_expect(text_is("tokenizer.chat_template.tool_use", "U"));
    cr_expect_eq(gguf_get_f32(file, "general.sampling.temp", &temperature, &err), BASE_OK);
    cr_expect_eq(temperature, 0.5f);
    cr_expect_eq(u32("general.sampling.top_k"), 20);
}

Test(hf_tokenizer, template_file_wins)
{
    struct base_error err = {0};

    hf_folder_text("tokenizer_config.json", "{\"chat_template\":\"old\"}");
    hf_folder_text("chat_template.jinja", "new");
    cr_assert_eq(read_folder("{}", &err), BASE_OK, "%s", err.text);
    cr_expect(text_is("tokenizer.chat_template", "new"));
}

Test(hf_tokenizer, nothing_there)
{
    struct base_error err = {0};

    cr_assert_eq(read_folder("{\"bos_token_id\":null,\"eos_token_id\":[5]}", &err), BASE_OK);
    cr_expect_eq(gguf_pair_count(file), 1);
    cr_expect_eq(u32("tokenizer.ggml.eos_token_id"), 5);
}

Test(hf_tokenizer, odd_files)
{
    struct base_error err = {0};

    hf_folder_text("tokenizer.json", "{\"added_tokens\":[{]");
    cr_assert_eq(read_folder("{}", &err), BASE_OK, "the tokenizer's reader will say it");
    gguf_close(&file);
    base_free(header);
    header = NULL;
    hf_folder_text("tokenizer_config.json", "[");
    cr_assert_eq(read_folder("{}", &err), BASE_MALFORMED);
    cr_expect_not_null(strstr(err.text, "tokenizer_config.json"), "%s", err.text);
}
