//===- ResponseAnswer.h - The reply of /v1/responses -----------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "runtime/server/Answer.h"
#include "runtime/server/Request.h"

namespace retort::server {

/// Writes an answer as an object of OpenAI's responses, whose items are messages of one text and calls of
/// functions: whole, or as the events of its making.
class ResponseAnswer : public AnswerSink {
public:
  /// `tools`: the syntax of the calls that the answer may hold; null: none.
  ResponseAnswer(std::shared_ptr<Exchange> exchange, const ResponseRequest &request,
                 const std::string &model, std::shared_ptr<const ToolSyntax> tools,
                 size_t promptTokens);

  bool begin(const std::function<bool()> &submit) override;
  void update(size_t choice, Update update) override;
  std::shared_ptr<const std::atomic<bool>> cancelled() const override { return cancelled_; }

private:
  struct Item {
    std::string id, text;   ///< text: or a call's arguments
    std::string name, call; ///< of a call: of its function, and its id
  };
  Json response(const char *status) const;
  Json itemOf(const Item &item, const char *status) const;
  static Json textPart(const Item &item);
  void event(const char *type, Json fields);
  /// An event about the last item, or about its text.
  void itemEvent(const char *type, Json fields);
  void textEvent(const char *type, Json fields);
  void openItem(const std::string &name);
  void closeItem(const char *status);
  void addText(const std::string &text);
  void addPiece(const ToolPiece &piece);
  void fail(const ApiError &error);
  void complete(bool length);

  const std::shared_ptr<Exchange> exchange_;
  const std::shared_ptr<std::atomic<bool>> cancelled_;
  const std::shared_ptr<const ToolSyntax> tools_;
  const bool stream_;
  Json base_;        ///< what every state of the response has
  std::mutex mutex_; ///< of what follows
  std::optional<ToolParser> parser_;
  std::vector<Item> items_;
  size_t promptTokens_, tokens_ = 0, cached_ = 0, events_ = 0;
  bool over_ = false;
};

} // namespace retort::server
