/*
 * Writes the seeds of the fuzz corpus: one sample of each kind, its first byte the kind's number
 * in fuzz_wire.c's list, and one envelope. Usage: make-wire-corpus FOLDER
 */
#include "wire_samples.h"
#include <stdio.h>

#define BYTES_MAX 16384 /* a seed is small, or the fuzzer is slow */
#define BUDGET    ((size_t)64 << 20)

static int write_file(
    const char *folder, const char *name, const uint8_t *head, const uint8_t *data, size_t bytes)
{
    char path[4096];

    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *file = fopen(path, "wb");
    if (file == NULL)
        return 1;
    const int failed =
        (head != NULL && fwrite(head, 1, 1, file) != 1) || fwrite(data, 1, bytes, file) != bytes;
    return fclose(file) != 0 || failed ? 1 : 0;
}

/* The first sample of this kind that is small. */
static int write_kind(const char *folder, uint8_t index)
{
    for (uint64_t seed = 1; seed < 2000; seed++) {
        struct base_arena arena;
        struct wire_message message;
        uint8_t *data = NULL;
        size_t bytes = 0;
        int rc = -1;
        base_arena_init(&arena, BUDGET);
        wire_sample(wire_sample_kinds[index], seed, &arena, &message);
        if (wire_encode(&message, &arena, &data, &bytes, NULL) == BASE_OK && bytes < BYTES_MAX)
            rc = write_file(folder, wire_kind_name(wire_sample_kinds[index]), &index, data, bytes);
        base_arena_release(&arena);
        if (rc >= 0)
            return rc;
    }
    return 1;
}

int main(int argc, char **argv)
{
    uint8_t envelope[LIMIT_ENVELOPE_BYTES];

    if (argc != 2)
        return 2;
    for (uint8_t i = 0; i < WIRE_SAMPLE_KINDS; i++) {
        if (write_kind(argv[1], i) != 0) {
            (void)fprintf(stderr, "%s: not written\n", wire_kind_name(wire_sample_kinds[i]));
            return 1;
        }
    }
    wire_envelope_encode(WIRE_STEP, envelope);
    return write_file(argv[1], "ENVELOPE", NULL, envelope, sizeof(envelope));
}
