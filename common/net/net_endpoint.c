#include "net_internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define IPC_PATH_BYTES_MAX (sizeof(((struct sockaddr_un *)0)->sun_path) - 1)
#define PORT_MAX           65535ul

static const char *const schemes[] = {
    [NET_SCHEME_TCP] = "tcp://",
    [NET_SCHEME_IPC] = "ipc://",
    [NET_SCHEME_INPROC] = "inproc://",
};

/* "*" (any free port) or 1..65535. */
static bool is_port(const char *text)
{
    unsigned long port = 0;

    if (strcmp(text, "*") == 0)
        return true;
    if (text[0] == 0 || strlen(text) > 5 || text[strspn(text, "0123456789")] != 0)
        return false;
    for (const char *p = text; *p != 0; p++)
        port = port * 10 + (unsigned long)(*p - '0');
    return port >= 1 && port <= PORT_MAX;
}

/* rest is "host:port" or "[v6]:port". */
static int parse_tcp(
    const char *text, const char *rest, struct net_endpoint *ret, struct base_error *err)
{
    const char *colon = strrchr(rest, ':');

    if (colon == NULL || !is_port(colon + 1))
        return base_error_set(
            err, BASE_INVALID, "%s: needs a port from 1 to 65535, or * to bind any", text);
    size_t bytes = (size_t)(colon - rest);
    ret->is_ipv6 = bytes >= 2 && rest[0] == '[' && rest[bytes - 1] == ']';
    if (ret->is_ipv6) {
        rest++;
        bytes -= 2;
    }
    memcpy(ret->host, rest, bytes);
    ret->host[bytes] = 0;
    if (bytes == 0)
        return base_error_set(err, BASE_INVALID, "%s: needs a host", text);
    struct in6_addr address;
    if (ret->is_ipv6 && inet_pton(AF_INET6, ret->host, &address) != 1)
        return base_error_set(err, BASE_INVALID, "%s: no IPv6 address in the brackets", text);
    /* ';' would name a source address to ZeroMQ, '/' and ':' belong to no host. */
    if (!ret->is_ipv6 && ret->host[strcspn(ret->host, ":;/[]@ ")] != 0)
        return base_error_set(err, BASE_INVALID, "%s: is not tcp://host:port", text);
    return BASE_OK;
}

int net_endpoint_parse(const char *text, struct net_endpoint *ret, struct base_error *err)
{
    struct net_endpoint parsed = {.is_ipv6 = false};
    const char *rest = NULL;

    if (strlen(text) >= LIMIT_ENDPOINT_BYTES)
        return base_error_set(err, BASE_INVALID, "%.40s...: endpoint is over %d bytes", text,
            LIMIT_ENDPOINT_BYTES - 1);
    for (int i = NET_SCHEME_TCP; i <= NET_SCHEME_INPROC; i++) {
        if (strncmp(text, schemes[i], strlen(schemes[i])) == 0) {
            parsed.scheme = (enum net_scheme)i;
            rest = text + strlen(schemes[i]);
        }
    }
    if (rest == NULL)
        return base_error_set(
            err, BASE_INVALID, "%s: an endpoint starts with tcp://, ipc:// or inproc://", text);
    if (rest[0] == 0)
        return base_error_set(err, BASE_INVALID, "%s: nothing follows the scheme", text);
    if (parsed.scheme == NET_SCHEME_TCP) {
        const int rc = parse_tcp(text, rest, &parsed, err);
        if (rc != BASE_OK)
            return rc;
    } else {
        memcpy(parsed.host, rest, strlen(rest) + 1);
    }
    if (parsed.scheme == NET_SCHEME_IPC && strlen(rest) > IPC_PATH_BYTES_MAX)
        return base_error_set(err, BASE_INVALID, "%s: a socket path has at most %zu bytes", text,
            (size_t)IPC_PATH_BYTES_MAX);
    *ret = parsed;
    return BASE_OK;
}

static bool is_wildcard(const struct net_endpoint *endpoint)
{
    static const struct in6_addr any = IN6ADDR_ANY_INIT;
    struct in_addr v4;
    struct in6_addr v6;

    if (endpoint->is_ipv6)
        return inet_pton(AF_INET6, endpoint->host, &v6) == 1 && memcmp(&v6, &any, sizeof(v6)) == 0;
    return strcmp(endpoint->host, "*") == 0 ||
           (inet_pton(AF_INET, endpoint->host, &v4) == 1 && v4.s_addr == 0);
}

int net_endpoint_check(
    const char *endpoint, const struct net_policy *policy, struct base_error *err)
{
    struct net_endpoint parsed;
    const int rc = net_endpoint_parse(endpoint, &parsed, err);

    if (rc != BASE_OK)
        return rc;
    if (parsed.scheme != NET_SCHEME_TCP || policy->has_key)
        return BASE_OK;
    if (!policy->insecure)
        return base_error_set(err, BASE_DENIED,
            "%s: TCP needs a key: give %s (see 'layermesh keys'), or --insecure inside a network "
            "that you trust",
            endpoint, policy->cure);
    if (is_wildcard(&parsed) && !policy->any_address)
        return base_error_set(err, BASE_DENIED,
            "%s: would be open to everybody on every interface: name one address, give %s, or "
            "add --insecure-any-address",
            endpoint, policy->cure);
    return BASE_OK;
}

bool net_endpoint_is_tcp(const char *endpoint)
{
    return strncmp(endpoint, schemes[NET_SCHEME_TCP], strlen(schemes[NET_SCHEME_TCP])) == 0;
}

/* Whether a process accepts connections at path: 1, 0, or -1 with errno. */
static int is_served(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int served = -1;

    if (fd < 0)
        return -1;
    memcpy(address.sun_path, path, strlen(path) + 1);
    if (connect(fd, &address, sizeof(address)) == 0 || errno == EAGAIN)
        served = 1; /* EAGAIN: alive, its backlog is full */
    else if (errno == ECONNREFUSED || errno == ENOENT)
        served = 0;
    const int code = errno;
    (void)close(fd);
    errno = code;
    return served;
}

int net_ipc_claim(const char *path, struct base_error *err)
{
    struct stat info;

    if (lstat(path, &info) != 0) {
        if (errno == ENOENT)
            return BASE_OK;
        return base_error_set(err, BASE_IO, "ipc://%s: %s", path, strerror(errno));
    }
    if (!S_ISSOCK(info.st_mode))
        return base_error_set(
            err, BASE_DENIED, "ipc://%s: something that is no socket lies there", path);
    const int served = is_served(path);
    if (served > 0)
        return base_error_set(err, BASE_DENIED, "ipc://%s: another process serves this path", path);
    if (served < 0)
        return base_error_set(err, BASE_IO, "ipc://%s: %s", path, strerror(errno));
    if (unlink(path) != 0 && errno != ENOENT)
        return base_error_set(err, BASE_IO, "ipc://%s: %s", path, strerror(errno));
    return BASE_OK;
}
