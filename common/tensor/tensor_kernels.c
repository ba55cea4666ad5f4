#include "tensor_kernels.h"
#include "tensor_matrix.h"
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

static const struct tensor_kernels *_Atomic chosen;

#ifdef TENSOR_WITH_X86
static bool bf16_is_trusted(void);

void tensor_product_avx512_BF16(const struct tensor_tile *tile)
{
    if (bf16_is_trusted())
        tensor_product_avx512_native_BF16(tile);
    else
        tensor_product_avx512_fma_BF16(tile);
}
#endif

#define PRODUCT_OF(isa, type) [TENSOR_##type] = tensor_product_##isa##_##type,
tensor_product_fn *const tensor_products_scalar[TENSOR_TYPES] = {
    TENSOR_EACH_TYPE(PRODUCT_OF, scalar)};
#ifdef TENSOR_WITH_X86
tensor_product_fn *const tensor_products_avx2[TENSOR_TYPES] = {TENSOR_EACH_TYPE(PRODUCT_OF, avx2)};
tensor_product_fn *const tensor_products_avxvnni[TENSOR_TYPES] = {
    TENSOR_EACH_PLAIN_TYPE(PRODUCT_OF, avx2) TENSOR_EACH_QUANTISED_TYPE(PRODUCT_OF, avxvnni)};
tensor_product_fn *const tensor_products_avx512[TENSOR_TYPES] = {
    TENSOR_EACH_TYPE(PRODUCT_OF, avx512)};
tensor_product_fn *const tensor_products_amx[TENSOR_TYPES] = {
    TENSOR_EACH_QUANTISED_TYPE(PRODUCT_OF, amx)};
#endif

#ifdef TENSOR_WITH_X86
static bool has_avx2(void)
{
    unsigned int a, b, c, d;

    /* The compiler's AVX2 test includes that the system saves the wide registers. */
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
           __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C) != 0;
}

/* Leaf 7, subleaf 1, bit 4 of eax. */
static bool has_avxvnni(void)
{
    unsigned int a, b, c, d;

    return has_avx2() && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 4 & 1) != 0;
}

static bool has_avx512(void)
{
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vnni");
}

/* Tile registers must be in the processor (leaf 7, bits 24 and 25 of edx), be saved by the system
 * (bits 17 and 18 of XCR0), and be asked for: the permission holds for the whole process. */
static bool has_amx(void)
{
    const unsigned int tile_data = 18, request_permission = 0x1023; /* ARCH_REQ_XCOMP_PERM */
    unsigned int a, b, c, d, low, high;

    if (!has_avx512() || !__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d >> 24 & 3) != 3 ||
        !__get_cpuid(1, &a, &b, &c, &d) || (c & bit_OSXSAVE) == 0)
        return false;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (low >> 17 & 3) == 3 && syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
}

/* Leaf 7, subleaf 1, bit 5 of eax. */
static bool has_avx512_bf16(void)
{
    unsigned int a, b, c, d;

    return has_avx512() && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 5 & 1) != 0;
}
#endif

#ifdef TENSOR_WITH_X86
#define CHECK_COLUMNS 64
#define CHECK_TOKENS  4

/*
 * vdpbf16ps is documented step by step, but its order of sums was a choice of the maker: it is
 * used where it gives the bits of the sequence in tensor_matrix.h on numbers of all magnitudes,
 * subnormals included.
 */
static bool check_bf16(void)
{
    uint16_t w[CHECK_COLUMNS * TENSOR_ROW_GROUP], x[CHECK_COLUMNS * CHECK_TOKENS];
    float y[2][CHECK_TOKENS * TENSOR_ROW_GROUP];
    uint32_t pairs[CHECK_COLUMNS / 2 * CHECK_TOKENS], state = 1;
    struct tensor_tile tile = {.groups = (const uint8_t *)w,
        .group_bytes = sizeof(w),
        .group_count = 1,
        .row_count = TENSOR_ROW_GROUP,
        .column_count = CHECK_COLUMNS,
        .token_count = CHECK_TOKENS,
        .token_stride = CHECK_TOKENS,
        .form_bf16 = pairs,
        .ahead_every = 1,
        .y_stride = TENSOR_ROW_GROUP};

    for (size_t i = 0; i < CHECK_COLUMNS * (TENSOR_ROW_GROUP + CHECK_TOKENS); i++) {
        /* Weights around 1; half of the tokens around 1, half at the edge of subnormals. */
        state = state * 1664525u + 1013904223u;
        size_t column = i < CHECK_COLUMNS * TENSOR_ROW_GROUP ? 0 : i / 32;
        uint32_t exponent = (column % 2 == 0 ? 119u : 1u) + (state >> 8) % 16;
        uint16_t value = (uint16_t)((state >> 16 & 0x807f) | exponent << 7);
        if (i < CHECK_COLUMNS * TENSOR_ROW_GROUP)
            w[i] = value;
        else
            x[i - CHECK_COLUMNS * TENSOR_ROW_GROUP] = value;
    }
    memcpy(pairs, x, sizeof(pairs));
    tile.y = y[0];
    tensor_product_avx512_native_BF16(&tile);
    tile.y = y[1];
    tensor_product_avx512_fma_BF16(&tile);
    return memcmp(y[0], y[1], sizeof(y[0])) == 0;
}

static bool bf16_is_trusted(void)
{
    static _Atomic int state; /* 0: not known yet; two threads may both find out */
    int known = atomic_load_explicit(&state, memory_order_relaxed);

    if (known == 0) {
        known = has_avx512_bf16() && check_bf16() ? 1 : -1;
        atomic_store_explicit(&state, known, memory_order_relaxed);
    }
    return known > 0;
}
#endif

/* The named table, or NULL. */
static const struct tensor_kernels *find(const char *isa)
{
    if (strcmp(isa, "scalar") == 0)
        return &tensor_kernels_scalar;
#ifdef TENSOR_WITH_X86
    if (strcmp(isa, "avx2") == 0 && has_avx2())
        return &tensor_kernels_avx2;
    if (strcmp(isa, "avxvnni") == 0 && has_avxvnni())
        return &tensor_kernels_avxvnni;
    if (strcmp(isa, "avx512") == 0 && has_avx512())
        return &tensor_kernels_avx512;
    if (strcmp(isa, "amx") == 0 && has_amx())
        return &tensor_kernels_amx;
#endif
    return NULL;
}

static const struct tensor_kernels *choose(void)
{
    static const char *const best_first[] = {"amx", "avx512", "avxvnni", "avx2", "scalar"};
    const char *wish = getenv("LAYERMESH_ISA");
    const struct tensor_kernels *table = wish == NULL ? NULL : find(wish);

    for (size_t i = 0; table == NULL; i++)
        table = find(best_first[i]);
    return table;
}

const struct tensor_kernels *tensor_kernels_get(void)
{
    const struct tensor_kernels *table = atomic_load_explicit(&chosen, memory_order_acquire);

    if (table == NULL) { /* two threads may both choose: they choose the same */
        table = choose();
        atomic_store_explicit(&chosen, table, memory_order_release);
    }
    return table;
}

bool tensor_kernels_use(const char *isa)
{
    const struct tensor_kernels *table = isa == NULL ? choose() : find(isa);

    if (table != NULL)
        atomic_store_explicit(&chosen, table, memory_order_release);
    return table != NULL;
}

const char *tensor_isa_name(void)
{
    return tensor_kernels_get()->name;
}
