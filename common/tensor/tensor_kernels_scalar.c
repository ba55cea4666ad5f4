/* The reference: the lanes of tensor_kernels_lanes.h, no instruction set assumed. */
#include "tensor_attention_body.h"
