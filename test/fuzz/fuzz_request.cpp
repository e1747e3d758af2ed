//===- fuzz_request.cpp - Bodies of requests to the server ----------------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/server/Request.h"
#include <cstdint>
#include <cstdlib>
#include <nlohmann/json.hpp>

using namespace retort::server;

/// The first byte says which endpoint's body the rest is. What is refused must be told in one line that
/// is JSON itself; what is taken must be in range.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size == 0)
    return 0;
  const std::string_view body(reinterpret_cast<const char *>(data + 1), size - 1);
  const RequestLimits limits = {8};
  const auto check = [](bool good) {
    if (!good)
      std::abort();
  };
  const auto checkRange = [&](const Generation &g) {
    check(g.temperature >= 0 && g.temperature <= 100 && g.topP > 0 && g.topP <= 1);
    check(g.choices >= 1 && g.choices <= 8 && (!g.maxTokens || *g.maxTokens >= 1));
    for (const std::string &stop : g.stops)
      check(!stop.empty() && stop.find('\0') == stop.npos);
  };
  try {
    switch (data[0] % 5) {
    case 0: {
      const ChatRequest request = parseChat(body, limits);
      checkRange(request.generation);
      check(nlohmann::json::parse(request.conversation.messages).is_array());
      break;
    }
    case 1: {
      const CompletionRequest request = parseCompletion(body, limits);
      checkRange(request.generation);
      check(!request.prompts.empty() && request.prompts.size() * request.generation.choices <= 8);
      break;
    }
    case 2:
      parseTokenize(body);
      break;
    case 3:
      parseDetokenize(body);
      break;
    case 4:
      parseTemplate(body);
    }
  } catch (const ApiError &error) {
    check(error.status == 400);
    check(nlohmann::json::parse(error.toJson()).contains("error"));
  }
  return 0;
}
