//===- Run.cpp - `retort run` ---------------------------------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Driver/ChatVariables.h"
#include "compiler/Driver/Commands.h"
#include "runtime/base/Error.h"
#include "runtime/base/Output.h"
#include "runtime/include/retort.hpp"

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>

namespace retort {
namespace {

std::atomic<int> cancelled = 0;       // read by the library, set by the signal handler
std::atomic<bool> terminated = false; // by SIGTERM, which ends a conversation too

void onSignal(int signal) {
  terminated.store(signal == SIGTERM, std::memory_order_relaxed);
  cancelled.store(1, std::memory_order_relaxed);
}

/// Answers a prompt in slot 0; `text` gets the answer, and so does stdout if `print` says so.
retort_generation generate(Session &session, std::span<const int32_t> prompt,
                           const RunOptions &options, uint64_t seed, bool print,
                           std::string &text) {
  GenerateOptions generation;
  generation.sampling = {.temperature = static_cast<float>(options.temperature),
                         .topP = static_cast<float>(options.topP),
                         .topK = options.topK,
                         .seed = seed,
                         .minP = static_cast<float>(options.minP),
                         .repetitionPenalty = static_cast<float>(options.repetitionPenalty)};
  generation.maxTokens = options.maxTokens;
  generation.stop = options.stops;
  generation.cancel = &cancelled;
  generation.speculate = options.speculate;
  generation.onText = [&](std::string_view piece) {
    text += piece;
    if (print) {
      output::write(piece);
      output::flush();
    }
    return true;
  };
  return session.generate(0, prompt, generation);
}

const char *finishName(retort_finish finish) {
  switch (finish) {
  case RETORT_FINISH_STOP:
    return "stop";
  case RETORT_FINISH_LENGTH:
    return "length";
  case RETORT_FINISH_CONTEXT:
    return "context";
  default:
    return "cancelled";
  }
}

nlohmann::json describe(const retort_generation &result, const std::string &text) {
  return {{"text", text},
          {"finish", finishName(result.finish)},
          {"prompt_tokens", result.prompt_tokens},
          {"tokens", result.tokens},
          {"guessed_tokens", result.guessed_tokens},
          {"right_tokens", result.right_tokens},
          {"prefill_seconds", result.prefill_seconds},
          {"decode_seconds", result.decode_seconds}};
}

void complete(const Model &model, Session &session, const RunOptions &options) {
  std::vector<int32_t> prompt = model.tokenize(options.prompt);
  const retort_model_info info = model.info();
  if (prompt.empty()) {
    // Nothing to continue: begin a text as the model was trained to.
    prompt.push_back(info.bos_token >= 0 ? info.bos_token : info.eos_token);
    if (prompt[0] < 0)
      fail(ExitCode::Usage, "the prompt is empty: give one with -p");
  }
  std::string text;
  const retort_generation result =
      generate(session, prompt, options, options.seed, !options.json, text);
  if (options.json) {
    nlohmann::json described = describe(result, text);
    described["device"] = session.info().device;
    output::writeJson(described);
  } else
    output::print("\n");
  if (result.finish == RETORT_FINISH_CONTEXT)
    std::fprintf(stderr, "retort: note: the context is full (%d positions)\n", info.context);
  if (result.finish == RETORT_FINISH_CANCELLED)
    fail(ExitCode::Interrupted, "");
}

/// What was typed or pasted, without the carriage returns of other systems' line ends.
std::string withoutReturns(std::string line) {
  while (line.ends_with('\r'))
    line.pop_back();
  std::replace(line.begin(), line.end(), '\r', '\n');
  return line;
}

/// A conversation: each turn is given whole, and of it only what the slot does not hold yet is run.
class Chat {
public:
  Chat(const Model &model, Session &session, const RunOptions &options)
      : model_(model), session_(session), options_(options), seed_(options.seed),
        context_(static_cast<size_t>(model.info().context)) {
    conversation_.variables = chatVariables(options.chatVariables);
    conversation_.date = options.date;
  }

  void run() {
    for (std::string line; std::fprintf(stderr, "> "), std::getline(std::cin, line);) {
      line = withoutReturns(std::move(line));
      if (!line.empty() && ask(line))
        answer();
      if (terminated)
        fail(ExitCode::Interrupted, "");
    }
    if (terminated)
      fail(ExitCode::Interrupted, "");
    std::fprintf(stderr, "\n");
  }

private:
  using Turns = nlohmann::ordered_json;

  /// Adds a turn. The oldest ones, a question with its answer each time, go until those left leave
  /// room for an answer. False if the question alone leaves none: then it is not asked.
  bool ask(const std::string &line) {
    const Turns before = turns_;
    say("user", line);
    size_t forgotten = 0;
    while (tokens_.size() > context_ - room() && turns_.size() > 1) {
      turns_.erase(turns_.begin(), turns_.begin() + 2);
      forgotten += 2;
      render();
    }
    if (tokens_.size() > context_ - room()) {
      std::fprintf(stderr,
                   "retort: note: this takes %zu tokens and leaves no room for an answer in the "
                   "context of %zu: it was not asked, write less\n",
                   tokens_.size(), context_);
      turns_ = before;
      return false;
    }
    if (forgotten)
      std::fprintf(stderr,
                   "retort: note: the context of %zu tokens is full: the oldest %zu turns are "
                   "forgotten\n",
                   context_, forgotten);
    return true;
  }

  void answer() {
    size_t common = 0;
    while (common < std::min({held_.size(), session_.length(0), tokens_.size() - 1}) &&
           held_[common] == tokens_[common])
      ++common;
    session_.truncate(0, common);
    cancelled = 0;
    std::string text;
    const retort_generation result =
        generate(session_, std::span(tokens_).subspan(common), options_, seed_++, true, text);
    output::print("\n");
    output::flush();
    if (result.finish == RETORT_FINISH_CONTEXT)
      std::fprintf(stderr,
                   "retort: note: the context of %zu tokens is full: the answer ends here\n",
                   context_);
    held_ = std::move(tokens_);
    turns_.push_back({{"role", "assistant"}, {"content", text}});
  }

  void say(const char *role, const std::string &text) {
    turns_.push_back({{"role", role}, {"content", text}});
    render();
  }
  void render() {
    conversation_.messages = turns_.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    tokens_ = model_.chatTokens(conversation_);
  }

  /// Tokens kept free for an answer.
  size_t room() const {
    const size_t most = std::max<size_t>(1, context_ / 4);
    return options_.maxTokens ? std::min<size_t>(options_.maxTokens, most) : most;
  }

  const Model &model_;
  Session &session_;
  const RunOptions &options_;
  uint64_t seed_;
  size_t context_;
  Turns turns_ = Turns::array(); ///< a question and its answer by turns
  Conversation conversation_;
  std::vector<int32_t> tokens_, held_; ///< of the turns; of those that the slot holds
};

} // namespace

void runCommand(const RunOptions &options) {
  struct sigaction action{};
  action.sa_handler = onSignal;
  action.sa_flags = 0; // reading a line is interrupted
  const Model model(options.bundle);
  Session session(model, {.threads = options.threads, .device = options.device});
  std::fprintf(stderr, "retort: note: on %s\n", session.info().device);
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
  if (options.chat) {
    if (!model.info().has_chat)
      fail(ExitCode::Unsupported,
           options.bundle +
               ": the model has no chat template: use -p, or compile it with --chat-template");
    Chat(model, session, options).run();
  } else
    complete(model, session, options);
}

} // namespace retort
