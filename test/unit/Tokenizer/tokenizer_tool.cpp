//===- tokenizer_tool.cpp - The tokenizer on stdin and stdout -------------===//
// SPDX-License-Identifier: Apache-2.0
//
// For test/e2e/test_tokenizer.py. Reads a tokenizer, then does as told:
//   tokenizer_tool TOKENIZER encode [--no-special] [--no-parse] < texts > ids
//   tokenizer_tool TOKENIZER decode [--keep-special]            < ids   > texts
//   tokenizer_tool TOKENIZER stream                             < ids   > texts
//   tokenizer_tool TOKENIZER json | tables | keep               > file, ids
//   tokenizer_tool TOKENIZER prune                              < ids   > tokenizer.json
//   tokenizer_tool TOKENIZER time                               < one text; prints MB/s
//   tokenizer_tool TEMPLATE.jinja program                      > chat.bin, a fuzzer's seed
//   tokenizer_tool TEMPLATE.jinja chat < a line {"bos_token": ...}, then a line a conversation
//     ({"messages", "tools", "documents", "variables", "generate", "date"}); prints a list of
//     {"text", "trusted"} or {"code", "error"}
// Texts and lists are u32 lengths (bytes, ids) and their content.
//
//===----------------------------------------------------------------------===//
#include "compiler/Tokenizer/Spec.h"
#include "runtime/base/Error.h"
#include "runtime/base/MappedFile.h"
#include "runtime/src/chat/Chat.h"
#include "runtime/src/tokenizer/Tokenizer.h"
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <iostream>
#include <iterator>
#include <nlohmann/json.hpp>

using namespace retort;

namespace {

std::string input() {
  return {std::istreambuf_iterator<char>(std::cin), std::istreambuf_iterator<char>()};
}

template <class T, class F> void forEach(const std::string &data, F &&f) {
  for (size_t at = 0; at + 4 <= data.size();) {
    uint32_t count;
    std::memcpy(&count, data.data() + at, 4);
    at += 4;
    std::vector<T> items(count);
    std::memcpy(items.data(), data.data() + at, count * sizeof(T));
    at += count * sizeof(T);
    f(items);
  }
}

template <class T> void write(const T *items, size_t count) {
  uint32_t n = uint32_t(count);
  std::fwrite(&n, 4, 1, stdout);
  std::fwrite(items, sizeof(T), count, stdout);
}

std::string readFile(const std::string &path) {
  MappedFile file = MappedFile::open(path);
  return {reinterpret_cast<const char *>(file.bytes().data()), file.bytes().size()};
}

/// A request of stdin as a conversation.
chat::Conversation conversationOf(const nlohmann::ordered_json &request) {
  chat::Conversation conversation;
  conversation.messagesJson = request.at("messages").dump();
  for (auto [key, text] : {std::pair("tools", &conversation.toolsJson),
                           std::pair("documents", &conversation.documentsJson),
                           std::pair("variables", &conversation.variablesJson)})
    if (request.contains(key))
      *text = request.at(key).dump();
  conversation.askForAnswer = request.at("generate");
  conversation.date = chat::Date::parse(request.at("date").get<std::string>());
  return conversation;
}

int chatTexts(const std::string &path) {
  nlohmann::json answers = nlohmann::json::array();
  std::string line;
  std::getline(std::cin, line);
  TokenizerSpec spec;
  const chat::Program compiled = compileChatTemplate(readFile(path), spec);
  chat::Program program = chat::Program::open(compiled.toBytes(), path);
  const auto special = nlohmann::ordered_json::parse(line); // items() keeps no temporary alive
  for (const auto &[name, text] : special.items())
    program.variables.emplace_back(name, text);
  while (std::getline(std::cin, line)) {
    try {
      chat::Rendered rendered =
          chat::render(program, conversationOf(nlohmann::ordered_json::parse(line)));
      answers.push_back({{"text", rendered.text}, {"trusted", rendered.trusted}});
    } catch (const Error &error) {
      answers.push_back({{"code", int(error.code)}, {"error", error.message}});
    }
  }
  std::cout << answers.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  return 0;
}

/// Of this process on a core: other work on the machine does not count.
double seconds() {
  timespec time;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return double(time.tv_sec) + time.tv_nsec * 1e-9;
}

int run(const std::string &path, const std::string &what, const std::vector<std::string> &flags) {
  auto has = [&](const char *flag) {
    return std::find(flags.begin(), flags.end(), flag) != flags.end();
  };
  if (what == "program") {
    const std::vector<uint8_t> bytes =
        compileChatTemplate(readFile(path), TokenizerSpec()).toBytes();
    return std::fwrite(bytes.data(), 1, bytes.size(), stdout), 0;
  }
  if (what == "chat")
    return chatTexts(path);
  TokenizerSpec spec;
  MappedFile mapped;
  std::vector<uint8_t> made;
  std::span<const uint8_t> tables;
  if (path.ends_with(".bin")) {
    mapped = MappedFile::open(path);
    tables = mapped.bytes();
  } else {
    spec = readTokenizer(path);
    if (what == "json")
      return std::cout << writeTokenizerJson(spec), 0;
    if (what == "prune") {
      forEach<int32_t>(input(), [&](const std::vector<int32_t> &ids) {
        std::cout << writeTokenizerJson(pruneVocabulary(spec, ids));
      });
      return 0;
    }
    if (what == "keep") {
      auto ids = keepAlways(spec);
      return write(ids.data(), ids.size()), 0;
    }
    made = compileTokenizer(spec);
    tables = made;
    if (what == "tables")
      return std::fwrite(made.data(), 1, made.size(), stdout), 0;
  }
  double before = seconds();
  Tokenizer tokenizer = Tokenizer::open(tables, path);
  double opened = seconds() - before;
  std::string data = input();
  if (what == "encode") {
    forEach<char>(data, [&](const std::vector<char> &text) {
      auto ids =
          tokenizer.encode({text.data(), text.size()}, !has("--no-special"), !has("--no-parse"));
      write(ids.data(), ids.size());
    });
  } else if (what == "decode") {
    forEach<int32_t>(data, [&](const std::vector<int32_t> &ids) {
      std::string text = tokenizer.decode(ids, !has("--keep-special"));
      write(text.data(), text.size());
    });
  } else if (what == "stream") {
    forEach<int32_t>(data, [&](const std::vector<int32_t> &ids) {
      StreamDecoder stream(tokenizer);
      std::string text;
      for (int32_t id : ids)
        text += stream.push(id);
      text += stream.finish();
      write(text.data(), text.size());
    });
  } else if (what == "time") {
    std::vector<double> times;
    size_t count = 0;
    for (int i = 0; i < 7; ++i) {
      double start = seconds();
      count = tokenizer.encode(data).size();
      times.push_back(seconds() - start);
    }
    std::nth_element(times.begin(), times.begin() + 3, times.end());
    std::printf("{\"open_ms\": %.3f, \"mb_per_s\": %.2f, \"seconds\": %.4f, \"tokens\": %zu}\n",
                opened * 1e3, data.size() / times[3] / 1e6, times[3], count);
  }
  return 0;
}

} // namespace

int main(int argc, char **argv) {
  if (argc < 3)
    return std::fprintf(stderr, "usage: tokenizer_tool TOKENIZER WHAT [FLAGS]\n"), 2;
  try {
    return run(argv[1], argv[2], std::vector<std::string>(argv + 3, argv + argc));
  } catch (const Error &error) {
    std::fprintf(stderr, "%s\n", error.message.c_str());
    return int(error.code);
  }
}
