//===- Run.cpp - `retort run` ---------------------------------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Driver/Commands.h"
#include "compiler/Driver/Runtime.h"

#include <csignal>
#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>

namespace retort {
namespace {

int cancelled = 0; // read by the library, set by the signal handler

void onInterrupt(int) { __atomic_store_n(&cancelled, 1, __ATOMIC_RELAXED); }

struct Output {
  std::string text;
  bool print = true;
};

int onText(void *user, const char *text, size_t bytes) {
  Output &output = *static_cast<Output *>(user);
  output.text.append(text, bytes);
  if (output.print) {
    std::fwrite(text, 1, bytes, stdout);
    std::fflush(stdout);
  }
  return 0;
}

retort_generation generate(retort_session *session, const std::vector<int32_t> &prompt,
                           const RunOptions &options, Output &output, uint64_t seed) {
  std::vector<const char *> stops;
  for (const std::string &stop : options.stops)
    stops.push_back(stop.c_str());
  retort_generate_options generation = {};
  generation.struct_bytes = sizeof generation;
  generation.sampling.struct_bytes = sizeof generation.sampling;
  generation.sampling.temperature = static_cast<float>(options.temperature);
  generation.sampling.top_p = static_cast<float>(options.topP);
  generation.sampling.top_k = options.topK;
  generation.sampling.seed = seed;
  generation.max_tokens = options.maxTokens;
  generation.stop = stops.data();
  generation.num_stop = stops.size();
  generation.cancel = &cancelled;
  generation.on_text = onText;
  generation.user = &output;
  retort_generation result = {};
  result.struct_bytes = sizeof result;
  check(session, retort_generate(session, 0, prompt.data(), prompt.size(), &generation, &result));
  return result;
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

void complete(const retort_model *model, retort_session *session, const RunOptions &options) {
  std::vector<int32_t> prompt = tokenize(model, options.prompt, 0);
  if (prompt.empty()) {
    // Nothing to continue: begin a text as the model was trained to.
    const retort_model_info info = modelInfo(model);
    prompt.push_back(info.bos_token >= 0 ? info.bos_token : info.eos_token);
    if (prompt[0] < 0)
      fail(ExitCode::Usage, "the prompt is empty: give one with -p");
  }
  Output output{{}, !options.json};
  const retort_generation result = generate(session, prompt, options, output, options.seed);
  if (options.json)
    std::printf("%s\n", describe(result, output.text)
                            .dump(1, ' ', false, nlohmann::json::error_handler_t::replace)
                            .c_str());
  else
    std::printf("\n");
  if (result.finish == RETORT_FINISH_CONTEXT)
    std::fprintf(stderr, "retort: note: the context is full (%d positions)\n",
                 modelInfo(model).context);
  if (result.finish == RETORT_FINISH_CANCELLED)
    fail(ExitCode::Interrupted, "");
}

/// The conversation as tokens, in the model's own format.
std::vector<int32_t> chatTokens(const retort_model *model,
                                const std::vector<std::pair<std::string, std::string>> &turns) {
  std::vector<retort_message> messages;
  for (const auto &[role, content] : turns)
    messages.push_back({role.c_str(), content.data(), content.size()});
  size_t count = 0;
  retort_error error;
  retort_status status =
      retort_chat_tokens(model, messages.data(), messages.size(), 0, nullptr, 0, &count, &error);
  std::vector<int32_t> tokens(count);
  if (status == RETORT_E_CAPACITY)
    status = retort_chat_tokens(model, messages.data(), messages.size(), 0, tokens.data(),
                                tokens.size(), &count, &error);
  check(status, error.message);
  return tokens;
}

/// A conversation: each turn is given whole, and of it only what the slot does not hold yet is run.
void chat(const retort_model *model, retort_session *session, const RunOptions &options) {
  std::vector<std::pair<std::string, std::string>> turns;
  std::vector<int32_t> held;
  uint64_t seed = options.seed;
  for (std::string line; std::fprintf(stderr, "> "), std::getline(std::cin, line);) {
    if (line.empty())
      continue;
    turns.emplace_back("user", line);
    const std::vector<int32_t> tokens = chatTokens(model, turns);
    size_t common = 0;
    const size_t length = retort_slot_length(session, 0);
    while (common < std::min({held.size(), length, tokens.size() - 1}) &&
           held[common] == tokens[common])
      ++common;
    check(session, retort_slot_truncate(session, 0, common));
    cancelled = 0;
    Output output{{}, true};
    generate(session, {tokens.begin() + common, tokens.end()}, options, output, seed++);
    std::printf("\n");
    held = tokens;
    turns.emplace_back("assistant", output.text);
  }
  std::fprintf(stderr, "\n");
}

} // namespace

void runCommand(const RunOptions &options) {
  struct sigaction action{};
  action.sa_handler = onInterrupt;
  action.sa_flags = 0; // reading a line is interrupted
  ModelPointer model = openModel(options.bundle);
  SessionPointer session = openSession(model.get(), options.threads);
  ::sigaction(SIGINT, &action, nullptr);
  if (options.chat) {
    if (!modelInfo(model.get()).has_chat)
      fail(ExitCode::Unsupported, options.bundle + ": the model has no chat format: use -p");
    chat(model.get(), session.get(), options);
  } else
    complete(model.get(), session.get(), options);
}

} // namespace retort
