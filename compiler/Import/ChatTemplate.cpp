//===- ChatTemplate.cpp - Recognising chat templates ----------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Import/TokenizerInternal.h"
#include "runtime/src/base/Error.h"
#include "runtime/src/base/Sha256.h"

namespace retort {

ChatFormat recogniseChatTemplate(std::string_view jinja, std::string_view bos, std::string_view eos,
                                 const std::string &source) {
  ChatFormat f;
  if (sha256Hex(jinja) == "872be49dbb638044ad01b60388f48d469ff2980e5f0dccdc22ec907db54d0788") {
    f.name = "smollm2";
    f.system = {"<|im_start|>system\n", "<|im_end|>\n", false};
    f.user = {"<|im_start|>user\n", "<|im_end|>\n", false};
    f.assistant = {"<|im_start|>assistant\n", "<|im_end|>\n", false};
    f.systemAlways = true;
    f.defaultSystem = "You are a helpful AI assistant named SmolLM, trained by Hugging Face";
    f.generate = "<|im_start|>assistant\n";
    f.stop = {"<|im_end|>"};
    return f;
  }
  fail(ExitCode::Unsupported,
       source + ": the chat template " + tokspec::inQuotes(jinja) + " is not known to Retort");
}

} // namespace retort
