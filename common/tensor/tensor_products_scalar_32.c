#define TENSOR_PART 32
#include "tensor_products_lanes.h"

#include "tensor_products_body.h"
