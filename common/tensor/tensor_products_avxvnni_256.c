#define TENSOR_PART 256
#include "tensor_products_avx2.h"

#include "tensor_products_body.h"
