/*
 * The one door to the heap: checked sizes, and a fault counter so that tests can
 * make the n-th allocation fail. Thread-safe.
 */
#ifndef BASE_ALLOC_H
#define BASE_ALLOC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Each returns NULL when memory or the size computation fails; free with base_free(). */
void *base_alloc(size_t bytes);
void *base_alloc_zeroed(size_t count, size_t item_bytes);
void *base_alloc_array(size_t count, size_t item_bytes);

/* As realloc() of an array. On failure the old block is untouched. */
void *base_realloc_array(void *memory, size_t count, size_t item_bytes);

/* Copy of a string. Returns NULL when memory fails. */
char *base_strdup(const char *text);

/* Block aligned to alignment_bytes (a power of two, at least 64); free with base_free(). */
void *base_alloc_aligned(size_t bytes, size_t alignment_bytes);

/* Accepts NULL. */
void base_free(void *memory);

/* a * b and a + b into *ret. Return false on overflow, *ret untouched. */
bool base_mul_size(size_t a, size_t b, size_t *ret);
bool base_add_size(size_t a, size_t b, size_t *ret);

/*
 * For tests: the n-th allocation from now (1 = the next) and all after it fail;
 * 0 switches faults off. Process-wide.
 */
void base_alloc_fail_from(unsigned long n);

#endif
