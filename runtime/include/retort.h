/*===- retort.h - Running a specialist: the C API of libretort --------------------------------===*/
/* SPDX-License-Identifier: Apache-2.0 */
/*
 * This header is the manual: what is not in it is not API. A program that uses all of it is in
 * examples/service; docs/runtime.md tells the same as a story.
 *
 *   retort_model     a bundle, opened and checked. Immutable: any number of threads may use one.
 *   retort_session   a model at work on a device (a pool of threads, or GPUs): slots
 *                    (sequences) and their KV cache. One thread at a time; make one session a
 *                    thread, or lock.
 *   retort_sampler   picks tokens from logits. One thread at a time.
 *   retort_grammar   what an answer may be: a JSON Schema, a pattern. Immutable, as a model.
 *   retort_matcher   follows an answer in its grammar. One thread at a time.
 *   retort_decoder   turns tokens into text piece by piece. One thread at a time.
 *   retort_drafter   guesses how a text goes on, to be verified in one step. One thread at a time.
 *
 * The library has no global state, prints nothing, never aborts or exits, and installs no signal
 * handlers. A bundle holds native code, so open only bundles that you would run; a bundle that is
 * damaged, or was changed after it was made, is refused, with the name of the part.
 *
 * Ownership. What a *_create or *_open returns is the caller's, to be given to the *_destroy of the
 * same type (NULL is allowed there). Sessions, decoders, grammars and what follows one keep what they
 * need of their model, so the order of destruction does not matter. Pointers passed in are not kept
 * after the call. Strings and arrays that a call returns belong to the object they came from; each
 * call says how long they live.
 *
 * Errors. Every call that can fail returns a retort_status. The message is one line: what is wrong,
 * where, what to do; in retort_session_error() for calls on a session, else in the retort_error
 * that the caller passes (NULL: not wanted). Out-parameters are written only on RETORT_OK, unless
 * the call says otherwise. A NULL where none is allowed is RETORT_E_ARGUMENT. Besides the codes
 * named at a call, each may return RETORT_E_RESOURCES (no memory) and RETORT_E_INTERNAL (a bug).
 *
 * Texts are UTF-8 with a length in bytes; bytes that are not UTF-8 count as U+FFFD. Tokens are
 * int32_t from 0 to vocab - 1. Positions and slots count from 0. Sizes are in bytes, times in
 * seconds.
 *
 * Structs with `struct_bytes`: set it to sizeof(the struct) and the rest to 0 for the defaults
 * (`retort_session_options options = {sizeof options};` does both). Later versions add fields only
 * at the end, so a program keeps working with a newer library; and an older library refuses, as
 * RETORT_E_ARGUMENT, options that it does not know and that are not 0.
 */
#ifndef RETORT_H
#define RETORT_H
#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define RETORT_API __attribute__((visibility("default")))
#else
#define RETORT_API
#endif
#ifdef __cplusplus
extern "C" {
#endif

#define RETORT_VERSION_MAJOR 0
#define RETORT_VERSION_MINOR 1
#define RETORT_VERSION_PATCH 0

/** Outcome of a call. The numbers are those of the tools' exit codes where the meaning is the same.
 */
typedef enum retort_status {
  RETORT_OK = 0,
  RETORT_E_INTERNAL = 1,    /**< a bug of Retort's */
  RETORT_E_ARGUMENT = 2,    /**< an argument is out of range: nothing was done */
  RETORT_E_BAD_INPUT = 3,   /**< a bundle is damaged, or is none */
  RETORT_E_UNSUPPORTED = 4, /**< a good bundle that this library or this machine cannot run */
  RETORT_E_RESOURCES = 5,   /**< memory or threads do not suffice; the message has the counts */
  RETORT_E_IO = 6,          /**< the operating system refused a file */
  RETORT_E_DEVICE = 7,      /**< a GPU failed at work: the session is lost, make another */
  RETORT_E_CONTEXT = 8,     /**< more tokens than the context holds; the message has both counts */
  RETORT_E_CAPACITY = 9, /**< the caller's buffer is too small; the count says what it must hold */
  RETORT_E_PAGES = 10 /**< no page of the cache is free: another slot that is reset or truncated has
                              some. The message has the counts */
} retort_status;

/** A message of a call that belongs to no session. The caller's. */
typedef struct retort_error {
  char message[1024]; /**< one line, ended by NUL, cut if longer; "" after RETORT_OK */
} retort_error;

typedef struct retort_model retort_model;
typedef struct retort_session retort_session;
typedef struct retort_sampler retort_sampler;
typedef struct retort_decoder retort_decoder;
typedef struct retort_grammar retort_grammar;
typedef struct retort_matcher retort_matcher;
typedef struct retort_drafter retort_drafter;

/** The library's version, "0.1.0". Static. */
RETORT_API const char *retort_version(void);

/** The name of a retort_status, "RETORT_E_IO"; "RETORT_E_?" if it is none. Static. */
RETORT_API const char *retort_status_name(int status);

/*===--- Models -----------------------------------------------------------------------------===*/

typedef struct retort_model_options {
  size_t struct_bytes;
  const char *isa;  /**< CPU code to use, "x86-64-v3" or "x86-64-v4"; NULL: the best this CPU has */
  uint32_t threads; /**< threads that check hashes while opening; 0: one a core */
  int32_t weights;  /**< RETORT_WEIGHTS_*: how the bundle's bytes are had */
} retort_model_options;

/** Values of retort_model_options.weights. */
enum {
  RETORT_WEIGHTS_MAPPED =
      0, /**< mapped: in memory once for all processes that use the file, which must
                                  stay as it is: writing to it changes answers, cutting it short ends
                                  the process (SIGBUS). Replace bundles by rename. */
  RETORT_WEIGHTS_COPIED =
      1, /**< read into memory of this process, in huge pages where there are some:
                                  what becomes of the file does not matter */
  RETORT_WEIGHTS_LOCKED = 2 /**< copied, and never paged out (RLIMIT_MEMLOCK must allow it) */
};

/**
 * Opens a bundle: a .retort file, or the directory form. Every part is checked against its SHA-256,
 * then weights are mapped (shared with other processes), unless options->weights says otherwise: memory
 * is only used for what the manifest's lists need. Code is checked once more where it will run, in a
 * copy that cannot be changed. No GPU is touched before a session is made.
 *
 * @param path     NUL-terminated.
 * @param options  may be NULL.
 * @param model    [out] for retort_model_destroy(); NULL if the call fails.
 * @return RETORT_OK,
 *         RETORT_E_IO           the file cannot be opened or read;
 *         RETORT_E_BAD_INPUT    it is no bundle, or the part that the message names is damaged;
 *         RETORT_E_UNSUPPORTED  a newer bundle format, no code for options->isa, or for this CPU in
 *                               a bundle that has code for nothing else; a machine that does not let
 *                               the process run a bundle's code;
 *         RETORT_E_ARGUMENT.
 */
RETORT_API retort_status retort_model_open(const char *path, const retort_model_options *options,
                                           retort_model **model, retort_error *error);
RETORT_API void retort_model_destroy(retort_model *model);

/** What is known of a model. Strings live as long as the model. */
typedef struct retort_model_info {
  size_t struct_bytes;
  const char *name;   /**< for people */
  const char *family; /**< "llama", ... */
  const char *isa;    /**< of the CPU code, "x86-64-v4"; "": the bundle has none for this CPU */
  int32_t vocab;      /**< logits of a row; tokens are 0 to vocab - 1 */
  int32_t tokenizer_vocab;  /**< tokens that stand for text, at most vocab; 0: no tokenizer */
  int32_t context;          /**< most positions of a slot */
  int32_t max_rows;         /**< most rows of a step; a session's own may differ by its device */
  int32_t hidden;           /**< features of a row */
  int32_t blocks;           /**< transformer layers */
  int32_t page_rows;        /**< positions in a page of the KV cache */
  int32_t bos_token;        /**< -1: none */
  int32_t eos_token;        /**< -1: none */
  int32_t has_chat;         /**< 1 if the model can chat: retort_chat_tokens(); else 0 */
  uint64_t page_bytes;      /**< of a page of the KV cache, all layers */
  uint64_t weight_bytes;    /**< of weights.bin, or of the GPUs' weights if the bundle has none */
  uint64_t bytes_per_token; /**< weight bytes read to decode one token */
} retort_model_info;

/** Fills `info`, as much of it as info->struct_bytes says. @return RETORT_OK, RETORT_E_ARGUMENT. */
RETORT_API retort_status retort_model_get_info(const retort_model *model, retort_model_info *info);

/** The manifest (docs/bundle.md): JSON, NUL-terminated. Lives as long as the model. */
RETORT_API const char *retort_model_manifest(const retort_model *model);

/**
 * The bytes of a part of the bundle by its name: "report.json", "tokenizer.json", "program.mlir".
 *
 * @param data  [out] [*bytes] as checked at opening; lives as long as the model.
 * @return RETORT_OK, or RETORT_E_ARGUMENT if the bundle has no such part.
 */
RETORT_API retort_status retort_model_part(const retort_model *model, const char *name,
                                           const void **data, size_t *bytes, retort_error *error);

/*===--- Text and tokens --------------------------------------------------------------------===*/

/** Flags of retort_tokenize() and retort_chat_tokens(), to be or-ed. */
enum {
  RETORT_NO_SPECIAL = 1, /**< leaves out what the model wants around a text (a beginning token) */
  RETORT_PARSE_SPECIAL = 2, /**< special tokens spelt out in the text become those tokens: never for
                                 text from users */
  RETORT_NO_ANSWER = 4      /**< chat: does not end with the words that ask for an answer */
};

/**
 * Text to tokens. Takes O(n log n) time in the text's bytes whatever they are.
 *
 * @param text        [text_bytes]; may be NULL if text_bytes is 0.
 * @param tokens      [capacity], written up to *num_tokens; NULL if capacity is 0.
 * @param num_tokens  [out] tokens of the whole text, also if they do not fit. At most
 *                    3 * text_bytes + 16, so a buffer of that size always suffices.
 * @return RETORT_OK,
 *         RETORT_E_CAPACITY     there are more than `capacity`: none were written;
 *         RETORT_E_UNSUPPORTED  the bundle has no tokenizer;
 *         RETORT_E_ARGUMENT.
 */
RETORT_API retort_status retort_tokenize(const retort_model *model, const char *text,
                                         size_t text_bytes, uint32_t flags, int32_t *tokens,
                                         size_t capacity, size_t *num_tokens, retort_error *error);

/**
 * Tokens to text. Special tokens are left out, unless keep_special is 1. What is not UTF-8 becomes
 * U+FFFD. To decode token by token use a retort_decoder.
 *
 * @param text        [capacity], not ended by NUL; NULL if capacity is 0.
 * @param text_bytes  [out] bytes of the whole text, also if they do not fit.
 * @return RETORT_OK, RETORT_E_CAPACITY (nothing was written), RETORT_E_UNSUPPORTED (no tokenizer),
 *         RETORT_E_ARGUMENT (a token is not in the vocabulary).
 */
RETORT_API retort_status retort_detokenize(const retort_model *model, const int32_t *tokens,
                                           size_t num_tokens, int keep_special, char *text,
                                           size_t capacity, size_t *text_bytes,
                                           retort_error *error);

/**
 * The bytes that a token adds to a text: perhaps a part of a character, "" for tokens that stand
 * for no text. `bytes` is not ended by NUL and lives as long as the model.
 * @return RETORT_OK, RETORT_E_UNSUPPORTED (no tokenizer), RETORT_E_ARGUMENT (no such token).
 */
RETORT_API retort_status retort_token_bytes(const retort_model *model, int32_t token,
                                            const char **bytes, size_t *num_bytes);

/** 1 if the token ends a text or an answer in a conversation, else 0. */
RETORT_API int retort_token_is_stop(const retort_model *model, int32_t token);

/** A message of a conversation. */
typedef struct retort_message {
  const char *role;    /**< "system", "user" or "assistant"; NUL-terminated */
  const char *content; /**< [content_bytes] */
  size_t content_bytes;
} retort_message;

/**
 * A conversation as the model's own chat template writes it (docs/chat.md), as tokens. Special tokens
 * spelt out in a message's content stay plain text. With retort_chat_text() one can look at it. A
 * template that writes the date writes today's.
 *
 * @param messages  [num_messages], oldest first.
 * @param flags     RETORT_NO_ANSWER or 0.
 * @param tokens, capacity, num_tokens  as in retort_tokenize().
 * @return RETORT_OK, RETORT_E_CAPACITY,
 *         RETORT_E_UNSUPPORTED  the bundle has no chat template or no tokenizer, or the template does
 *                               what Retort does not know;
 *         RETORT_E_ARGUMENT     the template refuses the conversation: a role or an order of roles
 *                               that it does not know;
 *         RETORT_E_RESOURCES    rendering takes more steps or memory than any conversation should.
 */
RETORT_API retort_status retort_chat_tokens(const retort_model *model,
                                            const retort_message *messages, size_t num_messages,
                                            uint32_t flags, int32_t *tokens, size_t capacity,
                                            size_t *num_tokens, retort_error *error);

/** The same as text: [capacity], not ended by NUL; *text_bytes counts as in retort_detokenize(). */
RETORT_API retort_status retort_chat_text(const retort_model *model, const retort_message *messages,
                                          size_t num_messages, uint32_t flags, char *text,
                                          size_t capacity, size_t *text_bytes, retort_error *error);

/** A conversation with all that a template may read. Each text but `messages` may be NULL. */
typedef struct retort_conversation {
  size_t struct_bytes;
  /** A JSON list of objects, oldest first, as transformers and OpenAI have them: "role", "content" (a
   *  text, or a list of parts such as {"type": "text", "text": "..."}), "tool_calls",
   *  "reasoning_content", "name", "tool_call_id" and whatever else the template reads. */
  const char *messages;
  size_t messages_bytes;
  const char *tools; /**< a JSON list of objects: the functions that the model may call */
  size_t tools_bytes;
  const char *documents; /**< a JSON list of objects, "title" and "text" */
  size_t documents_bytes;
  const char *variables; /**< a JSON object: the template's switches, {"enable_thinking": false} */
  size_t variables_bytes;
  const char *date; /**< what templates take for now, "2026-11-30" or "2026-11-30T08:15:00";
                         NUL-terminated; NULL: this machine's local time */
} retort_conversation;

/**
 * As retort_chat_tokens(). Only what the template itself writes becomes special tokens, never what
 * messages, tools, documents or variables hold.
 * @return as retort_chat_tokens(), and RETORT_E_BAD_INPUT if a text is not the JSON that it should be.
 */
RETORT_API retort_status retort_conversation_tokens(const retort_model *model,
                                                    const retort_conversation *conversation,
                                                    uint32_t flags, int32_t *tokens,
                                                    size_t capacity, size_t *num_tokens,
                                                    retort_error *error);

/** The same as text: [capacity], not ended by NUL; *text_bytes counts as in retort_detokenize(). */
RETORT_API retort_status retort_conversation_text(const retort_model *model,
                                                  const retort_conversation *conversation,
                                                  uint32_t flags, char *text, size_t capacity,
                                                  size_t *text_bytes, retort_error *error);

/** Makes a decoder of a model with a tokenizer. @return RETORT_OK, RETORT_E_UNSUPPORTED. */
RETORT_API retort_status retort_decoder_create(const retort_model *model, retort_decoder **decoder,
                                               retort_error *error);
RETORT_API void retort_decoder_destroy(retort_decoder *decoder);

/**
 * Gives a decoder texts to end before; without this call it has none. It starts anew, and from now on
 * keeps what may become one of the texts until that is known.
 *
 * @param stop  [num_stop] NUL-terminated UTF-8, not empty. One that is the name of a special token
 *              ("<|im_end|>") also ends the text at that token.
 * @return RETORT_OK, RETORT_E_ARGUMENT (the decoder is as before).
 */
RETORT_API retort_status retort_decoder_set_stops(retort_decoder *decoder, const char *const *stop,
                                                  size_t num_stop, retort_error *error);

/**
 * Says what stands before the text: [num_tokens], of which the last one counts. With tokenizers that leave
 * out a text's first space (Llama 2's), the first word keeps its space after a text, as it does in
 * retort_generate(); after a token without text, as those that begin an answer in a conversation, it does
 * not. @return RETORT_OK, RETORT_E_ARGUMENT.
 */
RETORT_API retort_status retort_decoder_follow(retort_decoder *decoder, const int32_t *tokens,
                                               size_t num_tokens);

/**
 * Special tokens whose names the decoder's text holds, [num_tokens], such as those that a model writes around
 * the calls of functions. All others are left out. @return RETORT_OK, RETORT_E_ARGUMENT.
 */
RETORT_API retort_status retort_decoder_show(retort_decoder *decoder, const int32_t *tokens,
                                             size_t num_tokens);

/** 1 if the text has ended at a stop: no more comes. 0 again when the decoder starts anew. */
RETORT_API int retort_decoder_stopped(const retort_decoder *decoder);

/**
 * Takes the next token and gives the text that is complete with it: whole characters, perhaps none.
 * `text` is ended by NUL (not counted) and lives until the decoder's next call.
 * @return RETORT_OK, or RETORT_E_ARGUMENT if there is no such token (the decoder is as before).
 */
RETORT_API retort_status retort_decoder_push(retort_decoder *decoder, int32_t token,
                                             const char **text, size_t *text_bytes);

/** Gives what is left at the end (U+FFFD for characters never completed); the decoder starts anew
 *  with the next push. */
RETORT_API retort_status retort_decoder_finish(retort_decoder *decoder, const char **text,
                                               size_t *text_bytes);

/*===--- Sessions ---------------------------------------------------------------------------===*/

typedef struct retort_session_options {
  size_t struct_bytes;
  uint32_t threads;     /**< that compute, the caller's among them, 1 to 1024, and at most one a
                             core that this process may use (affinity, CPU quotas of control groups):
                             more would wait for each other; 0: that many */
  uint32_t slots;       /**< sequences, 1 to 65536; 0: 1 */
  uint32_t max_context; /**< most positions of a slot, at most the model's context; 0: that */
  uint64_t cache_bytes; /**< of the KV cache, rounded down to pages, shared by all slots; 0: enough
                             for every slot to be full. On a CPU memory is taken as pages are first
                             used, on a GPU at once. */
  const char *device;   /**< what runs the steps:
                             "cpu"       the bundle's CPU code on `threads` threads;
                             "cuda"      the first GPU, or as many as the bundle's code
                                         is for;
                             "cuda:1"    that GPU, counted from 0 as the driver does
                                         (CUDA_VISIBLE_DEVICES applies); "cuda:2,3": those two;
                             "sim"       the simulated GPU of Retort's tests, slow and exact;
                                         "sim:2": two of them;
                             NULL: "cuda" if the bundle has code for it and the machine a driver and
                             a GPU, else "cpu". If that GPU cannot run it, the call fails and says
                             why: it never quietly runs slower. */
  int32_t prefix_cache; /**< 1: full pages of the cache are kept when their slots no longer need
                             them, until others need a page, so that slots which begin alike compute
                             their beginning once: retort_slot_reuse(). In time all of cache_bytes is
                             used. 0: pages are free at once */
} retort_session_options;

/**
 * Makes a session. Its threads sleep when it is not in use. On a GPU, the first session of a model
 * loads its code and copies its weights; later ones on the same GPU share them, as long as one of
 * them lives. Everything that can be known is checked before anything is copied.
 *
 * @param options  may be NULL.
 * @param session  [out] for retort_session_destroy(). NULL if the call fails.
 * @return RETORT_OK,
 *         RETORT_E_ARGUMENT     an option is out of range, or `device` names nothing;
 *         RETORT_E_RESOURCES    memory or threads are refused; the message has the sizes, and for a
 *                               GPU what is free and the longest context that fits;
 *         RETORT_E_UNSUPPORTED  the bundle has no code for the device; or the driver or the GPU is
 *                               not there, or too old;
 *         RETORT_E_DEVICE       the GPU failed.
 */
RETORT_API retort_status retort_session_create(const retort_model *model,
                                               const retort_session_options *options,
                                               retort_session **session, retort_error *error);
RETORT_API void retort_session_destroy(retort_session *session);

/** The message of the session's last call, "" if it was RETORT_OK. Lives until its next call. */
RETORT_API const char *retort_session_error(const retort_session *session);

/** A session's counts. */
typedef struct retort_session_info {
  size_t struct_bytes;
  uint32_t threads, slots, max_context; /**< as decided; threads is 1 on a GPU */
  uint32_t max_rows;                    /**< most rows of a step */
  uint64_t pages, free_pages;           /**< of the KV cache; those that are only kept for what they
                                             hold count as free */
  uint64_t cache_bytes;                 /**< of all pages together, on all GPUs */
  const char *device;  /**< what runs the steps, for people: "cpu x86-64-v4", "cuda:0 NVIDIA H100";
                            lives as long as the session */
  double step_seconds; /**< of the last step, measured on the GPU by its own clock: without copies
                            and the host's part. 0: not measured */
  uint32_t page_rows;  /**< positions in a page of the KV cache: a slot takes a page when its length
                            passes a multiple of it */
} retort_session_info;
RETORT_API retort_status retort_session_get_info(const retort_session *session,
                                                 retort_session_info *info);

/**
 * What a step of so many rows is expected to take, by those that this session has run; the last ones count
 * most. In seconds; 0 before the first step. For decisions such as how much to guess (retort_drafter_guess()).
 */
RETORT_API double retort_session_expected_seconds(const retort_session *session, size_t rows);

/**
 * What the device counted since the last call of this function, as JSON: on a simulated GPU that
 * was told to count (docs/cuda.md) bytes moved, sectors, bank conflicts, waits and what its checks
 * found; "" on devices that count nothing. Lives until the session's next call of this function.
 */
RETORT_API const char *retort_session_counters(retort_session *session);

/** One row of a step: the token at a position of a slot. */
typedef struct retort_row {
  int32_t token;    /**< 0 to vocab - 1 */
  int32_t slot;     /**< 0 to slots - 1 */
  int32_t position; /**< the slot's length, plus 1 for each earlier row of the same slot */
} retort_row;

/**
 * Runs one step: appends each row's K and V to its slot's cache and computes the wanted logits.
 * Decoding passes one row a sequence, prefill many of one slot, continuous batching rows of many
 * slots. The same rows of a slot give the same logits, bit for bit, whatever other slots are in the
 * step.
 *
 * @param rows    [num_rows], 1 to max_rows; a slot's rows by position, rows of several slots in any
 *                order.
 * @param wanted  [num_wanted] indices into `rows`, ascending; NULL if num_wanted is 0.
 * @param logits  [num_wanted][vocab] float32, row-major, the caller's: natural-log scale, before
 *                softmax. NULL if num_wanted is 0.
 * @return RETORT_OK, or
 *         RETORT_E_ARGUMENT   a token, slot, position or index is out of range;
 *         RETORT_E_CONTEXT    a slot would be longer than max_context;
 *         RETORT_E_PAGES      too few free pages of cache: reset or truncate a slot and try again;
 *                             in these three cases nothing ran and no slot changed;
 *         RETORT_E_DEVICE     the GPU failed, what the slots hold is lost: only
 *                             retort_session_destroy() may follow, every step fails the same way.
 */
RETORT_API retort_status retort_step(retort_session *session, const retort_row *rows,
                                     size_t num_rows, const size_t *wanted, size_t num_wanted,
                                     float *logits);

/**
 * Runs one step as retort_step() does, and gives tokens in the place of logits: for each wanted row
 * the one that retort_sample() with the row's sampler picks from the logits of the tokens that the
 * bundle's tokenizer has (all, if it has none). A GPU picks them itself, to the same token, and
 * sends 8 bytes a row instead of all logits.
 *
 * @param samplers  [num_wanted] each moves on by a pick, rows in order (one may serve several);
 *                  NULL in it: the largest logit. NULL: the largest logit of every row. Not kept.
 * @param tokens    [num_wanted], the caller's; -1 where no logit is a number. NULL if num_wanted is
 *                  0.
 * @return as retort_step(); if nothing ran, no sampler moved.
 */
RETORT_API retort_status retort_step_sample(retort_session *session, const retort_row *rows,
                                            size_t num_rows, const size_t *wanted,
                                            size_t num_wanted, retort_sampler *const *samplers,
                                            int32_t *tokens);

/** What retort_step_verify() gives in the place of a token. */
enum {
  RETORT_TOKEN_NONE = -1,    /**< no logit is a number */
  RETORT_TOKEN_UNPICKED = -2 /**< the row was a wrong guess */
};

/**
 * Runs one step as retort_step_sample() does, in which rows may be guesses at what is picked: several tokens
 * of an answer for one step (arXiv:2211.17192, for guesses that are sure of themselves). A wanted row is a
 * guess if the wanted row before it is of the same slot at the position before. If the token picked there is the
 * guess's, the slot goes on and the guess's own row picks the next one; if it is another, or the sampler's grammar
 * allows nothing more, this guess and those that follow it are taken back: their tokens are
 * RETORT_TOKEN_UNPICKED, no sampler moves for them, and the slot ends before them. So each pick is the one
 * that single steps make, by the same draw from the same logits, whatever was guessed and at any temperature:
 * on a CPU to the bit, on a GPU as chunks may change logits (docs/runtime.md).
 *
 * @param tokens  [num_wanted], the caller's; NULL if num_wanted is 0.
 * @param logits  [num_wanted][vocab] as from retort_step(), of wrong guesses too; NULL: not wanted. A GPU
 *                then sends them all.
 * @return as retort_step_sample().
 */
RETORT_API retort_status retort_step_verify(retort_session *session, const retort_row *rows,
                                            size_t num_rows, const size_t *wanted,
                                            size_t num_wanted, retort_sampler *const *samplers,
                                            int32_t *tokens, float *logits);

/**
 * Appends tokens to a slot in steps of at most max_rows rows.
 *
 * @param tokens  [num_tokens], at least 1, any number that the slot has room for.
 * @param logits  [vocab] of the last token, the caller's; NULL: not wanted.
 * @return as retort_step(). RETORT_E_ARGUMENT, RETORT_E_CONTEXT and RETORT_E_PAGES are found
 *         before the first step, so then too nothing ran.
 */
RETORT_API retort_status retort_prefill(retort_session *session, int32_t slot,
                                        const int32_t *tokens, size_t num_tokens, float *logits);

/** Positions that a slot holds; 0 for a slot that does not exist. */
RETORT_API size_t retort_slot_length(const retort_session *session, int32_t slot);

/**
 * Forgets the positions from `length` on; pages that this empties are free for every slot.
 * @return RETORT_OK, or
 *         RETORT_E_ARGUMENT   there is no such slot, or it is shorter than that;
 *         RETORT_E_PAGES      only with a prefix cache, and where `length` lies within a page that
 *                             other slots hold too: no page is free to copy it to. Nothing changed;
 *         RETORT_E_DEVICE     as retort_step(), in the same case.
 */
RETORT_API retort_status retort_slot_truncate(retort_session *session, int32_t slot, size_t length);

/**
 * Lets an empty slot begin with what the prefix cache holds of a text: as many of its first tokens as
 * full pages hold, but not the last token, whose logits are to be computed. The slot then goes on at
 * *num_reused, and the logits are those of computing it all: on a CPU to the bit, on a GPU as chunks may
 * change them (docs/runtime.md).
 *
 * @param tokens      [num_tokens] the text, from position 0 on.
 * @param num_reused  [out] positions that the slot holds now; 0 without a prefix cache.
 * @return RETORT_OK, or RETORT_E_ARGUMENT if there is no such slot, it is not empty, or a token is not
 *         in the vocabulary.
 */
RETORT_API retort_status retort_slot_reuse(retort_session *session, int32_t slot,
                                           const int32_t *tokens, size_t num_tokens,
                                           size_t *num_reused);

/** retort_slot_truncate(session, slot, 0). */
RETORT_API retort_status retort_slot_reset(retort_session *session, int32_t slot);

/*===--- Sampling ---------------------------------------------------------------------------===*/

/** What is added to a token's logit. */
typedef struct retort_logit_bias {
  int32_t token;
  float bias; /**< -infinity: the token is never picked */
} retort_logit_bias;

/**
 * How tokens are picked. First biases are added to logits and penalties taken off (only if there are any:
 * then also steps on a GPU give the host their logits). Then the logits are divided by temperature, made
 * probabilities, cut to those of at least min_p of the largest (arXiv:2407.01082), to the top_k largest,
 * and to the fewest tokens whose probabilities sum to top_p at least (arXiv:1904.09751), and one is
 * drawn: going down the ranking, the first at which the sum of probabilities passes a random number.
 * Equal logits rank by token. The drawing is done in integers, so the same seed, options and logits give
 * the same tokens, on a CPU and on a GPU (to the bit: runtime/src/abi/sampling.h).
 */
typedef struct retort_sampling {
  size_t struct_bytes;
  float temperature; /**< 0 (the default): always the largest logit; else up to 100 */
  float top_p;       /**< over 0 to 1; 0: 1, no cut */
  uint32_t top_k;    /**< 0: no cut */
  uint64_t seed;
  float min_p; /**< 0 (no cut) to 1 */
  float
      repetition_penalty; /**< 0.01 to 100: positive logits of tokens that the text holds already are
                                 divided by it, others multiplied; 0: 1, none */
  float presence_penalty;  /**< -100 to 100: taken off the logits of tokens that the answer holds */
  float frequency_penalty; /**< -100 to 100: the same for each time that it holds the token */
  const retort_logit_bias *bias; /**< [num_bias]; later ones of the same token add up */
  size_t num_bias;
} retort_sampling;

/** Makes a sampler. `options` may be NULL. @return RETORT_OK, RETORT_E_ARGUMENT. */
RETORT_API retort_status retort_sampler_create(const retort_sampling *options,
                                               retort_sampler **sampler, retort_error *error);
RETORT_API void retort_sampler_destroy(retort_sampler *sampler);

/**
 * Picks a token.
 * @param logits  [num_logits] float32, at least 1.
 * @return RETORT_OK, or RETORT_E_ARGUMENT if no logit is a number (NaN and -infinity are never
 *         picked).
 */
RETORT_API retort_status retort_sample(retort_sampler *sampler, const float *logits,
                                       size_t num_logits, int32_t *token);

/**
 * Tells a sampler with a repetition penalty which tokens the text before the answer holds.
 * Those that are picked it counts itself.
 * @return RETORT_OK, RETORT_E_ARGUMENT.
 */
RETORT_API retort_status retort_sampler_see(retort_sampler *sampler, const int32_t *tokens,
                                            size_t num_tokens);

/**
 * Natural logarithms of tokens' probabilities, by the softmax of logits as a step gives them.
 *
 * @param logits    [num_logits] float32; NaN counts as -infinity.
 * @param tokens    [num_tokens] of 0 to num_logits - 1.
 * @param logprobs  [num_tokens] at most 0; -infinity where the logit is.
 * @return RETORT_OK, RETORT_E_ARGUMENT.
 */
RETORT_API retort_status retort_logprobs(const float *logits, size_t num_logits,
                                         const int32_t *tokens, size_t num_tokens, float *logprobs);

/**
 * The tokens of the largest logits, the largest first, of equal ones the lower token.
 * @param tokens  [num_tokens], the caller's; -1 where there are no more numbers.
 * @return RETORT_OK, RETORT_E_ARGUMENT.
 */
RETORT_API retort_status retort_top_tokens(const float *logits, size_t num_logits, int32_t *tokens,
                                           size_t num_tokens);

/*===--- Grammars ---------------------------------------------------------------------------===*/

/** What a grammar is compiled from. */
typedef enum retort_grammar_kind {
  RETORT_GRAMMAR_JSON_SCHEMA = 0, /**< a JSON Schema: JSON texts that it allows */
  RETORT_GRAMMAR_REGEX = 1,       /**< a regular expression that matches the whole text */
  RETORT_GRAMMAR_CHOICE = 2,      /**< a JSON list of texts: one of them */
  /** JSON that puts texts, special tokens and grammars together, as the calls of functions need it:
   *  "TEXT"; {"token": "NAME OF A SPECIAL TOKEN"}; {"schema": {...}}; {"regex": "..."}; [PART, ...] in
   *  order; {"any": [PART, ...]} one of them; {"repeat": PART} any number, or none;
   *  {"until": MARK, "then": PART} any text that does not hold MARK, a text or a token, or that, MARK and
   *  the part; {"unless": "TEXT", "then": PART} any text that does not begin so, or TEXT and the part. */
  RETORT_GRAMMAR_STRUCTURE = 3
} retort_grammar_kind;

/**
 * Compiles what an answer may be for a model's tokens, within bounds of time and memory: some
 * milliseconds, and for large schemas up to a second. Every text that is allowed can be written with the
 * model's tokens, and none that is not. docs/serve.md lists what schemas and expressions may hold.
 *
 * @param text  [text_bytes], at most 256 KiB.
 * @return RETORT_OK,
 *         RETORT_E_ARGUMENT     the text is wrong, not supported, or nothing can meet it: the message
 *                               begins with a JSON pointer to the place, if there is one;
 *         RETORT_E_BAD_INPUT    it is not JSON though it should be;
 *         RETORT_E_RESOURCES    its automaton would be too large;
 *         RETORT_E_UNSUPPORTED  the bundle has no tokenizer.
 */
RETORT_API retort_status retort_grammar_create(const retort_model *model, int32_t kind,
                                               const char *text, size_t text_bytes,
                                               retort_grammar **grammar, retort_error *error);
RETORT_API void retort_grammar_destroy(retort_grammar *grammar);

/**
 * From now on the sampler picks what an answer that begins here may hold by the grammar, wherever it
 * picks: the logits of all other tokens are -infinity, after biases and penalties (so steps on a GPU give
 * the host their logits). Tokens that end a text are allowed where the answer may end.
 *
 * @param grammar  NULL: any answer.
 * @param before   [num_before] what the decoder of the answer was told by retort_decoder_follow(); NULL
 *                 if num_before is 0.
 * @return RETORT_OK, RETORT_E_ARGUMENT.
 */
RETORT_API retort_status retort_sampler_constrain(retort_sampler *sampler,
                                                  const retort_grammar *grammar,
                                                  const int32_t *before, size_t num_before);

/** 1 if the sampler's grammar allows nothing to follow what was picked: the answer is complete. */
RETORT_API int retort_sampler_done(const retort_sampler *sampler);

/**
 * Makes a matcher at the beginning of an answer, for loops that pick otherwise.
 * @param before  as in retort_sampler_constrain().
 * @return RETORT_OK, RETORT_E_ARGUMENT.
 */
RETORT_API retort_status retort_matcher_create(const retort_grammar *grammar, const int32_t *before,
                                               size_t num_before, retort_matcher **matcher,
                                               retort_error *error);
RETORT_API void retort_matcher_destroy(retort_matcher *matcher);

/**
 * Takes the answer's next token.
 * @return RETORT_OK, or RETORT_E_ARGUMENT if the token may not follow (the matcher is as before).
 */
RETORT_API retort_status retort_matcher_accept(retort_matcher *matcher, int32_t token);

/**
 * The tokens that may follow.
 *
 * @param bits       [num_words] bit t % 64 of word t / 64 is 1 if token t may follow; the caller's.
 * @param num_words  at least as many as the tokenizer's tokens (tokenizer_vocab) need; others become 0.
 * @return RETORT_OK, RETORT_E_ARGUMENT.
 */
RETORT_API retort_status retort_matcher_mask(retort_matcher *matcher, uint64_t *bits,
                                             size_t num_words);

/** 1 if the text so far meets the grammar. */
RETORT_API int retort_matcher_complete(const retort_matcher *matcher);

/** 1 if nothing can follow: the text is complete, or a token has ended it. */
RETORT_API int retort_matcher_done(const retort_matcher *matcher);

/*===--- Guessing ---------------------------------------------------------------------------===*/

/**
 * Makes a drafter of one answer. It guesses that what followed the longest earlier occurrence of the text's
 * end follows again, and learns how often that is so in this text: where it is not, guesses take at most
 * some 2 % of the time (docs/runtime.md). Memory: 16 bytes a token. @return RETORT_OK.
 */
RETORT_API retort_status retort_drafter_create(retort_drafter **drafter, retort_error *error);
RETORT_API void retort_drafter_destroy(retort_drafter *drafter);

/**
 * The text goes on with these tokens: first the prompt, then what was picked, at once or one by one. What
 * the last guess says of them is right until the first that differs. @return RETORT_OK, RETORT_E_ARGUMENT.
 */
RETORT_API retort_status retort_drafter_see(retort_drafter *drafter, const int32_t *tokens,
                                            size_t num_tokens);

/**
 * Guesses what the text goes on with. Call it once before each step, and verify all of the guess: behind
 * the row of the text's last token, a row for each of `tokens`, by retort_step_verify().
 *
 * @param sampler     of the answer: what its grammar forbids is not guessed; NULL: none.
 * @param least       0 to 1: how likely a token must be to be worth its row, the time that a row more takes
 *                    over the time that a token takes without guesses. Less than 0.1 counts as that.
 * @param tokens      [capacity], the caller's, written up to *num_tokens.
 * @param num_tokens  [out] 0 to capacity.
 * @return RETORT_OK, RETORT_E_ARGUMENT.
 */
RETORT_API retort_status retort_drafter_guess(retort_drafter *drafter,
                                              const retort_sampler *sampler, double least,
                                              int32_t *tokens, size_t capacity, size_t *num_tokens);

/*===--- Generating -------------------------------------------------------------------------===*/

/** Why a generation ended. */
typedef enum retort_finish {
  RETORT_FINISH_STOP = 0,    /**< a stop token, a stop string, or nothing that a grammar allows */
  RETORT_FINISH_LENGTH = 1,  /**< max_tokens */
  RETORT_FINISH_CONTEXT = 2, /**< the slot is full */
  RETORT_FINISH_CANCELLED = 3,
  RETORT_FINISH_FAILED = 4 /**< the call returned an error: what there was of the answer is known */
} retort_finish;

/**
 * Called with each piece of text as it becomes known, in order, on the thread that called
 * retort_generate(). Pieces are whole characters and never hold a stop string or a part of one.
 *
 * @param text  [text_bytes], ended by NUL (not counted), gone after the call; text_bytes >= 1.
 * @return 0 to go on, else the generation ends as cancelled. Must not throw or use the session.
 */
typedef int (*retort_on_text)(void *user, const char *text, size_t text_bytes);

/** Called with each token of the answer, before its text. @return as retort_on_text. */
typedef int (*retort_on_token)(void *user, int32_t token);

typedef struct retort_generate_options {
  size_t struct_bytes;
  const retort_sampling
      *sampling;           /**< may be NULL: greedy. A repetition penalty counts the prompt's
                                        tokens */
  size_t max_tokens;       /**< of the answer; 0: until the slot is full */
  const char *const *stop; /**< [num_stop] texts, NUL-terminated, not empty; the answer ends before
                                 the first that appears, and at a special token whose name one is */
  size_t num_stop;
  int32_t ignore_stop_tokens; /**< 1: goes on after tokens that end a text (for measuring) */
  const int *cancel;          /**< may be NULL; read atomically before each step: once it is not 0
                                   the generation ends. Set it from another thread (an atomic int)
                                   or a signal handler. */
  retort_on_text on_text;     /**< may be NULL */
  void *user;                 /**< for on_text and on_token */
  retort_on_token on_token;   /**< may be NULL */
  const retort_grammar *grammar; /**< that the answer meets unless it is cut; NULL: any answer */
  uint32_t speculate; /**< most tokens that are guessed at a time from the prompt and the answer and
                           verified in one step: the same answer, sooner where texts repeat; 0: none */
} retort_generate_options;

typedef struct retort_generation {
  size_t struct_bytes;
  retort_finish finish;
  size_t prompt_tokens;
  size_t tokens;          /**< of the answer, the stop token not counted */
  double prefill_seconds; /**< from the call to the first logits */
  double decode_seconds;  /**< from there to the end; about as many steps as tokens */
  size_t cached_tokens;   /**< of the prompt, that were in the prefix cache */
  size_t guessed_tokens;  /**< that were verified because of `speculate` */
  size_t right_tokens;    /**< of those, that became the answer's */
} retort_generation;

/**
 * Appends a prompt to a slot and then an answer, token by token. The slot keeps both, so that a
 * conversation goes on by giving what is new; reset the slot to start anew. (Not the token that ended
 * the answer, nor the last one where a stop string or a full slot did.) Or give the whole conversation to
 * an empty slot of a session with a prefix cache. An empty slot of a session with a prefix cache begins with what that
 * holds. If the bundle has no tokenizer, on_text is never called.
 *
 * @param prompt   [num_prompt] tokens, at least 1. Never cut.
 * @param options  may be NULL: greedy, until the slot is full.
 * @param result   [out] may be NULL.
 * @return RETORT_OK, cancelled or not, or
 *         RETORT_E_CONTEXT    the prompt is longer than the room in the slot: nothing ran;
 *         RETORT_E_PAGES      no free page of cache: before the first step nothing ran, later the
 *                             text so far has been given to on_text and `result` is filled;
 *         RETORT_E_ARGUMENT, RETORT_E_DEVICE  as retort_step().
 */
RETORT_API retort_status retort_generate(retort_session *session, int32_t slot,
                                         const int32_t *prompt, size_t num_prompt,
                                         const retort_generate_options *options,
                                         retort_generation *result);

#ifdef __cplusplus
}
#endif
#endif
