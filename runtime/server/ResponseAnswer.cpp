//===- ResponseAnswer.cpp - The reply of /v1/responses --------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/server/ResponseAnswer.h"

#include <ctime>

namespace retort::server {
namespace {

Json orNull(const std::string &text) { return text.empty() ? Json(nullptr) : Json(text); }

} // namespace

ResponseAnswer::ResponseAnswer(std::shared_ptr<Exchange> exchange, const ResponseRequest &request,
                               const std::string &model, size_t promptTokens)
    : exchange_(std::move(exchange)), cancelled_(std::make_shared<std::atomic<bool>>(false)),
      stream_(request.generation.stream), item_("msg_" + exchange_->id),
      promptTokens_(promptTokens) {
  const Generation &generation = request.generation;
  base_ = {
      {"id", "resp_" + exchange_->id},
      {"object", "response"},
      {"created_at", std::time(nullptr)},
      {"model", model},
      {"instructions", orNull(request.instructions)},
      {"max_output_tokens", generation.maxTokens ? Json(*generation.maxTokens) : Json(nullptr)},
      {"metadata", Json::parse(request.metadata)},
      {"parallel_tool_calls", true},
      {"previous_response_id", nullptr},
      {"store", false},
      {"temperature", generation.temperature},
      {"text", {{"format", {{"type", "text"}}}}},
      {"tool_choice", "auto"},
      {"tools", Json::array()},
      {"top_p", generation.topP},
      {"truncation", "disabled"}};
  exchange_->promptTokens = promptTokens;
  exchange_->whenGone([cancelled = cancelled_] { *cancelled = true; });
}

Json ResponseAnswer::textPart() const {
  return {{"type", "output_text"},
          {"text", text_},
          {"annotations", Json::array()},
          {"logprobs", Json::array()}};
}

Json ResponseAnswer::message(const char *status) const {
  Json item = {{"id", item_}, {"type", "message"}, {"status", status}, {"role", "assistant"}};
  item["content"] =
      std::string_view(status) == "in_progress" ? Json::array() : Json::array({textPart()});
  return item;
}

Json ResponseAnswer::response(const char *status) const {
  const std::string_view state = status;
  Json result = base_;
  result["status"] = status;
  result["error"] = nullptr;
  result["incomplete_details"] =
      state == "incomplete" ? Json{{"reason", "max_output_tokens"}} : Json(nullptr);
  result["output"] = state == "in_progress" ? Json::array() : Json::array({message(status)});
  result["usage"] =
      state == "in_progress"
          ? Json(nullptr)
          : Json{{"input_tokens", promptTokens_},
                 {"input_tokens_details", {{"cached_tokens", cached_}, {"cache_write_tokens", 0}}},
                 {"output_tokens", tokens_},
                 {"output_tokens_details", {{"reasoning_tokens", 0}}},
                 {"total_tokens", promptTokens_ + tokens_}};
  return result;
}

void ResponseAnswer::event(const char *type, Json fields) {
  Json all = {{"type", type}, {"sequence_number", events_++}};
  all.update(fields);
  exchange_->write(std::string("event: ") + type + "\ndata: " + dumped(all) + "\n\n");
}

void ResponseAnswer::itemEvent(const char *type, Json fields) {
  fields["output_index"] = 0;
  event(type, std::move(fields));
}

void ResponseAnswer::textEvent(const char *type, Json fields) {
  fields["item_id"] = item_;
  fields["content_index"] = 0;
  itemEvent(type, std::move(fields));
}

bool ResponseAnswer::begin(const std::function<bool()> &submit) {
  std::lock_guard lock(mutex_);
  if (!submit())
    return false;
  if (!stream_)
    return true;
  exchange_->startStream();
  event("response.created", {{"response", response("in_progress")}});
  event("response.in_progress", {{"response", response("in_progress")}});
  itemEvent("response.output_item.added", {{"item", message("in_progress")}});
  textEvent("response.content_part.added", {{"part", textPart()}});
  return true;
}

void ResponseAnswer::update(size_t, Update update) {
  std::lock_guard lock(mutex_);
  if (over_)
    return;
  if (update.error)
    return fail(*update.error);
  exchange_->answerTokens += update.tokens - tokens_;
  tokens_ = update.tokens;
  cached_ += update.cachedTokens;
  text_ += update.text;
  if (stream_ && !update.text.empty())
    textEvent("response.output_text.delta", {{"delta", update.text}, {"logprobs", Json::array()}});
  if (update.finished)
    complete(update.length);
}

void ResponseAnswer::fail(const ApiError &error) {
  over_ = true;
  *cancelled_ = true;
  if (!stream_)
    return exchange_->reply({error.status, error.toJson()});
  event("error",
        {{"code", error.code}, {"message", error.message}, {"param", orNull(error.param)}});
  exchange_->endStream();
}

void ResponseAnswer::complete(bool length) {
  over_ = true;
  const char *status = length ? "incomplete" : "completed";
  if (!stream_)
    return exchange_->reply({200, dumped(response(status))});
  textEvent("response.output_text.done", {{"text", text_}, {"logprobs", Json::array()}});
  textEvent("response.content_part.done", {{"part", textPart()}});
  itemEvent("response.output_item.done", {{"item", message(status)}});
  event(length ? "response.incomplete" : "response.completed", {{"response", response(status)}});
  exchange_->endStream();
}

} // namespace retort::server
