#define TENSOR_PART 256
#include "tensor_products_avx512.h"

#include "tensor_products_body.h"
