#include "worker_machine.h"

#include "base_alloc.h"
#include "gguf.h"
#include "model.h"
#include "tensor_matrix.h"
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

/* ---- memory ---- */

/* The number behind key ("MemAvailable:") in a file of "key value" lines; key "": the first
 * number. Returns false when there is none. */
static bool read_number(const char *path, const char *key, uint64_t *ret_value)
{
    char line[256];
    bool found = false;
    FILE *file = fopen(path, "re");

    if (file == NULL)
        return false;
    while (!found && fgets(line, sizeof(line), file) != NULL) {
        size_t key_bytes = strlen(key);
        char *end;
        if (strncmp(line, key, key_bytes) != 0)
            continue;
        errno = 0;
        unsigned long long value = strtoull(line + key_bytes, &end, 10);
        found = errno == 0 && end != line + key_bytes;
        if (found)
            *ret_value = value;
    }
    (void)fclose(file);
    return found;
}

/* Lowers *memory to what the cgroup directory leaves; file cache of its own can be taken back. */
static void cap_by_cgroup(const char *directory, bool version_2, uint64_t *memory)
{
    char path[4608];
    uint64_t limit, used = 0, cache = 0;

    (void)snprintf(
        path, sizeof(path), "%s/%s", directory, version_2 ? "memory.max" : "memory.limit_in_bytes");
    if (!read_number(path, "", &limit))
        return; /* "max", or not there */
    (void)snprintf(path, sizeof(path), "%s/%s", directory,
        version_2 ? "memory.current" : "memory.usage_in_bytes");
    (void)read_number(path, "", &used);
    (void)snprintf(path, sizeof(path), "%s/memory.stat", directory);
    (void)read_number(path, version_2 ? "inactive_file " : "total_inactive_file ", &cache);
    used = used > cache ? used - cache : 0;
    uint64_t left = limit > used ? limit - used : 0;
    if (left < *memory)
        *memory = left;
}

/* The group itself and all above it may have limits. */
static void cap_by_cgroups(const char *root, bool version_2, char *group, uint64_t *memory)
{
    char directory[4352];

    for (;;) {
        (void)snprintf(directory, sizeof(directory), "%s%s", root, group);
        cap_by_cgroup(directory, version_2, memory);
        char *slash = strrchr(group, '/');
        if (slash == NULL)
            return;
        *slash = 0;
    }
}

uint64_t worker_machine_memory(void)
{
    char line[4096];
    uint64_t memory = 0;

    if (!read_number("/proc/meminfo", "MemAvailable:", &memory))
        return 0;
    memory *= 1024;
    FILE *groups = fopen("/proc/self/cgroup", "re");
    if (groups == NULL)
        return memory;
    while (fgets(line, sizeof(line), groups) != NULL) {
        line[strcspn(line, "\n")] = 0;
        char *controller = strchr(line, ':');
        char *group = controller == NULL ? NULL : strchr(controller + 1, ':');
        if (group == NULL)
            continue;
        *group++ = 0;
        if (controller[1] == 0)
            cap_by_cgroups("/sys/fs/cgroup", true, group, &memory);
        else if (strcmp(controller + 1, "memory") == 0)
            cap_by_cgroups("/sys/fs/cgroup/memory", false, group, &memory);
    }
    (void)fclose(groups);
    return memory;
}

/* ---- rates ---- */

static bool has_type(const struct wire_rate *rates, size_t count, uint32_t type)
{
    for (size_t i = 0; i < count; i++) {
        if (rates[i].weight_type == type)
            return true;
    }
    return false;
}

int worker_machine_rates(struct tensor_pool *pool, const struct wire_model_card *model,
    uint32_t duration_ms, struct wire_rate *ret_rates, size_t *ret_rate_count,
    struct base_error *err)
{
    size_t count = 0;

    for (size_t i = 0; i < model->layers_count && count < LIMIT_RATES_MAX; i++) {
        if (!has_type(ret_rates, count, model->layers[i].weight_type))
            ret_rates[count++].weight_type = model->layers[i].weight_type;
    }
    for (size_t i = 0; i < count; i++) {
        struct wire_rate *rate = &ret_rates[i];
        int rc = tensor_measure(pool, rate->weight_type, duration_ms / (uint32_t)count, &rate->gops,
            &rate->gigabytes_per_s);
        if (rc != BASE_OK)
            return base_error_set(
                err, rc, "measuring weight type %u: %s", rate->weight_type, base_err_text(rc));
        if (!isfinite(rate->gops) || !isfinite(rate->gigabytes_per_s) || rate->gops <= 0.0 ||
            rate->gigabytes_per_s <= 0.0)
            return base_error_set(err, BASE_INTERNAL,
                "measuring weight type %u gave %g GOP/s, %g GB/s", rate->weight_type, rate->gops,
                rate->gigabytes_per_s);
    }
    *ret_rate_count = count;
    return BASE_OK;
}

/* ---- model ---- */

static void set_name(const struct gguf *file, char *ret_name, size_t name_bytes)
{
    struct gguf_string name;
    const char *path = gguf_path(file);
    const char *slash = strrchr(path, '/');

    if (gguf_get_string(file, "general.name", &name, NULL) != BASE_OK || name.bytes == 0) {
        name.data = slash == NULL ? path : slash + 1;
        name.bytes = strlen(name.data);
    }
    size_t bytes = name.bytes < name_bytes - 1 ? name.bytes : name_bytes - 1;
    for (size_t i = 0; i < bytes; i++) /* from a file: only what is safe in a log and on the wire */
        ret_name[i] = name.data[i] >= 0x20 && name.data[i] < 0x7f ? name.data[i] : '?';
    ret_name[bytes] = 0;
}

int worker_machine_card(const struct model *model, uint32_t kv_type,
    struct wire_model_card *ret_card, struct base_error *err)
{
    const struct model_config *config = model_get_config(model);
    size_t count = (size_t)config->layer_count + 2;
    struct wire_layer_cost *layers = base_alloc_zeroed(count, sizeof(*layers));

    if (layers == NULL)
        return base_error_set(err, BASE_NOMEM, "no memory for the costs of %zu layers", count);
    for (size_t i = 0; i < count; i++) {
        struct model_layer_cost cost;
        model_layer_cost(model, (uint32_t)i, kv_type, &cost);
        layers[i] = (struct wire_layer_cost){.weight_type = cost.weight_type,
            .weight_bytes = cost.weight_bytes,
            .operations_per_token = cost.operations_per_token,
            .kv_bytes_per_token = cost.kv_bytes_per_token};
    }
    *ret_card = (struct wire_model_card){.fingerprint = gguf_fingerprint(model_file(model)),
        .layer_count = config->layer_count,
        .embedding_length = config->embedding_length,
        .vocab_size = config->vocab_size,
        .context_length = config->context_length,
        .kv_type = kv_type,
        .layers = layers,
        .layers_count = count};
    set_name(model_file(model), ret_card->name, sizeof(ret_card->name));
    (void)snprintf(
        ret_card->architecture, sizeof(ret_card->architecture), "%s", config->family->name);
    return BASE_OK;
}

/* ---- identity ---- */

void worker_machine_host(char *ret_host, size_t host_bytes, char *ret_node, size_t node_bytes)
{
    if (gethostname(ret_host, host_bytes) != 0)
        (void)snprintf(ret_host, host_bytes, "localhost");
    ret_host[host_bytes - 1] = 0;
    (void)snprintf(ret_node, node_bytes, "%s", ret_host);
    for (char *c = ret_node; *c != 0; c++) {
        if (!isalnum((unsigned char)*c) && strchr("._-", *c) == NULL)
            *c = '-';
    }
}

int worker_machine_random(uint64_t *ret_value, struct base_error *err)
{
    uint64_t value = 0;

    while (value == 0) { /* 0 means none */
        if (getrandom(&value, sizeof(value), 0) != (ssize_t)sizeof(value) && errno != EINTR)
            return base_error_set(err, BASE_IO, "getrandom: %s", strerror(errno));
    }
    *ret_value = value;
    return BASE_OK;
}
