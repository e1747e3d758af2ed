//===- ListFilters.cpp - Filters of lists and dictionaries ---------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/src/chat/FilterParts.h"

#include <algorithm>
#include <list>

namespace retort::chat {
namespace {

Value withoutCase(Interpreter &in, const Value &value, bool caseSensitive) {
  return value.is(Kind::String) && !caseSensitive ? callStringMethod(in, "lower", value, {})
                                                  : value;
}

/// Sorts items by keys, stable. Throws Error where keys have no order.
std::vector<Value> sortedBy(Interpreter &in, const std::vector<Value> &items,
                            const std::vector<std::vector<Value>> &keys, bool reverse) {
  std::list<size_t> order; // whose sort bears keys without an order, such as NaN
  for (size_t i = 0; i < items.size(); ++i)
    order.push_back(i);
  auto less = [&](size_t a, size_t b) {
    for (size_t k = 0; k < keys[a].size(); ++k)
      if (!equal(in.heap, keys[a][k], keys[b][k]))
        return compare(in.heap, keys[a][k], keys[b][k]) < 0;
    return false;
  };
  order.sort([&](size_t a, size_t b) { return reverse ? less(b, a) : less(a, b); });
  std::vector<Value> sorted;
  for (size_t i : order)
    sorted.push_back(items[i]);
  return sorted;
}

Value sort(Interpreter &in, const Value &value, const Arguments &args) {
  Parameters p(args, "sort", {"reverse", "case_sensitive", "attribute"});
  const std::vector<Value> items = in.walk(value);
  std::vector<Getter> getters;
  if (p.has(2) && p.at(2).is(Kind::String)) {
    const Value names = callStringMethod(in, "split", p.at(2), {{in.heap.string(",")}, {}});
    for (const Value &name : names.list->items)
      getters.emplace_back(in, &name);
  } else
    getters.emplace_back(in, p.has(2) ? &p.at(2) : nullptr);
  std::vector<std::vector<Value>> keys(items.size());
  for (size_t i = 0; i < items.size(); ++i)
    for (const Getter &getter : getters)
      keys[i].push_back(withoutCase(in, getter(items[i]), p.flag(1, false)));
  return in.heap.list(sortedBy(in, items, keys, p.flag(0, false)));
}

Value dictsort(Interpreter &in, const Value &value, const Arguments &args) {
  Parameters p(args, "dictsort", {"case_sensitive", "by", "reverse"});
  needDefined(value);
  const std::string by = p.has(1) ? p.text(1).bytes() : "key";
  if (by != "key" && by != "value")
    refuse("You can only sort by either \"key\" or \"value\"");
  if (!value.is(Kind::Dict))
    refuse("'" + typeName(value) + "' object has no attribute 'items'");
  std::vector<Value> items;
  std::vector<std::vector<Value>> keys;
  for (const auto &[key, item] : value.dict->items) {
    items.push_back(in.heap.list({key, item}, Kind::Tuple));
    keys.push_back({withoutCase(in, by == "key" ? key : item, p.flag(0, false))});
  }
  return in.heap.list(sortedBy(in, items, keys, p.flag(2, false)));
}

Value groupby(Interpreter &in, const Value &value, const Arguments &args) {
  Parameters p(args, "groupby", {"attribute", "default", "case_sensitive"});
  const Getter getter(in, &p.at(0));
  const Value *missing = p.has(1) && !p.at(1).is(Kind::None) ? &p.at(1) : nullptr;
  const std::vector<Value> items = in.walk(value);
  std::vector<std::vector<Value>> keys;
  auto keyOf = [&](const Value &item) {
    return withoutCase(in, getter(item, missing), p.flag(2, false));
  };
  for (const Value &item : items)
    keys.push_back({keyOf(item)});
  std::vector<Value> groups, group;
  const std::vector<Value> sorted = sortedBy(in, items, keys, false);
  for (size_t i = 0; i < sorted.size(); ++i) {
    group.push_back(sorted[i]);
    if (i + 1 < sorted.size() && equal(in.heap, keyOf(sorted[i]), keyOf(sorted[i + 1])))
      continue;
    Value made = in.heap.list({getter(group[0], missing), in.heap.list(group)}, Kind::Tuple);
    made.list->view = "group";
    groups.push_back(made);
    group.clear();
  }
  return in.heap.list(std::move(groups));
}

Value unique(Interpreter &in, const Value &value, const Arguments &args) {
  Parameters p(args, "unique", {"case_sensitive", "attribute"});
  const Getter getter(in, p.has(1) ? &p.at(1) : nullptr);
  Value seen = in.heap.dict();
  std::vector<Value> kept;
  for (const Value &item : in.walk(value)) {
    const Value key = withoutCase(in, getter(item), p.flag(0, false));
    if (!hashable(key))
      refuse("unhashable type: '" + typeName(key) + "'");
    if (find(in.heap, seen, key))
      continue;
    in.heap.set(seen, key, Value::none());
    kept.push_back(item);
  }
  return in.heap.list(std::move(kept), Kind::Generator);
}

template <bool Max> Value extreme(Interpreter &in, const Value &value, const Arguments &args) {
  Parameters p(args, Max ? "max" : "min", {"case_sensitive", "attribute"});
  const Getter getter(in, p.has(1) ? &p.at(1) : nullptr);
  const std::vector<Value> items = in.walk(value);
  if (items.empty())
    return in.heap.undefined("No aggregated item, sequence was empty.");
  size_t best = 0;
  Value bestKey;
  for (size_t i = 0; i < items.size(); ++i) {
    const Value key = withoutCase(in, getter(items[i]), p.flag(0, false));
    if (i > 0) {
      const int order = compare(in.heap, key, bestKey);
      if (Max ? order <= 0 : order >= 0)
        continue;
    }
    best = i;
    bestKey = key;
  }
  return items[best];
}

Value sum(Interpreter &in, const Value &value, const Arguments &args) {
  Parameters p(args, "sum", {"attribute", "start"});
  const Getter getter(in, p.has(0) ? &p.at(0) : nullptr);
  Value total = p.has(1) ? p.at(1) : Value::integer(0);
  if (total.is(Kind::String))
    refuse("sum() can't sum strings [use ''.join(seq) instead]");
  for (const Value &item : in.walk(value))
    total = in.add(total, getter(item));
  return total;
}

Value join(Interpreter &in, const Value &value, const Arguments &args) {
  Parameters p(args, "join", {"d", "attribute"});
  const Getter getter(in, p.has(1) ? &p.at(1) : nullptr);
  const Text separator = p.has(0) ? toText(in.heap, p.at(0)) : Text();
  Text out;
  bool first = true;
  for (const Value &item : in.walk(value)) {
    in.heap.charge(separator.size());
    if (!first)
      out.append(separator);
    out.append(toText(in.heap, getter(item)));
    first = false;
  }
  return in.heap.string(std::move(out));
}

Value first(Interpreter &in, const Value &value, const Arguments &args) {
  Parameters(args, "first", {});
  if (value.is(Kind::Generator) && !value.list->walked && !value.list->items.empty()) {
    const Value item = value.list->items[0]; // the others are still there
    value.list->items.erase(value.list->items.begin());
    return item;
  }
  const std::vector<Value> items = in.walk(value);
  return items.empty() ? in.heap.undefined("No first item, sequence was empty.") : items[0];
}
Value last(Interpreter &in, const Value &value, const Arguments &args) {
  Parameters(args, "last", {});
  needDefined(value);
  if (value.is(Kind::Generator))
    refuse("'generator' object is not reversible");
  const std::vector<Value> items = in.walk(value);
  return items.empty() ? in.heap.undefined("No last item, sequence was empty.") : items.back();
}

Value length(Interpreter &, const Value &value, const Arguments &args) {
  Parameters(args, "length", {});
  switch (value.kind) {
  case Kind::Undefined:
    return Value::integer(0);
  case Kind::String:
    return Value::integer(int64_t(countChars(value.text())));
  case Kind::List:
  case Kind::Tuple:
  case Kind::View:
    return Value::integer(int64_t(value.list->items.size()));
  case Kind::Dict:
    return Value::integer(int64_t(value.dict->items.size()));
  case Kind::Loop:
    return Value::integer(int64_t(value.loop->items.size()));
  default:
    refuse("object of type '" + typeName(value) + "' has no len()");
  }
}

Value list(Interpreter &in, const Value &value, const Arguments &args) {
  Parameters(args, "list", {});
  return in.heap.list(in.walk(value));
}

Value reverse(Interpreter &in, const Value &value, const Arguments &args) {
  Parameters(args, "reverse", {});
  if (value.is(Kind::String)) {
    const std::vector<size_t> starts = charStarts(value.text());
    Text out;
    for (size_t i = starts.size() - 1; i-- > 0;)
      out.append(value.text(), starts[i], starts[i + 1]);
    return in.heap.string(std::move(out));
  }
  const bool isList =
      value.is(Kind::Generator) || value.is(Kind::Undefined); // Python reverses no generator
  std::vector<Value> items = in.walk(value);
  std::reverse(items.begin(), items.end());
  return in.heap.list(std::move(items), isList ? Kind::List : Kind::Generator);
}

Value items(Interpreter &in, const Value &value, const Arguments &args) {
  Parameters(args, "items", {});
  std::vector<Value> pairs;
  if (value.is(Kind::Dict))
    for (const auto &[key, item] : value.dict->items)
      pairs.push_back(in.heap.list({key, item}, Kind::Tuple));
  else if (!value.is(Kind::Undefined))
    refuse("Can only get item pairs from a mapping.");
  return in.heap.list(std::move(pairs), Kind::Generator);
}

Value batch(Interpreter &in, const Value &value, const Arguments &args) {
  Parameters p(args, "batch", {"linecount", "fill_with"});
  const int64_t count = p.whole(0, 0);
  if (count < 1 || count > 1 << 20)
    refuse("batch() needs a count of at least 1");
  std::vector<Value> lines, line;
  for (const Value &item : in.walk(value)) {
    if (int64_t(line.size()) == count) {
      lines.push_back(in.heap.list(line));
      line.clear();
    }
    line.push_back(item);
  }
  if (!line.empty()) {
    if (p.has(1) && !p.at(1).is(Kind::None))
      line.resize(size_t(count), p.at(1));
    lines.push_back(in.heap.list(line));
  }
  return in.heap.list(std::move(lines), Kind::Generator);
}

Value sliceInto(Interpreter &in, const Value &value, const Arguments &args) {
  Parameters p(args, "slice", {"slices", "fill_with"});
  const int64_t slices = p.whole(0, 0);
  if (slices < 1 || slices > 1 << 20)
    refuse("slice() needs a count of at least 1");
  const std::vector<Value> all = in.walk(value);
  const size_t each = all.size() / size_t(slices), more = all.size() % size_t(slices);
  std::vector<Value> made;
  size_t at = 0;
  for (size_t i = 0; i < size_t(slices); ++i) {
    const size_t end = at + each + (i < more);
    std::vector<Value> part(all.begin() + long(at), all.begin() + long(end));
    if (p.has(1) && !p.at(1).is(Kind::None) && i >= more)
      part.push_back(p.at(1));
    made.push_back(in.heap.list(std::move(part)));
    at = end;
  }
  return in.heap.list(std::move(made), Kind::Generator);
}

constexpr FilterEntry kFilters[] = {
    {"batch", batch},     {"count", length, true}, {"dictsort", dictsort},
    {"first", first},     {"groupby", groupby},    {"items", items},
    {"join", join},       {"last", last},          {"length", length, true},
    {"list", list},       {"max", extreme<true>},  {"min", extreme<false>},
    {"reverse", reverse}, {"slice", sliceInto},    {"sort", sort},
    {"sum", sum},         {"unique", unique},
};

} // namespace

Getter::Getter(Interpreter &in, const Value *attribute) : in_(in) {
  if (!attribute || attribute->is(Kind::None))
    return;
  if (!attribute->is(Kind::String)) {
    keys_.push_back(*attribute);
    return;
  }
  const std::string &path = attribute->bytes();
  for (size_t at = 0; at <= path.size();) {
    const size_t dot = std::min(path.find('.', at), path.size());
    const std::string part = path.substr(at, dot - at);
    const bool isNumber =
        !part.empty() && part.size() < 10 && part.find_first_not_of("0123456789") == part.npos;
    keys_.push_back(isNumber ? Value::integer(std::stol(part)) : in.heap.string(part));
    at = dot + 1;
  }
}

Value Getter::operator()(Value item, const Value *missing) const {
  for (const Value &key : keys_) {
    item = in_.item(item, key);
    if (missing && item.is(Kind::Undefined))
      item = *missing;
  }
  return item;
}

std::span<const FilterEntry> listFilters() { return kFilters; }

} // namespace retort::chat
