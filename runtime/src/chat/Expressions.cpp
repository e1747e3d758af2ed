//===- Expressions.cpp - Evaluating a template's expressions --------------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/src/chat/FilterParts.h"
#include "runtime/src/chat/Nest.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

namespace retort::chat {
namespace {

[[noreturn]] void badOperands(const char *op, const Value &a, const Value &b) {
  needDefined(a);
  needDefined(b);
  refuse(std::string("unsupported operand type(s) for ") + op + ": '" + typeName(a) + "' and '" +
         typeName(b) + "'");
}

[[noreturn]] void tooLarge() { unknown("a whole number beyond 64 bits"); }

} // namespace

Value Interpreter::eval(uint32_t id) {
  Nest nest(*this);
  heap.step();
  const Node &n = program_.nodes[id];
  const auto parts = program_.partsOf(n);
  line_ = n.line;
  switch (n.op) {
  case Op::None:
    return Value::none();
  case Op::True:
  case Op::False:
    return Value::boolean(n.op == Op::True);
  case Op::Int:
    return Value::integer(int64_t(uint64_t(n.b) << 32 | n.a));
  case Op::Float:
    return Value::floating(std::bit_cast<double>(uint64_t(n.b) << 32 | n.a));
  case Op::String:
    return heap.string(textOf(n.a), Origin::Template);
  case Op::Name:
    return evalName(n);
  case Op::List:
  case Op::Tuple:
    return evalList(n);
  case Op::Dict:
    return evalDict(n);
  case Op::Attribute:
    return attribute(eval(parts[0]), textOf(n.a));
  case Op::Item: {
    const Value object = eval(parts[0]);
    return item(object, eval(parts[1]));
  }
  case Op::Slice:
    return evalSlice(n);
  case Op::Call: {
    const Value callee = eval(parts[0]);
    const Arguments args = arguments(parts.subspan(1));
    line_ = n.line;
    return call(callee, args);
  }
  case Op::Filter:
  case Op::Test:
    return evalFilter(n);
  case Op::Captured:
    return captured_;
  case Op::Negate:
    return negate(eval(parts[0]));
  case Op::Plus: {
    const Value value = eval(parts[0]);
    needDefined(value);
    if (!value.isNumber())
      refuse("bad operand type for unary +: '" + typeName(value) + "'");
    return value.is(Kind::Bool) ? Value::integer(value.whole()) : value;
  }
  case Op::Not:
    return Value::boolean(!truthy(eval(parts[0])));
  case Op::And: {
    const Value left = eval(parts[0]);
    return truthy(left) ? eval(parts[1]) : left;
  }
  case Op::Or: {
    const Value left = eval(parts[0]);
    return truthy(left) ? left : eval(parts[1]);
  }
  case Op::Add: {
    const Value left = eval(parts[0]);
    return add(left, eval(parts[1]));
  }
  case Op::Subtract:
  case Op::Multiply:
  case Op::Divide:
  case Op::FloorDivide:
  case Op::Remainder:
  case Op::Power: {
    const Value left = eval(parts[0]);
    return arithmetic(n.op, left, eval(parts[1]));
  }
  case Op::Concat:
    return evalConcat(n);
  case Op::Compare:
    return evalCompare(n);
  case Op::Choose:
    if (truthy(eval(parts[0])))
      return eval(parts[1]);
    return parts[2] == kNone ? heap.undefined("the inline if-expression has no else")
                             : eval(parts[2]);
  default:
    fail(ExitCode::BadInput, "the chat program is damaged: compile the model again");
  }
}

Value Interpreter::evalName(const Node &n) {
  if (const Value *value = lookup(n.a))
    return *value;
  if (const int function = findFunction(textOf(n.a)); function >= 0) {
    Value value = Value::of(Kind::Function);
    value.number = function;
    return value;
  }
  return heap.undefined("'" + textOf(n.a) + "' is undefined");
}

Value Interpreter::evalList(const Node &n) {
  std::vector<Value> items;
  for (uint32_t part : program_.partsOf(n))
    items.push_back(eval(part));
  return heap.list(std::move(items), n.op == Op::Tuple ? Kind::Tuple : Kind::List);
}

Value Interpreter::evalDict(const Node &n) {
  Value dict = heap.dict();
  const auto parts = program_.partsOf(n);
  for (size_t i = 0; i < parts.size(); i += 2) {
    const Value key = eval(parts[i]);
    heap.set(dict, key, eval(parts[i + 1]));
  }
  return dict;
}

/// Unlike +, it takes no notice of what is marked as safe.
Value Interpreter::evalConcat(const Node &n) {
  Text text;
  for (uint32_t part : program_.partsOf(n))
    text.append(toText(heap, eval(part)));
  return heap.string(std::move(text));
}

Value Interpreter::evalCompare(const Node &n) {
  const auto parts = program_.partsOf(n);
  Value left = eval(parts[0]);
  for (uint32_t part : parts.subspan(1)) {
    const Node &operand = program_.nodes[part];
    const Value right = eval(program_.partsOf(operand)[0]);
    if (!compareBy(operand.op, left, right))
      return Value::boolean(false);
    left = right;
  }
  return Value::boolean(true);
}

bool Interpreter::compareBy(Op op, const Value &a, const Value &b) {
  switch (op) {
  case Op::Equal:
    return equal(heap, a, b);
  case Op::NotEqual:
    return !equal(heap, a, b);
  case Op::In:
    return contains(b, a);
  case Op::NotIn:
    return !contains(b, a);
  default:
    break;
  }
  needDefined(a);
  needDefined(b);
  for (const Value *v : {&a, &b})
    if (v->is(Kind::Float) && std::isnan(v->real) && a.isNumber() && b.isNumber())
      return false;
  const int order = compare(heap, a, b);
  return op == Op::Less        ? order < 0
         : op == Op::LessEqual ? order <= 0
         : op == Op::Greater   ? order > 0
                               : order >= 0;
}

bool Interpreter::contains(const Value &container, const Value &value) {
  if (container.is(Kind::String)) {
    if (!value.is(Kind::String)) {
      needDefined(value);
      refuse("'in <string>' requires string as left operand, not " + typeName(value));
    }
    heap.step(container.text().size() / 32);
    return container.bytes().find(value.bytes()) != std::string::npos;
  }
  if (container.is(Kind::Dict)) {
    if (!hashable(value))
      refuse("unhashable type: '" + typeName(value) + "'");
    return find(heap, container, value) != nullptr;
  }
  for (const Value &item : walk(container))
    if (equal(heap, item, value))
      return true;
  return false;
}

Value Interpreter::evalFilter(const Node &n) {
  const auto parts = program_.partsOf(n);
  const Value input = eval(parts[0]);
  const Arguments args = arguments(parts.subspan(1));
  line_ = n.line;
  // A name that is not known is an error only here: it may stand in a branch that is never taken.
  if (n.op == Op::Test) {
    const TestEntry *test = findTest(textOf(n.a));
    if (!test)
      unknown("the test " + textOf(n.a));
    return Value::boolean(test->run(*this, input, args));
  }
  if (!findFilter(textOf(n.a)))
    unknown("the filter " + textOf(n.a));
  const FilterEntry &filter = *findFilter(textOf(n.a));
  // What becomes of the mark is another question for each filter; few templates ask it.
  if (input.is(Kind::String) && input.string->safe && !filter.keepsSafe)
    unknown(std::string("the filter ") + filter.name + " of a text marked as safe");
  return filter.run(*this, input, args);
}

Arguments Interpreter::arguments(std::span<const uint32_t> parts) {
  Arguments args;
  for (uint32_t part : parts) {
    const Node &n = program_.nodes[part];
    if (n.op == Op::Keyword)
      args.named.emplace_back(textOf(n.a), eval(program_.partsOf(n)[0]));
    else if (n.op != Op::Spread)
      args.list.push_back(eval(part));
    else if (const Value value = eval(program_.partsOf(n)[0]); n.a == 0)
      for (const Value &item : walk(value))
        args.list.push_back(item);
    else if (!value.is(Kind::Dict))
      refuse("argument after ** must be a mapping, not " + typeName(value));
    else
      for (const auto &[key, item] : value.dict->items) {
        if (!key.is(Kind::String))
          refuse("keywords must be strings");
        args.named.emplace_back(key.bytes(), item);
      }
  }
  return args;
}

//===----------------------------------------------------------------------===//
// Parts of values
//===----------------------------------------------------------------------===//

Value Interpreter::attribute(const Value &object, std::string_view name) {
  needDefined(object);
  if (const MethodEntry *method = findMethod(object, name)) {
    auto *made = heap.make<MethodObject>();
    made->self = object;
    made->method = method;
    return Value::of(Kind::Method, made);
  }
  if (object.is(Kind::Dict)) {
    if (const Value *value = find(object, name))
      return *value;
  } else if (object.is(Kind::Namespace)) {
    for (const auto &[own, value] : object.space->items)
      if (own == name)
        return value;
  } else if (object.is(Kind::Loop)) {
    return loopAttribute(object, name);
  } else if (object.is(Kind::Macro) && name == "name") {
    return heap.string(textOf(program_.nodes[object.macro->node].a));
  } else if (object.is(Kind::Tuple) && object.list->view) { // of groupby
    if (name == "grouper" || name == "list")
      return object.list->items[name == "list"];
  } else if (object.is(Kind::Cycler) && name == "current") {
    return object.list->items[object.list->at];
  }
  return heap.undefined("'" + typeName(object) + " object' has no attribute '" + std::string(name) +
                        "'");
}

Value Interpreter::loopAttribute(const Value &value, std::string_view name) {
  const LoopObject &loop = *value.loop;
  const int64_t index = int64_t(loop.index), length = int64_t(loop.items.size());
  const std::pair<std::string_view, int64_t> numbers[] = {{"index", index + 1},
                                                          {"index0", index},
                                                          {"revindex", length - index},
                                                          {"revindex0", length - index - 1},
                                                          {"length", length},
                                                          {"depth", int64_t(loop.depth) + 1},
                                                          {"depth0", int64_t(loop.depth)}};
  for (auto [own, number] : numbers)
    if (own == name)
      return Value::integer(number);
  if (name == "first")
    return Value::boolean(index == 0);
  if (name == "last")
    return Value::boolean(index + 1 == length);
  if (name == "previtem")
    return index == 0 ? heap.undefined("there is no previous item") : loop.items[loop.index - 1];
  if (name == "nextitem")
    return index + 1 >= length ? heap.undefined("there is no next item")
                               : loop.items[loop.index + 1];
  return heap.undefined("'LoopContext object' has no attribute '" + std::string(name) + "'");
}

Value Interpreter::item(const Value &object, const Value &key) {
  needDefined(object);
  if (object.is(Kind::Dict) && hashable(key)) {
    if (const Value *value = find(heap, object, key))
      return *value;
  } else if (key.isWhole() && (object.is(Kind::List) || object.is(Kind::Tuple))) {
    const int64_t size = int64_t(object.list->items.size());
    const int64_t at = key.whole() < 0 ? key.whole() + size : key.whole();
    if (at >= 0 && at < size)
      return object.list->items[size_t(at)];
  } else if (key.isWhole() && object.is(Kind::String)) {
    const std::vector<size_t> starts = charStarts(object.text());
    heap.step(starts.size() / 8);
    const int64_t size = int64_t(starts.size()) - 1;
    const int64_t at = key.whole() < 0 ? key.whole() + size : key.whole();
    if (at >= 0 && at < size)
      return heap.string(object.text().slice(starts[size_t(at)], starts[size_t(at) + 1]));
  }
  if (key.is(Kind::String) && (!object.is(Kind::Dict) || findMethod(object, key.bytes())))
    return attribute(object, key.bytes());
  return heap.undefined(
      "'" + typeName(object) + " object' has no element " +
      (key.is(Kind::String) || key.isNumber() ? repr(heap, key) : "of that kind"));
}

Value Interpreter::evalSlice(const Node &n) {
  const auto parts = program_.partsOf(n);
  const Value object = eval(parts[0]);
  needDefined(object);
  Value bounds[3];
  for (size_t i = 0; i < 3; ++i) {
    bounds[i] = parts[i + 1] == kNone ? Value::none() : eval(parts[i + 1]);
    if (!bounds[i].is(Kind::None) && !bounds[i].isWhole())
      return heap.undefined("slice indices must be integers or None");
  }
  return slice(object, bounds[0], bounds[1], bounds[2]);
}

Value Interpreter::slice(const Value &object, const Value &start, const Value &stop,
                         const Value &step) {
  const bool isText = object.is(Kind::String);
  if (!isText && !object.is(Kind::List) && !object.is(Kind::Tuple))
    return heap.undefined("'" + typeName(object) + "' object is not subscriptable");
  const std::vector<size_t> starts = isText ? charStarts(object.text()) : std::vector<size_t>();
  const int64_t size = isText ? int64_t(starts.size()) - 1 : int64_t(object.list->items.size());
  const int64_t by = step.is(Kind::None) ? 1 : step.whole();
  if (by == 0)
    refuse("slice step cannot be zero");
  // As CPython's PySlice_AdjustIndices.
  const int64_t low = by < 0 ? -1 : 0, high = by < 0 ? size - 1 : size;
  auto bound = [&](const Value &value, int64_t missing) {
    if (value.is(Kind::None))
      return missing;
    const int64_t at = value.whole();
    return at < 0 ? std::max(at < -size ? low : at + size, low) : std::min(at, high);
  };
  int64_t at = bound(start, by < 0 ? high : low);
  const int64_t end = bound(stop, by < 0 ? low : high);
  Text text;
  std::vector<Value> items;
  if (isText && by == 1 && at < end)
    text = object.text().slice(starts[size_t(at)], starts[size_t(end)]);
  else
    while (by > 0 ? at < end : at > end) {
      if (isText)
        text.append(object.text(), starts[size_t(at)], starts[size_t(at) + 1]);
      else
        items.push_back(object.list->items[size_t(at)]);
      if (by > size || by < -size)
        break;
      at += by;
    }
  heap.step(size_t(size) / 8);
  return isText ? heap.string(std::move(text)) : heap.list(std::move(items), object.kind);
}

std::vector<Value> Interpreter::walk(const Value &value) {
  switch (value.kind) {
  case Kind::Undefined:
    return {};
  case Kind::List:
  case Kind::Tuple:
  case Kind::View:
    heap.charge(value.list->items.size() * sizeof(Value));
    heap.step(value.list->items.size() / 8);
    return value.list->items;
  case Kind::Generator:
    if (value.list->walked)
      return {};
    value.list->walked = true;
    return std::move(value.list->items);
  case Kind::Dict: {
    std::vector<Value> keys;
    heap.charge(value.dict->items.size() * sizeof(Value));
    for (const auto &entry : value.dict->items)
      keys.push_back(entry.first);
    return keys;
  }
  case Kind::String: {
    const std::vector<size_t> starts = charStarts(value.text());
    std::vector<Value> chars;
    for (size_t i = 0; i + 1 < starts.size(); ++i)
      chars.push_back(heap.string(value.text().slice(starts[i], starts[i + 1])));
    return chars;
  }
  default:
    refuse("'" + typeName(value) + "' object is not iterable");
  }
}

Value Interpreter::call(const Value &callee, const Arguments &args) {
  Nest nest(*this);
  needDefined(callee);
  switch (callee.kind) {
  case Kind::Function:
    return callFunction(*this, int(callee.number), args);
  case Kind::Method:
    if (const Value &self = callee.method->self; self.is(Kind::String) && self.string->safe)
      unknown(std::string("the method ") + callee.method->method->name +
              "() of a text marked as safe");
    return callee.method->method->run(*this, callee.method->self, args);
  case Kind::Macro:
    return callMacro(*callee.macro, args);
  case Kind::Joiner: {
    auto *joiner = static_cast<JoinerObject *>(callee.object);
    if (!joiner->used) {
      joiner->used = true;
      return heap.string("");
    }
    return joiner->separator;
  }
  case Kind::Loop: {
    if (callee.loop->recursiveFor == kNone)
      refuse("The loop must have the 'recursive' marker to be called recursively.");
    Text text, *outer = out_;
    Scope *before = scope_;
    out_ = &text;
    scope_ = callee.loop->scope;
    runFor(callee.loop->recursiveFor, walk(Parameters(args, "loop", {"iterable"}).at(0)),
           callee.loop->depth + 1);
    out_ = outer;
    scope_ = before;
    return heap.string(std::move(text));
  }
  default:
    refuse("'" + typeName(callee) + "' object is not callable");
  }
}

//===----------------------------------------------------------------------===//
// Arithmetic
//===----------------------------------------------------------------------===//

Value Interpreter::negate(const Value &value) {
  needDefined(value);
  if (!value.isNumber())
    refuse("bad operand type for unary -: '" + typeName(value) + "'");
  if (value.is(Kind::Float))
    return Value::floating(-value.real);
  if (value.whole() == INT64_MIN)
    tooLarge();
  return Value::integer(-value.whole());
}

Value Interpreter::add(const Value &a, const Value &b) {
  if (a.is(Kind::String) && b.is(Kind::String)) {
    const bool safe = a.string->safe || b.string->safe;
    Text text = safe && !a.string->safe ? escapeHtml(a.text()) : a.text();
    text.append(safe && !b.string->safe ? escapeHtml(b.text()) : b.text());
    return heap.string(std::move(text), safe);
  }
  if (a.kind == b.kind && (a.is(Kind::List) || a.is(Kind::Tuple))) {
    std::vector<Value> items = a.list->items;
    items.insert(items.end(), b.list->items.begin(), b.list->items.end());
    return heap.list(std::move(items), a.kind);
  }
  return arithmetic(Op::Add, a, b);
}

Value Interpreter::multiply(const Value &a, const Value &b) {
  const bool countFirst = a.isWhole();
  const Value &count = countFirst ? a : b, &what = countFirst ? b : a;
  if (!count.isWhole() || !(what.is(Kind::String) || what.is(Kind::List) || what.is(Kind::Tuple)))
    badOperands("*", a, b);
  const uint64_t times = count.whole() < 0 ? 0 : uint64_t(count.whole());
  const uint64_t size = what.is(Kind::String) ? what.text().size() : what.list->items.size();
  if (size > 0 && times > kMaxHeapBytes / size)
    heap.charge(kMaxHeapBytes + 1); // says what is wrong
  heap.charge(times * size * (what.is(Kind::String) ? 1 : sizeof(Value)));
  heap.step(times * size / 32 + times);
  if (what.is(Kind::String)) {
    Text text;
    for (uint64_t i = 0; i < times && size > 0; ++i)
      text.append(what.text());
    return heap.string(std::move(text));
  }
  std::vector<Value> items;
  for (uint64_t i = 0; i < times && size > 0; ++i)
    items.insert(items.end(), what.list->items.begin(), what.list->items.end());
  return heap.list(std::move(items), what.kind);
}

Value Interpreter::arithmetic(Op op, const Value &a, const Value &b) {
  static const std::pair<Op, const char *> signs[] = {
      {Op::Add, "+"},          {Op::Subtract, "-"},  {Op::Multiply, "*"}, {Op::Divide, "/"},
      {Op::FloorDivide, "//"}, {Op::Remainder, "%"}, {Op::Power, "**"}};
  if (op == Op::Remainder && a.is(Kind::String))
    return formatPercent(*this, a, b);
  if (!a.isNumber() || !b.isNumber()) {
    if (op == Op::Multiply)
      return multiply(a, b);
    for (auto [own, sign] : signs)
      if (own == op)
        badOperands(sign, a, b);
  }
  const bool isWhole = a.isWhole() && b.isWhole();
  if (isWhole && op != Op::Divide && !(op == Op::Power && b.whole() < 0))
    return wholes(op, a.whole(), b.whole());
  return floats(op, a.asDouble(), b.asDouble());
}

Value Interpreter::wholes(Op op, int64_t a, int64_t b) {
  int64_t out = 0;
  bool tooBig = false;
  switch (op) {
  case Op::Add:
    tooBig = __builtin_add_overflow(a, b, &out);
    break;
  case Op::Subtract:
    tooBig = __builtin_sub_overflow(a, b, &out);
    break;
  case Op::Multiply:
    tooBig = __builtin_mul_overflow(a, b, &out);
    break;
  case Op::FloorDivide:
  case Op::Remainder: {
    if (b == 0)
      refuse("integer division or modulo by zero");
    if (b == -1) { // the one division that can overflow
      tooBig = op == Op::FloorDivide && __builtin_sub_overflow(int64_t(0), a, &out);
      break;
    }
    const int64_t rest = a % b;
    const bool down = rest != 0 && (rest < 0) != (b < 0);
    out = op == Op::Remainder ? rest + (down ? b : 0) : a / b - down;
    break;
  }
  default: // Power
    out = 1;
    for (int64_t i = 0; i < b && !tooBig && !((a == 0 || a == 1) && i > 0) && !(a == -1 && i > 1);
         ++i)
      tooBig = __builtin_mul_overflow(out, a, &out);
    if (a == -1)
      out = b % 2 ? -1 : 1;
    break;
  }
  if (tooBig)
    tooLarge();
  return Value::integer(out);
}

Value Interpreter::floats(Op op, double a, double b) {
  switch (op) {
  case Op::Add:
    return Value::floating(a + b);
  case Op::Subtract:
    return Value::floating(a - b);
  case Op::Multiply:
    return Value::floating(a * b);
  case Op::Power:
    if (a == 0 && b < 0)
      refuse("0.0 cannot be raised to a negative power");
    if (a < 0 && b != std::floor(b))
      unknown("a complex number");
    return Value::floating(std::pow(a, b));
  default:
    break;
  }
  if (b == 0)
    refuse("division by zero");
  if (op == Op::Divide)
    return Value::floating(a / b);
  // As CPython's float_divmod.
  double rest = std::fmod(a, b), quotient = (a - rest) / b;
  if (rest != 0 && (b < 0) != (rest < 0)) {
    rest += b;
    quotient -= 1;
  } else if (rest == 0)
    rest = std::copysign(0.0, b);
  if (op == Op::Remainder)
    return Value::floating(rest);
  double floor = quotient != 0 ? std::floor(quotient) : std::copysign(0.0, a / b);
  if (quotient - floor > 0.5)
    floor += 1;
  return Value::floating(floor);
}

} // namespace retort::chat
