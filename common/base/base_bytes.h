/* Little-endian loads and stores that need no alignment, and half-float conversion. */
#ifndef BASE_BYTES_H
#define BASE_BYTES_H

#include <stdint.h>
#include <string.h>

#if !defined(__BYTE_ORDER__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "layermesh keeps tensors in host order and needs a little-endian host"
#endif

static inline uint16_t base_load_u16(const void *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof(v));
    return v;
}

static inline uint32_t base_load_u32(const void *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof(v));
    return v;
}

static inline uint64_t base_load_u64(const void *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof(v));
    return v;
}

static inline float base_load_f32(const void *p)
{
    float v;
    memcpy(&v, p, sizeof(v));
    return v;
}

static inline void base_store_u32(void *p, uint32_t v)
{
    memcpy(p, &v, sizeof(v));
}

static inline void base_store_f32(void *p, float v)
{
    memcpy(p, &v, sizeof(v));
}

#endif
