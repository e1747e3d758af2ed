//===- Text.h - Text that knows where it came from --------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
//
// Only what a template writes itself may become a special token: "<|im_end|>" in a user's message is
// text like any other. So every byte carries its origin through all that a template does with it.
//
//===----------------------------------------------------------------------===//
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace retort::chat {

enum class Origin : uint8_t {
  Template, ///< a literal of the template, or a role's name
  Model,    ///< an earlier answer
  Data      ///< everything else: what users, tools and documents say
};

class Text {
public:
  Text() = default;
  Text(std::string bytes, Origin origin) : bytes_(std::move(bytes)), whole_(origin) {}

  const std::string &bytes() const { return bytes_; }
  size_t size() const { return bytes_.size(); }
  bool empty() const { return bytes_.empty(); }
  Origin originAt(size_t at) const { return each_.empty() ? whole_ : Origin(each_[at]); }
  /// Of the byte before `at`: what is put there belongs to what it follows.
  Origin originBefore(size_t at) const { return empty() ? whole_ : originAt(at == 0 ? 0 : at - 1); }

  void append(std::string_view bytes, Origin origin) {
    if (bytes.empty())
      return;
    adopt(origin);
    bytes_ += bytes;
    if (!each_.empty())
      each_.append(bytes.size(), char(origin));
  }
  void append(const Text &other) { append(other, 0, other.size()); }
  /// The bytes [begin, end) of another text.
  void append(const Text &other, size_t begin, size_t end) {
    if (begin >= end)
      return;
    if (other.each_.empty())
      return append(std::string_view(other.bytes_).substr(begin, end - begin), other.whole_);
    if (each_.empty())
      each_.assign(bytes_.size(), char(whole_));
    bytes_.append(other.bytes_, begin, end - begin);
    each_.append(other.each_, begin, end - begin);
  }
  Text slice(size_t begin, size_t end) const {
    Text part;
    part.append(*this, begin, end);
    return part;
  }

private:
  /// Makes room for bytes of this origin.
  void adopt(Origin origin) {
    if (bytes_.empty() && each_.empty())
      whole_ = origin;
    else if (each_.empty() && whole_ != origin)
      each_.assign(bytes_.size(), char(whole_));
  }
  std::string bytes_;
  std::string each_; ///< a byte's origin; empty: all are of whole_
  Origin whole_ = Origin::Template;
};

} // namespace retort::chat
