#include "cli_mesh.h"

#include "base_assert.h"
#include "base_err.h"
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#define LOG_TAIL_BYTES 4096

/* The words of a command line, and room for those made here. */
struct command_line {
    char *words[40]; /* NULL-terminated */
    size_t count;
    char text[3 * PATH_MAX];
    size_t used;
};

static void add(struct command_line *line, const char *word)
{
    size_t bytes = strlen(word) + 1;

    /* The longest line has 24 words, and begin() has checked the only long ones. */
    base_assert(line->count + 1 < sizeof(line->words) / sizeof(line->words[0]));
    base_assert(bytes <= sizeof(line->text) - line->used);
    memcpy(line->text + line->used, word, bytes);
    line->words[line->count++] = line->text + line->used;
    line->used += bytes;
}

static void add_pair(struct command_line *line, const char *name, const char *value)
{
    add(line, name);
    add(line, value);
}

static void add_number(struct command_line *line, const char *name, uint64_t value)
{
    char text[24];

    (void)snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
    add_pair(line, name, text);
}

/* ---- programs ---- */

static bool is_program(
    const char *folder, const char *between, const char *name, char *path, size_t path_bytes)
{
    int length = snprintf(path, path_bytes, "%s%s/%s", folder, between, name);

    return length > 0 && (size_t)length < path_bytes && access(path, X_OK) == 0;
}

/* Beside this program, beside it in the build tree, or wherever $PATH says. */
static int find_program(const char *service, char *path, size_t path_bytes, struct base_error *err)
{
    char folder[PATH_MAX], between[64], name[64];
    const char *chosen = getenv("LAYERMESH_BINDIR");

    (void)snprintf(name, sizeof(name), "layermesh-%s", service);
    if (chosen != NULL && chosen[0] != '\0') {
        if (is_program(chosen, "", name, path, path_bytes))
            return BASE_OK;
        return base_error_set(err, BASE_NOT_FOUND, "there is no %s in %s", name, chosen);
    }
    ssize_t length = readlink("/proc/self/exe", folder, sizeof(folder) - 1);
    if (length > 0) {
        folder[length] = '\0';
        char *slash = strrchr(folder, '/');
        if (slash != NULL)
            *slash = '\0';
        (void)snprintf(between, sizeof(between), "/../%s", service);
        if (is_program(folder, "", name, path, path_bytes) ||
            is_program(folder, between, name, path, path_bytes))
            return BASE_OK;
    }
    (void)snprintf(
        path, path_bytes, "%s", name); /* exec looks it up, or says that it is not there */
    return BASE_OK;
}

/* ---- the directory ---- */

/* Short enough for the longest socket name in it. */
static bool is_short_enough(const char *folder)
{
    return strlen(folder) + strlen("/layermesh-XXXXXX/coordinator.sock") <
           sizeof(((struct sockaddr_un *)0)->sun_path);
}

static int make_directory(struct cli_mesh *self, struct base_error *err)
{
    const char *folder = getenv("TMPDIR");

    if (folder == NULL || folder[0] == '\0' || !is_short_enough(folder))
        folder = "/tmp";
    (void)snprintf(self->directory, sizeof(self->directory), "%s/layermesh-XXXXXX", folder);
    if (mkdtemp(self->directory) == NULL) {
        int rc = base_error_set(err, BASE_IO, "%s: %s", self->directory, strerror(errno));
        self->directory[0] = '\0';
        return rc;
    }
    (void)snprintf(self->router, sizeof(self->router), "ipc://%.200s/router.sock", self->directory);
    (void)snprintf(self->coordinator, sizeof(self->coordinator), "ipc://%.200s/coordinator.sock",
        self->directory);
    return BASE_OK;
}

void cli_mesh_remove(struct cli_mesh *self)
{
    DIR *folder = self->directory[0] != '\0' ? opendir(self->directory) : NULL;

    if (folder == NULL)
        return;
    for (const struct dirent *entry; (entry = readdir(folder)) != NULL;)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            (void)unlinkat(dirfd(folder), entry->d_name, 0);
    (void)closedir(folder);
    (void)rmdir(self->directory);
    self->directory[0] = '\0';
}

/* ---- the daemons ---- */

static int start(
    struct cli_mesh *self, const char *name, struct command_line *line, struct base_error *err)
{
    struct cli_process *process = &self->processes[self->process_count];
    size_t folder_bytes = strlen(self->directory);

    if (folder_bytes + strlen(name) + sizeof("/.log") > sizeof(process->log_path))
        return base_error_set(err, BASE_TOO_BIG, "%s: path too long", self->directory);
    memcpy(process->log_path, self->directory, folder_bytes);
    (void)snprintf(process->log_path + folder_bytes, sizeof(process->log_path) - folder_bytes,
        "/%s.log", name);
    (void)snprintf(process->name, sizeof(process->name), "%s", name);
    self->process_count++;
    return cli_process_start(process, line->words, err);
}

static int begin(struct command_line *line, const char *service,
    const struct cli_mesh_options *options, struct base_error *err)
{
    char path[PATH_MAX];
    int rc = find_program(service, path, sizeof(path), err);

    *line = (struct command_line){0};
    if (rc != BASE_OK)
        return rc;
    if (strlen(path) + strlen(options->model_path) + 2048 > sizeof(line->text))
        return base_error_set(err, BASE_TOO_BIG, "%s: path too long", options->model_path);
    add(line, path);
    add_pair(line, "--admin-listen", "off");
    if (options->log_level != NULL)
        add_pair(line, "--log-level", options->log_level);
    return BASE_OK;
}

static int start_coordinator(
    struct cli_mesh *self, const struct cli_mesh_options *options, struct base_error *err)
{
    struct command_line line;
    int rc = begin(&line, "coordinator", options, err);

    if (rc != BASE_OK)
        return rc;
    add_pair(&line, "--listen", self->coordinator);
    add_number(&line, "--stages", options->worker_count);
    add_number(&line, "--min-workers", options->worker_count + options->spare_count);
    if (options->kv_tokens > 0)
        add_number(&line, "--kv-tokens", options->kv_tokens);
    return start(self, "coordinator", &line, err);
}

static int start_router(
    struct cli_mesh *self, const struct cli_mesh_options *options, struct base_error *err)
{
    struct command_line line;
    char endpoint[LIMIT_ENDPOINT_BYTES];
    int rc = begin(&line, "router", options, err);

    if (rc != BASE_OK)
        return rc;
    (void)snprintf(endpoint, sizeof(endpoint), "ipc://%.200s/results.sock", self->directory);
    add_pair(&line, "--coordinator", self->coordinator);
    add_pair(&line, "--listen", self->router);
    add_pair(&line, "--data-listen", endpoint);
    add_pair(&line, "--model", options->model_path);
    add_number(&line, "--grace-s", 0);
    return start(self, "router", &line, err);
}

static int start_worker(struct cli_mesh *self, const struct cli_mesh_options *options,
    const char *name, bool is_spare, struct base_error *err)
{
    struct command_line line;
    char endpoint[LIMIT_ENDPOINT_BYTES];
    int rc = begin(&line, "worker", options, err);

    if (rc != BASE_OK)
        return rc;
    (void)snprintf(endpoint, sizeof(endpoint), "ipc://%.200s/%s.sock", self->directory, name);
    add_pair(&line, "--coordinator", self->coordinator);
    add_pair(&line, "--data-listen", endpoint);
    add_pair(&line, "--model", options->model_path);
    add_pair(&line, "--node-id", name);
    add_number(&line, "--threads", options->thread_count);
    add_number(&line, "--probe-ms", options->probe_ms);
    add_number(&line, "--grace-s", 0); /* when one is told to end, all are */
    add_pair(&line, "--kv-type", options->kv_type);
    if (options->pack_cache != NULL)
        add_pair(&line, "--pack-cache", options->pack_cache);
    if (options->fast_float)
        add(&line, "--fast-float");
    if (is_spare)
        add(&line, "--standby");
    return start(self, name, &line, err);
}

int cli_mesh_start(
    struct cli_mesh *self, const struct cli_mesh_options *options, struct base_error *err)
{
    int rc = make_directory(self, err);

    if (rc == BASE_OK)
        rc = start_coordinator(self, options, err);
    if (rc == BASE_OK)
        rc = start_router(self, options, err);
    for (uint32_t i = 0; rc == BASE_OK && i < options->worker_count + options->spare_count; i++) {
        bool is_spare = i >= options->worker_count;
        char name[32];
        if (is_spare)
            (void)snprintf(name, sizeof(name), "spare-%u", i - options->worker_count + 1);
        else
            (void)snprintf(name, sizeof(name), "w-%u", i + 1);
        rc = start_worker(self, options, name, is_spare, err);
    }
    return rc;
}

const struct cli_process *cli_mesh_find_over(const struct cli_mesh *self)
{
    for (size_t i = 0; i < self->process_count; i++)
        if (self->processes[i].is_over)
            return &self->processes[i];
    return NULL;
}

void cli_mesh_show_log(const struct cli_process *process)
{
    char tail[LOG_TAIL_BYTES];
    FILE *file = fopen(process->log_path, "rbe");

    if (file == NULL)
        return;
    if (fseek(file, -(long)sizeof(tail), SEEK_END) != 0)
        rewind(file);
    size_t bytes = fread(tail, 1, sizeof(tail), file);
    (void)fclose(file);
    (void)fprintf(stderr, "--- end of %s\n", process->log_path);
    (void)fwrite(tail, 1, bytes, stderr);
    (void)fprintf(stderr, "---\n");
}
