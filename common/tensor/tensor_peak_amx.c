/* What the tile unit does at best: independent products of full tiles. */
#include "tensor_amx.h"
#include "tensor_kernels.h"

double tensor_peak_amx_int8(uint32_t steps)
{
    static const struct amx_config config = {
        .palette = 1,
        .row_bytes = {64, 64, 64, 64, 64, 64, 64, 64},
        .row_count = {16, 16, 16, 16, 16, 16, 16, 16},
    };

    amx_configure(&config);
    for (uint32_t i = 0; i < steps; i++) {
        AMX_DOT(0, 4, 6);
        AMX_DOT(1, 4, 7);
        AMX_DOT(2, 5, 6);
        AMX_DOT(3, 5, 7);
    }
    amx_release();
    return 2.0 * 16 * 16 * 64 * 4 * steps;
}
