#define TENSOR_PART         16
#define TENSOR_PRODUCT_BF16 tensor_product_avx512_fma_BF16
#include "tensor_products_avx512.h"

#include "tensor_products_body.h"
