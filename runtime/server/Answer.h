//===- Answer.h - The reply to a request for text ---------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "runtime/server/Fields.h"
#include "runtime/server/Http.h"
#include "runtime/server/Scheduler.h"
#include "runtime/server/ToolCalls.h"

namespace retort::server {

/// What is made of a request's jobs. Any thread.
class AnswerSink {
public:
  virtual ~AnswerSink() = default;
  /// Calls `submit`, which gives jobs to the scheduler, and begins the stream before any update is
  /// written. False if `submit` says so: then nothing was sent.
  virtual bool begin(const std::function<bool()> &submit) = 0;
  virtual void update(size_t choice, Update update) = 0;
  /// What the request's jobs look at.
  virtual std::shared_ptr<const std::atomic<bool>> cancelled() const = 0;
};

/// Gathers what jobs make for one request, and writes it as OpenAI's objects: whole, or as a stream.
class Answer : public AnswerSink {
public:
  struct Options {
    bool chat = false, stream = false, includeUsage = false;
    std::string model;
    int64_t created = 0;
    size_t choices = 1, promptTokens = 0;
    size_t choicesOfPrompt = 1;
    bool scores = false;                     ///< log-probabilities are wanted
    std::vector<std::string> echoes;         ///< of each prompt, if its text is wanted
    std::shared_ptr<const ToolSyntax> tools; ///< of calls that answers may hold; null: none
  };
  Answer(std::shared_ptr<Exchange> exchange, const Model &model, Options options);

  bool begin(const std::function<bool()> &submit) override;
  void update(size_t choice, Update update) override;
  std::shared_ptr<const std::atomic<bool>> cancelled() const override { return cancelled_; }

private:
  struct Choice {
    std::string text, finish; ///< finish empty: goes on
    size_t tokens = 0, cached = 0;
    Json scores;       ///< log-probabilities so far, as OpenAI has them; null: none
    Decoder pieces;    ///< where in the text each of their tokens begins
    size_t offset = 0; ///< characters before the next one
    std::optional<ToolParser> parser;
    Json calls = Json::array(); ///< so far
  };
  Json scoresOf(Choice &choice, const std::vector<TokenScore> &scores) const;
  Json chatScore(const TokenScore &score) const;
  Json object(const char *kind) const;
  Json usage() const;
  Json chunk(size_t choice, const Json &delta, const Json &scores, const std::string &finish) const;
  void writeEvent(const Json &event);
  /// Takes calls out of what is new. Returns them as the deltas of a stream have them.
  Json takeCalls(Choice &choice, Update &update) const;
  void writePiece(size_t choice, const Update &update, const Json &calls, const Json &scores);
  void fail(const ApiError &error);
  void complete();

  const std::shared_ptr<Exchange> exchange_;
  const Model model_;
  const Options options_;
  const std::shared_ptr<std::atomic<bool>> cancelled_;
  std::mutex mutex_; ///< of what follows
  std::vector<Choice> choices_;
  size_t open_; ///< choices that go on
  bool over_ = false;
};

} // namespace retort::server
