#include "base_alloc.h"
#include "model.h"
#include "tensor_pool.h"
#include "tensor_type.h"
#include "worker_machine.h"
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct model *open_demo(void)
{
    const char *root = getenv("LAYERMESH_SOURCE_ROOT");
    char path[4096];
    struct model *model = NULL;
    struct base_error err = {0};

    cr_assert_not_null(root, "LAYERMESH_SOURCE_ROOT is not set");
    (void)snprintf(path, sizeof(path), "%s/models/demo/demo-q8_0.gguf", root);
    cr_assert_eq(model_open(path, &model, &err), BASE_OK, "%s", err.text);
    return model;
}

Test(worker_machine, the_card_has_a_row_per_layer_and_safe_text)
{
    struct model *model = open_demo();
    struct wire_model_card card = {0};
    struct base_error err = {0};

    base_alloc_fail_from(1);
    cr_assert_eq(worker_machine_card(model, TENSOR_Q8_0, &card, &err), BASE_NOMEM);
    base_alloc_fail_from(0);
    cr_assert_eq(worker_machine_card(model, TENSOR_Q8_0, &card, &err), BASE_OK);
    cr_assert_eq(card.layers_count, card.layer_count + 2);
    cr_assert_neq(card.fingerprint, 0);
    cr_assert_eq(card.kv_type, TENSOR_Q8_0);
    cr_assert_str_eq(card.architecture, "llama");
    cr_assert_gt(strlen(card.name), 0);
    for (uint32_t i = 1; i <= card.layer_count; i++) {
        cr_assert_gt(card.layers[i].weight_bytes, 0);
        cr_assert_gt(card.layers[i].kv_bytes_per_token, 0);
    }
    base_free((void *)card.layers);
    model_close(&model);
}

Test(worker_machine, measures_each_weight_type_of_the_model_once)
{
    static const struct wire_layer_cost layers[] = {
        {.weight_type = 8}, {.weight_type = 8}, {.weight_type = 2}, {.weight_type = 8}};
    const struct wire_model_card card = {.layers = layers, .layers_count = 4};
    struct wire_rate rates[LIMIT_RATES_MAX] = {0};
    struct tensor_pool *pool = NULL;
    struct base_error err = {0};
    size_t count = 0;

    cr_assert_eq(tensor_pool_new(1, &pool), BASE_OK);
    cr_assert_eq(
        worker_machine_rates(pool, &card, 20, rates, &count, &err), BASE_OK, "%s", err.text);
    cr_assert_eq(count, 2);
    cr_assert_eq(rates[0].weight_type, 8);
    cr_assert_eq(rates[1].weight_type, 2);
    for (size_t i = 0; i < count; i++) {
        cr_assert_gt(rates[i].gops, 0.0);
        cr_assert_gt(rates[i].gigabytes_per_s, 0.0);
    }
    tensor_pool_destroy(&pool);
}

Test(worker_machine, knows_memory_and_names)
{
    char host[LIMIT_HOST_BYTES], node[LIMIT_NAME_BYTES];
    uint64_t a = 0, b = 0;
    struct base_error err = {0};

    cr_assert_gt(worker_machine_memory(), 1u << 20);
    worker_machine_host(host, sizeof(host), node, sizeof(node));
    cr_assert_gt(strlen(node), 0);
    cr_assert_eq(strspn(node, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-"),
        strlen(node));
    cr_assert_eq(worker_machine_random(&a, &err), BASE_OK);
    cr_assert_eq(worker_machine_random(&b, &err), BASE_OK);
    cr_assert_neq(a, 0);
    cr_assert_neq(a, b);
}
