/* Model folders for tests: files written into a folder of its own. */
#ifndef HF_FOLDER_H
#define HF_FOLDER_H

#include <stddef.h>
#include <stdint.h>

/* Makes an empty folder below /tmp; ends the program when it cannot. */
void hf_folder_make(void);
void hf_folder_remove(void); /* with all files in it */
const char *hf_folder_path(void);

void hf_folder_write(const char *name, const void *data, size_t bytes);
void hf_folder_text(const char *name, const char *text);

/* A safetensors file: its header, padded to 8 bytes, and that many bytes of data, byte i being
 * i % 251. Returns memory freed with free(). */
uint8_t *hf_folder_weights(const char *header, size_t data_bytes, size_t *ret_bytes);

#endif
