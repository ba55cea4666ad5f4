/*
 * The smallest useful client: continues the prompt given as the argument, printing text as it
 * comes. Build it against an installed layermesh:
 *
 *     cc example_generate.c $(pkg-config --cflags --libs layermesh) -o example_generate
 *     LAYERMESH_ROUTER=tcp://127.0.0.1:5501 ./example_generate "Once upon a time"
 */
#include <layermesh.h>
#include <stdio.h>

/* Prints the parts of an answer up to its last one. */
static int print_answer(struct lmesh_request *request)
{
    const struct lmesh_part *part = NULL;

    do {
        int code = lmesh_next(request, -1, &part);
        if (code == LMESH_ERR_AGAIN)
            continue; /* a signal that the program survived */
        if (code != LMESH_OK)
            return code;
        (void)fwrite(part->text, 1, part->text_bytes, stdout);
        (void)fflush(stdout);
    } while (part == NULL || part->finish == LMESH_FINISH_NONE);
    (void)printf("\n(%u tokens in %.0f ms)\n", part->completion_tokens, part->total_ms);
    return LMESH_OK;
}

int main(int argc, char **argv)
{
    struct lmesh_client *client = NULL;
    struct lmesh_request *request = NULL;
    const struct lmesh_generate_options options = {
        .prompt = argc > 1 ? argv[1] : "Once upon a time", .max_tokens = 32};

    int code = lmesh_client_new(NULL, &client);
    if (code == LMESH_OK)
        code = lmesh_generate(client, &options, &request);
    if (code == LMESH_OK)
        code = print_answer(request);
    if (code != LMESH_OK)
        (void)fprintf(stderr, "%s: %s\n", argv[0], lmesh_client_error(client));
    lmesh_request_destroy(&request);
    lmesh_client_destroy(&client);
    return code == LMESH_OK ? 0 : 1;
}
