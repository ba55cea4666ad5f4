/* The rows: one per architecture that the forward pass can run. */
#include "model_internal.h"

#include <stdio.h>
#include <string.h>

static const struct model_family families[] = {
    {.name = "llama", .rope_adjacent = true},
};

#define FAMILY_COUNT (sizeof(families) / sizeof(families[0]))

const struct model_family *model_family_find(const char *name, size_t bytes)
{
    for (size_t i = 0; i < FAMILY_COUNT; i++)
        if (strlen(families[i].name) == bytes && memcmp(families[i].name, name, bytes) == 0)
            return &families[i];
    return NULL;
}

void model_family_names(char *ret_text, size_t bytes)
{
    size_t used = 0;

    ret_text[0] = '\0';
    for (size_t i = 0; i < FAMILY_COUNT && used < bytes; i++)
        used += (size_t)snprintf(
            ret_text + used, bytes - used, "%s%s", i > 0 ? ", " : "", families[i].name);
}
