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
//   tokenizer_tool TEMPLATE.jinja chat BOS EOS                  < [[messages, generate], ...]
//   (JSON)
//     prints {"format": ..., "texts": [...]}: null for a conversation that the format refuses
// Texts and lists are u32 lengths (bytes, ids) and their content.
//
//===----------------------------------------------------------------------===//
#include "compiler/Tokenizer/Spec.h"
#include "runtime/base/Error.h"
#include "runtime/base/MappedFile.h"
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

int chat(const std::string &path, const std::vector<std::string> &tokens) {
  ChatFormat format = recogniseChatTemplate(readFile(path), tokens.at(0), tokens.at(1), path);
  if (ChatFormat::fromJson(format.toJson()) != format)
    return std::fprintf(stderr, "toJson loses something\n"), 1;
  nlohmann::json texts = nlohmann::json::array();
  for (const auto &[messages, generate] :
       nlohmann::json::parse(input()).get<std::vector<std::pair<nlohmann::json, bool>>>()) {
    std::vector<ChatMessage> list;
    for (const auto &m : messages)
      list.push_back({m["role"], m["content"]});
    try {
      texts.push_back(format.render(list, generate).text);
    } catch (const Error &) {
      texts.push_back(nullptr);
    }
  }
  std::cout << nlohmann::json{{"format", format.toJson()}, {"texts", texts}};
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
  if (what == "chat")
    return chat(path, flags);
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
