//===- Value.cpp - Making and comparing values ----------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/src/chat/Value.h"
#include "runtime/base/Error.h"

#include <algorithm>

namespace retort::chat {

void refuse(std::string what) { fail(ExitCode::Usage, std::move(what)); }
void unknown(std::string what) {
  fail(ExitCode::Unsupported, std::move(what) + " is not known to Retort");
}

void Heap::charge(uint64_t bytes) {
  if (bytes > kMaxHeapBytes || (bytes_ += bytes) > kMaxHeapBytes)
    fail(ExitCode::Resources,
         "the template needs more than " + std::to_string(kMaxHeapBytes >> 20) +
             " MB: shorten the conversation, or give a template that does less");
}

void Heap::tooLong() const {
  fail(ExitCode::Resources, "the template takes more than " + std::to_string(kMaxSteps) +
                                " steps: shorten the conversation, or give a template that ends");
}

Value Heap::string(Text text, bool safe) {
  step(text.size() / 32);
  auto *object = make<StringObject>(text.size() * 2);
  object->text = std::move(text);
  object->safe = safe;
  return Value::of(Kind::String, object);
}
Value Heap::string(std::string_view bytes, Origin origin) {
  return string(Text(std::string(bytes), origin));
}

static uint32_t depthOf(const Value &value) {
  switch (value.kind) {
  case Kind::List:
  case Kind::Tuple:
  case Kind::Generator:
  case Kind::View:
    return value.list->depth;
  case Kind::Dict:
    return value.dict->depth;
  default:
    return 0;
  }
}

static uint32_t deeper(uint32_t depth, const Value &value) {
  depth = std::max(depth, depthOf(value) + 1);
  if (depth > kMaxValueNesting)
    fail(ExitCode::Resources, "the template nests lists deeper than " +
                                  std::to_string(kMaxValueNesting) + ": give one that does less");
  return depth;
}

Value Heap::list(std::vector<Value> items, Kind kind) {
  step(items.size() / 4);
  auto *object = make<ListObject>(items.size() * sizeof(Value));
  for (const Value &item : items)
    object->depth = deeper(object->depth, item);
  object->items = std::move(items);
  return Value::of(kind, object);
}

Value Heap::dict() { return Value::of(Kind::Dict, make<DictObject>()); }

void Heap::set(const Value &dict, const Value &key, const Value &value) {
  if (!hashable(key))
    refuse("a key of the type '" + typeName(key) + "'");
  if (const Value *old = find(*this, dict, key)) {
    *const_cast<Value *>(old) = value;
  } else {
    charge(2 * sizeof(Value) + (key.is(Kind::String) ? 64 : 0));
    if (key.is(Kind::String))
      dict.dict->byText.emplace(key.bytes(), dict.dict->items.size());
    dict.dict->items.emplace_back(key, value);
  }
  dict.dict->depth = deeper(deeper(dict.dict->depth, value), key);
}

Value Heap::undefined(std::string what) {
  Value value;
  value.string = make<StringObject>(what.size());
  value.string->text = Text(std::move(what), Origin::Data);
  return value;
}

bool hashable(const Value &value) {
  if (value.is(Kind::Tuple))
    return std::all_of(value.list->items.begin(), value.list->items.end(), hashable);
  return !value.is(Kind::List) && !value.is(Kind::Dict);
}

bool truthy(const Value &value) {
  switch (value.kind) {
  case Kind::Undefined:
  case Kind::None:
    return false;
  case Kind::Bool:
    return value.flag;
  case Kind::Int:
    return value.number != 0;
  case Kind::Float:
    return value.real != 0;
  case Kind::String:
    return !value.text().empty();
  case Kind::List:
  case Kind::Tuple:
  case Kind::View:
    return !value.list->items.empty();
  case Kind::Dict:
    return !value.dict->items.empty();
  case Kind::Loop:
    return !value.loop->items.empty();
  default:
    return true;
  }
}

static bool equalLists(Heap &heap, const std::vector<Value> &a, const std::vector<Value> &b) {
  return a.size() == b.size() &&
         std::equal(a.begin(), a.end(), b.begin(),
                    [&](const Value &x, const Value &y) { return equal(heap, x, y); });
}

/// An exact comparison of a whole number and a float.
static int compareNumbers(const Value &a, const Value &b) {
  auto sign = [](auto x, auto y) { return x < y ? -1 : x > y ? 1 : 0; };
  if (!a.is(Kind::Float) && !b.is(Kind::Float))
    return sign(a.whole(), b.whole());
  // 64 bits of mantissa hold every 64-bit integer.
  return sign(a.is(Kind::Float) ? static_cast<long double>(a.real) : a.whole(),
              b.is(Kind::Float) ? static_cast<long double>(b.real) : b.whole());
}

bool equal(Heap &heap, const Value &a, const Value &b) {
  heap.step();
  if (a.isNumber() && b.isNumber())
    return a.asDouble() == a.asDouble() && b.asDouble() == b.asDouble() &&
           compareNumbers(a, b) == 0;
  if (a.kind != b.kind)
    return false;
  switch (a.kind) {
  case Kind::Undefined:
  case Kind::None:
    return true;
  case Kind::String:
    heap.step(std::min(a.text().size(), b.text().size()) / 64);
    return a.bytes() == b.bytes();
  case Kind::List:
  case Kind::Tuple:
    return equalLists(heap, a.list->items, b.list->items);
  case Kind::Dict: {
    if (a.dict->items.size() != b.dict->items.size())
      return false;
    for (const auto &[key, value] : a.dict->items) {
      const Value *other = find(heap, b, key);
      if (!other || !equal(heap, value, *other))
        return false;
    }
    return true;
  }
  case Kind::Method:
    return a.method->method == b.method->method && equal(heap, a.method->self, b.method->self);
  case Kind::Function:
    return a.number == b.number;
  default:
    return a.object == b.object;
  }
}

int compare(Heap &heap, const Value &a, const Value &b) {
  heap.step();
  if (a.isNumber() && b.isNumber())
    return compareNumbers(a, b);
  if (a.is(Kind::String) && b.is(Kind::String)) {
    heap.step(std::min(a.text().size(), b.text().size()) / 64);
    return a.bytes().compare(b.bytes()); // UTF-8 keeps the order of code points
  }
  if (a.kind == b.kind && (a.is(Kind::List) || a.is(Kind::Tuple))) {
    const auto &x = a.list->items, &y = b.list->items;
    for (size_t i = 0; i < x.size() && i < y.size(); ++i)
      if (!equal(heap, x[i], y[i]))
        return compare(heap, x[i], y[i]);
    return x.size() < y.size() ? -1 : x.size() > y.size();
  }
  refuse("'" + typeName(a) + "' and '" + typeName(b) + "' have no order");
}

const Value *find(const Value &dict, std::string_view key) {
  auto it = dict.dict->byText.find(key);
  return it == dict.dict->byText.end() ? nullptr : &dict.dict->items[it->second].second;
}

const Value *find(Heap &heap, const Value &dict, const Value &key) {
  if (key.is(Kind::String))
    return find(dict, key.bytes());
  if (dict.dict->byText.size() == dict.dict->items.size())
    return nullptr;
  for (const auto &[own, value] : dict.dict->items)
    if (equal(heap, own, key))
      return &value;
  return nullptr;
}

std::string typeName(const Value &value) {
  static const char *const names[] = {
      "Undefined",   "NoneType", "bool",      "int",        "float",  "str",
      "list",        "tuple",    "generator", "dict_items", "dict",   "Namespace",
      "LoopContext", "Macro",    "function",  "method",     "Cycler", "Joiner"};
  if (value.is(Kind::View))
    return value.list->view;
  return names[size_t(value.kind)];
}

} // namespace retort::chat
