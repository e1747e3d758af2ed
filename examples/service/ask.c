/*===- ask.c - Asks a model one question ------------------------------------------------------===*/
/* SPDX-License-Identifier: Apache-2.0 */
/*   ask MODEL.retort "How do I list open files?"    prints the likeliest answer, at most 200 tokens
 */
#include <retort.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int show(void *user, const char *text, size_t bytes) {
  (void)user;
  return fwrite(text, 1, bytes, stdout) != bytes || fflush(stdout) != 0;
}

/* The question's tokens, by the model's chat template if it has one. The caller frees them. */
static int32_t *read_question(const retort_model *model, const char *question, size_t *count,
                              retort_status *status, retort_error *error) {
  retort_model_info info = {sizeof info};
  retort_message message = {"user", question, strlen(question)};
  size_t capacity = 3 * message.content_bytes + 4096;
  int32_t *tokens = malloc(capacity * sizeof *tokens);
  if (!tokens) {
    *status = RETORT_E_RESOURCES;
    return NULL;
  }
  retort_model_get_info(model, &info);
  if (info.has_chat)
    *status = retort_chat_tokens(model, &message, 1, 0, tokens, capacity, count, error);
  else
    *status =
        retort_tokenize(model, question, message.content_bytes, 0, tokens, capacity, count, error);
  return tokens;
}

int main(int argc, char **argv) {
  retort_error error = {""};
  retort_model *model = NULL;
  retort_session *session = NULL;
  retort_generate_options options = {sizeof options};
  const char *message = error.message;
  int32_t *tokens = NULL;
  size_t count = 0;
  if (argc != 3) {
    fprintf(stderr, "usage: ask MODEL.retort QUESTION\n");
    return 2;
  }
  options.max_tokens = 200;
  options.on_text = show;
  retort_status status = retort_model_open(argv[1], NULL, &model, &error);
  if (status == RETORT_OK)
    tokens = read_question(model, argv[2], &count, &status, &error);
  if (status == RETORT_OK)
    status = retort_session_create(model, NULL, &session, &error);
  if (status == RETORT_OK) {
    status = retort_generate(session, 0, tokens, count, &options, NULL);
    message = retort_session_error(session);
    printf("\n");
  }
  if (status != RETORT_OK)
    fprintf(stderr, "ask: %s\n", *message ? message : retort_status_name(status));
  retort_session_destroy(session);
  retort_model_destroy(model);
  free(tokens);
  return status;
}
