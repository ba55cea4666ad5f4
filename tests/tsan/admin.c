/* A daemon's loop that counts, beats and changes its mind while others scrape and probe. The exit
 * status is 1 when an answer is none. */
#include "admin.h"
#include "base_err.h"
#include "base_log.h"
#include "metrics.h"
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ROUNDS 200

static struct metrics_counter counter;
static struct metrics_gauge gauge;
static struct metrics_histogram histogram;
static atomic_bool stop;

static void *serve(void *context)
{
    for (unsigned i = 0; !atomic_load(&stop); i++) {
        metrics_add(&counter, 1);
        metrics_set(&gauge, i);
        metrics_observe_us(&histogram, i);
        admin_beat(context);
        admin_set_ready(context, i % 2 == 0, "round %u", i);
    }
    return NULL;
}

static int ask(uint16_t port, const char *path, const char *wanted)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    const void *where = &address;
    char text[8192];
    size_t used = 0;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    int length = snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path);
    if (connect(fd, where, sizeof(address)) != 0 || send(fd, text, (size_t)length, 0) != length)
        return 1;
    for (ssize_t more; (more = recv(fd, text + used, sizeof(text) - used - 1, 0)) > 0;)
        used += (size_t)more;
    text[used] = '\0';
    (void)close(fd);
    return strstr(text, wanted) == NULL;
}

int main(void)
{
    const struct metrics_series series[] = {
        {"a_total", "A.", METRICS_COUNTER, {{0}}, &counter, false},
        {"b", "B.", METRICS_GAUGE, {{0}}, &gauge, false},
        {"c_seconds", "C.", METRICS_HISTOGRAM, {{0}}, &histogram, false},
    };
    struct metrics *metrics = NULL;
    struct admin *admin = NULL;
    struct base_error err = {0};
    pthread_t thread;
    int failed = 0;

    base_log_init("tsan-admin", BASE_LOG_ERROR);
    if (metrics_new(&metrics) != BASE_OK || metrics_register(metrics, series, 3, &err) != BASE_OK)
        return EXIT_FAILURE;
    const struct admin_options options = {.listen = "127.0.0.1:0", .metrics = metrics};
    if (admin_start(&options, &admin, &err) != BASE_OK) {
        (void)fprintf(stderr, "%s\n", err.text);
        return EXIT_FAILURE;
    }
    uint16_t port = (uint16_t)strtoul(strrchr(admin_address(admin), ':') + 1, NULL, 10);
    (void)pthread_create(&thread, NULL, serve, admin);
    for (int i = 0; i < ROUNDS; i++) {
        failed += ask(port, "/metrics", "\nc_seconds_count ");
        failed += ask(port, "/readyz", "HTTP/1.1 ");
        failed += ask(port, "/healthz", " 200 OK");
    }
    atomic_store(&stop, true);
    (void)pthread_join(thread, NULL);
    admin_stop(&admin);
    metrics_destroy(&metrics);
    if (failed > 0)
        (void)fprintf(stderr, "%d answers were none\n", failed);
    return failed > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
