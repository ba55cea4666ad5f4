#include "base_alloc.h"

#include "base_assert.h"
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static atomic_ulong fail_countdown; /* 0: no faults; 1: every allocation fails */

static bool fault_due(void)
{
    unsigned long left = atomic_load_explicit(&fail_countdown, memory_order_relaxed);

    while (left > 1) {
        if (atomic_compare_exchange_weak(&fail_countdown, &left, left - 1))
            return false;
    }
    return left == 1;
}

void base_alloc_fail_from(unsigned long n)
{
    atomic_store(&fail_countdown, n);
}

bool base_mul_size(size_t a, size_t b, size_t *ret)
{
    size_t product;

    if (__builtin_mul_overflow(a, b, &product))
        return false;
    *ret = product;
    return true;
}

bool base_add_size(size_t a, size_t b, size_t *ret)
{
    size_t sum;

    if (__builtin_add_overflow(a, b, &sum))
        return false;
    *ret = sum;
    return true;
}

void *base_alloc(size_t bytes)
{
    return fault_due() ? NULL : malloc(bytes > 0 ? bytes : 1);
}

void *base_alloc_zeroed(size_t count, size_t item_bytes)
{
    size_t bytes;

    if (!base_mul_size(count, item_bytes, &bytes) || fault_due())
        return NULL;
    return calloc(1, bytes > 0 ? bytes : 1);
}

void *base_alloc_array(size_t count, size_t item_bytes)
{
    size_t bytes;

    return base_mul_size(count, item_bytes, &bytes) ? base_alloc(bytes) : NULL;
}

void *base_realloc_array(void *memory, size_t count, size_t item_bytes)
{
    size_t bytes;

    if (!base_mul_size(count, item_bytes, &bytes) || fault_due())
        return NULL;
    return realloc(memory, bytes > 0 ? bytes : 1);
}

char *base_strdup(const char *text)
{
    size_t bytes = strlen(text) + 1;
    char *copy = base_alloc(bytes);

    if (copy != NULL)
        memcpy(copy, text, bytes);
    return copy;
}

void *base_alloc_aligned(size_t bytes, size_t alignment_bytes)
{
    void *memory = NULL;

    base_assert(alignment_bytes >= 64 && (alignment_bytes & (alignment_bytes - 1)) == 0);
    if (fault_due() || posix_memalign(&memory, alignment_bytes, bytes > 0 ? bytes : 1) != 0)
        return NULL;
    return memory;
}

void base_free(void *memory)
{
    free(memory);
}
