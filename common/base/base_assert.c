#include "base_assert.h"

#include <stdio.h>
#include <stdlib.h>

void base_assert_fail(const char *expression, const char *file, int line)
{
    (void)fprintf(stderr, "%s:%d: assertion failed: %s\n", file, line, expression);
    abort();
}
