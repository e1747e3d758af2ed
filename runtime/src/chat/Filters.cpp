//===- Filters.cpp - Jinja's filters, found by name --------------------------===//
// SPDX-License-Identifier: Apache-2.0
//
// Here are those that choose among values; texts, numbers and lists have files of their own.
//
//===----------------------------------------------------------------------===//
#include "runtime/src/chat/FilterParts.h"

#include <algorithm>

namespace retort::chat {

void needDefined(const Value &value) {
  if (value.is(Kind::Undefined))
    refuse(value.string ? value.bytes() : "a value is undefined");
}

namespace {

Value defaultTo(Interpreter &in, const Value &value, const Arguments &args) {
  Parameters p(args, "default", {"default_value", "boolean"});
  if (value.is(Kind::Undefined) || (p.flag(1, false) && !truthy(value)))
    return p.has(0) ? p.at(0) : in.heap.string("");
  return value;
}

Value attribute(Interpreter &in, const Value &value, const Arguments &args) {
  Parameters p(args, "attr", {"name"});
  needDefined(value);
  if (value.is(Kind::Dict) && !findMethod(value, p.text(0).bytes()))
    return in.heap.undefined("'dict object' has no attribute '" + p.text(0).bytes() + "'");
  return in.attribute(value, p.text(0).bytes());
}

Arguments rest(const Arguments &args, size_t from) {
  return {{args.list.begin() + long(std::min(from, args.list.size())), args.list.end()},
          args.named};
}

Value map(Interpreter &in, const Value &value, const Arguments &args) {
  std::vector<Value> made;
  if (!truthy(value))
    return in.heap.list({}, Kind::Generator);
  if (args.list.empty() && !args.named.empty()) {
    Parameters p(args, "map", {"attribute", "default"});
    const Getter getter(in, &p.at(0));
    const Value *missing = p.has(1) && !p.at(1).is(Kind::None) ? &p.at(1) : nullptr;
    for (const Value &item : in.walk(value))
      made.push_back(getter(item, missing));
    return in.heap.list(std::move(made), Kind::Generator);
  }
  if (args.list.empty() || !args.list[0].is(Kind::String))
    refuse("map requires a filter argument");
  const FilterEntry *filter = findFilter(args.list[0].bytes());
  if (!filter)
    unknown("the filter " + args.list[0].bytes());
  const Arguments own = rest(args, 1);
  for (const Value &item : in.walk(value))
    made.push_back(filter->run(in, item, own));
  return in.heap.list(std::move(made), Kind::Generator);
}

template <bool Keep, bool ByAttribute>
Value select(Interpreter &in, const Value &value, const Arguments &args) {
  if (!truthy(value))
    return in.heap.list({}, Kind::Generator);
  if (ByAttribute && args.list.empty())
    refuse("Missing parameter for attribute name");
  const Getter getter(in, ByAttribute ? &args.list[0] : nullptr);
  constexpr size_t off = ByAttribute;
  const TestEntry *test = nullptr;
  if (args.list.size() > off) {
    if (!args.list[off].is(Kind::String) || !(test = findTest(args.list[off].bytes())))
      unknown("the test " + (args.list[off].is(Kind::String) ? args.list[off].bytes() : "given"));
  }
  const Arguments own = rest(args, off + 1);
  std::vector<Value> kept;
  for (const Value &item : in.walk(value)) {
    const Value what = getter(item);
    if ((test ? test->run(in, what, own) : truthy(what)) == Keep)
      kept.push_back(item);
  }
  return in.heap.list(std::move(kept), Kind::Generator);
}

constexpr FilterEntry kFilters[] = {
    {"attr", attribute},
    {"d", defaultTo, true},
    {"default", defaultTo, true},
    {"map", map},
    {"reject", select<false, false>},
    {"rejectattr", select<false, true>},
    {"select", select<true, false>},
    {"selectattr", select<true, true>},
};

} // namespace

const FilterEntry *findFilter(std::string_view name) {
  for (const std::span<const FilterEntry> filters :
       {std::span<const FilterEntry>(kFilters), textFilters(), numberFilters(), listFilters()})
    for (const FilterEntry &filter : filters)
      if (name == filter.name)
        return &filter;
  return nullptr;
}

} // namespace retort::chat
