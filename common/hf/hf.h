/*
 * Models as Hugging Face folders: config.json, safetensors (one file or sharded), tokenizer files.
 * A folder is opened as a view (gguf_view.h): a struct gguf with GGUF's names, keys and semantics,
 * whose rows are made on demand from the mapped files, so that whoever loads some layers touches
 * the bytes of those layers only. All files are hostile input.
 */
#ifndef HF_H
#define HF_H

struct base_error;
struct gguf;

/*
 * Opens a folder. Matrices keep the type they have there (F32, F16, BF16; gpt-oss' experts MXFP4);
 * norms, biases and routers are F32. What GGUF files of the reference converter leave out but
 * config.json says (mistral's window, gemma2's query scale, yarn's truncation) is in keys of the
 * same naming. tokenizer.json's text is under tokenizer.huggingface.json. Returns BASE_OK and a
 * file closed with gguf_close(), or BASE_IO, BASE_MALFORMED, BASE_TOO_BIG, BASE_UNSUPPORTED (what
 * was found and what is supported) or BASE_NOMEM, with file and field in *err.
 */
int hf_open(const char *folder, struct gguf **ret_file, struct base_error *err);

/* A folder with hf_open(), anything else with gguf_open(): what every program calls on a model
 * path that a user gave. */
int hf_open_model(const char *path, struct gguf **ret_file, struct base_error *err);

#endif
