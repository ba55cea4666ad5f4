/*
 * Every bound of the system in one place. Reaching one has a defined answer
 * (refuse with a typed error, drop with a counter, or push back), never growth.
 */
#ifndef BASE_LIMITS_H
#define BASE_LIMITS_H

#define LIMIT_WORKERS_MAX    64   /* workers that a coordinator admits */
#define LIMIT_STAGES_MAX     64   /* stages in one plan */
#define LIMIT_ROUTERS_MAX    4    /* routers that may register; one is active */
#define LIMIT_LAYERS_MAX     1024 /* transformer blocks in a model */
#define LIMIT_VOCAB_MAX      1048576
#define LIMIT_EXPERTS_MAX    1024 /* experts of one layer */
#define LIMIT_NAME_BYTES     64   /* node ids, with the NUL */
#define LIMIT_HOST_BYTES     256  /* host names, with the NUL */
#define LIMIT_ENDPOINT_BYTES 256  /* endpoints, with the NUL */
#define LIMIT_RATES_MAX      16   /* measured weight types per worker */
#define LIMIT_KEY_BYTES      41   /* a CURVE key as Z85, with the NUL */
#define LIMIT_KEYS_MAX       1024 /* keys that a mesh admits */

#define LIMIT_MODEL_HEADER_BYTES       1073741824 /* metadata of a model: tokenizer and all */
#define LIMIT_MODEL_TENSORS            1048576    /* in all files of a Hugging Face folder */
#define LIMIT_MODEL_EXPERTS            1024       /* of one layer */
#define LIMIT_MODEL_CLASSES            1024       /* of a classifier */
#define LIMIT_SAFETENSORS_FILES        1024
#define LIMIT_SAFETENSORS_HEADER_BYTES 33554432 /* JSON header or index */
#define LIMIT_CONFIG_JSON_BYTES        16777216 /* config.json and its like */
#define LIMIT_TOKENIZER_JSON_BYTES     67108864 /* tokenizer.json, tokenizer.model */
#define LIMIT_JSON_DEPTH               64
#define LIMIT_CHAT_TEMPLATES           32 /* named ones of a model */

#define LIMIT_PAGE_TOKENS        64     /* positions in one KV page */
#define LIMIT_CONTEXT_TOKENS_MAX 131072 /* positions in one sequence */
#define LIMIT_PAGES_PER_SEQUENCE (LIMIT_CONTEXT_TOKENS_MAX / LIMIT_PAGE_TOKENS)
#define LIMIT_PAGES_MAX          1048576 /* KV pages in one plan */

#define LIMIT_BATCH_TOKENS_MAX    512  /* tokens in one micro-batch */
#define LIMIT_BATCH_SEQUENCES_MAX 64   /* sequences in one micro-batch */
#define LIMIT_RELEASES_PER_STEP   4096 /* page releases beside one micro-batch */
#define LIMIT_BATCHES_IN_FLIGHT   (LIMIT_STAGES_MAX + 1)
#define LIMIT_TOP_LOGITS_MAX      2048 /* candidates that the last stage returns per row */

#define LIMIT_REQUESTS_RUNNING 256  /* requests that hold pages at once */
#define LIMIT_REQUESTS_WAITING 1024 /* admitted, not yet running; more are refused */
#define LIMIT_PROMPT_BYTES     4194304
#define LIMIT_CHAT_MESSAGES    1024
#define LIMIT_STOP_STRINGS     16
#define LIMIT_STOP_BYTES       256 /* one stop string */
#define LIMIT_LOGIT_BIASES     1024
#define LIMIT_TOP_LOGPROBS     20
#define LIMIT_CHOICES          128 /* answers to one prompt */
#define LIMIT_STOP_IDS         64
#define LIMIT_DRY_BREAKERS     16
#define LIMIT_PIECE_BYTES      256 /* of a token, where its bytes are reported */

#define LIMIT_CONFIG_BYTES       65536   /* a configuration file */
#define LIMIT_CONFIG_NAME_BYTES  512     /* its path, in messages */
#define LIMIT_METRICS_SERIES     512     /* series that one daemon exports */
#define LIMIT_METRICS_TEXT_BYTES 1048576 /* their text */
#define LIMIT_ADMIN_CONNECTIONS  16      /* of the admin port at once; more wait */
#define LIMIT_ADMIN_MEMORY_BYTES 8192    /* one connection: request line and headers */
#define LIMIT_ADMIN_IDLE_S       5       /* a connection that says nothing is closed */
#define LIMIT_ADMIN_TOTAL_MS     10000   /* a connection is closed after so long in any case */

#define LIMIT_TOKENIZER_AFFIX     16       /* tokens put in front of a text, or behind it */
#define LIMIT_TOKENIZER_NESTING   8        /* a normalizer in a normalizer in... */
#define LIMIT_TOKEN_BYTES         8192     /* the text of one token */
#define LIMIT_MERGES_MAX          4194304  /* rules of a BPE model */
#define LIMIT_NORMAL_STEPS        32       /* steps of a normalizer */
#define LIMIT_NORMAL_STRING_BYTES 4096     /* one text in it */
#define LIMIT_NORMAL_BYTES        67108864 /* what it may make of a text */
#define LIMIT_CHARSMAP_BYTES      16777216
#define LIMIT_CHARSMAP_KEY_BYTES  64 /* what one replacement may replace */
#define LIMIT_SPLIT_STEPS         16 /* steps of a pre-tokenizer */
#define LIMIT_REGEX_BYTES         8192
#define LIMIT_REGEX_NESTING       32
#define LIMIT_REGEX_STEPS         100000000 /* of one match; steps back over a run are counted */
#define LIMIT_REGEX_STACK_BYTES   1048576
#define LIMIT_REGEX_HEAP_KIB      262144

#define LIMIT_HALF_OPEN          128       /* connections of a socket that said nothing yet */
#define LIMIT_CONTROL_RATE       1000      /* messages a second of one peer; twice that at once */
#define LIMIT_CLIENT_RATE        2000      /* the same, of a client */
#define LIMIT_DATA_RATE          50000     /* the same, of a hop */
#define LIMIT_BACKLOG_BYTES      33554432  /* that a peer sent and that form no whole message */
#define LIMIT_BACKLOG_DATA_BYTES 268435456 /* the same, of a hop */

#define LIMIT_UNREAD_QUEUE_BYTES                                                                   \
    16777216 /* of answers to one client in its socket; one more fits */
#define LIMIT_UNREAD_BYTES                                                                         \
    134217728 /* that the router keeps beside for a client; a request
                                            * that would need more ends with an error */

#define LIMIT_ENVELOPE_BYTES   8
#define LIMIT_CONTROL_BYTES    262144   /* packed control message */
#define LIMIT_STEP_BYTES       1048576  /* packed step header */
#define LIMIT_CLIENT_BYTES     5242880  /* packed client message */
#define LIMIT_TENSOR_BYTES     67108864 /* one raw tensor frame */
#define LIMIT_UNPACK_FACTOR    12       /* heap for unpacking, times the packed size... */
#define LIMIT_UNPACK_BYTES_MIN 262144   /* ...and at least this */

#endif
