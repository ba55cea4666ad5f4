/* Every position lands in a place of its own, and bad shapes are refused. */
#include "kv.h"

#include "base_alloc.h"
#include "base_err.h"
#include "tensor_type.h"
#include <criterion/criterion.h>
#include <string.h>
#include <sys/resource.h>

enum { LAYERS = 3, HEADS = 2, DIM = 4, PAGE = 8, PAGES = 5 };

static const struct kv_options small = {LAYERS, HEADS, DIM, PAGE, PAGES, TENSOR_F32, 0};

/* A number that says where it belongs. */
static float mark(uint32_t layer, uint32_t page, uint32_t slot, uint32_t head, uint32_t i)
{
    return (float)((((layer * PAGES + page) * PAGE + slot) * HEADS + head) * DIM + i) + 1.0f;
}

static void write_all(struct kv *kv)
{
    float k[DIM], v[DIM];

    for (uint32_t n = LAYERS * PAGES * PAGE; n-- > 0;) { /* last first: order does not matter */
        uint32_t layer = n / (PAGES * PAGE), page = n / PAGE % PAGES, slot = n % PAGE;
        for (uint32_t head = 0; head < HEADS; head++) {
            for (uint32_t i = 0; i < DIM; i++) {
                k[i] = mark(layer, page, slot, head, i);
                v[i] = -k[i];
            }
            kv_write(kv, layer, head, page, slot, k, v);
        }
    }
}

static void each_position_has_its_place(uint32_t type)
{
    struct base_error err = {0};
    struct kv_options options = small;
    struct kv *kv = NULL;
    float k[DIM], v[DIM];

    options.type = type;
    cr_assert_eq(kv_new(&options, &kv, &err), BASE_OK, "%s", err.text);
    kv_read(kv, 1, 1, 2, 5, k, v);
    cr_assert(k[1] == 0.0f && v[3] == 0.0f, "new pages read as zero");
    write_all(kv);
    for (uint32_t n = 0; n < LAYERS * PAGES * PAGE * HEADS; n++) {
        uint32_t layer = n / (PAGES * PAGE * HEADS), page = n / (PAGE * HEADS) % PAGES;
        uint32_t slot = n / HEADS % PAGE, head = n % HEADS;
        kv_read(kv, layer, head, page, slot, k, v);
        for (uint32_t i = 0; i < DIM; i++) {
            float expected = mark(layer, page, slot, head, i);
            /* Up to 960: whole numbers are exact in f16, and a 254th of the largest is lost in int8. */
            float bound = type == TENSOR_Q8_0 ? (expected + DIM) / 250 : 0;
            cr_assert_float_eq(k[i], expected, bound);
            cr_assert_float_eq(v[i], -expected, bound);
        }
    }
    cr_assert_eq(kv_get_options(kv)->page_count, PAGES);
    cr_assert_eq(kv_get_options(kv)->value_dim, DIM);
    kv_destroy(&kv);
    cr_assert_null(kv);
    kv_destroy(&kv);
}

Test(kv, each_position_has_its_place)
{
    each_position_has_its_place(TENSOR_F32);
    each_position_has_its_place(TENSOR_F16);
    each_position_has_its_place(TENSOR_Q8_0);
}

Test(kv, bytes)
{
    struct base_error err = {0};
    struct kv_options options = {3, 2, 64, 64, 5, TENSOR_F32, 0};
    uint64_t bytes = 0;

    cr_assert_eq(kv_bytes(&options, &bytes, &err), BASE_OK);
    cr_assert_eq(bytes, 2u * 3 * 2 * 5 * 64 * 64 * 4);
    options.type = TENSOR_F16;
    cr_assert_eq(kv_bytes(&options, &bytes, &err), BASE_OK);
    cr_assert_eq(bytes, 2u * 3 * 2 * 5 * 64 * 64 * 2);
    options.type = TENSOR_Q8_0; /* and an f32 for each key and value */
    cr_assert_eq(kv_bytes(&options, &bytes, &err), BASE_OK);
    cr_assert_eq(bytes, 2u * 3 * 2 * 5 * 64 * (64 + 4));
    options.value_dim = 32;
    cr_assert_eq(kv_bytes(&options, &bytes, &err), BASE_OK);
    cr_assert_eq(bytes, 3u * 2 * 5 * 64 * (64 + 32 + 8));
}

Test(kv, bad_shapes_are_refused)
{
    struct kv *kv = NULL;
    struct kv_options options;

    for (size_t i = 0; i < 5; i++) {
        struct base_error err = {0};
        uint32_t fields[5] = {LAYERS, HEADS, DIM, PAGE, PAGES};
        fields[i] = 0;
        options = (struct kv_options){
            fields[0], fields[1], fields[2], fields[3], fields[4], TENSOR_F32, 0};
        cr_assert_eq(kv_new(&options, &kv, &err), BASE_INVALID);
        cr_assert_not_null(strstr(err.text, "is 0"));
    }
    struct base_error err = {0};
    options = small;
    options.page_tokens = 12;
    cr_assert_eq(kv_new(&options, &kv, &err), BASE_INVALID);
    cr_assert_not_null(strstr(err.text, "power of two"));
    options = small;
    options.type = TENSOR_BF16;
    cr_assert_eq(kv_new(&options, &kv, &err), BASE_INVALID);
    cr_assert_not_null(strstr(err.text, "f16"));
    options = (struct kv_options){1u << 31, 1u << 31, 1u << 31, 1, 1, TENSOR_F32, 0};
    cr_assert_eq(kv_new(&options, &kv, &err), BASE_INVALID, "the size wraps");
    /* Fits in 64 bits, but no machine can map it. */
    options = (struct kv_options){1u << 20, 1u << 10, 1u << 10, 1u << 10, 1u << 9, TENSOR_F32, 0};
    cr_assert_eq(kv_new(&options, &kv, &err), BASE_NOMEM);
    cr_assert_null(kv);
}

Test(kv, memory_is_touched_when_written)
{
    struct base_error err = {0};
    struct kv *kv = NULL;
    const struct kv_options large = {
        16, 8, 128, 64, 4096, TENSOR_F32, 0}; /* 32 GiB of address space */
    const float row[128] = {1.0f};
    float k[128], v[128];
    struct rusage before, after;

    (void)getrusage(RUSAGE_SELF, &before);
    cr_assert_eq(kv_new(&large, &kv, &err), BASE_OK, "%s", err.text);
    kv_write(kv, 15, 7, 4095, 63, row, row);
    kv_read(kv, 15, 7, 4095, 63, k, v);
    cr_assert_eq(k[0], 1.0f);
    (void)getrusage(RUSAGE_SELF, &after);
    cr_assert_lt(after.ru_maxrss - before.ru_maxrss, 64 * 1024, "in KiB");
    kv_destroy(&kv);
}

Test(kv, no_memory)
{
    struct base_error err = {0};
    struct kv *kv = NULL;

    base_alloc_fail_from(1);
    cr_assert_eq(kv_new(&small, &kv, &err), BASE_NOMEM);
    base_alloc_fail_from(0);
    cr_assert_null(kv);
}
