#define TENSOR_PART 256
#include "tensor_products_lanes.h"

#include "tensor_products_body.h"
