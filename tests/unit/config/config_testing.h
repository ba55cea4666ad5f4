/* A table with a row of every type. */
#ifndef CONFIG_TESTING_H
#define CONFIG_TESTING_H

#include "base_err.h"
#include "base_limits.h"
#include "config.h"
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static struct config config;
static const char *model;
static const char *name = "first";
static bool insecure;
static uint32_t port = 5;
static uint64_t tokens = 1000, memory = 4096;
static double ratio = 0.25;
static struct base_option_list peers;

#define ROW_COUNT (8 + CONFIG_OPTION_COUNT)
static struct base_option rows[ROW_COUNT] = {
    {"model", 'm', BASE_OPTION_STRING, &model, 0, 0, "FILE", NULL, "A model."},
    {"name", 0, BASE_OPTION_STRING, &name, 0, 0, "NAME", "TEST_CONFIG_NAME", "A name."},
    {"insecure", 0, BASE_OPTION_FLAG, &insecure, 0, 0, NULL, NULL, "Less care."},
    {"port-number", 'p', BASE_OPTION_U32, &port, 1, 100, "N", NULL, "A port."},
    {"tokens", 0, BASE_OPTION_U64, &tokens, 512, 67108864, "N", NULL, "Tokens."},
    {"memory", 0, BASE_OPTION_BYTES, &memory, 0, 0, "BYTES", NULL, "Memory."},
    {"ratio", 0, BASE_OPTION_F64, &ratio, 0, 2, "X", NULL, "A ratio."},
    {"peer", 0, BASE_OPTION_LIST, &peers, 0, 0, "NAME", NULL, "Peers."},
};

static inline void make_table(void)
{
    config_init(&config);
    config_options(&config, rows + 8);
}

#endif
