/*
 * Tile registers of AMX (Intel SDM vol. 1, chapter 18). Written as assembly because the compiler's
 * own functions do not say which memory they read and write, so that stores before them may move
 * or vanish. Internal to the files that are built for it.
 */
#ifndef TENSOR_AMX_H
#define TENSOR_AMX_H

#include <stddef.h>
#include <stdint.h>

/* The operand of ldtilecfg. */
struct amx_config {
    uint8_t palette;
    uint8_t start_row;
    uint8_t reserved[14];
    uint16_t row_bytes[16]; /* of tmm0 .. tmm7, the rest zero */
    uint8_t row_count[16];
};

static inline void amx_configure(const struct amx_config *config)
{
    __asm__ volatile("ldtilecfg %0" ::"m"(*config));
}

/* Back to the state in which the system has nothing to save at a switch of threads. */
static inline void amx_release(void)
{
    __asm__ volatile("tilerelease");
}

/* Rows of tile register number t, stride bytes from one to the next. */
#define AMX_LOAD(t, p, stride)                                                                     \
    __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #t ::"r"(p), "r"((size_t)(stride)) : "memory")
#define AMX_STORE(t, p, stride)                                                                    \
    __asm__ volatile("tilestored %%tmm" #t ", (%0,%1,1)" ::"r"(p), "r"((size_t)(stride))           \
                     : "memor"                                                                     \
                       "y")
#define AMX_ZERO(t) __asm__ volatile("tilezero %tmm" #t)
/* sum [m, n] of int32 += a [m, 4k] of int8 times b [k, n, 4] of int8, or of uint8 */
#define AMX_DOT(sum, a, b)          __asm__ volatile("tdpbssd %tmm" #b ", %tmm" #a ", %tmm" #sum)
#define AMX_DOT_UNSIGNED(sum, a, b) __asm__ volatile("tdpbsud %tmm" #b ", %tmm" #a ", %tmm" #sum)

#endif
