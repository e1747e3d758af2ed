//===- Program.h - A chat template, compiled --------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
//
// The bundle's chat.bin: the tree of a template (docs/chat.md) as a list of nodes, each after its
// parts. compiler/Tokenizer/JinjaParse.cpp makes it, Interpreter.h runs it. It is untrusted: open()
// checks that every part is one that its node can have and that the tree is shallow, so whoever walks
// it need not.
//
//===----------------------------------------------------------------------===//
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace retort::chat {

constexpr uint32_t kNone = UINT32_MAX;        ///< a part that is not there
constexpr uint32_t kMaxProgramDepth = 200;    ///< of the tree
constexpr uint32_t kProgramVersion = 1;       ///< raised when an older runtime could not run it
constexpr uint32_t kMaxProgramSize = 1 << 20; ///< nodes, parts and texts, each

enum class Op : uint8_t {
  // Expressions.
  None,
  True,
  False,
  Int,       ///< a, b: low and high half
  Float,     ///< a, b: the halves of its bits
  String,    ///< a: text
  Name,      ///< a: text; also a target
  List,      ///< parts
  Tuple,     ///< parts; also a target, of targets
  Dict,      ///< parts: key, value, ...
  Attribute, ///< part; a: text
  Item,      ///< parts: object, index
  Slice,     ///< parts: object, start, stop, step, all but the first may be absent
  Call,      ///< parts: callee, arguments
  Keyword,   ///< an argument by name. a: text; part
  Spread,    ///< an argument *x, or **x if a is 1
  Filter,    ///< a: text; parts: input, arguments
  Test,      ///< likewise
  Captured,  ///< what the block around has written
  Negate,
  Plus,
  Not,
  And,
  Or,
  Add,
  Subtract,
  Multiply,
  Divide,
  FloorDivide,
  Remainder,
  Power,
  Concat,  ///< ~; parts
  Compare, ///< parts: the first operand, then Equal to NotIn
  Equal,   ///< of Compare: the next operand
  NotEqual,
  Less,
  LessEqual,
  Greater,
  GreaterEqual,
  In,
  NotIn,
  Choose, ///< parts: condition, value, other value (may be absent)
  // Statements.
  Block,  ///< parts: statements
  Write,  ///< a: text
  Output, ///< part: expression
  If,     ///< parts: condition, block, ..., perhaps a last block
  For, ///< parts: target, list, condition (may be absent), block, block if empty (may be absent);
       ///< a: 1 if recursive
  Set, ///< parts: target, expression
  SetBlock,    ///< parts: target, block, expression of Captured
  FilterBlock, ///< parts: block, expression of Captured
  Macro,       ///< a: text; parts: Parameters, block; b: 1 varargs, 2 kwargs, 4 caller
  Parameter,   ///< a: text; part: default (may be absent)
  CallBlock,   ///< parts: Call, Macro that becomes `caller`
  With,        ///< parts: target, expression, ..., block
  Scope,       ///< part: block
  Break,
  Continue,
  SpaceAttribute, ///< a target: text a's attribute text b
  Count
};

struct Node {
  Op op = Op::None;
  uint32_t line = 0;
  uint32_t a = 0, b = 0;
  uint32_t firstPart = 0, parts = 0; ///< in Program::parts
};

struct Program {
  std::vector<Node> nodes; ///< the last one is the whole
  std::vector<uint32_t> parts;
  std::vector<std::string> texts; ///< each once
  /// Names that templates see besides the conversation: bos_token, eos_token, ...
  std::vector<std::pair<std::string, std::string>> variables;

  std::span<const uint32_t> partsOf(const Node &node) const {
    return std::span(parts).subspan(node.firstPart, node.parts);
  }
  std::vector<uint8_t> toBytes() const;
  /// Throws Error: BadInput (`name` and what is wrong with it), Unsupported (another version).
  static Program open(std::span<const uint8_t> bytes, const std::string &name);
};

} // namespace retort::chat
