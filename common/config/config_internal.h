/* Shared by the files of config. */
#ifndef CONFIG_INTERNAL_H
#define CONFIG_INTERNAL_H

#include "config.h"

struct config_text {
    struct config_text *next;
    char text[];
};

/* A copy that lives as long as self; NULL: no memory. */
const char *config_keep(struct config *self, const char *text, size_t bytes);

#endif
