//===- ChatTemplate.cpp - Recognising chat templates ----------------------===//
// SPDX-License-Identifier: Apache-2.0
//
// A template is rendered with marked messages; what stands around the marks gives a ChatFormat.
// Then template and format render a list of conversations chosen to tell templates apart: only if
// every text is the same to the byte is the template known. Everything else is refused by name.
//
//===----------------------------------------------------------------------===//
#include "compiler/Tokenizer/ChatJinja.h"
#include "compiler/Tokenizer/Internal.h"
#include "runtime/base/Error.h"
#include "runtime/base/Sha256.h"
#include <optional>

namespace retort {
namespace {

using Messages = std::vector<ChatMessage>;
using System = ChatFormat::System;

// Contents that no template holds.
const std::string kA = "Quokka1", kB = "Numbat2", kC = "Bilby3", kD = "Potoroo4", kE = "Dunnart5",
                  kS = "Wombat6";

ChatMessage user(std::string text) { return {"user", std::move(text)}; }
ChatMessage model(std::string text) { return {"assistant", std::move(text)}; }
ChatMessage sys(std::string text) { return {"system", std::move(text)}; }

class Recogniser {
public:
  Recogniser(std::string_view jinja, std::string_view bos, std::string_view eos,
             const std::string &source)
      : text_(jinja), source_(source), nodes_(jinja::parse(jinja, source)), bos_(bos), eos_(eos) {}

  ChatFormat run() {
    turns();
    generation();
    system();
    habits();
    name();
    for (const Messages &messages : conversations())
      for (bool generate : {true, false})
        compare(messages, generate);
    return std::move(f_);
  }

private:
  [[noreturn]] void refuse(const std::string &why) const {
    fail(ExitCode::Unsupported,
         source_ + ": the chat template " + tokspec::inQuotes(text_) + " (" + why +
             ") is not known to Retort: give the checkpoint a template of its family");
  }

  /// What the template makes of messages; nothing if it refuses them.
  std::optional<std::string> render(const Messages &messages, bool generate) const {
    using jinja::Value;
    Value list = Value::array();
    for (const ChatMessage &m : messages)
      list.list->push_back(
          Value::object({{"role", Value::string(m.role)}, {"content", Value::string(m.content)}}));
    std::map<std::string, Value> variables{{"messages", list},
                                           {"add_generation_prompt", Value::boolean(generate)},
                                           {"tools", Value::none()},
                                           {"documents", Value::none()},
                                           {"bos_token", Value::string(bos_)},
                                           {"eos_token", Value::string(eos_)}};
    try {
      return jinja::render(nodes_, std::move(variables), source_);
    } catch (const jinja::Refused &) {
      return std::nullopt;
    }
  }
  std::string need(const Messages &messages, bool generate = false) const {
    auto text = render(messages, generate);
    if (!text)
      refuse("it refuses user and assistant in turn");
    return *text;
  }

  /// The texts between marks that each stand once, in order.
  std::optional<std::vector<std::string>> around(const std::string &text,
                                                 const std::vector<std::string> &marks) const {
    std::vector<std::string> parts;
    size_t at = 0;
    for (const std::string &mark : marks) {
      size_t hit = text.find(mark, at);
      if (hit == std::string::npos)
        return std::nullopt;
      parts.push_back(text.substr(at, hit - at));
      at = hit + mark.size();
    }
    parts.push_back(text.substr(at));
    return parts;
  }
  std::vector<std::string> needAround(const std::string &text,
                                      const std::vector<std::string> &marks) const {
    auto parts = around(text, marks);
    if (!parts)
      refuse("it does not write every message in order");
    return *parts;
  }
  std::string without(const std::string &text, const std::string &prefix,
                      const std::string &suffix) const {
    if (text.size() < prefix.size() + suffix.size() || !text.starts_with(prefix) ||
        !text.ends_with(suffix))
      refuse("what it writes between messages depends on their place");
    return text.substr(prefix.size(), text.size() - prefix.size() - suffix.size());
  }

  void turns() {
    auto x = needAround(need({user(kA), model(kB), user(kC), model(kD), user(kE)}),
                        {kA, kB, kC, kD, kE});
    f_.user.suffix = x[5];
    f_.assistant.prefix = without(x[1], f_.user.suffix, "");
    f_.assistant.suffix = needAround(need({user(kA), model(kB)}), {kA, kB})[2];
    f_.user.prefix = without(x[2], f_.assistant.suffix, "");
    head_ = without(x[0], "", f_.user.prefix);
  }

  void generation() {
    std::string plain = need({user(kA)}), asked = need({user(kA)}, true);
    f_.generate = without(asked, plain, "");
    // What ends an answer is the token that follows it, or the end token where none does.
    std::string end = f_.assistant.suffix;
    end.erase(0, std::min(end.find_first_not_of(" \n"), end.size()));
    if (!eos_.empty() && (end.empty() || end.starts_with(eos_)))
      f_.stop = {eos_};
    else if (size_t close = end.find('>'); end.starts_with("<") && close != std::string::npos)
      f_.stop = {end.substr(0, close + 1)};
    else
      refuse("it does not say what ends an answer");
  }

  void system() {
    auto text = render({sys(kS), user(kA)}, false);
    auto x = text ? around(*text, {kS, kA}) : std::nullopt;
    if (text && !x)
      refuse("it leaves out system messages");
    if (!x) {
      f_.systemPlace = System::Refused;
      f_.begin = head_;
    } else if (x->at(1).ends_with(f_.user.prefix)) {
      ownSystem(x->at(0), without(x->at(1), "", f_.user.prefix));
    } else {
      auto late = render({sys(kS), user(kA), model(kB), user(kC)}, false);
      f_.systemPlace =
          late && around(*late, {kA, kB, kS, kC}) ? System::LastUser : System::FirstUser;
      f_.begin = head_;
      f_.system.prefix = without(x->at(0), head_ + f_.user.prefix, "");
      f_.system.suffix = x->at(1);
    }
    f_.systemFirstOnly = !inTheMiddle_;
  }

  void ownSystem(const std::string &before, const std::string &suffix) {
    f_.system.suffix = suffix;
    std::string prefix = before; // of a system message, as far as known
    auto middle = render({user(kA), sys(kS), user(kC)}, false);
    auto y = middle ? around(*middle, {kA, kS, kC}) : std::nullopt;
    if (y && y->at(1).starts_with(f_.user.suffix) && y->at(2) == suffix + f_.user.prefix) {
      std::string own = y->at(1).substr(f_.user.suffix.size());
      if (size_t at = before.find(own); !own.empty() && at != std::string::npos) {
        inTheMiddle_ = true;
        f_.begin = before.substr(0, at);
        f_.systemHead = before.substr(at + own.size());
        prefix = own;
      }
    }
    // Without a system message: nothing but what begins, or a message of the template's own.
    std::string whole = f_.begin + prefix + f_.systemHead;
    if (head_.size() >= whole.size() + suffix.size() && head_.starts_with(whole) &&
        head_.ends_with(suffix) && !whole.empty() && head_ != f_.begin) {
      f_.systemAlways = true;
      f_.defaultSystem = head_.substr(whole.size(), head_.size() - whole.size() - suffix.size());
    } else if (!inTheMiddle_) {
      f_.begin = head_;
      prefix = without(before, head_, "");
    }
    f_.system.prefix = prefix;
    if (size_t date = prefix.find("{date}"); date != std::string::npos && !inTheMiddle_) {
      f_.systemHead = prefix; // the date is written there only
      f_.system.prefix.clear();
    }
  }

  static bool trims(const std::optional<std::string> &text, const std::string &content) {
    return text && text->find(content) == std::string::npos;
  }

  void habits() {
    const std::string spaced = " \n" + kE + "\n ";
    f_.user.trim = trims(render({user(spaced)}, false), spaced);
    f_.assistant.trim = trims(render({user(kA), model(spaced), user(kB)}, false), spaced);
    f_.system.trim = trims(render({sys(spaced), user(kA)}, false), spaced);
    bool inUser = f_.systemPlace == System::FirstUser || f_.systemPlace == System::LastUser;
    if (inUser && f_.user.trim) // trimmed after joining, space before the content stays
      f_.trimJoined =
          render({sys(kS), user(spaced)}, false).value_or("").find(" \n" + kE) != std::string::npos;
    f_.alternate = !render({user(kA), user(kB)}, false);
    auto thought =
        render({user(kA), model("<think>\n" + kS + "\n</think>\n\n" + kB), user(kC)}, false);
    f_.dropThinking = thought && thought->find(kS) == std::string::npos;
  }

  void name() {
    const std::pair<const char *, const char *> marks[] = {{"<|im_start|>user\n", "chatml"},
                                                           {"<|start_header_id|>user", "llama-3"},
                                                           {"<start_of_turn>user", "gemma"},
                                                           {"[INST]", "mistral"}};
    f_.name = "template-" + sha256Hex(text_).substr(0, 12);
    for (auto [mark, name] : marks)
      if (f_.user.prefix.find(mark) != std::string::npos)
        f_.name = name;
    if (f_.system.prefix.find("<<SYS>>") != std::string::npos)
      f_.name = "llama-2";
    if (f_.name == "chatml" && f_.dropThinking)
      f_.name = "qwen3";
    if (f_.defaultSystem.find("SmolLM") != std::string::npos)
      f_.name = "smollm2";
    else if (f_.defaultSystem.find("Qwen") != std::string::npos)
      f_.name = "qwen2";
  }

  /// Conversations that end with the user, and orders that templates may refuse.
  static std::vector<Messages> conversations() {
    std::vector<std::string> contents = {"Hello",
                                         "",
                                         " ",
                                         "  two spaces before\n",
                                         "\nline\n\nline\n",
                                         "a\tb\r\n",
                                         "tail \t",
                                         "<|im_end|>",
                                         "</s>[INST] x [/INST]",
                                         "<<SYS>>\nx\n<</SYS>>\n\ny",
                                         "<think>\nhm\n</think>\n\nyes",
                                         "</think>",
                                         "{{ 1 + 1 }}{% if %}",
                                         "na\xC3\xAFve \xE6\x97\xA5\xE6\x9C\xAC \xF0\x9F\x98\x80",
                                         "<tool_response>x</tool_response>",
                                         "system",
                                         "{date}"};
    std::vector<Messages> all;
    for (const std::string &c : contents) {
      all.push_back({user(c)});
      all.push_back({sys(c), user("Hi")});
      all.push_back({sys("Be brief."), user(c)});
      all.push_back({user("Hi"), model(c), user("More")});
      all.push_back({user("Hi"), model("Yes"), user(c)});
      all.push_back({sys(c), user("Hi"), model("Yes"), user("More"), model(c), user(c)});
      all.push_back({sys("x"), user(c), model(c), user(c), model("no"), user("?")});
    }
    all.push_back({user("a"), user("b")});
    all.push_back({sys("s"), user("a"), user("b")});
    all.push_back({model("a"), user("b")});
    all.push_back({user("a"), sys("s"), user("b")});
    all.push_back({user("a"), model("b"), sys("s"), user("c")});
    all.push_back({sys("r"), sys("s"), user("c")});
    all.push_back({user("a"), model("b"), model("c"), user("d")});
    return all;
  }

  void compare(const Messages &messages, bool generate) const {
    auto theirs = render(messages, generate);
    std::optional<std::string> ours;
    try {
      ours = f_.render(messages, generate, "{date}").text;
    } catch (const Error &) {
    }
    // Where the format refuses an order that the template accepts, its users get an error, not
    // another text.
    if (ours && (!theirs || *ours != *theirs))
      refuse("it is not what it seems for " + describe(messages));
    bool usual = messages.size() < 2 || messages[messages.size() - 2].role != messages.back().role;
    for (size_t i = 1; i < messages.size(); ++i)
      usual &= messages[i].role != "system" && messages[i].role != messages[i - 1].role;
    if (!ours && theirs && usual && messages[0].role != "assistant")
      refuse("it takes " + describe(messages));
  }

  static std::string describe(const Messages &messages) {
    std::string roles;
    for (const ChatMessage &m : messages)
      roles += (roles.empty() ? "" : ", ") + m.role;
    return "[" + roles + "] ending in " + tokspec::inQuotes(messages.back().content);
  }

  std::string_view text_;
  const std::string &source_;
  std::vector<jinja::Node> nodes_;
  std::string bos_, eos_;
  ChatFormat f_;
  std::string head_; ///< before the first user message's prefix
  bool inTheMiddle_ = false;
};

} // namespace

ChatFormat recogniseChatTemplate(std::string_view jinja, std::string_view bos, std::string_view eos,
                                 const std::string &source) {
  return Recogniser(jinja, bos, eos, source).run();
}

} // namespace retort
