//===- ChatFormat.cpp - How a model writes a conversation -----------------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/src/tokenizer/ChatFormat.h"
#include "runtime/base/Error.h"
#include "runtime/src/tokenizer/Utf8.h"
#include <algorithm>
#include <nlohmann/json.hpp>

namespace retort {
namespace {

constexpr const char *kPlaces[] = {"own", "first-user", "last-user", "refused"};
constexpr std::string_view kDate = "{date}", kThinkEnd = "</think>";

/// Python's str.isspace, which Jinja's trim goes by.
bool isSpace(uint32_t c) {
  return c == ' ' || (c >= 9 && c <= 13) || (c >= 0x1C && c <= 0x1F) || c == 0x85 || c == 0xA0 ||
         c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F ||
         c == 0x205F || c == 0x3000;
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty()) {
    tok::Utf8Char c = tok::readUtf8(text.data(), text.size());
    if (!c.valid || !isSpace(c.code))
      break;
    text.remove_prefix(c.bytes);
  }
  while (!text.empty()) {
    size_t at = text.size() - 1;
    while (at > 0 && (uint8_t(text[at]) & 0xC0) == 0x80)
      --at;
    tok::Utf8Char c = tok::readUtf8(text.data() + at, text.size() - at);
    if (!c.valid || !isSpace(c.code))
      break;
    text.remove_suffix(text.size() - at);
  }
  return text;
}

std::string withDate(const std::string &text, std::string_view date) {
  size_t at = text.find(kDate);
  if (at == std::string::npos)
    return text;
  std::string out = text;
  return out.replace(at, kDate.size(), date.empty() ? "26 Jul 2024" : date);
}

class Renderer {
public:
  Renderer(const ChatFormat &format, std::string_view date) : f_(format), date_(date) {}

  RenderedChat run(const std::vector<ChatMessage> &messages, bool generationPrompt) {
    check(messages, generationPrompt);
    own(f_.begin);
    bool inUser = f_.systemPlace == ChatFormat::System::FirstUser ||
                  f_.systemPlace == ChatFormat::System::LastUser;
    size_t next = 0;
    const std::string *system = nullptr;
    if (!messages.empty() && messages[0].role == "system")
      system = &messages[next++].content;
    if (!inUser && (system || f_.systemAlways))
      systemMessage(system, true);
    size_t bearer = f_.systemPlace == ChatFormat::System::LastUser ? lastUser(messages) : next;
    for (size_t i = next; i < messages.size(); ++i) {
      const ChatMessage &m = messages[i];
      if (m.role == "system")
        systemMessage(&m.content, false);
      else if (m.role == "user")
        user(m.content, inUser && i == bearer ? system : nullptr);
      else
        assistant(m.content);
    }
    if (generationPrompt)
      own(f_.generate);
    return std::move(chat_);
  }

private:
  [[noreturn]] void refuse(const std::string &what) const {
    fail(ExitCode::Usage, "chat format '" + f_.name + "': " + what);
  }

  void check(const std::vector<ChatMessage> &messages, bool generationPrompt) const {
    using System = ChatFormat::System;
    bool userNext = true;
    for (size_t i = 0; i < messages.size(); ++i) {
      const std::string &role = messages[i].role;
      std::string which = "message " + std::to_string(i + 1);
      if (role != "system" && role != "user" && role != "assistant")
        refuse(which + " has the role '" + role + "': use system, user or assistant");
      if (role == "system") {
        if (f_.systemPlace == System::Refused)
          refuse("it has no place for a system message: say it in the user's first message");
        if (i > 0 && (f_.systemFirstOnly || f_.systemPlace != System::Own))
          refuse(which + " is a system message: only the first may be one");
        continue;
      }
      if (f_.alternate && (role == "user") != userNext)
        refuse(which + " is out of turn: user and assistant must alternate, user first");
      userNext = role != "user";
    }
    if (generationPrompt && (messages.empty() || messages.back().role != "user"))
      refuse("the last message must be the user's");
  }

  static size_t lastUser(const std::vector<ChatMessage> &messages) {
    size_t last = messages.size();
    for (size_t i = 0; i < messages.size(); ++i)
      if (messages[i].role == "user")
        last = i;
    return last;
  }

  void own(std::string_view text) {
    if (text.empty())
      return;
    size_t begin = chat_.text.size();
    chat_.text += text;
    if (!chat_.trusted.empty() && chat_.trusted.back().second == begin)
      chat_.trusted.back().second = chat_.text.size();
    else
      chat_.trusted.push_back({begin, chat_.text.size()});
  }
  void theirs(std::string_view text, bool trim) { chat_.text += trim ? trimmed(text) : text; }

  void systemMessage(const std::string *content, bool first) {
    own(f_.system.prefix);
    if (first)
      own(withDate(f_.systemHead, date_));
    if (content)
      theirs(*content, f_.system.trim);
    else
      own(f_.defaultSystem);
    own(f_.system.suffix);
  }

  void user(std::string_view content, const std::string *system) {
    own(f_.user.prefix);
    if (!system) {
      theirs(content, f_.user.trim);
    } else if (!f_.trimJoined) {
      own(f_.system.prefix);
      theirs(*system, f_.system.trim);
      own(f_.system.suffix);
      theirs(content, f_.user.trim);
    } else {
      joined({f_.system.prefix, *system, f_.system.suffix, content});
    }
    own(f_.user.suffix);
  }

  /// Parts, the format's and theirs in turn, with the white space around the whole dropped.
  void joined(const std::vector<std::string_view> &parts) {
    std::string whole;
    for (std::string_view part : parts)
      whole += part;
    std::string_view kept = trimmed(whole);
    size_t begin = kept.data() - whole.data(), end = begin + kept.size(), at = 0;
    for (size_t i = 0; i < parts.size(); at += parts[i++].size()) {
      size_t from = std::max(begin, at), to = std::min(end, at + parts[i].size());
      if (from < to && i % 2 == 0)
        own(std::string_view(whole).substr(from, to - from));
      else if (from < to)
        theirs(std::string_view(whole).substr(from, to - from), false);
    }
  }

  void assistant(std::string_view content) {
    own(f_.assistant.prefix);
    if (size_t end = content.rfind(kThinkEnd); f_.dropThinking && end != std::string_view::npos) {
      content.remove_prefix(end + kThinkEnd.size());
      content.remove_prefix(std::min(content.find_first_not_of('\n'), content.size()));
    }
    theirs(content, f_.assistant.trim);
    own(f_.assistant.suffix);
  }

  const ChatFormat &f_;
  std::string_view date_;
  RenderedChat chat_;
};

nlohmann::json roleJson(const ChatFormat::Role &role) {
  return {{"prefix", role.prefix}, {"suffix", role.suffix}, {"trim", role.trim}};
}

/// Reads members of an object, with errors that name the key.
class Reader {
public:
  Reader(const nlohmann::json &value, std::string where) : value_(value), where_(std::move(where)) {
    if (!value.is_object())
      refuse("is not an object");
  }
  void read(const char *key, std::string &out) const {
    if (!at(key).is_string())
      refuse(std::string("'") + key + "' is not a string");
    out = value_[key].get<std::string>();
  }
  void read(const char *key, bool &out) const {
    if (!at(key).is_boolean())
      refuse(std::string("'") + key + "' is not true or false");
    out = value_[key].get<bool>();
  }
  void read(const char *key, ChatFormat::Role &role) const {
    Reader inner(at(key), where_ + "." + key);
    inner.read("prefix", role.prefix);
    inner.read("suffix", role.suffix);
    inner.read("trim", role.trim);
  }
  void read(const char *key, std::vector<std::string> &out) const {
    if (!at(key).is_array())
      refuse(std::string("'") + key + "' is not a list");
    for (const auto &item : value_[key]) {
      if (!item.is_string())
        refuse(std::string("'") + key + "' holds what is not a string");
      out.push_back(item.get<std::string>());
    }
  }
  const nlohmann::json &at(const char *key) const {
    if (!value_.contains(key))
      refuse(std::string("'") + key + "' is missing");
    return value_[key];
  }
  [[noreturn]] void refuse(const std::string &what) const {
    fail(ExitCode::BadInput, "manifest: " + where_ + ": " + what + ": make the bundle again");
  }

private:
  const nlohmann::json &value_;
  std::string where_;
};

} // namespace

RenderedChat ChatFormat::render(const std::vector<ChatMessage> &messages, bool generationPrompt,
                                std::string_view date) const {
  return Renderer(*this, date).run(messages, generationPrompt);
}

nlohmann::json ChatFormat::toJson() const {
  return {{"name", name},
          {"begin", begin},
          {"system", roleJson(system)},
          {"user", roleJson(user)},
          {"assistant", roleJson(assistant)},
          {"system_place", kPlaces[int(systemPlace)]},
          {"trim_joined", trimJoined},
          {"system_first_only", systemFirstOnly},
          {"system_head", systemHead},
          {"system_always", systemAlways},
          {"default_system", defaultSystem},
          {"alternate", alternate},
          {"drop_thinking", dropThinking},
          {"generate", generate},
          {"stop", stop}};
}

ChatFormat ChatFormat::fromJson(const nlohmann::json &value) {
  Reader reader(value, "chat");
  ChatFormat f;
  reader.read("name", f.name);
  reader.read("begin", f.begin);
  reader.read("system", f.system);
  reader.read("user", f.user);
  reader.read("assistant", f.assistant);
  reader.read("trim_joined", f.trimJoined);
  reader.read("system_first_only", f.systemFirstOnly);
  reader.read("system_head", f.systemHead);
  reader.read("system_always", f.systemAlways);
  reader.read("default_system", f.defaultSystem);
  reader.read("alternate", f.alternate);
  reader.read("drop_thinking", f.dropThinking);
  reader.read("generate", f.generate);
  reader.read("stop", f.stop);
  std::string place;
  reader.read("system_place", place);
  for (int i = 0; i < 4; ++i)
    if (place == kPlaces[i]) {
      f.systemPlace = System(i);
      return f;
    }
  reader.refuse("'system_place' is '" + place + "', which this runtime does not know");
}

} // namespace retort
