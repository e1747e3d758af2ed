//===- Run.cpp - `retort run` ---------------------------------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Driver/ChatVariables.h"
#include "compiler/Driver/Commands.h"
#include "runtime/base/Error.h"
#include "runtime/include/retort.hpp"

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>

namespace retort {
namespace {

std::atomic<int> cancelled = 0; // read by the library, set by the signal handler

void onInterrupt(int) { cancelled.store(1, std::memory_order_relaxed); }

/// Answers a prompt in slot 0; `text` gets the answer, and so does stdout if `print` says so.
retort_generation generate(Session &session, std::span<const int32_t> prompt,
                           const RunOptions &options, uint64_t seed, bool print,
                           std::string &text) {
  GenerateOptions generation;
  generation.sampling = {static_cast<float>(options.temperature), static_cast<float>(options.topP),
                         options.topK, seed};
  generation.maxTokens = options.maxTokens;
  generation.stop = options.stops;
  generation.cancel = &cancelled;
  generation.onText = [&](std::string_view piece) {
    text += piece;
    if (print) {
      std::fwrite(piece.data(), 1, piece.size(), stdout);
      std::fflush(stdout);
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
    std::printf("%s\n",
                described.dump(1, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
  } else
    std::printf("\n");
  if (result.finish == RETORT_FINISH_CONTEXT)
    std::fprintf(stderr, "retort: note: the context is full (%d positions)\n", info.context);
  if (result.finish == RETORT_FINISH_CANCELLED)
    fail(ExitCode::Interrupted, "");
}

/// A conversation: each turn is given whole, and of it only what the slot does not hold yet is run.
void converse(const Model &model, Session &session, const RunOptions &options) {
  nlohmann::ordered_json turns = nlohmann::ordered_json::array();
  Conversation conversation;
  conversation.variables = chatVariables(options.chatVariables);
  conversation.date = options.date;
  std::vector<int32_t> held;
  uint64_t seed = options.seed;
  for (std::string line; std::fprintf(stderr, "> "), std::getline(std::cin, line);) {
    if (line.empty())
      continue;
    auto say = [&](const char *role, const std::string &text) {
      turns.push_back({{"role", role}, {"content", text}});
      conversation.messages = turns.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    };
    say("user", line);
    const std::vector<int32_t> tokens = model.chatTokens(conversation);
    size_t common = 0;
    while (common < std::min({held.size(), session.length(0), tokens.size() - 1}) &&
           held[common] == tokens[common])
      ++common;
    session.truncate(0, common);
    cancelled = 0;
    std::string text;
    generate(session, std::span(tokens).subspan(common), options, seed++, true, text);
    std::printf("\n");
    held = tokens;
    say("assistant", text);
  }
  std::fprintf(stderr, "\n");
}

} // namespace

void runCommand(const RunOptions &options) {
  struct sigaction action{};
  action.sa_handler = onInterrupt;
  action.sa_flags = 0; // reading a line is interrupted
  const Model model(options.bundle);
  Session session(model, {.threads = options.threads, .device = options.device});
  std::fprintf(stderr, "retort: note: on %s\n", session.info().device);
  ::sigaction(SIGINT, &action, nullptr);
  if (options.chat) {
    if (!model.info().has_chat)
      fail(ExitCode::Unsupported,
           options.bundle +
               ": the model has no chat template: use -p, or compile it with --chat-template");
    converse(model, session, options);
  } else
    complete(model, session, options);
}

} // namespace retort
