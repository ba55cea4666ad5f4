#define TENSOR_PART         16
#define TENSOR_PRODUCT_BF16 tensor_product_avx2_BF16
#include "tensor_products_avx2.h"

#include "tensor_products_body.h"
