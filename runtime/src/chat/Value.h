//===- Value.h - The values of a chat template ------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
//
// Values mean what Python's do in Jinja's sandbox: lists and dictionaries never change once they are
// made, only namespaces do. All objects of a run belong to its Heap and go with it at once, so nothing
// recurses through them to free them, and cycles through a namespace do no harm. How deep lists and
// dictionaries nest is bounded where they are made, so everything that walks them may recurse.
//
//===----------------------------------------------------------------------===//
#pragma once
#include "runtime/src/chat/Text.h"
#include <memory>
#include <unordered_map>
#include <vector>

namespace retort::chat {

/// What a run may use. A template from anywhere must neither hang a service nor fill its memory.
constexpr uint64_t kMaxSteps = 20'000'000;
constexpr uint64_t kMaxHeapBytes = 256u << 20;
constexpr unsigned kMaxNesting = 500;     ///< of expressions, statements and calls
constexpr uint32_t kMaxValueNesting = 96; ///< of lists and dictionaries

enum class Kind : uint8_t {
  Undefined,
  None,
  Bool,
  Int,
  Float,
  String,
  List,
  Tuple,
  Generator, ///< what filters such as `map` give: always true, no length, gone once walked
  View,      ///< a dictionary's keys, values or items
  Dict,
  Namespace,
  Loop,
  Macro,
  Function, ///< of the environment: range, raise_exception, ...
  Method,   ///< of a value, not called yet
  Cycler,
  Joiner
};

struct Object {
  virtual ~Object() = default;
};
struct StringObject : Object {
  Text text;
  bool safe = false; ///< marked by the filter `safe`
};
struct ListObject;
struct DictObject;
struct NamespaceObject;
struct LoopObject;
struct MacroObject;
struct MethodObject;

struct Value {
  Kind kind = Kind::Undefined;
  union {
    bool flag;
    int64_t number;
    double real;
    StringObject *string; ///< of Undefined: what is undefined, or null
    ListObject *list;     ///< also of Tuple, Generator, View, Cycler
    DictObject *dict;
    NamespaceObject *space;
    LoopObject *loop;
    MacroObject *macro;
    MethodObject *method;
    Object *object;
  };
  Value() : number(0) {}
  static Value none() { return of(Kind::None); }
  static Value boolean(bool b) {
    Value v = of(Kind::Bool);
    v.flag = b;
    return v;
  }
  static Value integer(int64_t i) {
    Value v = of(Kind::Int);
    v.number = i;
    return v;
  }
  static Value floating(double d) {
    Value v = of(Kind::Float);
    v.real = d;
    return v;
  }
  static Value of(Kind kind, Object *object = nullptr) {
    Value v;
    v.kind = kind;
    v.object = object;
    return v;
  }
  bool is(Kind k) const { return kind == k; }
  bool isNumber() const { return kind == Kind::Bool || kind == Kind::Int || kind == Kind::Float; }
  /// A bool counts as an integer, as in Python.
  bool isWhole() const { return kind == Kind::Bool || kind == Kind::Int; }
  int64_t whole() const { return kind == Kind::Bool ? flag : number; }
  double asDouble() const { return kind == Kind::Float ? real : double(whole()); }
  const Text &text() const { return string->text; }
  const std::string &bytes() const { return string->text.bytes(); }
};

struct ListObject : Object {
  std::vector<Value> items;
  uint32_t depth = 1;
  bool walked = false;        ///< Generator: nothing is left
  const char *view = nullptr; ///< View: "dict_items", ...
  size_t at = 0;              ///< Cycler
};
struct DictObject : Object {
  std::vector<std::pair<Value, Value>> items;
  std::unordered_map<std::string_view, size_t> byText; ///< of keys that are strings
  uint32_t depth = 1;
};
struct NamespaceObject : Object {
  std::vector<std::pair<std::string, Value>> items;
};
struct LoopObject : Object {
  std::vector<Value> items;
  size_t index = 0, depth = 0;
  uint32_t recursiveFor = UINT32_MAX; ///< the node that loop() runs again
  struct Scope *scope = nullptr;      ///< where that node stands
  std::vector<Value> last;            ///< of changed()
  bool changedBefore = false;
};
struct MacroObject : Object {
  uint32_t node = 0;
  struct Scope *scope = nullptr; ///< where it was made: names are looked up there when it runs
};
struct MethodObject : Object {
  Value self;
  const struct MethodEntry *method = nullptr;
};
struct JoinerObject : Object {
  Value separator;
  bool used = false;
};

/// The objects of a run, and what it may still use.
class Heap {
public:
  template <class T> T *make(size_t bytes = 0) {
    charge(bytes + sizeof(T) + 32);
    auto object = std::make_unique<T>();
    T *raw = object.get();
    objects_.push_back(std::move(object));
    return raw;
  }
  /// Takes memory into account before it is used. Throws Error (Resources).
  void charge(uint64_t bytes);
  /// Counts work. Throws Error (Resources).
  void step(uint64_t steps = 1) {
    if ((steps_ += steps) > kMaxSteps)
      tooLong();
  }

  Value string(Text text, bool safe = false);
  Value string(std::string_view bytes, Origin origin = Origin::Data);
  Value list(std::vector<Value> items, Kind kind = Kind::List);
  Value dict();
  void set(const Value &dict, const Value &key, const Value &value);
  Value undefined(std::string what);

private:
  [[noreturn]] void tooLong() const;
  std::vector<std::unique_ptr<Object>> objects_;
  uint64_t bytes_ = 0, steps_ = 0;
};

bool truthy(const Value &value);
/// Python's ==. `heap` counts the work.
bool equal(Heap &heap, const Value &a, const Value &b);
/// Python's < of numbers, strings and lists: below, at or above 0. Throws Error if they have no order.
int compare(Heap &heap, const Value &a, const Value &b);
/// The value of a key, or null.
const Value *find(Heap &heap, const Value &dict, const Value &key);
const Value *find(const Value &dict, std::string_view key);
/// Whether the value can be a key.
bool hashable(const Value &value);
/// The name of the value's type, as Python has it.
std::string typeName(const Value &value);

/// Python's str() and repr().
Text toText(Heap &heap, const Value &value);
std::string repr(Heap &heap, const Value &value);
std::string floatText(double value);
/// json.dumps(). `indent` < 0: on one line.
struct JsonStyle {
  bool ascii = false, sortKeys = false, pretty = false;
  std::string indent, itemSeparator = ", ", keySeparator = ": ";
};
std::string toJson(Heap &heap, const Value &value, const JsonStyle &style);

/// Throws Error (Usage): the template cannot do this with this conversation.
[[noreturn]] void refuse(std::string what);
/// Throws Error (Unsupported): Jinja can, Retort cannot.
[[noreturn]] void unknown(std::string what);

} // namespace retort::chat
