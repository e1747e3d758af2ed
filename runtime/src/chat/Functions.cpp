//===- Functions.cpp - Functions, and methods of lists and dictionaries ---===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/src/chat/Interpreter.h"

#include <algorithm>
#include <cmath>
#include <iterator>

namespace retort::chat {

//===----------------------------------------------------------------------===//
// Arguments
//===----------------------------------------------------------------------===//

Parameters::Parameters(const Arguments &args, std::string_view function,
                       std::initializer_list<std::string_view> names)
    : function_(function), names_(names), values_(names.size()) {
  const std::string name(function);
  if (args.list.size() > names.size())
    refuse(name + "() takes at most " + std::to_string(names.size()) + " arguments but " +
           std::to_string(args.list.size()) + " were given");
  for (size_t i = 0; i < args.list.size(); ++i)
    values_[i] = &args.list[i];
  for (const auto &[own, value] : args.named) {
    const size_t i = size_t(std::find(names_.begin(), names_.end(), own) - names_.begin());
    if (i == names_.size())
      refuse(name + "() got an unexpected keyword argument '" + std::string(own) + "'");
    if (values_[i])
      refuse(name + "() got multiple values for argument '" + std::string(own) + "'");
    values_[i] = &value;
  }
}

void Parameters::bad(size_t i, const char *what) const {
  refuse("the argument '" + std::string(names_[i]) + "' of " + std::string(function_) + "() " +
         what);
}
const Value &Parameters::at(size_t i) const {
  if (!has(i))
    bad(i, "is missing");
  return *values_[i];
}
int64_t Parameters::whole(size_t i, int64_t missing) const {
  if (!has(i))
    return missing;
  if (!values_[i]->isWhole())
    bad(i, "is no whole number");
  return values_[i]->whole();
}
bool Parameters::flag(size_t i, bool missing) const {
  return has(i) ? truthy(*values_[i]) : missing;
}
const Text &Parameters::text(size_t i) const {
  if (!at(i).is(Kind::String))
    bad(i, "is no text");
  return at(i).text();
}

namespace {

//===----------------------------------------------------------------------===//
// Functions
//===----------------------------------------------------------------------===//

constexpr int64_t kMaxRange = 100'000; // Jinja's sandbox has the same

Value range(Interpreter &in, const Arguments &args) {
  Parameters p(args, "range", {"start", "stop", "step"});
  const bool one = !p.has(1);
  p.at(0);
  const int64_t start = one ? 0 : p.whole(0, 0), stop = one ? p.whole(0, 0) : p.whole(1, 0);
  const int64_t step = p.whole(2, 1);
  if (step == 0)
    refuse("range() arg 3 must not be zero");
  std::vector<Value> items;
  for (int64_t at = start; step > 0 ? at < stop : at > stop;) {
    if (items.size() == size_t(kMaxRange))
      refuse("Range too big. The sandbox blocks ranges larger than MAX_RANGE (100000).");
    in.heap.charge(sizeof(Value));
    items.push_back(Value::integer(at));
    if (__builtin_add_overflow(at, step, &at))
      break;
  }
  return in.heap.list(std::move(items));
}

/// What dict() and namespace() make of their arguments.
Value toDict(Interpreter &in, const Arguments &args, const char *name) {
  if (args.list.size() > 1)
    refuse(std::string(name) + " expected at most 1 argument");
  Value dict = in.heap.dict();
  if (!args.list.empty()) {
    const Value &from = args.list[0];
    if (from.is(Kind::Dict))
      for (const auto &[key, value] : from.dict->items)
        in.heap.set(dict, key, value);
    else
      for (const Value &pair : in.walk(from)) {
        const std::vector<Value> both = in.walk(pair);
        if (both.size() != 2)
          refuse("an element of a dictionary is no pair");
        in.heap.set(dict, both[0], both[1]);
      }
  }
  for (const auto &[key, value] : args.named)
    in.heap.set(dict, in.heap.string(key, Origin::Template), value);
  return dict;
}

Value makeDict(Interpreter &in, const Arguments &args) { return toDict(in, args, "dict()"); }

Value makeNamespace(Interpreter &in, const Arguments &args) {
  const Value dict = toDict(in, args, "namespace()");
  auto *space = in.heap.make<NamespaceObject>();
  for (const auto &[key, value] : dict.dict->items) {
    if (!key.is(Kind::String))
      unknown("a namespace with a name that is no text");
    if (key.bytes().starts_with('_'))
      refuse("a namespace has no attributes that begin with '_'");
    space->items.emplace_back(key.bytes(), value);
  }
  return Value::of(Kind::Namespace, space);
}

Value raise(Interpreter &in, const Arguments &args) {
  refuse("it refuses the conversation: " +
         toText(in.heap, Parameters(args, "raise_exception", {"message"}).at(0)).bytes());
}

Value strftimeNow(Interpreter &in, const Arguments &args) {
  const Text &form = Parameters(args, "strftime_now", {"format"}).text(0);
  return in.heap.string(in.date.format(form.bytes()), form.originBefore(0));
}

Value makeCycler(Interpreter &in, const Arguments &args) {
  if (args.list.empty() || !args.named.empty())
    refuse("at least one item has to be provided");
  return in.heap.list(args.list, Kind::Cycler);
}

Value makeJoiner(Interpreter &in, const Arguments &args) {
  Parameters p(args, "joiner", {"sep"});
  auto *joiner = in.heap.make<JoinerObject>();
  joiner->separator = p.has(0) ? p.at(0) : in.heap.string(", ", Origin::Template);
  return Value::of(Kind::Joiner, joiner);
}

struct FunctionEntry {
  const char *name;
  Value (*run)(Interpreter &, const Arguments &);
};
constexpr FunctionEntry kFunctions[] = {
    {"range", range},
    {"dict", makeDict},
    {"namespace", makeNamespace},
    {"raise_exception", raise},
    {"strftime_now", strftimeNow},
    {"cycler", makeCycler},
    {"joiner", makeJoiner},
};

//===----------------------------------------------------------------------===//
// Methods
//===----------------------------------------------------------------------===//

Value view(Interpreter &in, const Value &self, const char *name, auto item) {
  std::vector<Value> items;
  for (const auto &[key, value] : self.dict->items)
    items.push_back(item(key, value));
  Value made = in.heap.list(std::move(items), Kind::View);
  made.list->view = name;
  return made;
}
Value dictKeys(Interpreter &in, const Value &self, const Arguments &args) {
  Parameters(args, "keys", {});
  return view(in, self, "dict_keys", [](auto &key, auto &) { return key; });
}
Value dictValues(Interpreter &in, const Value &self, const Arguments &args) {
  Parameters(args, "values", {});
  return view(in, self, "dict_values", [](auto &, auto &value) { return value; });
}
Value dictItems(Interpreter &in, const Value &self, const Arguments &args) {
  Parameters(args, "items", {});
  return view(in, self, "dict_items",
              [&](auto &key, auto &value) { return in.heap.list({key, value}, Kind::Tuple); });
}
Value dictGet(Interpreter &in, const Value &self, const Arguments &args) {
  Parameters p(args, "get", {"key", "default"});
  if (!hashable(p.at(0)))
    refuse("unhashable type: '" + typeName(p.at(0)) + "'");
  if (const Value *value = find(in.heap, self, p.at(0)))
    return *value;
  return p.has(1) ? p.at(1) : Value::none();
}
Value itself(Interpreter &, const Value &self, const Arguments &args) {
  Parameters(args, "copy", {});
  return self; // lists and dictionaries never change
}
/// Jinja's sandbox does not let templates change lists and dictionaries.
Value immutable(Interpreter &, const Value &self, const Arguments &) {
  refuse("a template may not change a " + typeName(self));
}
Value listIndex(Interpreter &in, const Value &self, const Arguments &args) {
  Parameters p(args, "index", {"value"});
  for (size_t i = 0; i < self.list->items.size(); ++i)
    if (equal(in.heap, self.list->items[i], p.at(0)))
      return Value::integer(int64_t(i));
  refuse("the value is not in the list");
}
Value listCount(Interpreter &in, const Value &self, const Arguments &args) {
  Parameters p(args, "count", {"value"});
  return Value::integer(
      std::count_if(self.list->items.begin(), self.list->items.end(),
                    [&](const Value &item) { return equal(in.heap, item, p.at(0)); }));
}
Value isInteger(Interpreter &, const Value &self, const Arguments &args) {
  Parameters(args, "is_integer", {});
  return Value::boolean(self.real == std::floor(self.real) && !std::isinf(self.real));
}
Value cycle(Interpreter &, const Value &self, const Arguments &args) {
  if (args.list.empty())
    refuse("no items for cycling given");
  return args.list[self.loop->index % args.list.size()];
}
Value changed(Interpreter &in, const Value &self, const Arguments &args) {
  LoopObject &loop = *self.loop;
  const bool same = loop.changedBefore && loop.last.size() == args.list.size() &&
                    std::equal(loop.last.begin(), loop.last.end(), args.list.begin(),
                               [&](auto &a, auto &b) { return equal(in.heap, a, b); });
  loop.changedBefore = true;
  loop.last = args.list;
  return Value::boolean(!same);
}
Value cyclerNext(Interpreter &, const Value &self, const Arguments &args) {
  Parameters(args, "next", {});
  const Value value = self.list->items[self.list->at];
  self.list->at = (self.list->at + 1) % self.list->items.size();
  return value;
}
Value cyclerReset(Interpreter &, const Value &self, const Arguments &args) {
  Parameters(args, "reset", {});
  self.list->at = 0;
  return Value::none();
}

constexpr MethodEntry kMethods[] = {
    {Kind::Dict, "keys", dictKeys},        {Kind::Dict, "values", dictValues},
    {Kind::Dict, "items", dictItems},      {Kind::Dict, "get", dictGet},
    {Kind::Dict, "copy", itself},          {Kind::Dict, "clear", immutable},
    {Kind::Dict, "pop", immutable},        {Kind::Dict, "popitem", immutable},
    {Kind::Dict, "setdefault", immutable}, {Kind::Dict, "update", immutable},
    {Kind::List, "index", listIndex},      {Kind::List, "count", listCount},
    {Kind::List, "copy", itself},          {Kind::List, "append", immutable},
    {Kind::List, "clear", immutable},      {Kind::List, "extend", immutable},
    {Kind::List, "insert", immutable},     {Kind::List, "pop", immutable},
    {Kind::List, "remove", immutable},     {Kind::List, "reverse", immutable},
    {Kind::List, "sort", immutable},       {Kind::Tuple, "index", listIndex},
    {Kind::Tuple, "count", listCount},     {Kind::Float, "is_integer", isInteger},
    {Kind::Loop, "cycle", cycle},          {Kind::Loop, "changed", changed},
    {Kind::Cycler, "next", cyclerNext},    {Kind::Cycler, "reset", cyclerReset},
};

} // namespace

int findFunction(std::string_view name) {
  for (size_t i = 0; i < std::size(kFunctions); ++i)
    if (name == kFunctions[i].name)
      return int(i);
  return -1;
}

Value callFunction(Interpreter &interpreter, int function, const Arguments &args) {
  return kFunctions[function].run(interpreter, args);
}

const MethodEntry *findMethod(const Value &self, std::string_view name) {
  if (self.is(Kind::String))
    return findStringMethod(name);
  for (const MethodEntry &method : kMethods)
    if (method.kind == self.kind && name == method.name)
      return &method;
  return nullptr;
}

} // namespace retort::chat
