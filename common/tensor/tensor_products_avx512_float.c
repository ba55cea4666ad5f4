#define TENSOR_PART 1
#include "tensor_products_avx512.h"

#include "tensor_products_body.h"
