#define TENSOR_PART         16
#define TENSOR_PRODUCT_BF16 tensor_product_scalar_BF16
#include "tensor_products_lanes.h"

#include "tensor_products_body.h"
