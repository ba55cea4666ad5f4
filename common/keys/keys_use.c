/* How a program becomes somebody at its start. */
#include "keys_internal.h"

#include "net.h"
#include <string.h>

int keys_secure(struct net_context *context, const char *path, enum wire_role role, bool serves,
    bool insecure, struct keys_identity *ret, struct base_error *err)
{
    *ret = (struct keys_identity){.role = (enum wire_role)0};
    if (path == NULL) {
        if (insecure)
            net_context_allow_plain(context);
        return BASE_OK;
    }
    int rc = keys_identity_read(path, ret, err);
    if (rc == BASE_OK)
        rc = keys_identity_expect(ret, path, role, err);
    if (rc == BASE_OK)
        rc = net_context_secure(context, &ret->key, serves, err);
    explicit_bzero(ret->key.secret_key, sizeof(ret->key.secret_key));
    return rc;
}
