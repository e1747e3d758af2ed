//===- Read.cpp - Finding a checkpoint's tokenizer ------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Checkpoint/Gguf.h"
#include "compiler/Tokenizer/GgufTokenizer.h"
#include "compiler/Tokenizer/Internal.h"
#include "runtime/base/Error.h"
#include <filesystem>

namespace retort {
namespace {

std::optional<uint64_t> id(const GgufFile &file, const char *key) {
  auto value = file.integer(key);
  if (value && *value < 0)
    return UINT64_MAX; // refused, with its key, by what reads it
  return value ? std::optional<uint64_t>(uint64_t(*value)) : std::nullopt;
}

} // namespace

TokenizerSpec readTokenizer(const GgufFile &file, const ChatSource &chat) {
  GgufTokenizer g;
  auto model = file.string("tokenizer.ggml.model");
  if (!model)
    fail(ExitCode::BadInput, file.path() + ": no tokenizer.ggml.model: the file has no tokenizer");
  g.model = *model;
  g.pre = file.string("tokenizer.ggml.pre").value_or("");
  g.tokens = file.strings("tokenizer.ggml.tokens").value_or(std::vector<std::string_view>());
  g.merges = file.strings("tokenizer.ggml.merges").value_or(std::vector<std::string_view>());
  g.scores = file.floats("tokenizer.ggml.scores").value_or(std::vector<float>());
  g.types = file.int32s("tokenizer.ggml.token_type").value_or(std::vector<int32_t>());
  g.bos = id(file, "tokenizer.ggml.bos_token_id");
  g.eos = id(file, "tokenizer.ggml.eos_token_id");
  g.unknown = id(file, "tokenizer.ggml.unknown_token_id");
  g.pad = id(file, "tokenizer.ggml.padding_token_id");
  g.eot = id(file, "tokenizer.ggml.eot_token_id");
  g.addBos = file.boolean("tokenizer.ggml.add_bos_token");
  g.addEos = file.boolean("tokenizer.ggml.add_eos_token");
  g.addSpacePrefix = file.boolean("tokenizer.ggml.add_space_prefix");
  g.charsMap = file.has("tokenizer.ggml.precompiled_charsmap");
  g.chatTemplate = file.string("tokenizer.chat_template").value_or("");
  g.toolUseTemplate = file.string("tokenizer.chat_template.tool_use").value_or("");
  g.chat = chat;
  return tokenizerFromGguf(g, file.path());
}

TokenizerSpec readTokenizer(const std::string &path, const ChatSource &chat) {
  if (std::filesystem::is_directory(path))
    return tokspec::readDirectory(path, chat);
  if (path.ends_with(".json"))
    return tokspec::readJsonFile(path, chat);
  return readTokenizer(GgufFile::open(path), chat);
}

} // namespace retort
