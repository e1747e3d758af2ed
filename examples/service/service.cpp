//===- service.cpp - Answers each line of standard input -------------------===//
// SPDX-License-Identifier: Apache-2.0
//
//   service MODEL.retort < questions.txt
//
// One answer a line. Ctrl-C ends the answer in progress, then the program. A real service would
// read requests from a socket instead: one Model for all, one Session for each thread that answers.
//
//===----------------------------------------------------------------------===//
#include <retort.hpp>

#include <csignal>
#include <cstdio>
#include <iostream>

namespace {

std::atomic<int> cancel{0};

/// The question as the model was taught to read it: by its chat template if it has one.
std::vector<int32_t> promptOf(const retort::Model &model, const std::string &question) {
  if (!model.info().has_chat)
    return model.tokenize(question);
  const retort::Message message = {"user", question};
  return model.chatTokens({&message, 1});
}

/// Streams one answer. What the client did wrong is the client's to know; the service goes on.
void answer(retort::Session &session, const std::string &question) {
  retort::GenerateOptions options;
  options.sampling = {.temperature = 0.7f, .topP = 0.95f, .topK = 40, .seed = 1};
  options.maxTokens = 200;
  options.speculate = 8; // the same answer, sooner where it repeats what was said
  options.cancel = &cancel;
  options.onText = [](std::string_view text) { return bool(std::cout << text << std::flush); };
  session.reset(0);
  try {
    const auto result = session.generate(0, promptOf(session.model(), question), options);
    std::cout << std::endl;
    std::fprintf(stderr, "service: %zu + %zu tokens, %.0f ms to the first, %.1f tokens/s\n",
                 result.prompt_tokens, result.tokens, result.prefill_seconds * 1e3,
                 double(result.tokens) / result.decode_seconds);
  } catch (const retort::Failure &failure) {
    if (failure.status() != RETORT_E_CONTEXT && failure.status() != RETORT_E_ARGUMENT)
      throw;
    std::cout << "error: " << failure.what() << std::endl;
  }
}

} // namespace

int main(int argc, char **argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: service MODEL.retort < questions.txt\n");
    return 2;
  }
  struct sigaction onInterrupt = {};
  onInterrupt.sa_handler = [](int) { cancel = 1; }; // no SA_RESTART: reading a line ends too
  sigaction(SIGINT, &onInterrupt, nullptr);
  try {
    const retort::Model model(argv[1]);
    retort::Session session(model);
    for (std::string question; !cancel && std::getline(std::cin, question);)
      if (!question.empty())
        answer(session, question);
    return cancel ? 130 : 0;
  } catch (const retort::Failure &failure) {
    std::fprintf(stderr, "service: %s\n", failure.what());
    return failure.status();
  }
}
