//===- Answer.cpp - The reply to a request for text -----------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/server/Answer.h"

namespace retort::server {

Answer::Answer(std::shared_ptr<Exchange> exchange, const Options &options)
    : exchange_(std::move(exchange)), options_(options),
      cancelled_(std::make_shared<std::atomic<bool>>(false)), choices_(options.choices),
      open_(options.choices) {
  exchange_->promptTokens = options.promptTokens;
  exchange_->whenGone([cancelled = cancelled_] { *cancelled = true; });
}

bool Answer::begin(const std::function<bool()> &submit) {
  std::lock_guard lock(mutex_);
  if (!submit())
    return false;
  if (!options_.stream)
    return true;
  exchange_->startStream();
  for (size_t i = 0; options_.chat && i < choices_.size(); ++i)
    writeEvent(chunk(i, {{"role", "assistant"}, {"content", ""}}, ""));
  return true;
}

void Answer::update(size_t index, Update update) {
  std::lock_guard lock(mutex_);
  if (over_)
    return;
  if (update.error)
    return fail(*update.error);
  Choice &choice = choices_[index];
  exchange_->answerTokens += update.tokens - choice.tokens;
  choice.tokens = update.tokens;
  if (update.finished) {
    choice.finish = update.length ? "length" : "stop";
    --open_;
  }
  if (options_.stream)
    writePiece(index, update);
  else
    choice.text += update.text;
  if (open_ == 0)
    complete();
}

Json Answer::object(const char *kind) const {
  Json object = {{"id", (options_.chat ? "chatcmpl-" : "cmpl-") + exchange_->id},
                 {"object", kind},
                 {"created", options_.created},
                 {"model", options_.model},
                 {"choices", Json::array()}};
  return object;
}

Json Answer::usage() const {
  size_t answer = 0;
  for (const Choice &choice : choices_)
    answer += choice.tokens;
  return {{"prompt_tokens", options_.promptTokens},
          {"completion_tokens", answer},
          {"total_tokens", options_.promptTokens + answer}};
}

Json Answer::chunk(size_t choice, const Json &delta, const std::string &finish) const {
  Json event = object(options_.chat ? "chat.completion.chunk" : "text_completion");
  Json entry = {{"index", choice}};
  if (options_.chat)
    entry["delta"] = delta;
  else
    entry["text"] = delta.value("content", "");
  entry["logprobs"] = nullptr;
  entry["finish_reason"] = finish.empty() ? Json(nullptr) : Json(finish);
  event["choices"].push_back(entry);
  if (options_.includeUsage)
    event["usage"] = nullptr;
  return event;
}

void Answer::writeEvent(const Json &event) { exchange_->write("data: " + dumped(event) + "\n\n"); }

void Answer::writePiece(size_t index, const Update &update) {
  if (!update.text.empty())
    writeEvent(chunk(index, {{"content", update.text}}, ""));
  if (update.finished)
    writeEvent(chunk(index, Json::object(), choices_[index].finish));
}

/// One choice failed, and with it the request.
void Answer::fail(const ApiError &error) {
  over_ = true;
  *cancelled_ = true;
  if (options_.stream) {
    exchange_->write("data: " + error.toJson() + "\n\n");
    return exchange_->endStream();
  }
  exchange_->reply({error.status, error.toJson()});
}

void Answer::complete() {
  over_ = true;
  if (options_.stream) {
    if (options_.includeUsage) {
      Json last = object(options_.chat ? "chat.completion.chunk" : "text_completion");
      last["usage"] = usage();
      writeEvent(last);
    }
    exchange_->write("data: [DONE]\n\n");
    return exchange_->endStream();
  }
  Json whole = object(options_.chat ? "chat.completion" : "text_completion");
  for (size_t i = 0; i < choices_.size(); ++i) {
    Json entry = {{"index", i}};
    if (options_.chat)
      entry["message"] = {{"role", "assistant"}, {"content", choices_[i].text}};
    else
      entry["text"] = choices_[i].text;
    entry["logprobs"] = nullptr;
    entry["finish_reason"] = choices_[i].finish;
    whole["choices"].push_back(entry);
  }
  whole["usage"] = usage();
  exchange_->reply({200, dumped(whole)});
}

} // namespace retort::server
