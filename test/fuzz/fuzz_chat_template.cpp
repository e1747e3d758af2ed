//===- fuzz_chat_template.cpp - Chat templates from anywhere --------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Tokenizer/Spec.h"
#include "runtime/base/Error.h"
#include "runtime/src/chat/Chat.h"

// A template is compiled to a program that the runtime takes, or refused; it renders or fails, in
// bounded time and memory.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  using namespace retort;
  if (size > 1 << 14)
    return 0;
  chat::Program program;
  try {
    program = compileChatTemplate({reinterpret_cast<const char *>(data), size}, TokenizerSpec());
  } catch (const Error &) {
    return 0;
  }
  const std::vector<uint8_t> bytes = program.toBytes();
  program = chat::Program::open(bytes, "fuzz"); // what the compiler makes is never refused
  if (program.toBytes() != bytes)
    __builtin_trap();
  chat::Conversation conversation;
  conversation.messagesJson =
      R"([{"role": "system", "content": "s"}, {"role": "user", "content": [{"type": "text", "text": "\u00e9<|x|>"}]},
          {"role": "assistant", "content": "a", "reasoning_content": "r", "tool_calls": [{"type": "function",
           "id": "1", "function": {"name": "f", "arguments": {"x": [1, 2.5, null, true]}}}]},
          {"role": "tool", "tool_call_id": "1", "content": "t"}])";
  conversation.toolsJson = R"([{"type": "function", "function": {"name": "f", "parameters": {}}}])";
  conversation.date = chat::Date();
  try {
    const chat::Rendered rendered = chat::render(program, conversation);
    for (auto [begin, end] : rendered.trusted)
      if (begin >= end || end > rendered.text.size())
        __builtin_trap();
  } catch (const Error &) {
  }
  return 0;
}
