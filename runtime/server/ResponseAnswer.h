//===- ResponseAnswer.h - The reply of /v1/responses -----------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "runtime/server/Answer.h"
#include "runtime/server/Request.h"

namespace retort::server {

/// Writes an answer as an object of OpenAI's responses, with one message of one text: whole, or as the
/// events of its making.
class ResponseAnswer : public AnswerSink {
public:
  ResponseAnswer(std::shared_ptr<Exchange> exchange, const ResponseRequest &request,
                 const std::string &model, size_t promptTokens);

  bool begin(const std::function<bool()> &submit) override;
  void update(size_t choice, Update update) override;
  std::shared_ptr<const std::atomic<bool>> cancelled() const override { return cancelled_; }

private:
  Json response(const char *status) const;
  Json message(const char *status) const;
  Json textPart() const;
  void event(const char *type, Json fields);
  /// An event about the message, or about its text.
  void itemEvent(const char *type, Json fields);
  void textEvent(const char *type, Json fields);
  void fail(const ApiError &error);
  void complete(bool length);

  const std::shared_ptr<Exchange> exchange_;
  const std::shared_ptr<std::atomic<bool>> cancelled_;
  const bool stream_;
  Json base_; ///< what every state of the response has
  const std::string item_;
  std::mutex mutex_; ///< of what follows
  std::string text_;
  size_t promptTokens_, tokens_ = 0, cached_ = 0, events_ = 0;
  bool over_ = false;
};

} // namespace retort::server
