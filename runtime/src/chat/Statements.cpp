//===- Statements.cpp - Running a template's statements -------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/base/Error.h"
#include "runtime/src/chat/Nest.h"

#include <algorithm>

namespace retort::chat {

/// A message on one line.
static std::string onOneLine(std::string text) {
  for (char &c : text)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F)
      c = ' ';
  return text;
}

Text Interpreter::run(const std::vector<std::pair<std::string, Value>> &variables) {
  Text out;
  out_ = &out;
  scope_ = scope(nullptr);
  for (uint32_t i = 0; i < program_.texts.size(); ++i) {
    const std::string &text = textOf(i);
    // Where a name is given twice, the last one counts.
    for (const auto &[name, value] : variables)
      if (name == text)
        set(i, value);
    for (auto [name, id] : {std::pair("loop", &loopName_), std::pair("caller", &callerName_),
                            std::pair("varargs", &varargsName_), std::pair("kwargs", &kwargsName_)})
      if (text == name)
        *id = i;
  }
  try {
    exec(uint32_t(program_.nodes.size() - 1));
  } catch (Error &error) {
    error.message =
        "chat template, line " + std::to_string(line_) + ": " + onOneLine(std::move(error.message));
    throw;
  }
  return out;
}

Scope *Interpreter::scope(Scope *parent) {
  Scope *made = heap.make<Scope>();
  made->parent = parent;
  return made;
}

const Value *Interpreter::lookup(uint32_t name) const {
  for (const Scope *scope = scope_; scope; scope = scope->parent)
    for (const auto &[own, value] : scope->values)
      if (own == name)
        return &value;
  return nullptr;
}

void Interpreter::set(uint32_t name, const Value &value) {
  for (auto &[own, old] : scope_->values)
    if (own == name) {
      old = value;
      return;
    }
  heap.charge(sizeof(Value) + 16);
  scope_->values.emplace_back(name, value);
}

void Interpreter::write(const Text &text) {
  heap.charge(text.size() * 2);
  heap.step(text.size() / 32);
  out_->append(text);
}

Text Interpreter::capture(uint32_t block, Scope *parent, Flow *flow) {
  Text text, *outer = out_;
  Scope *before = scope_;
  out_ = &text;
  scope_ = scope(parent);
  const Flow end = exec(block);
  if (flow)
    *flow = end;
  scope_ = before;
  out_ = outer;
  return text;
}

void Interpreter::assign(uint32_t target, const Value &value) {
  const Node &n = program_.nodes[target];
  if (n.op == Op::Name)
    return set(n.a, value);
  if (n.op == Op::SpaceAttribute) {
    const Value *space = lookup(n.a);
    if (!space || !space->is(Kind::Namespace))
      refuse("cannot assign attribute on non-namespace object");
    const std::string &name = textOf(n.b);
    if (name.starts_with('_'))
      refuse("a namespace has no attributes that begin with '_'");
    heap.charge(sizeof(Value) + name.size() + 32);
    auto &items = space->space->items;
    auto it = std::find_if(items.begin(), items.end(), [&](auto &i) { return i.first == name; });
    heap.step(items.size() / 8);
    if (it == items.end())
      items.emplace_back(name, value);
    else
      it->second = value;
    return;
  }
  const std::vector<Value> items = walk(value);
  if (items.size() != n.parts)
    refuse("cannot unpack " + std::to_string(items.size()) + " values into " +
           std::to_string(n.parts) + " names");
  for (size_t i = 0; i < items.size(); ++i)
    assign(program_.partsOf(n)[i], items[i]);
}

Interpreter::Flow Interpreter::exec(uint32_t id) {
  Nest nest(*this);
  heap.step();
  const Node &n = program_.nodes[id];
  const auto parts = program_.partsOf(n);
  if (n.op != Op::Block)
    line_ = n.line;
  switch (n.op) {
  case Op::Block:
    for (uint32_t part : parts)
      if (Flow flow = exec(part); flow != Flow::Next)
        return flow;
    return Flow::Next;
  case Op::Write:
    write(Text(textOf(n.a), Origin::Template));
    return Flow::Next;
  case Op::Output:
    write(toText(heap, eval(parts[0])));
    return Flow::Next;
  case Op::If:
    return execIf(n);
  case Op::For:
    return execFor(id);
  case Op::Set:
    assign(parts[0], eval(parts[1]));
    return Flow::Next;
  case Op::SetBlock:
  case Op::FilterBlock: {
    const bool isSet = n.op == Op::SetBlock;
    Flow flow = Flow::Next;
    const Text text = capture(parts[isSet ? 1 : 0], scope_, &flow);
    if (flow != Flow::Next) // the loop goes on, or ends, before the block does
      return flow;
    const Value before = captured_;
    captured_ = heap.string(text);
    const Value value = eval(parts[isSet ? 2 : 1]);
    captured_ = before;
    if (isSet)
      assign(parts[0], value);
    else
      write(toText(heap, value));
    return Flow::Next;
  }
  case Op::Macro: {
    auto *macro = heap.make<MacroObject>();
    macro->node = id;
    macro->scope = scope_;
    set(n.a, Value::of(Kind::Macro, macro));
    return Flow::Next;
  }
  case Op::CallBlock:
    execCallBlock(n);
    return Flow::Next;
  case Op::With:
    return execWith(n);
  case Op::Scope:
    write(capture(parts[0], scope_));
    return Flow::Next;
  case Op::Break:
    return Flow::Break;
  case Op::Continue:
    return Flow::Continue;
  default:
    fail(ExitCode::BadInput, "the chat program is damaged: compile the model again");
  }
}

Interpreter::Flow Interpreter::execIf(const Node &n) {
  const auto parts = program_.partsOf(n);
  size_t i = 0;
  for (; i + 1 < parts.size(); i += 2)
    if (truthy(eval(parts[i])))
      return exec(parts[i + 1]);
  return i < parts.size() ? exec(parts[i]) : Flow::Next;
}

Interpreter::Flow Interpreter::execFor(uint32_t id) {
  runFor(id, walk(eval(program_.partsOf(program_.nodes[id])[1])), 0);
  return Flow::Next;
}

void Interpreter::runFor(uint32_t id, std::vector<Value> items, size_t depth) {
  const Node &n = program_.nodes[id];
  const auto parts = program_.partsOf(n);
  Scope *const outer = scope_;
  if (parts[2] != kNone) { // `if`: counted as if the others were not there
    std::vector<Value> kept;
    for (const Value &item : items) {
      scope_ = scope(outer);
      assign(parts[0], item);
      if (truthy(eval(parts[2])))
        kept.push_back(item);
    }
    scope_ = outer;
    items = std::move(kept);
  }
  if (items.empty()) {
    if (parts[4] != kNone) {
      scope_ = scope(outer);
      exec(parts[4]);
      scope_ = outer;
    }
    return;
  }
  auto *loop = heap.make<LoopObject>(items.size() * sizeof(Value));
  loop->items = std::move(items);
  loop->depth = depth;
  loop->scope = outer;
  loop->recursiveFor = n.a == 1 ? id : kNone;
  for (loop->index = 0; loop->index < loop->items.size(); ++loop->index) {
    scope_ = scope(outer);
    if (loopName_ != kNone)
      set(loopName_, Value::of(Kind::Loop, loop));
    assign(parts[0], loop->items[loop->index]);
    if (exec(parts[3]) == Flow::Break)
      break;
  }
  scope_ = outer;
}

Interpreter::Flow Interpreter::execWith(const Node &n) {
  const auto parts = program_.partsOf(n);
  Scope *const outer = scope_;
  std::vector<Value> values;
  for (size_t i = 0; i + 1 < parts.size(); i += 2)
    values.push_back(eval(parts[i + 1])); // all outside the new scope
  scope_ = scope(outer);
  for (size_t i = 0; i < values.size(); ++i)
    assign(parts[2 * i], values[i]);
  const Flow flow = exec(parts.back());
  scope_ = outer;
  return flow;
}

void Interpreter::execCallBlock(const Node &n) {
  const auto parts = program_.partsOf(n);
  auto *caller = heap.make<MacroObject>();
  caller->node = parts[1];
  caller->scope = scope_;
  const auto call = program_.partsOf(program_.nodes[parts[0]]);
  const Value callee = eval(call[0]);
  Arguments args = arguments(call.subspan(1));
  args.named.emplace_back("caller", Value::of(Kind::Macro, caller));
  write(toText(heap, this->call(callee, args)));
}

Value Interpreter::callMacro(const MacroObject &macro, const Arguments &args) {
  const Node &n = program_.nodes[macro.node];
  const auto parts = program_.partsOf(n);
  const size_t parameters = parts.size() - 1;
  const std::string &name = textOf(n.a);
  Scope *const before = scope_;
  scope_ = scope(macro.scope);
  std::vector<bool> used(args.named.size());
  for (size_t i = 0; i < parameters; ++i) {
    const Node &parameter = program_.nodes[parts[i]];
    const uint32_t missing = program_.partsOf(parameter)[0];
    Value value;
    auto named = std::find_if(args.named.begin(), args.named.end(),
                              [&](auto &arg) { return arg.first == textOf(parameter.a); });
    if (i < args.list.size())
      value = args.list[i];
    else if (named != args.named.end()) {
      value = named->second;
      used[size_t(named - args.named.begin())] = true;
    } else if (missing != kNone)
      value = eval(missing);
    else
      value = heap.undefined("parameter '" + textOf(parameter.a) + "' was not provided");
    set(parameter.a, value);
  }
  Value rest = heap.dict();
  Value caller = heap.undefined("No caller defined");
  for (size_t i = 0; i < args.named.size(); ++i) {
    if (used[i])
      continue;
    if ((n.b & 4) && args.named[i].first == "caller")
      caller = args.named[i].second;
    else if (n.b & 2)
      heap.set(rest, heap.string(args.named[i].first), args.named[i].second);
    else
      refuse("macro '" + name + "' takes no keyword argument '" + std::string(args.named[i].first) +
             "'");
  }
  if ((n.b & 4) && callerName_ != kNone)
    set(callerName_, caller);
  if ((n.b & 2) && kwargsName_ != kNone)
    set(kwargsName_, rest);
  const size_t taken = std::min(parameters, args.list.size());
  if ((n.b & 1) && varargsName_ != kNone)
    set(varargsName_, heap.list({args.list.begin() + long(taken), args.list.end()}, Kind::Tuple));
  else if (args.list.size() > parameters)
    refuse("macro '" + name + "' takes not more than " + std::to_string(parameters) +
           " argument(s)");
  Text text, *outer = out_;
  out_ = &text;
  exec(parts.back());
  out_ = outer;
  scope_ = before;
  return heap.string(std::move(text));
}

} // namespace retort::chat
