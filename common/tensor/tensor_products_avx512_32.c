#define TENSOR_PART 32
#include "tensor_products_avx512.h"

#include "tensor_products_body.h"
