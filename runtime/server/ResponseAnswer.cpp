//===- ResponseAnswer.cpp - The reply of /v1/responses --------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/server/ResponseAnswer.h"

#include <ctime>

namespace retort::server {
namespace {

Json orNull(const std::string &text) { return text.empty() ? Json(nullptr) : Json(text); }

} // namespace

ResponseAnswer::ResponseAnswer(std::shared_ptr<Exchange> exchange, const ResponseRequest &request,
                               const std::string &model, std::shared_ptr<const ToolSyntax> tools,
                               size_t promptTokens)
    : exchange_(std::move(exchange)), cancelled_(std::make_shared<std::atomic<bool>>(false)),
      tools_(std::move(tools)), stream_(request.generation.stream), promptTokens_(promptTokens) {
  const Generation &generation = request.generation;
  base_ = {
      {"id", "resp_" + exchange_->id},
      {"object", "response"},
      {"created_at", std::time(nullptr)},
      {"model", model},
      {"instructions", orNull(request.instructions)},
      {"max_output_tokens", generation.maxTokens ? Json(*generation.maxTokens) : Json(nullptr)},
      {"metadata", Json::parse(request.metadata)},
      {"parallel_tool_calls", request.tools.parallel},
      {"previous_response_id", nullptr},
      {"store", false},
      {"temperature", generation.temperature},
      {"text", {{"format", Json::parse(request.format)}}},
      {"tool_choice", request.tools.choice},
      {"tools", request.tools.given},
      {"top_p", generation.topP},
      {"truncation", "disabled"}};
  if (tools_)
    parser_.emplace(*tools_);
  exchange_->promptTokens = promptTokens;
  exchange_->whenGone([cancelled = cancelled_] { *cancelled = true; });
}

Json ResponseAnswer::textPart(const Item &item) {
  return {{"type", "output_text"},
          {"text", item.text},
          {"annotations", Json::array()},
          {"logprobs", Json::array()}};
}

Json ResponseAnswer::itemOf(const Item &item, const char *status) const {
  Json result = {{"id", item.id}, {"type", "message"}, {"status", status}};
  if (!item.call.empty()) {
    result["type"] = "function_call";
    result.update({{"call_id", item.call}, {"name", item.name}, {"arguments", item.text}});
    return result;
  }
  result["role"] = "assistant";
  result["content"] =
      std::string_view(status) == "in_progress" ? Json::array() : Json::array({textPart(item)});
  return result;
}

Json ResponseAnswer::response(const char *status) const {
  const std::string_view state = status;
  Json result = base_, output = Json::array();
  for (const Item &item : items_) // of an incomplete answer the last one is
    output.push_back(itemOf(item, &item == &items_.back() ? status : "completed"));
  result["status"] = status;
  result["error"] = nullptr;
  result["incomplete_details"] =
      state == "incomplete" ? Json{{"reason", "max_output_tokens"}} : Json(nullptr);
  result["output"] = output;
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
  if (!stream_)
    return;
  Json all = {{"type", type}, {"sequence_number", events_++}};
  all.update(fields);
  exchange_->write(std::string("event: ") + type + "\ndata: " + dumped(all) + "\n\n");
}

void ResponseAnswer::itemEvent(const char *type, Json fields) {
  fields["output_index"] = items_.size() - 1;
  event(type, std::move(fields));
}

void ResponseAnswer::textEvent(const char *type, Json fields) {
  fields["item_id"] = items_.back().id;
  if (items_.back().call.empty())
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
  return true;
}

/// Begins a message, or with a name a call.
void ResponseAnswer::openItem(const std::string &name) {
  closeItem("completed");
  const std::string number = items_.empty() ? "" : "_" + std::to_string(items_.size());
  items_.push_back({(name.empty() ? "msg_" : "fc_") + exchange_->id + number, "", name,
                    name.empty() ? "" : newCallId(*tools_)});
  itemEvent("response.output_item.added", {{"item", itemOf(items_.back(), "in_progress")}});
  if (name.empty())
    textEvent("response.content_part.added", {{"part", textPart(items_.back())}});
}

void ResponseAnswer::closeItem(const char *status) {
  if (items_.empty())
    return;
  const Item &item = items_.back();
  if (item.call.empty()) {
    textEvent("response.output_text.done", {{"text", item.text}, {"logprobs", Json::array()}});
    textEvent("response.content_part.done", {{"part", textPart(item)}});
  } else {
    textEvent("response.function_call_arguments.done",
              {{"arguments", item.text}, {"name", item.name}});
  }
  itemEvent("response.output_item.done", {{"item", itemOf(item, status)}});
}

void ResponseAnswer::addText(const std::string &text) {
  if (items_.empty() || !items_.back().call.empty())
    openItem({});
  items_.back().text += text;
  textEvent("response.output_text.delta", {{"delta", text}, {"logprobs", Json::array()}});
}

void ResponseAnswer::addPiece(const ToolPiece &piece) {
  if (!piece.name.empty())
    return openItem(piece.name);
  items_.back().text += piece.arguments;
  textEvent("response.function_call_arguments.delta", {{"delta", piece.arguments}});
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
  std::string content = update.text;
  std::vector<ToolPiece> pieces;
  if (parser_) {
    content.clear();
    parser_->push(update.text, content, pieces);
    if (update.finished)
      parser_->finish(content);
  }
  if (!content.empty())
    addText(content);
  for (const ToolPiece &piece : pieces)
    addPiece(piece);
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
  if (items_.empty())
    openItem({}); // an answer has something, if only no text
  closeItem(status);
  if (!stream_)
    return exchange_->reply({200, dumped(response(status))});
  event(length ? "response.incomplete" : "response.completed", {{"response", response(status)}});
  exchange_->endStream();
}

} // namespace retort::server
