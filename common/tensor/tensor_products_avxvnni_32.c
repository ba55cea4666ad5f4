#define TENSOR_PART 32
#include "tensor_products_avx2.h"

#include "tensor_products_body.h"
