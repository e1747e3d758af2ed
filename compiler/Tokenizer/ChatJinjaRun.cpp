//===- ChatJinjaRun.cpp - Running chat templates --------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Tokenizer/ChatJinja.h"
#include "runtime/base/Error.h"
#include <algorithm>

namespace retort::jinja {

Value Value::boolean(bool b) {
  Value v = of(Bool);
  v.flag = b;
  return v;
}
Value Value::integer(int64_t i) {
  Value v = of(Int);
  v.number = i;
  return v;
}
Value Value::string(std::string s) {
  Value v = of(String);
  v.text = std::move(s);
  return v;
}
Value Value::array(std::vector<Value> items) {
  Value v = of(List);
  v.list = std::make_shared<std::vector<Value>>(std::move(items));
  return v;
}
Value Value::object(std::vector<std::pair<std::string, Value>> items) {
  Value v = of(Dict);
  v.dict = std::make_shared<std::vector<std::pair<std::string, Value>>>(std::move(items));
  return v;
}

bool Value::truthy() const {
  switch (kind) {
  case Undefined:
  case None:
    return false;
  case Bool:
    return flag;
  case Int:
    return number != 0;
  case String:
    return !text.empty();
  case List:
    return !list->empty();
  case Dict:
    return !dict->empty();
  }
  return false;
}

bool Value::equals(const Value &other) const {
  bool numbers = (kind == Bool || kind == Int) && (other.kind == Bool || other.kind == Int);
  if (numbers)
    return (kind == Bool ? flag : number) == (other.kind == Bool ? other.flag : other.number);
  if (kind != other.kind)
    return false;
  if (kind == String)
    return text == other.text;
  if (kind == List)
    return list->size() == other.list->size() &&
           std::equal(list->begin(), list->end(), other.list->begin(),
                      [](const Value &a, const Value &b) { return a.equals(b); });
  return kind == Undefined || kind == None || dict == other.dict;
}

const Value *Value::find(std::string_view key) const {
  if (kind == Dict)
    for (const auto &[name, value] : *dict)
      if (name == key)
        return &value;
  return nullptr;
}

void Value::set(const std::string &key, Value value) {
  for (auto &[name, old] : *dict)
    if (name == key)
      return void(old = std::move(value));
  dict->push_back({key, std::move(value)});
}

namespace {

constexpr size_t kMaxSteps = 200000, kMaxOutput = 1 << 20;

/// White space as Python's str.strip has it; only what is in one byte matters for templates' own
/// texts, and contents are checked with more by ChatTemplate.cpp.
constexpr std::string_view kSpace = " \t\n\r\v\f\x1c\x1d\x1e\x1f";

std::string stripped(const std::string &text, std::string_view chars, bool left, bool right) {
  size_t begin = left ? std::min(text.find_first_not_of(chars), text.size()) : 0;
  size_t end = right ? text.find_last_not_of(chars) + 1 : text.size();
  return end <= begin ? "" : text.substr(begin, end - begin);
}

class Runner {
public:
  Runner(std::map<std::string, Value> variables, const std::string &source)
      : scopes_{std::move(variables)}, source_(source) {}

  void run(const std::vector<Node> &nodes) {
    for (const Node &node : nodes) {
      step();
      switch (node.kind) {
      case Node::Text:
        write(node.text);
        break;
      case Node::Output:
        write(text(eval(*node.expr)));
        break;
      case Node::If:
        run(eval(*node.expr).truthy() ? node.body : node.otherwise);
        break;
      case Node::Set:
        assign(node);
        break;
      case Node::For:
        loop(node);
        break;
      }
    }
  }
  std::string out;

private:
  [[noreturn]] void refuse(const std::string &what) const {
    fail(ExitCode::Unsupported, source_ + ": chat template: " + what + " is not known to Retort");
  }
  void step() {
    if (++steps_ > kMaxSteps)
      refuse("a template that takes so many steps");
  }
  void write(const std::string &text) {
    if (text.size() > kMaxOutput - out.size())
      refuse("a template that writes so much");
    out += text;
  }

  std::string text(const Value &value) const {
    switch (value.kind) {
    case Value::Undefined:
      return "";
    case Value::String:
      return value.text;
    case Value::Int:
      return std::to_string(value.number);
    case Value::Bool:
      return value.flag ? "True" : "False";
    case Value::None:
      return "None";
    default:
      refuse("writing a list or dictionary");
    }
  }
  const std::string &str(const Value &value) const {
    if (value.kind != Value::String)
      refuse("text work on what is not a text");
    return value.text;
  }
  int64_t number(const Value &value) const {
    if (value.kind == Value::Bool)
      return value.flag;
    if (value.kind != Value::Int)
      refuse("arithmetic on what is not a number");
    return value.number;
  }

  void assign(const Node &node) {
    Value value = eval(*node.expr);
    size_t dot = node.text.find('.');
    if (dot == std::string::npos)
      return void(scopes_.back()[node.text] = std::move(value));
    Value space = lookup(node.text.substr(0, dot));
    if (space.kind != Value::Dict)
      refuse("setting a member of what is no namespace");
    space.set(node.text.substr(dot + 1), std::move(value));
  }

  std::vector<Value> items(const Value &value) const {
    if (value.kind == Value::List)
      return *value.list;
    std::vector<Value> list;
    if (value.kind == Value::Dict)
      for (const auto &entry : *value.dict)
        list.push_back(Value::string(entry.first));
    else if (value.kind != Value::Undefined)
      refuse("going through what is no list");
    return list;
  }

  void bind(const Node &node, const Value &item) {
    if (node.second.empty()) {
      scopes_.back()[node.text] = item;
    } else {
      if (item.kind != Value::List || item.list->size() != 2)
        refuse("taking apart what is no pair");
      scopes_.back()[node.text] = (*item.list)[0];
      scopes_.back()[node.second] = (*item.list)[1];
    }
  }

  void loop(const Node &node) {
    std::vector<Value> list = items(eval(*node.expr));
    scopes_.emplace_back();
    if (node.filter) {
      std::vector<Value> wanted;
      for (const Value &item : list) {
        step();
        bind(node, item);
        if (eval(*node.filter).truthy())
          wanted.push_back(item);
      }
      list = std::move(wanted);
    }
    int64_t count = int64_t(list.size());
    for (int64_t i = 0; i < count; ++i) {
      scopes_.back().clear(); // what an iteration sets ends with it
      bind(node, list[i]);
      scopes_.back()["loop"] = Value::object({{"index", Value::integer(i + 1)},
                                              {"index0", Value::integer(i)},
                                              {"revindex", Value::integer(count - i)},
                                              {"revindex0", Value::integer(count - i - 1)},
                                              {"first", Value::boolean(i == 0)},
                                              {"last", Value::boolean(i + 1 == count)},
                                              {"length", Value::integer(count)},
                                              {"previtem", i > 0 ? list[i - 1] : Value()},
                                              {"nextitem", i + 1 < count ? list[i + 1] : Value()}});
      run(node.body);
    }
    scopes_.pop_back();
    if (count == 0)
      run(node.otherwise);
  }

  Value lookup(const std::string &name) const {
    for (size_t i = scopes_.size(); i-- > 0;)
      if (auto it = scopes_[i].find(name); it != scopes_[i].end())
        return it->second;
    return {};
  }

  Value eval(const Expr &e) {
    step();
    switch (e.kind) {
    case Expr::Literal:
      return e.value;
    case Expr::Name:
      return lookup(e.text);
    case Expr::Attr:
      return member(eval(*e.kids[0]), e.text);
    case Expr::Index:
      return index(eval(*e.kids[0]), eval(*e.kids[1]));
    case Expr::Slice:
      return slice(e);
    case Expr::Call:
      return call(e);
    case Expr::Filter:
      return filter(e);
    case Expr::Test:
      return Value::boolean(test(e));
    case Expr::Unary: {
      Value v = eval(*e.kids[0]);
      return e.text == "not" ? Value::boolean(!v.truthy()) : Value::integer(-number(v));
    }
    case Expr::Binary:
      return binary(e);
    case Expr::Choice:
      return eval(eval(*e.kids[1]).truthy() ? *e.kids[0] : *e.kids[2]);
    case Expr::ListOf: {
      Value list = Value::array();
      for (const auto &kid : e.kids)
        list.list->push_back(eval(*kid));
      return list;
    }
    case Expr::DictOf: {
      Value dict = Value::object();
      for (size_t i = 0; i < e.kids.size(); i += 2)
        dict.set(str(eval(*e.kids[i])), eval(*e.kids[i + 1]));
      return dict;
    }
    }
    return {};
  }

  Value member(const Value &value, const std::string &name) const {
    if (value.kind == Value::Undefined)
      refuse("the member '" + name + "' of what is not defined");
    const Value *found = value.find(name);
    return found ? *found : Value();
  }

  Value index(const Value &value, const Value &key) const {
    if (key.kind == Value::String)
      return member(value, key.text);
    int64_t at = number(key);
    if (value.kind != Value::List)
      refuse("an index into what is no list");
    int64_t size = int64_t(value.list->size());
    at += at < 0 ? size : 0;
    return at >= 0 && at < size ? (*value.list)[at] : Value();
  }

  Value slice(const Expr &e) {
    Value value = eval(*e.kids[0]);
    auto part = [&](size_t i, int64_t otherwise) {
      return e.kids[i] ? number(eval(*e.kids[i])) : otherwise;
    };
    if (value.kind != Value::List)
      refuse("a slice of what is no list");
    int64_t size = int64_t(value.list->size()), by = part(3, 1);
    if (by != 1 && !(by == -1 && !e.kids[1] && !e.kids[2]))
      refuse("a slice with this step");
    auto clamp = [&](int64_t at) { return std::clamp<int64_t>(at < 0 ? at + size : at, 0, size); };
    int64_t begin = clamp(part(1, 0)), end = std::max(begin, clamp(part(2, size)));
    Value out = Value::array({value.list->begin() + begin, value.list->begin() + end});
    if (by == -1)
      std::reverse(out.list->begin(), out.list->end());
    return out;
  }

  bool contains(const Value &needle, const Value &hay) const {
    if (hay.kind == Value::String)
      return hay.text.find(str(needle)) != std::string::npos;
    if (hay.kind == Value::Dict)
      return hay.find(str(needle)) != nullptr;
    if (hay.kind != Value::List)
      refuse("'in' for what is no list");
    return std::any_of(hay.list->begin(), hay.list->end(),
                       [&](const Value &v) { return v.equals(needle); });
  }

  Value binary(const Expr &e) {
    const std::string &op = e.text;
    Value left = eval(*e.kids[0]);
    if (op == "and")
      return left.truthy() ? eval(*e.kids[1]) : left;
    if (op == "or")
      return left.truthy() ? left : eval(*e.kids[1]);
    Value right = eval(*e.kids[1]);
    if (op == "==" || op == "!=")
      return Value::boolean(left.equals(right) == (op == "=="));
    if (op == "in" || op == "not in")
      return Value::boolean(contains(left, right) == (op == "in"));
    if (op == "~")
      return joined(text(left), text(right));
    if (op == "+" && left.kind == Value::String)
      return joined(left.text, str(right));
    if (op == "+" && left.kind == Value::List && right.kind == Value::List) {
      Value sum = Value::array(*left.list);
      sum.list->insert(sum.list->end(), right.list->begin(), right.list->end());
      if (sum.list->size() > kMaxSteps)
        refuse("a list this long");
      return sum;
    }
    int64_t a = number(left), b = number(right);
    if (op == "<" || op == "<=" || op == ">" || op == ">=")
      return Value::boolean(op == "<" ? a < b : op == "<=" ? a <= b : op == ">" ? a > b : a >= b);
    if ((op == "%" || op == "//") && b <= 0)
      refuse("division by what is not positive");
    if (std::abs(a) > 1 << 30 || std::abs(b) > 1 << 30)
      refuse("a number this large");
    int64_t rest = op == "%" || op == "//" ? (a % b + b) % b : 0;
    return Value::integer(op == "+"   ? a + b
                          : op == "-" ? a - b
                          : op == "*" ? a * b
                          : op == "%" ? rest
                                      : (a - rest) / b);
  }

  Value joined(const std::string &a, const std::string &b) const {
    if (a.size() + b.size() > kMaxOutput)
      refuse("a text this long");
    return Value::string(a + b);
  }

  Value call(const Expr &e) {
    std::vector<Value> args;
    for (size_t i = 1; i < e.kids.size(); ++i)
      args.push_back(eval(*e.kids[i]));
    const Expr &callee = *e.kids[0];
    if (callee.kind == Expr::Attr)
      return method(eval(*callee.kids[0]), callee.text, args);
    if (callee.kind != Expr::Name)
      refuse("this call");
    if (callee.text == "raise_exception")
      throw Refused{args.empty() ? "" : text(args[0])};
    if (callee.text == "namespace") {
      Value space = Value::object();
      for (size_t i = 0; i < args.size(); ++i) {
        if (e.names[i].empty())
          refuse("namespace() without names");
        space.set(e.names[i], args[i]);
      }
      return space;
    }
    if (callee.text == "strftime_now" && args.size() == 1 && text(args[0]) == "%d %b %Y")
      return Value::string("{date}");
    refuse("the function " + callee.text + "()");
  }

  Value method(const Value &self, const std::string &name, const std::vector<Value> &args) {
    if (self.kind == Value::Dict && name == "items" && args.empty()) {
      Value list = Value::array();
      for (const auto &[key, value] : *self.dict)
        list.list->push_back(Value::array({Value::string(key), value}));
      return list;
    }
    if (self.kind == Value::Dict && name == "get" && !args.empty()) {
      const Value *found = self.find(str(args[0]));
      return found ? *found : args.size() > 1 ? args[1] : Value::none();
    }
    if (self.kind != Value::String)
      refuse("the method " + name + "() here");
    bool strip = name == "strip" || name == "lstrip" || name == "rstrip";
    if (strip && args.size() <= 1)
      return Value::string(stripped(self.text,
                                    args.empty() ? kSpace : std::string_view(str(args[0])),
                                    name != "rstrip", name != "lstrip"));
    if (name == "startswith" && args.size() == 1)
      return Value::boolean(self.text.starts_with(str(args[0])));
    if (name == "endswith" && args.size() == 1)
      return Value::boolean(self.text.ends_with(str(args[0])));
    if (name == "split" && args.size() == 1 && !str(args[0]).empty()) {
      Value list = Value::array();
      for (size_t at = 0;;) {
        size_t hit = self.text.find(args[0].text, at);
        list.list->push_back(Value::string(self.text.substr(at, hit - at)));
        if (hit == std::string::npos)
          return list;
        at = hit + args[0].text.size();
      }
    }
    refuse("the method " + name + "() of a text");
  }

  Value filter(const Expr &e) {
    Value value = eval(*e.kids[0]);
    size_t args = e.kids.size() - 1;
    if (e.text == "trim" && args == 0)
      return Value::string(stripped(str(value), kSpace, true, true));
    if ((e.text == "length" || e.text == "count") && args == 0)
      return Value::integer(value.kind == Value::String ? int64_t(value.text.size())
                                                        : int64_t(items(value).size()));
    if (e.text == "list" && args == 0)
      return Value::array(items(value));
    if (e.text == "string" && args == 0)
      return Value::string(text(value));
    if ((e.text == "first" || e.text == "last") && args == 0) {
      auto list = items(value);
      return list.empty() ? Value() : e.text == "first" ? list.front() : list.back();
    }
    if ((e.text == "default" || e.text == "d") && args == 1)
      return value.kind == Value::Undefined ? eval(*e.kids[1]) : value;
    if ((e.text == "selectattr" || e.text == "rejectattr") && args == 3) {
      std::string how = str(eval(*e.kids[2]));
      if (how != "equalto" && how != "==")
        refuse("the filter " + e.text + " by '" + how + "'");
      Value wanted = eval(*e.kids[3]), list = Value::array();
      std::string key = str(eval(*e.kids[1]));
      for (const Value &item : items(value))
        if (member(item, key).equals(wanted) == (e.text == "selectattr"))
          list.list->push_back(item);
      return list;
    }
    refuse("the filter " + e.text);
  }

  bool test(const Expr &e) {
    Value v = eval(*e.kids[0]);
    const std::string &name = e.text;
    // Functions that transformers hands to every template are defined.
    bool function = e.kids[0]->kind == Expr::Name &&
                    (e.kids[0]->text == "strftime_now" || e.kids[0]->text == "raise_exception");
    if (name == "defined")
      return function || v.kind != Value::Undefined;
    if (name == "undefined")
      return !function && v.kind == Value::Undefined;
    if (name == "none" || name == "None")
      return v.kind == Value::None;
    if (name == "string")
      return v.kind == Value::String;
    if (name == "mapping")
      return v.kind == Value::Dict;
    if (name == "iterable" || name == "sequence")
      return v.kind == Value::String || v.kind == Value::List || v.kind == Value::Dict;
    if (name == "number")
      return v.kind == Value::Int;
    if (name == "boolean")
      return v.kind == Value::Bool;
    if (name == "true" || name == "false")
      return v.kind == Value::Bool && v.flag == (name == "true");
    if (name == "even" || name == "odd")
      return (number(v) % 2 != 0) == (name == "odd");
    if ((name == "equalto" || name == "eq") && e.kids.size() == 2)
      return v.equals(eval(*e.kids[1]));
    refuse("the test '" + name + "'");
  }

  std::vector<std::map<std::string, Value>> scopes_;
  const std::string &source_;
  size_t steps_ = 0;
};

} // namespace

std::string render(const std::vector<Node> &nodes, std::map<std::string, Value> variables,
                   const std::string &source) {
  Runner runner(std::move(variables), source);
  runner.run(nodes);
  return std::move(runner.out);
}

} // namespace retort::jinja
