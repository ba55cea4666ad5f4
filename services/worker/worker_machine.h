/* What this machine can do and what the model file is, for registration. Main thread, at start. */
#ifndef WORKER_MACHINE_H
#define WORKER_MACHINE_H

#include "wire_message.h"

struct model;
struct tensor_pool;

/* Memory that may be used from now on: what is available on the host, capped by what the cgroups
 * of this process leave. 0 when nothing can be read. */
uint64_t worker_machine_memory(void);

/* Measures each weight type that the model uses, all of them in about duration_ms. ret_rates holds
 * LIMIT_RATES_MAX rows. Returns BASE_OK, or BASE_UNSUPPORTED / BASE_NOMEM with *err filled. */
int worker_machine_rates(struct tensor_pool *pool, const struct wire_model_card *model,
    uint32_t duration_ms, struct wire_rate *ret_rates, size_t *ret_rate_count,
    struct base_error *err);

/* The card of an open model with keys and values of kv_type. ret_card->layers is freed with base_free(). Returns BASE_OK or
 * BASE_NOMEM. */
int worker_machine_card(const struct model *model, uint32_t kv_type,
    struct wire_model_card *ret_card, struct base_error *err);

/* Host name, and the same reduced to what a node id may hold. */
void worker_machine_host(char *ret_host, size_t host_bytes, char *ret_node, size_t node_bytes);

/* A random number for this start. Returns BASE_OK or BASE_IO. */
int worker_machine_random(uint64_t *ret_value, struct base_error *err);

#endif
