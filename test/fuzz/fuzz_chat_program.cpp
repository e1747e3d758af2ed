//===- fuzz_chat_program.cpp - chat.bin from anywhere ---------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/base/Error.h"
#include "runtime/src/chat/Chat.h"

// A program that is opened runs in bounded time and memory, whatever it holds.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  using namespace retort;
  if (size > 1 << 16)
    return 0;
  try {
    const chat::Program program = chat::Program::open({data, size}, "fuzz");
    chat::Conversation conversation;
    conversation.messages = {{"user", "a<|x|>"}, {"assistant", "b"}};
    conversation.toolsJson = R"([{"name": "f", "n": [1, 2.5, null, true]}])";
    conversation.date = chat::Date();
    chat::render(program, conversation);
  } catch (const Error &) {
  }
  return 0;
}
