//===- CApiModel.cpp - retort.h: models, text and tokens ------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/src/engine/CApi.h"
#include "runtime/src/engine/Generate.h"

using namespace retort;
using namespace retort::engine;
using namespace retort::engine::capi;

struct retort_decoder {
  std::shared_ptr<const Model> model;
  AnswerText answer;
  std::string text;
  std::vector<int32_t> shown = {};
};

namespace {

/// Gives a list to a caller's buffer.
template <class T, class List>
retort_status give(const List &list, T *out, size_t capacity, size_t *count, retort_error *error) {
  *count = list.size();
  if (list.size() > capacity) {
    put(error, "the result has " + std::to_string(list.size()) + " elements but the buffer holds " +
                   std::to_string(capacity));
    return RETORT_E_CAPACITY;
  }
  std::copy(list.begin(), list.end(), out);
  return RETORT_OK;
}

void setFlags(chat::Conversation &conversation, uint32_t flags) {
  require((flags & ~uint32_t(RETORT_NO_ANSWER)) == 0, "flags has bits that mean nothing here");
  conversation.askForAnswer = !(flags & RETORT_NO_ANSWER);
}

chat::Rendered renderChat(const retort_model *model, const retort_message *messages,
                          size_t numMessages, uint32_t flags) {
  require(model && (messages || numMessages == 0), "a pointer is NULL");
  chat::Conversation conversation;
  setFlags(conversation, flags);
  for (size_t i = 0; i < numMessages; ++i) {
    const retort_message &message = messages[i];
    require(message.role && (message.content || message.content_bytes == 0), "a pointer is NULL");
    conversation.messages.push_back(
        {message.role,
         message.content_bytes ? std::string(message.content, message.content_bytes) : ""});
  }
  return model->model->renderChat(conversation);
}

chat::Rendered renderChat(const retort_model *model, const retort_conversation *given,
                          uint32_t flags) {
  require(model && given, "a pointer is NULL");
  require(given->struct_bytes > 0, "retort_conversation.struct_bytes is not set");
  retort_conversation c = {};
  std::memcpy(&c, given, std::min(given->struct_bytes, sizeof c));
  chat::Conversation conversation;
  setFlags(conversation, flags);
  auto text = [](const char *bytes, size_t size) {
    require(bytes || size == 0, "a pointer is NULL");
    return size ? std::string(bytes, size) : std::string();
  };
  conversation.messagesJson = text(c.messages, c.messages_bytes);
  require(!conversation.messagesJson.empty(), "the conversation has no messages");
  conversation.toolsJson = text(c.tools, c.tools_bytes);
  conversation.documentsJson = text(c.documents, c.documents_bytes);
  conversation.variablesJson = text(c.variables, c.variables_bytes);
  if (c.date)
    conversation.date = chat::Date::parse(c.date);
  return model->model->renderChat(conversation);
}

} // namespace

const char *retort_version(void) {
#define RETORT_TEXT2(x) #x
#define RETORT_TEXT(x) RETORT_TEXT2(x)
  return RETORT_TEXT(RETORT_VERSION_MAJOR) "." RETORT_TEXT(RETORT_VERSION_MINOR) "." RETORT_TEXT(
      RETORT_VERSION_PATCH);
}

const char *retort_status_name(int status) {
  switch (status) {
  case RETORT_OK:
    return "RETORT_OK";
  case RETORT_E_INTERNAL:
    return "RETORT_E_INTERNAL";
  case RETORT_E_ARGUMENT:
    return "RETORT_E_ARGUMENT";
  case RETORT_E_BAD_INPUT:
    return "RETORT_E_BAD_INPUT";
  case RETORT_E_UNSUPPORTED:
    return "RETORT_E_UNSUPPORTED";
  case RETORT_E_RESOURCES:
    return "RETORT_E_RESOURCES";
  case RETORT_E_IO:
    return "RETORT_E_IO";
  case RETORT_E_DEVICE:
    return "RETORT_E_DEVICE";
  case RETORT_E_CONTEXT:
    return "RETORT_E_CONTEXT";
  case RETORT_E_CAPACITY:
    return "RETORT_E_CAPACITY";
  case RETORT_E_PAGES:
    return "RETORT_E_PAGES";
  }
  return "RETORT_E_?";
}

retort_status retort_model_open(const char *path, const retort_model_options *options,
                                retort_model **model, retort_error *error) {
  if (model)
    *model = nullptr;
  return guard(error, [&] {
    require(path && model, "path or model is NULL");
    auto given = optionsOr(options, "retort_model_options.struct_bytes is not set");
    require(given.weights >= RETORT_WEIGHTS_MAPPED && given.weights <= RETORT_WEIGHTS_LOCKED,
            "retort_model_options.weights is none of its values");
    *model = new retort_model{
        Model::open(path, given.isa ? given.isa : "", given.threads, Weights(given.weights))};
  });
}

void retort_model_destroy(retort_model *model) { delete model; }

retort_status retort_model_get_info(const retort_model *model, retort_model_info *info) {
  return guard(static_cast<retort_error *>(nullptr), [&] {
    require(model && info, "a pointer is NULL");
    const Model &m = *model->model;
    const Manifest &manifest = m.manifest();
    retort_model_info values = {};
    values.name = manifest.name.c_str();
    values.family = manifest.family.c_str();
    values.isa = m.program() ? m.program()->isa().c_str() : "";
    values.vocab = int32_t(manifest.vocab);
    values.tokenizer_vocab = m.hasTokenizer() ? m.tokenizer().vocabSize() : 0;
    values.context = int32_t(manifest.context);
    values.max_rows = int32_t(manifest.maxRows);
    values.hidden = int32_t(manifest.hidden);
    values.blocks = int32_t(manifest.blocks);
    values.page_rows = int32_t(manifest.pageRows);
    values.bos_token = m.hasTokenizer() ? m.tokenizer().bos() : -1;
    values.eos_token = m.hasTokenizer() ? m.tokenizer().eos() : -1;
    values.has_chat = m.hasChat();
    values.page_bytes = manifest.pageBytes;
    for (const char *name : {"weights.bin", "weights.cuda.bin", "weights.cuda0.bin"})
      if (const Manifest::Part *part = manifest.findPart(name); part && values.weight_bytes == 0)
        values.weight_bytes = part->bytes;
    values.bytes_per_token = manifest.bytesPerToken;
    fillInfo(info, values, "retort_model_info.struct_bytes is not set");
  });
}

const char *retort_model_manifest(const retort_model *model) {
  return model ? model->model->manifest().text.c_str() : "";
}

retort_status retort_model_part(const retort_model *model, const char *name, const void **data,
                                size_t *bytes, retort_error *error) {
  return guard(error, [&] {
    require(model && name && data && bytes, "a pointer is NULL");
    std::span<const uint8_t> part = model->model->part(name);
    *data = part.data();
    *bytes = part.size();
  });
}

retort_status retort_tokenize(const retort_model *model, const char *text, size_t text_bytes,
                              uint32_t flags, int32_t *tokens, size_t capacity, size_t *num_tokens,
                              retort_error *error) {
  return guard(error, [&] {
    require(model && (text || text_bytes == 0) && (tokens || capacity == 0) && num_tokens,
            "a pointer is NULL");
    require((flags & ~uint32_t(RETORT_NO_SPECIAL | RETORT_PARSE_SPECIAL)) == 0,
            "flags has bits that mean nothing here");
    std::vector<int32_t> ids = model->model->tokenizer().encode(
        std::string_view(text ? text : "", text_bytes), !(flags & RETORT_NO_SPECIAL),
        (flags & RETORT_PARSE_SPECIAL) != 0);
    return give(ids, tokens, capacity, num_tokens, error);
  });
}

retort_status retort_detokenize(const retort_model *model, const int32_t *tokens, size_t num_tokens,
                                int keep_special, char *text, size_t capacity, size_t *text_bytes,
                                retort_error *error) {
  return guard(error, [&] {
    require(model && (tokens || num_tokens == 0) && (text || capacity == 0) && text_bytes,
            "a pointer is NULL");
    const Tokenizer &tokenizer = model->model->tokenizer();
    for (size_t i = 0; i < num_tokens; ++i)
      if (tokens[i] < 0 || tokens[i] >= model->model->manifest().vocab)
        fail(ExitCode::Usage, "token " + std::to_string(i) + " is " + std::to_string(tokens[i]) +
                                  ", not one of the vocabulary's " +
                                  std::to_string(model->model->manifest().vocab));
    return give(tokenizer.decode({tokens, num_tokens}, !keep_special), text, capacity, text_bytes,
                error);
  });
}

retort_status retort_token_bytes(const retort_model *model, int32_t token, const char **bytes,
                                 size_t *num_bytes) {
  return guard(static_cast<retort_error *>(nullptr), [&] {
    require(model && bytes && num_bytes, "a pointer is NULL");
    require(token >= 0 && token < model->model->manifest().vocab, "no such token");
    std::string_view view = model->model->tokenizer().tokenBytes(token);
    *bytes = view.data() ? view.data() : "";
    *num_bytes = view.size();
  });
}

int retort_token_is_stop(const retort_model *model, int32_t token) {
  return model && model->model->isStop(token);
}

retort_status retort_chat_tokens(const retort_model *model, const retort_message *messages,
                                 size_t num_messages, uint32_t flags, int32_t *tokens,
                                 size_t capacity, size_t *num_tokens, retort_error *error) {
  return guard(error, [&] {
    require((tokens || capacity == 0) && num_tokens, "a pointer is NULL");
    const chat::Rendered chat = renderChat(model, messages, num_messages, flags);
    return give(model->model->encodeChat(chat), tokens, capacity, num_tokens, error);
  });
}

retort_status retort_chat_text(const retort_model *model, const retort_message *messages,
                               size_t num_messages, uint32_t flags, char *text, size_t capacity,
                               size_t *text_bytes, retort_error *error) {
  return guard(error, [&] {
    require((text || capacity == 0) && text_bytes, "a pointer is NULL");
    return give(renderChat(model, messages, num_messages, flags).text, text, capacity, text_bytes,
                error);
  });
}

retort_status retort_conversation_tokens(const retort_model *model,
                                         const retort_conversation *conversation, uint32_t flags,
                                         int32_t *tokens, size_t capacity, size_t *num_tokens,
                                         retort_error *error) {
  return guard(error, [&] {
    require((tokens || capacity == 0) && num_tokens, "a pointer is NULL");
    const chat::Rendered chat = renderChat(model, conversation, flags);
    return give(model->model->encodeChat(chat), tokens, capacity, num_tokens, error);
  });
}

retort_status retort_conversation_text(const retort_model *model,
                                       const retort_conversation *conversation, uint32_t flags,
                                       char *text, size_t capacity, size_t *text_bytes,
                                       retort_error *error) {
  return guard(error, [&] {
    require((text || capacity == 0) && text_bytes, "a pointer is NULL");
    return give(renderChat(model, conversation, flags).text, text, capacity, text_bytes, error);
  });
}

retort_status retort_decoder_create(const retort_model *model, retort_decoder **decoder,
                                    retort_error *error) {
  if (decoder)
    *decoder = nullptr;
  return guard(error, [&] {
    require(model && decoder, "a pointer is NULL");
    *decoder =
        new retort_decoder{model->model, AnswerText(model->model->tokenizer(), {}), std::string()};
  });
}

void retort_decoder_destroy(retort_decoder *decoder) { delete decoder; }

retort_status retort_decoder_set_stops(retort_decoder *decoder, const char *const *stop,
                                       size_t num_stop, retort_error *error) {
  return guard(error, [&] {
    require(decoder && (stop || num_stop == 0), "a pointer is NULL");
    std::vector<std::string> stops;
    for (size_t i = 0; i < num_stop; ++i) {
      require(stop[i], "a stop string is NULL");
      stops.emplace_back(stop[i]);
    }
    decoder->answer = AnswerText(decoder->model->tokenizer(), std::move(stops));
    decoder->answer.show(decoder->shown);
  });
}

retort_status retort_decoder_show(retort_decoder *decoder, const int32_t *tokens,
                                  size_t num_tokens) {
  return guard(static_cast<retort_error *>(nullptr), [&] {
    require(decoder && (tokens || num_tokens == 0), "a pointer is NULL");
    decoder->shown.assign(tokens, tokens + num_tokens);
    decoder->answer.show(decoder->shown);
  });
}

retort_status retort_decoder_follow(retort_decoder *decoder, const int32_t *tokens,
                                    size_t num_tokens) {
  return guard(static_cast<retort_error *>(nullptr), [&] {
    require(decoder && (tokens || num_tokens == 0), "a pointer is NULL");
    decoder->answer.follow({tokens, num_tokens});
  });
}

int retort_decoder_stopped(const retort_decoder *decoder) {
  return decoder && decoder->answer.stopped();
}

retort_status retort_decoder_push(retort_decoder *decoder, int32_t token, const char **text,
                                  size_t *text_bytes) {
  return guard(static_cast<retort_error *>(nullptr), [&] {
    require(decoder && text && text_bytes, "a pointer is NULL");
    require(token >= 0 && token < decoder->model->manifest().vocab, "no such token");
    decoder->text = decoder->answer.push(token);
    *text = decoder->text.c_str();
    *text_bytes = decoder->text.size();
  });
}

retort_status retort_decoder_finish(retort_decoder *decoder, const char **text,
                                    size_t *text_bytes) {
  return guard(static_cast<retort_error *>(nullptr), [&] {
    require(decoder && text && text_bytes, "a pointer is NULL");
    decoder->text = decoder->answer.finish();
    *text = decoder->text.c_str();
    *text_bytes = decoder->text.size();
  });
}
