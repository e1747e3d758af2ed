//===- Program.cpp - chat.bin: writing and checking it --------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/src/chat/Program.h"
#include "runtime/base/Error.h"
#include "runtime/base/Utf8.h"

#include <algorithm>
#include <cstring>
#include <set>

namespace retort::chat {
namespace {

constexpr std::string_view kMagic = "RCHATPRG";

/// What may stand at a part's place.
enum Class : uint8_t {
  Expression = 1,
  Statement = 2,
  Target = 4,
  Argument = 8,
  Operand = 16,
  Special = 32
};

uint8_t classesOf(Op op) {
  if (op == Op::Name || op == Op::Tuple) // a tuple: if its parts are
    return Expression | Target;
  if (op == Op::SpaceAttribute)
    return Target;
  if (op == Op::Keyword || op == Op::Spread)
    return Argument;
  if (op >= Op::Equal && op <= Op::NotIn)
    return Operand;
  if (op == Op::Parameter)
    return Special;
  return op >= Op::Block ? Statement : Expression;
}

class Checker {
public:
  Checker(const Program &program, const std::string &name) : p_(program), name_(name) {}

  void run() {
    need(!p_.nodes.empty() && p_.nodes.back().op == Op::Block, "has no whole");
    std::set<std::string_view> texts;
    for (const std::string &text : p_.texts)
      need(texts.insert(text).second, "has a text twice");
    depth_.resize(p_.nodes.size());
    classes_.resize(p_.nodes.size());
    for (at_ = 0; at_ < p_.nodes.size(); ++at_)
      node(p_.nodes[at_]);
  }

private:
  void need(bool good, const char *what) const {
    if (!good)
      fail(ExitCode::BadInput,
           name_ + ": " + what + " (node " + std::to_string(at_) + "): compile the model again");
  }

  void node(const Node &n) {
    need(n.op < Op::Count, "an unknown operation");
    need(n.firstPart <= p_.parts.size() && n.parts <= p_.parts.size() - n.firstPart,
         "parts out of range");
    uint32_t depth = 0;
    for (uint32_t part : p_.partsOf(n)) {
      need(part == kNone || part < at_, "a part that is not before its node");
      if (part != kNone)
        depth = std::max(depth, depth_[part]);
    }
    depth_[at_] = depth + 1;
    need(depth < kMaxProgramDepth, "nested too deeply");
    texts(n);
    shape(n);
    classes_[at_] = classesOf(n.op);
    if (n.op == Op::Tuple)
      for (uint32_t part : p_.partsOf(n))
        classes_[at_] &= classes_[part];
  }

  void texts(const Node &n) const {
    switch (n.op) {
    case Op::SpaceAttribute:
      need(n.b < p_.texts.size(), "a text out of range");
      [[fallthrough]];
    case Op::String:
    case Op::Name:
    case Op::Attribute:
    case Op::Keyword:
    case Op::Filter:
    case Op::Test:
    case Op::Write:
    case Op::Macro:
    case Op::Parameter:
      need(n.a < p_.texts.size(), "a text out of range");
      break;
    default:
      break;
    }
  }

  /// Part i is there and of a class, or absent where that is allowed.
  void part(const Node &n, size_t i, uint8_t classes, bool optional = false) const {
    need(i < n.parts, "too few parts");
    const uint32_t part = p_.parts[n.firstPart + i];
    need(part == kNone ? optional : (classes_[part] & classes) != 0, "a part of the wrong kind");
  }
  void all(const Node &n, size_t from, uint8_t classes) const {
    for (size_t i = from; i < n.parts; ++i)
      part(n, i, classes);
  }
  void exactly(const Node &n, std::initializer_list<uint8_t> classes) const {
    need(n.parts == classes.size(), "has the wrong number of parts");
    size_t i = 0;
    for (uint8_t c : classes)
      part(n, i++, c);
  }
  Op opOf(const Node &n, size_t i) const {
    const uint32_t part = p_.parts[n.firstPart + i];
    return part == kNone ? Op::Count : p_.nodes[part].op;
  }

  void shape(const Node &n) const {
    switch (n.op) {
    case Op::List:
      return all(n, 0, Expression);
    case Op::Tuple:
      return all(n, 0, Expression | Target);
    case Op::Dict:
      need(n.parts % 2 == 0, "has a key without a value");
      return all(n, 0, Expression);
    case Op::Attribute:
    case Op::Keyword:
    case Op::Spread:
    case Op::Negate:
    case Op::Plus:
    case Op::Not:
    case Op::Output:
      return exactly(n, {Expression});
    case Op::Item:
    case Op::And:
    case Op::Or:
    case Op::Add:
    case Op::Subtract:
    case Op::Multiply:
    case Op::Divide:
    case Op::FloorDivide:
    case Op::Remainder:
    case Op::Power:
      return exactly(n, {Expression, Expression});
    case Op::Slice:
      need(n.parts == 4, "has the wrong number of parts");
      part(n, 0, Expression);
      for (size_t i = 1; i < 4; ++i)
        part(n, i, Expression, true);
      return;
    case Op::Call:
    case Op::Filter:
    case Op::Test:
      part(n, 0, Expression);
      return all(n, 1, Expression | Argument);
    case Op::Concat:
      return all(n, 0, Expression);
    case Op::Compare:
      part(n, 0, Expression);
      return all(n, 1, Operand);
    case Op::Equal:
    case Op::NotEqual:
    case Op::Less:
    case Op::LessEqual:
    case Op::Greater:
    case Op::GreaterEqual:
    case Op::In:
    case Op::NotIn:
      return exactly(n, {Expression});
    case Op::Choose:
      need(n.parts == 3, "has the wrong number of parts");
      part(n, 0, Expression);
      part(n, 1, Expression);
      return part(n, 2, Expression, true);
    default:
      return statement(n);
    }
  }

  void statement(const Node &n) const {
    switch (n.op) {
    case Op::Block:
      return all(n, 0, Statement);
    case Op::If:
      need(n.parts >= 2, "too few parts");
      for (size_t i = 0; i < n.parts; ++i)
        part(n, i, i % 2 == 0 && i + 1 < n.parts ? Expression : Statement);
      return;
    case Op::For:
      need(n.parts == 5, "has the wrong number of parts");
      part(n, 0, Target);
      part(n, 1, Expression);
      part(n, 2, Expression, true);
      part(n, 3, Statement);
      return part(n, 4, Statement, true);
    case Op::Set:
      return exactly(n, {Target, Expression});
    case Op::SetBlock:
      return exactly(n, {Target, Statement, Expression});
    case Op::FilterBlock:
      return exactly(n, {Statement, Expression});
    case Op::Macro:
      need(n.parts > 0, "too few parts");
      for (size_t i = 0; i + 1 < n.parts; ++i)
        part(n, i, Special);
      return part(n, n.parts - 1, Statement);
    case Op::Parameter:
      need(n.parts == 1, "has the wrong number of parts");
      return part(n, 0, Expression, true);
    case Op::CallBlock:
      exactly(n, {Expression, Statement});
      return need(opOf(n, 0) == Op::Call && opOf(n, 1) == Op::Macro, "a part of the wrong kind");
    case Op::With:
      need(n.parts % 2 == 1, "has a name without a value");
      for (size_t i = 0; i + 1 < n.parts; ++i)
        part(n, i, i % 2 == 0 ? Target : Expression);
      return part(n, n.parts - 1, Statement);
    case Op::Scope:
      return exactly(n, {Statement});
    default:
      return need(n.parts == 0, "has the wrong number of parts");
    }
  }

  const Program &p_;
  const std::string &name_;
  std::vector<uint32_t> depth_;
  std::vector<uint8_t> classes_; ///< what each node may stand for
  size_t at_ = 0;
};

class Reader {
public:
  Reader(std::span<const uint8_t> bytes, const std::string &name) : bytes_(bytes), name_(name) {}
  void need(bool good, const char *what) const {
    if (!good)
      fail(ExitCode::BadInput, name_ + ": " + what + ": compile the model again");
  }
  uint32_t number() {
    need(bytes_.size() >= 4, "ends early");
    uint32_t value;
    std::memcpy(&value, bytes_.data(), 4);
    bytes_ = bytes_.subspan(4);
    return value;
  }
  uint32_t count() {
    const uint32_t value = number();
    need(value <= kMaxProgramSize && value <= bytes_.size(), "a number is out of range");
    return value;
  }
  std::string text() {
    const uint32_t size = number();
    need(size <= bytes_.size(), "ends early");
    std::string text(reinterpret_cast<const char *>(bytes_.data()), size);
    need(validPrefix(text) == text.size(), "a text is not UTF-8");
    bytes_ = bytes_.subspan(size);
    return text;
  }
  bool done() const { return bytes_.empty(); }

private:
  std::span<const uint8_t> bytes_;
  const std::string &name_;
};

} // namespace

std::vector<uint8_t> Program::toBytes() const {
  std::vector<uint8_t> out(kMagic.begin(), kMagic.end());
  auto number = [&](uint32_t value) {
    const auto *p = reinterpret_cast<const uint8_t *>(&value);
    out.insert(out.end(), p, p + 4);
  };
  auto text = [&](const std::string &value) {
    number(uint32_t(value.size()));
    out.insert(out.end(), value.begin(), value.end());
  };
  number(kProgramVersion);
  number(uint32_t(texts.size()));
  for (const std::string &value : texts)
    text(value);
  number(uint32_t(variables.size()));
  for (const auto &[name, value] : variables) {
    text(name);
    text(value);
  }
  number(uint32_t(parts.size()));
  for (uint32_t part : parts)
    number(part);
  number(uint32_t(nodes.size()));
  for (const Node &node : nodes)
    for (uint32_t value :
         {uint32_t(node.op), node.line, node.a, node.b, node.firstPart, node.parts})
      number(value);
  return out;
}

Program Program::open(std::span<const uint8_t> bytes, const std::string &name) {
  if (bytes.size() < kMagic.size() || std::memcmp(bytes.data(), kMagic.data(), kMagic.size()) != 0)
    fail(ExitCode::BadInput, name + ": is no chat program: compile the model again");
  Reader in(bytes.subspan(kMagic.size()), name);
  if (const uint32_t version = in.number(); version != kProgramVersion)
    fail(ExitCode::Unsupported, name + ": has version " + std::to_string(version) +
                                    ", but this runtime reads version " +
                                    std::to_string(kProgramVersion) + ": compile the model again");
  Program program;
  program.texts.resize(in.count());
  for (std::string &text : program.texts)
    text = in.text();
  program.variables.resize(in.count());
  for (auto &[variable, value] : program.variables) {
    variable = in.text();
    value = in.text();
  }
  program.parts.resize(in.count());
  for (uint32_t &part : program.parts)
    part = in.number();
  program.nodes.resize(in.count());
  for (Node &node : program.nodes) {
    const uint32_t op = in.number();
    in.need(op < uint32_t(Op::Count), "an unknown operation");
    node = {Op(op), in.number(), 0, 0, 0, 0};
    for (uint32_t *field : {&node.a, &node.b, &node.firstPart, &node.parts})
      *field = in.number();
  }
  in.need(in.done(), "has bytes behind its end");
  Checker(program, name).run();
  return program;
}

} // namespace retort::chat
