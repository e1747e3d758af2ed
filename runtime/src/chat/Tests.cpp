//===- Tests.cpp - Jinja's tests ------------------------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/src/chat/Interpreter.h"

#include <cmath>

namespace retort::chat {
namespace {

template <bool (*Is)(const Value &)>
bool ask(Interpreter &, const Value &value, const Arguments &args) {
  Parameters(args, "a test", {});
  return Is(value);
}
bool isDefined(const Value &v) { return !v.is(Kind::Undefined); }
bool isUndefined(const Value &v) { return v.is(Kind::Undefined); }
bool isNone(const Value &v) { return v.is(Kind::None); }
bool isBool(const Value &v) { return v.is(Kind::Bool); }
bool isTrue(const Value &v) { return v.is(Kind::Bool) && v.flag; }
bool isFalse(const Value &v) { return v.is(Kind::Bool) && !v.flag; }
bool isInt(const Value &v) { return v.is(Kind::Int); }
bool isFloat(const Value &v) { return v.is(Kind::Float); }
bool isNumber(const Value &v) { return v.isNumber(); }
bool isString(const Value &v) { return v.is(Kind::String); }
bool isMapping(const Value &v) { return v.is(Kind::Dict); }
bool isEscaped(const Value &v) { return v.is(Kind::String) && v.string->safe; }
bool isSequence(const Value &v) {
  return v.is(Kind::Undefined) || v.is(Kind::String) || v.is(Kind::List) || v.is(Kind::Tuple) ||
         v.is(Kind::Dict);
}
bool isIterable(const Value &v) {
  return isSequence(v) || v.is(Kind::Generator) || v.is(Kind::View) || v.is(Kind::Loop);
}
bool isCallable(const Value &v) {
  // Undefined has a __call__, which says that it is undefined.
  return v.is(Kind::Undefined) || v.is(Kind::Function) || v.is(Kind::Method) || v.is(Kind::Macro) ||
         v.is(Kind::Joiner) || v.is(Kind::Loop);
}

template <Op Operation> bool compared(Interpreter &in, const Value &value, const Arguments &args) {
  return in.compareBy(Operation, value, Parameters(args, "a comparison", {"other"}).at(0));
}

template <int Rest> bool parity(Interpreter &, const Value &value, const Arguments &args) {
  Parameters(args, "odd or even", {});
  if (!value.isWhole())
    refuse("a " + typeName(value) + " is neither odd nor even");
  return std::abs(value.whole() % 2) == Rest;
}
bool divisibleBy(Interpreter &, const Value &value, const Arguments &args) {
  const int64_t by = Parameters(args, "divisibleby", {"num"}).whole(0, 0);
  if (!value.isWhole() || by == 0)
    refuse("a " + typeName(value) + " is not divisible by " + std::to_string(by));
  return by == -1 || value.whole() % by == 0;
}
bool isIn(Interpreter &in, const Value &value, const Arguments &args) {
  return in.contains(Parameters(args, "in", {"seq"}).at(0), value);
}
bool isSame(Interpreter &in, const Value &value, const Arguments &args) {
  const Value &other = Parameters(args, "sameas", {"other"}).at(0);
  if (value.kind != other.kind)
    return false;
  if (value.is(Kind::None) || value.is(Kind::Bool) || value.is(Kind::Int))
    return equal(in.heap, value, other);
  return value.object == other.object;
}
template <bool Upper> bool inCase(Interpreter &in, const Value &value, const Arguments &args) {
  const Value text = in.heap.string(toText(in.heap, value));
  return callStringMethod(in, Upper ? "isupper" : "islower", text, args).flag;
}
bool isFilter(Interpreter &, const Value &value, const Arguments &) {
  return value.is(Kind::String) && findFilter(value.bytes());
}
bool isTest(Interpreter &, const Value &value, const Arguments &) {
  return value.is(Kind::String) && findTest(value.bytes());
}

constexpr TestEntry kTests[] = {
    {"!=", compared<Op::NotEqual>},
    {"<", compared<Op::Less>},
    {"<=", compared<Op::LessEqual>},
    {"==", compared<Op::Equal>},
    {">", compared<Op::Greater>},
    {">=", compared<Op::GreaterEqual>},
    {"boolean", ask<isBool>},
    {"callable", ask<isCallable>},
    {"defined", ask<isDefined>},
    {"divisibleby", divisibleBy},
    {"eq", compared<Op::Equal>},
    {"equalto", compared<Op::Equal>},
    {"escaped", ask<isEscaped>},
    {"even", parity<0>},
    {"false", ask<isFalse>},
    {"filter", isFilter},
    {"float", ask<isFloat>},
    {"ge", compared<Op::GreaterEqual>},
    {"greaterthan", compared<Op::Greater>},
    {"gt", compared<Op::Greater>},
    {"in", isIn},
    {"integer", ask<isInt>},
    {"iterable", ask<isIterable>},
    {"le", compared<Op::LessEqual>},
    {"lessthan", compared<Op::Less>},
    {"lower", inCase<false>},
    {"lt", compared<Op::Less>},
    {"mapping", ask<isMapping>},
    {"ne", compared<Op::NotEqual>},
    {"none", ask<isNone>},
    {"number", ask<isNumber>},
    {"odd", parity<1>},
    {"sameas", isSame},
    {"sequence", ask<isSequence>},
    {"string", ask<isString>},
    {"test", isTest},
    {"true", ask<isTrue>},
    {"undefined", ask<isUndefined>},
    {"upper", inCase<true>},
};

} // namespace

const TestEntry *findTest(std::string_view name) {
  for (const TestEntry &test : kTests)
    if (name == test.name)
      return &test;
  return nullptr;
}

} // namespace retort::chat
