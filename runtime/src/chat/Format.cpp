//===- Format.cpp - The `%` operator of a text ----------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/src/chat/Interpreter.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace retort::chat {
namespace {

constexpr int64_t kMaxWidth = 1 << 16; // wider ones are refused

class Percent {
public:
  Percent(Interpreter &in, const Text &form, const Value &argument)
      : in_(in), form_(form), argument_(argument), isTuple_(argument.is(Kind::Tuple)) {}

  Value run() {
    const std::string &bytes = form_.bytes();
    while (at_ < bytes.size()) {
      const size_t percent = std::min(bytes.find('%', at_), bytes.size());
      out_.append(form_, at_, percent);
      at_ = percent;
      if (at_ < bytes.size())
        conversion();
    }
    const bool allUsed =
        isTuple_ ? next_ == argument_.list->items.size() : next_ > 0 || argument_.is(Kind::Dict);
    if (!allUsed)
      refuse("not all arguments converted during string formatting");
    return in_.heap.string(std::move(out_));
  }

private:
  char peek() const {
    if (at_ >= form_.size())
      refuse("incomplete format");
    return form_.bytes()[at_];
  }

  const Value &nextArgument() {
    if (isTuple_ ? next_ >= argument_.list->items.size() : next_ > 0)
      refuse("not enough arguments for format string");
    return isTuple_ ? argument_.list->items[next_++] : (++next_, argument_);
  }

  int64_t number() {
    if (peek() == '*')
      unknown("* in a format");
    int64_t value = 0;
    for (; peek() >= '0' && peek() <= '9'; ++at_)
      if ((value = value * 10 + (peek() - '0')) > kMaxWidth)
        unknown("a format wider than 65536");
    return value;
  }

  void conversion() {
    const size_t begin = at_++;
    Value value;
    bool named = false;
    if (peek() == '(') {
      const size_t end = form_.bytes().find(')', at_);
      if (end == std::string::npos || !argument_.is(Kind::Dict))
        refuse("format requires a mapping");
      const std::string key = form_.bytes().substr(at_ + 1, end - at_ - 1);
      const Value *found = find(argument_, key);
      if (!found)
        refuse("the format's argument has no '" + key + "'");
      value = *found;
      named = true;
      at_ = end + 1;
    }
    flags_.clear();
    for (; std::string_view("-+ #0").find(peek()) != std::string_view::npos; ++at_)
      flags_ += peek();
    width_ = number();
    precision_ = -1;
    if (peek() == '.') {
      ++at_;
      precision_ = number();
    }
    const char type = peek();
    ++at_;
    if (type == '%')
      return out_.append(form_, begin, begin + 1);
    if (!named)
      value = nextArgument();
    write(type, value);
  }

  void write(char type, const Value &value) {
    switch (type) {
    case 's':
      return pad(toText(in_.heap, value));
    case 'r':
      return pad(Text(repr(in_.heap, value), Origin::Data));
    case 'd':
    case 'i':
    case 'u':
    case 'x':
    case 'X':
    case 'o':
      return whole(type == 'i' || type == 'u' ? 'd' : type, value);
    case 'e':
    case 'E':
    case 'f':
    case 'F':
    case 'g':
    case 'G':
      return real(type, value);
    default:
      unknown(std::string("%") + type + " in a format");
    }
  }

  void pad(Text text) {
    if (precision_ >= 0) {
      const std::vector<size_t> starts = charStarts(text);
      if (size_t(precision_) < starts.size() - 1)
        text = text.slice(0, starts[size_t(precision_)]);
    }
    const int64_t missing = width_ - int64_t(countChars(text));
    const std::string spaces(missing > 0 ? size_t(missing) : 0, ' ');
    const bool left = flags_.find('-') != std::string::npos;
    out_.append(left ? "" : spaces, Origin::Data);
    out_.append(text);
    out_.append(left ? spaces : "", Origin::Data);
  }

  void print(const std::string &form, auto value) {
    std::string buffer(size_t(width_ + precision_ + 400), '\0');
    const int size = std::snprintf(buffer.data(), buffer.size(), form.c_str(), int(width_),
                                   int(precision_), value);
    out_.append(std::string_view(buffer).substr(0, size_t(size)), Origin::Data);
  }

  void whole(char type, const Value &value) {
    if (!value.isNumber() || (type != 'd' && value.is(Kind::Float)))
      refuse(std::string("%") + type + " format: a number is required, not " + typeName(value));
    if (value.is(Kind::Float) && !(std::abs(value.real) < 9e18))
      unknown("a whole number beyond 64 bits");
    const long long number = value.is(Kind::Float) ? (long long)(value.real) : value.whole();
    if (type != 'd' && (number < 0 || flags_.find('#') != std::string::npos))
      unknown("%x of a negative number");
    print("%" + flags_ + "*.*ll" + type, number);
  }

  void real(char type, const Value &value) {
    if (!value.isNumber())
      refuse("must be real number, not " + typeName(value));
    print("%" + flags_ + "*.*" + type, value.asDouble());
  }

  Interpreter &in_;
  const Text &form_;
  const Value &argument_;
  const bool isTuple_;
  Text out_;
  std::string flags_;
  int64_t width_ = 0, precision_ = -1;
  size_t at_ = 0, next_ = 0;
};

} // namespace

Value formatPercent(Interpreter &interpreter, const Value &format, const Value &argument) {
  return Percent(interpreter, format.text(), argument).run();
}

} // namespace retort::chat
