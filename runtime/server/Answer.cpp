//===- Answer.cpp - The reply to a request for text -----------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/server/Answer.h"

#include <algorithm>
#include <cmath>

namespace retort::server {

/// A token's name for people: as text, where it is only a part of a character with U+FFFD.
static std::string nameOf(const Model &model, int32_t token) {
  return model.detokenize({&token, 1}, true);
}

/// JSON has no infinity: -9999 stands for it, as at OpenAI.
static double finite(float logprob) { return std::max(double(logprob), -9999.0); }

Answer::Answer(std::shared_ptr<Exchange> exchange, const Model &model, Options options)
    : exchange_(std::move(exchange)), model_(model), options_(std::move(options)),
      cancelled_(std::make_shared<std::atomic<bool>>(false)), open_(options_.choices) {
  for (size_t i = 0; i < options_.choices; ++i) {
    choices_.push_back(
        {options_.echoes.empty() ? "" : options_.echoes[i / options_.choicesOfPrompt], "", 0, 0,
         nullptr, Decoder(model_), 0, std::nullopt});
    if (options_.tools)
      choices_.back().parser.emplace(*options_.tools);
  }
  exchange_->promptTokens = options_.promptTokens;
  exchange_->whenGone([cancelled = cancelled_] { *cancelled = true; });
}

bool Answer::begin(const std::function<bool()> &submit) {
  std::lock_guard lock(mutex_);
  if (!submit())
    return false;
  if (!options_.stream)
    return true;
  exchange_->startStream();
  for (size_t i = 0; i < choices_.size(); ++i)
    if (options_.chat)
      writeEvent(chunk(i, {{"role", "assistant"}, {"content", ""}}, nullptr, ""));
    else if (!choices_[i].text.empty())
      writeEvent(chunk(i, {{"content", choices_[i].text}}, nullptr, ""));
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
  choice.cached += update.cachedTokens;
  const Json scores = scoresOf(choice, update.scores), calls = takeCalls(choice, update);
  if (update.finished) {
    const bool called = choice.parser && choice.parser->whole();
    choice.finish = update.length ? "length" : called ? "tool_calls" : "stop";
    --open_;
  }
  if (options_.stream)
    writePiece(index, update, calls, scores);
  else
    choice.text += update.text;
  if (!options_.stream && options_.scores)
    for (const auto &[name, list] : scores.items()) {
      Json &all = choice.scores[name];
      for (const Json &entry : list)
        all.push_back(entry);
    }
  if (open_ == 0)
    complete();
}

Json Answer::takeCalls(Choice &choice, Update &update) const {
  Json deltas = Json::array();
  if (!choice.parser)
    return deltas;
  std::string content;
  std::vector<ToolPiece> pieces;
  choice.parser->push(update.text, content, pieces);
  if (update.finished)
    choice.parser->finish(content);
  update.text = std::move(content);
  for (const ToolPiece &piece : pieces) {
    if (!piece.name.empty()) {
      const Json call = {{"id", newCallId(*options_.tools)},
                         {"type", "function"},
                         {"function", {{"name", piece.name}, {"arguments", ""}}}};
      Json delta = {{"index", choice.calls.size()}};
      delta.update(call);
      choice.calls.push_back(call);
      deltas.push_back(delta);
      continue;
    }
    choice.calls.back()["function"]["arguments"].get_ref<std::string &>() += piece.arguments;
    deltas.push_back(
        {{"index", choice.calls.size() - 1}, {"function", {{"arguments", piece.arguments}}}});
  }
  return deltas;
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
  size_t answer = 0, cached = 0;
  for (size_t i = 0; i < choices_.size(); ++i) {
    answer += choices_[i].tokens;
    if (i % options_.choicesOfPrompt == 0) // prompts count once, too
      cached += choices_[i].cached;
  }
  return {{"prompt_tokens", options_.promptTokens},
          {"completion_tokens", answer},
          {"total_tokens", options_.promptTokens + answer},
          {"prompt_tokens_details", {{"cached_tokens", cached}}}};
}

Json Answer::chatScore(const TokenScore &score) const {
  const auto entry = [&](int32_t token, float logprob) {
    Json bytes = Json::array();
    for (char byte : model_.tokenBytes(token))
      bytes.push_back(uint8_t(byte));
    return Json{{"token", nameOf(model_, token)}, {"logprob", finite(logprob)}, {"bytes", bytes}};
  };
  Json result = entry(score.token, score.logprob);
  result["top_logprobs"] = Json::array();
  for (const auto &[token, logprob] : score.top)
    result["top_logprobs"].push_back(entry(token, logprob));
  return result;
}

/// Lists by name: of a chat one of objects, of a completion OpenAI's older form.
Json Answer::scoresOf(Choice &choice, const std::vector<TokenScore> &scores) const {
  if (!options_.scores)
    return nullptr;
  if (options_.chat) {
    Json result = {{"content", Json::array()}};
    for (const TokenScore &score : scores)
      result["content"].push_back(chatScore(score));
    return result;
  }
  Json result = {{"tokens", Json::array()},
                 {"token_logprobs", Json::array()},
                 {"top_logprobs", Json::array()},
                 {"text_offset", Json::array()}};
  for (const TokenScore &score : scores) {
    const bool known = !std::isnan(score.logprob);
    Json top = known ? Json::object() : Json(nullptr);
    for (const auto &[token, logprob] : score.top)
      top.emplace(nameOf(model_, token), finite(logprob)); // of equal names the likeliest stays
    if (known)
      top.emplace(nameOf(model_, score.token), finite(score.logprob));
    result["tokens"].push_back(nameOf(model_, score.token));
    result["token_logprobs"].push_back(known ? Json(finite(score.logprob)) : Json(nullptr));
    result["top_logprobs"].push_back(std::move(top));
    result["text_offset"].push_back(choice.offset);
    for (char byte : choice.pieces.push(score.token))
      choice.offset += (byte & 0xc0) != 0x80; // characters, not bytes
  }
  return result;
}

Json Answer::chunk(size_t choice, const Json &delta, const Json &scores,
                   const std::string &finish) const {
  Json event = object(options_.chat ? "chat.completion.chunk" : "text_completion");
  Json entry = {{"index", choice}};
  if (options_.chat)
    entry["delta"] = delta;
  else
    entry["text"] = delta.value("content", "");
  entry["logprobs"] = scores;
  entry["finish_reason"] = finish.empty() ? Json(nullptr) : Json(finish);
  event["choices"].push_back(entry);
  if (options_.includeUsage)
    event["usage"] = nullptr;
  return event;
}

void Answer::writeEvent(const Json &event) { exchange_->write("data: " + dumped(event) + "\n\n"); }

void Answer::writePiece(size_t index, const Update &update, const Json &calls, const Json &scores) {
  Json delta = Json::object();
  if (!update.text.empty() || (!update.scores.empty() && calls.empty()))
    delta["content"] = update.text;
  if (!calls.empty())
    delta["tool_calls"] = calls;
  if (!delta.empty())
    writeEvent(chunk(index, delta, scores, ""));
  if (update.finished)
    writeEvent(chunk(index, Json::object(), nullptr, choices_[index].finish));
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
    if (options_.chat) {
      entry["message"] = {{"role", "assistant"}, {"content", choices_[i].text}};
      if (!choices_[i].calls.empty()) {
        if (choices_[i].text.empty())
          entry["message"]["content"] = nullptr;
        entry["message"]["tool_calls"] = choices_[i].calls;
      }
    } else
      entry["text"] = choices_[i].text;
    entry["logprobs"] = choices_[i].scores;
    entry["finish_reason"] = choices_[i].finish;
    whole["choices"].push_back(entry);
  }
  whole["usage"] = usage();
  exchange_->reply({200, dumped(whole)});
}

} // namespace retort::server
