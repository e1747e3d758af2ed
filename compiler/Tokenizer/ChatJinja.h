//===- ChatJinja.h - Rendering chat templates -------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
//
// The part of Jinja that the chat templates of the families use, with transformers' settings
// (trim_blocks, lstrip_blocks). It only serves to recognise a template (ChatTemplate.cpp): the
// runtime never sees Jinja. What it does not know is an Error (Unsupported), never a guess.
// Templates are untrusted: nesting, steps and output are bounded.
//
//===----------------------------------------------------------------------===//
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace retort::jinja {

/// A value of the language. Lists and dictionaries are shared, as in Python.
struct Value {
  enum Kind { Undefined, None, Bool, Int, String, List, Dict } kind = Undefined;
  bool flag = false;
  int64_t number = 0;
  std::string text;
  std::shared_ptr<std::vector<Value>> list;
  std::shared_ptr<std::vector<std::pair<std::string, Value>>> dict;

  static Value none() { return of(None); }
  static Value boolean(bool b);
  static Value integer(int64_t i);
  static Value string(std::string s);
  static Value array(std::vector<Value> items = {});
  static Value object(std::vector<std::pair<std::string, Value>> items = {});
  bool truthy() const;
  bool equals(const Value &other) const;
  const Value *find(std::string_view key) const;
  void set(const std::string &key, Value value);

private:
  static Value of(Kind kind) {
    Value v;
    v.kind = kind;
    return v;
  }
};

struct Expr {
  enum Kind {
    Literal, ///< value
    Name,    ///< text
    Attr,    ///< kids[0].text
    Index,   ///< kids[0][kids[1]]
    Slice,   ///< kids[0][kids[1]:kids[2]:kids[3]], null kids allowed
    Call,    ///< kids[0](kids[1]...), names[i] for keyword arguments
    Filter,  ///< kids[0] | text(kids[1]...)
    Test,    ///< kids[0] is text(kids[1]...)
    Unary,   ///< text kids[0]
    Binary,  ///< kids[0] text kids[1]
    Choice,  ///< kids[0] if kids[1] else kids[2]
    ListOf,  ///< [kids...]
    DictOf   ///< {kids[0]: kids[1], ...}
  } kind = Literal;
  Value value;
  std::string text;
  std::vector<std::unique_ptr<Expr>> kids;
  std::vector<std::string> names;
};

struct Node {
  enum Kind { Text, Output, If, For, Set } kind = Text;
  std::string text;             ///< Text; For: the variable; Set: the name, perhaps with .member
  std::string second;           ///< For k, v in ...
  std::unique_ptr<Expr> expr;   ///< Output, If, For, Set
  std::unique_ptr<Expr> filter; ///< For ... if
  std::vector<Node> body, otherwise; ///< If, For
};

/// Thrown by raise_exception: the template refuses the conversation.
struct Refused {
  std::string message;
};

/// Throws Error (Unsupported) with line and what is not known.
std::vector<Node> parse(std::string_view text, const std::string &source);

/// Renders with these variables. Throws Refused, or Error (Unsupported).
std::string render(const std::vector<Node> &nodes, std::map<std::string, Value> variables,
                   const std::string &source);

} // namespace retort::jinja
