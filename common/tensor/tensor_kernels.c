#include "tensor_kernels.h"
#include "tensor_matrix.h"
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

static const struct tensor_kernels *_Atomic chosen;

#define PRODUCT_OF(isa, type) [TENSOR_##type] = tensor_product_##isa##_##type,
tensor_product_fn *const tensor_products_scalar[TENSOR_TYPES] = {
    TENSOR_EACH_TYPE(PRODUCT_OF, scalar)};
#ifdef TENSOR_WITH_X86
tensor_product_fn *const tensor_products_avx2[TENSOR_TYPES] = {TENSOR_EACH_TYPE(PRODUCT_OF, avx2)};
tensor_product_fn *const tensor_products_avx512[TENSOR_TYPES] = {
    TENSOR_EACH_TYPE(PRODUCT_OF, avx512)};
#endif

#ifdef TENSOR_WITH_X86
static bool has_avx2(void)
{
    unsigned int a, b, c, d;

    /* The compiler's AVX2 test includes that the system saves the wide registers. */
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
           __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C) != 0;
}

static bool has_avx512(void)
{
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vnni");
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
    if (strcmp(isa, "avx512") == 0 && has_avx512())
        return &tensor_kernels_avx512;
#endif
    return NULL;
}

static const struct tensor_kernels *choose(void)
{
    static const char *const best_first[] = {"avx512", "avx2", "scalar"};
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
