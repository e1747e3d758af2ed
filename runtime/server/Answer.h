//===- Answer.h - The reply to a request for text ---------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "runtime/server/Fields.h"
#include "runtime/server/Http.h"
#include "runtime/server/Scheduler.h"

namespace retort::server {

/// Gathers what jobs make for one request, and writes it as OpenAI's objects: whole, or as a stream.
/// Any thread.
class Answer {
public:
  struct Options {
    bool chat = false, stream = false, includeUsage = false;
    std::string model;
    int64_t created = 0;
    size_t choices = 1, promptTokens = 0;
  };
  Answer(std::shared_ptr<Exchange> exchange, const Options &options);

  /// Calls `submit`, which gives jobs to the scheduler, and begins the stream before any update is
  /// written. False if `submit` says so: then nothing was sent.
  bool begin(const std::function<bool()> &submit);
  void update(size_t choice, Update update);
  /// What the request's jobs look at.
  std::shared_ptr<const std::atomic<bool>> cancelled() const { return cancelled_; }

private:
  struct Choice {
    std::string text, finish; ///< finish empty: goes on
    size_t tokens = 0;
  };
  Json object(const char *kind) const;
  Json usage() const;
  Json chunk(size_t choice, const Json &delta, const std::string &finish) const;
  void writeEvent(const Json &event);
  void writePiece(size_t choice, const Update &update);
  void fail(const ApiError &error);
  void complete();

  const std::shared_ptr<Exchange> exchange_;
  const Options options_;
  const std::shared_ptr<std::atomic<bool>> cancelled_;
  std::mutex mutex_; ///< of what follows
  std::vector<Choice> choices_;
  size_t open_; ///< choices that go on
  bool over_ = false;
};

} // namespace retort::server
