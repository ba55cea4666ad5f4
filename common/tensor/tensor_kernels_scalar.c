/* The reference: the lanes of tensor_kernels_lanes.h, no instruction set assumed. */
#include "tensor_kernels_body.h"
