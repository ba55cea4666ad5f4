#define TENSOR_PART 1
#include "tensor_products_lanes.h"

#include "tensor_products_body.h"
