//===- ManifestObject.h - Checked reading of a manifest's JSON ---*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "runtime/src/engine/Manifest.h"
#include <nlohmann/json.hpp>
#include <string>

namespace retort::engine {

/// A JSON value for a message: short, on one line.
std::string shown(const nlohmann::json &value);

/// An object of the manifest, and where it stands, for messages: "model", "parts.weights.bin". It
/// fills fields as ManifestFields.h lists them; each call throws Error (BadInput) that names key
/// and value. ManifestWriter has the same calls.
class ManifestObject {
public:
  static constexpr bool reads = true;
  using Json = nlohmann::json;
  ManifestObject(const Json &value, std::string path, const std::string &where);

  void text(const char *key, std::string &value) const;
  /// Absent: empty.
  void textIf(const char *key, std::string &value) const {
    if (has(key))
      text(key, value);
  }
  /// Absent: false.
  void flag(const char *key, bool &value) const;
  template <class T> void number(const char *key, T &value, uint64_t low, uint64_t high) const {
    value = T(read(key, low, high));
  }
  /// Absent: `fallback`.
  template <class T>
  void numberOr(const char *key, T &value, uint64_t low, uint64_t high, uint64_t fallback) const {
    value = T(has(key) ? read(key, low, high) : fallback);
  }
  template <class T>
  void multiple(const char *key, T &value, uint64_t unit, uint64_t low, uint64_t high) const {
    value = T(readMultiple(key, unit, low, high));
  }
  template <class T>
  void multipleOr(const char *key, T &value, uint64_t unit, uint64_t low, uint64_t high,
                  uint64_t fallback) const {
    value = T(has(key) ? readMultiple(key, unit, low, high) : fallback);
  }
  /// One of two words.
  void choice(const char *key, bool &value, const char *yes, const char *no) const;
  /// A word that `parse` understands; else the message calls it no `what`.
  template <class T, class Parse, class Print>
  void word(const char *key, T &value, const char *what, Parse parse, Print) const {
    value = parsed<T>(key, at(key), what, parse);
  }
  /// Absent, null or empty: none.
  template <class T, class Parse, class Print>
  void wordIf(const char *key, std::optional<T> &value, const char *what, Parse parse,
              Print) const {
    if (has(key) && !at(key).is_null() && at(key) != "")
      value = parsed<T>(key, at(key), what, parse);
  }
  template <class T, class Parse, class Print>
  void words(const char *key, std::vector<T> &values, size_t most, const char *what, Parse parse,
             Print) const {
    for (const Json &value : array(key, most, "names"))
      values.push_back(parsed<T>(key, value, what, parse));
  }
  void texts(const char *key, std::vector<std::string> &values) const;
  /// Whole numbers of any size.
  void sizes(const char *key, std::vector<int64_t> &values) const;

  template <class Fields> void object(const char *key, Fields fields) const {
    fields(ManifestObject(at(key), pathOf(key), where_));
  }
  /// Absent: the fields keep their values.
  template <class Fields> void objectIf(const char *key, Fields fields) const {
    if (has(key))
      object(key, fields);
  }
  template <class T, class Fields>
  void optional(const char *key, std::optional<T> &value, Fields fields) const {
    if (!has(key))
      return;
    T made;
    fields(ManifestObject(at(key), pathOf(key), where_), made);
    value = std::move(made);
  }
  template <class T, class Fields>
  void list(const char *key, std::vector<T> &values, size_t most, const char *noun,
            Fields fields) const {
    each(key, most, noun, [&](const ManifestObject &io) { fields(io, values.emplace_back()); });
  }
  /// Absent: empty.
  template <class T, class Fields>
  void listIf(const char *key, std::vector<T> &values, size_t most, const char *noun,
              Fields fields) const {
    if (has(key))
      list(key, values, most, noun, fields);
  }
  /// `otherwise` says what is wrong with the key.
  template <class Message> void check(bool holds, const char *key, Message otherwise) const {
    if (!holds)
      bad(pathOf(key), otherwise());
  }

  /// Calls `visit` with each object of a list.
  template <class Visit>
  void each(const char *key, size_t most, const char *noun, Visit visit) const {
    size_t index = 0;
    for (const Json &value : array(key, most, noun))
      visit(ManifestObject(value, pathOf(key + ("[" + std::to_string(index++) + "]")), where_));
  }
  [[noreturn]] void bad(const std::string &path, const std::string &what) const;
  std::string pathOf(const std::string &key) const {
    return path_.empty() ? key : path_ + "." + key;
  }
  const Json &json() const { return value_; }
  const std::string &where() const { return where_; }

private:
  bool has(const char *key) const { return value_.contains(key); }
  const Json &at(const char *key) const;
  const Json &array(const char *key, size_t most, const char *noun) const;
  uint64_t read(const char *key, uint64_t low, uint64_t high) const;
  uint64_t readMultiple(const char *key, uint64_t unit, uint64_t low, uint64_t high) const;
  template <class T, class Parse>
  T parsed(const char *key, const Json &value, const char *what, Parse parse) const {
    std::optional<T> result;
    if (value.is_string())
      result = parse(value.get_ref<const std::string &>());
    if (!result)
      bad(pathOf(key), "holds " + shown(value) + ", which is no " + what);
    return *result;
  }

  const Json &value_;
  std::string path_;
  const std::string &where_;
};

} // namespace retort::engine
