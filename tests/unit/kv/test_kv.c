/* Every position lands in a place of its own, and bad shapes are refused. */
#include "kv.h"

#include "base_alloc.h"
#include "base_err.h"
#include <criterion/criterion.h>
#include <string.h>
#include <sys/resource.h>

enum { LAYERS = 3, HEADS = 2, DIM = 4, PAGE = 8, PAGES = 5 };

static const struct kv_options small = {LAYERS, HEADS, DIM, PAGE, PAGES};

/* A number that says where it belongs. */
static float mark(uint32_t layer, uint32_t page, uint32_t slot, uint32_t head, uint32_t i)
{
    return (float)((((layer * PAGES + page) * PAGE + slot) * HEADS + head) * DIM + i) + 1.0f;
}

static void write_all(struct kv *kv)
{
    float k[HEADS * DIM];
    float v[HEADS * DIM];

    for (uint32_t n = LAYERS * PAGES * PAGE; n-- > 0;) { /* last first: order does not matter */
        uint32_t layer = n / (PAGES * PAGE), page = n / PAGE % PAGES, slot = n % PAGE;
        for (uint32_t i = 0; i < HEADS * DIM; i++) {
            k[i] = mark(layer, page, slot, i / DIM, i % DIM);
            v[i] = -k[i];
        }
        kv_write(kv, layer, page, slot, k, v);
    }
}

Test(kv, each_position_has_its_place)
{
    struct base_error err = {0};
    struct kv *kv = NULL;

    cr_assert_eq(kv_new(&small, &kv, &err), BASE_OK, "%s", err.text);
    cr_assert_eq(kv_keys(kv, 1, 2, 1)[5], 0.0f, "new pages read as zero");
    write_all(kv);
    for (uint32_t layer = 0; layer < LAYERS; layer++)
        for (uint32_t page = 0; page < PAGES; page++)
            for (uint32_t head = 0; head < HEADS; head++)
                for (uint32_t i = 0; i < PAGE * DIM; i++) {
                    float expected = mark(layer, page, i / DIM, head, i % DIM);
                    cr_assert_eq(kv_keys(kv, layer, page, head)[i], expected);
                    cr_assert_eq(kv_values(kv, layer, page, head)[i], -expected);
                }
    cr_assert_eq(kv_get_options(kv)->page_count, PAGES);
    kv_destroy(&kv);
    cr_assert_null(kv);
    kv_destroy(&kv);
}

Test(kv, bytes)
{
    struct base_error err = {0};
    uint64_t bytes = 0;

    cr_assert_eq(kv_bytes(&small, &bytes, &err), BASE_OK);
    cr_assert_eq(bytes, 2u * LAYERS * HEADS * DIM * PAGE * PAGES * sizeof(float));
}

Test(kv, bad_shapes_are_refused)
{
    struct kv *kv = NULL;
    struct kv_options options;

    for (size_t i = 0; i < 5; i++) {
        struct base_error err = {0};
        uint32_t fields[5] = {LAYERS, HEADS, DIM, PAGE, PAGES};
        fields[i] = 0;
        options = (struct kv_options){fields[0], fields[1], fields[2], fields[3], fields[4]};
        cr_assert_eq(kv_new(&options, &kv, &err), BASE_INVALID);
        cr_assert_not_null(strstr(err.text, "is 0"));
    }
    struct base_error err = {0};
    options = small;
    options.page_tokens = 12;
    cr_assert_eq(kv_new(&options, &kv, &err), BASE_INVALID);
    cr_assert_not_null(strstr(err.text, "power of two"));
    options = (struct kv_options){1u << 31, 1u << 31, 1u << 31, 1, 1};
    cr_assert_eq(kv_new(&options, &kv, &err), BASE_INVALID, "the size wraps");
    /* Fits in 64 bits, but no machine can map it. */
    options = (struct kv_options){1u << 20, 1u << 10, 1u << 10, 1u << 10, 1u << 9};
    cr_assert_eq(kv_new(&options, &kv, &err), BASE_NOMEM);
    cr_assert_null(kv);
}

Test(kv, memory_is_touched_when_written)
{
    struct base_error err = {0};
    struct kv *kv = NULL;
    const struct kv_options large = {16, 8, 128, 64, 4096}; /* 32 GiB of address space */
    const float row[8 * 128] = {1.0f};
    struct rusage before, after;

    (void)getrusage(RUSAGE_SELF, &before);
    cr_assert_eq(kv_new(&large, &kv, &err), BASE_OK, "%s", err.text);
    kv_write(kv, 15, 4095, 63, row, row);
    cr_assert_eq(kv_keys(kv, 15, 4095, 0)[63 * 128], 1.0f);
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
