//===- CudaShapeText.h - Shapes of kernels as CUDA C++ ---------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "kernels/cuda/shapes.h"
#include <algorithm>
#include <cctype>
#include <charconv>
#include <string>
#include <vector>

namespace retort::codegen {

/// The shortest literal that is exactly this float: "1e-05f", "8.0f".
inline std::string literal(float value) {
  char text[64];
  std::string result(text, std::to_chars(text, text + sizeof text, value).ptr);
  if (result.find_first_of(".en") == std::string::npos)
    result += ".0";
  return result + "f";
}
inline std::string literal(bool value) { return value ? "true" : "false"; }
inline std::string literal(int value) { return std::to_string(value); }

inline std::string literal(Activation act) {
  switch (act) {
  case Activation::Silu:
    return "Activation::Silu";
  case Activation::GeluTanh:
    return "Activation::GeluTanh";
  case Activation::Gelu:
    return "Activation::Gelu";
  case Activation::Sigmoid:
    return "Activation::Sigmoid";
  }
  return {};
}

inline std::string literal(CacheFormat format) {
  switch (format) {
  case CacheFormat::F16:
    return "CacheFormat::F16";
  case CacheFormat::BF16:
    return "CacheFormat::BF16";
  case CacheFormat::F8E4M3:
    return "CacheFormat::F8E4M3";
  case CacheFormat::F32:
    return "CacheFormat::F32";
  }
  return {};
}

inline std::string literal(cuda::WeightLayout layout) {
  std::string text = "{{WeightKind::";
  for (const char *c = layout.traits().name; *c; ++c) // the kind is the name in upper case
    text += static_cast<char>(std::toupper(*c));
  if (layout.quantised())
    text += ", " + literal(layout.group);
  if (layout.minima)
    text += ", true";
  return text + "}}";
}

/// Stands for a value of any type.
struct Any {
  template <typename T> constexpr operator T() const;
};
/// How many members an aggregate has.
template <typename T, typename... Values> constexpr int numMembers() {
  if constexpr (requires { T{Values()..., Any()}; })
    return numMembers<T, Values..., Any>();
  else
    return sizeof...(Values);
}

/// A struct of kernels/cuda/shapes.h.
template <typename T>
concept IsShape = requires(const T &shape) { shape.members([](const char *, const auto &) {}); };
template <IsShape Shape> std::string literal(const Shape &shape);

inline std::string joined(const std::vector<std::string> &parts) {
  std::string text;
  for (const std::string &part : parts)
    text += (text.empty() ? "" : ", ") + part;
  return text;
}
/// ".in = 32" for each member, in order.
template <IsShape Shape> std::vector<std::string> initialisers(const Shape &shape) {
  std::vector<std::string> result;
  shape.members([&](const char *name, const auto &value) {
    result.push_back("." + std::string(name) + " = " + literal(value));
  });
  return result;
}
/// Those that are not the defaults.
template <IsShape Shape> std::vector<std::string> given(const Shape &shape) {
  constexpr int visited = [] {
    int count = 0;
    Shape().members([&](const char *, const auto &) { ++count; });
    return count;
  }();
  static_assert(visited == numMembers<Shape>(), "members() visits each member");
  const std::vector<std::string> all = initialisers(shape), defaults = initialisers(Shape());
  std::vector<std::string> result;
  for (size_t i = 0; i < all.size(); ++i)
    if (all[i] != defaults[i])
      result.push_back(all[i]);
  return result;
}
template <IsShape Shape> std::string literal(const Shape &shape) {
  return "{" + joined(given(shape)) + "}";
}

/// "constexpr ProductShape NAME = {...};" in lines of at most 100 columns.
template <IsShape Shape> std::string declaration(const std::string &name, const Shape &shape) {
  std::string text = "constexpr " + std::string(Shape::kType) + " " + name + " = {\n", line = "   ";
  const std::string members = joined(given(shape));
  for (size_t at = 0; at < members.size();) {
    const size_t end = std::min(members.find(", ", at), members.size() - 1) + 1;
    const std::string part = members.substr(at, end - at);
    if (line.size() + part.size() + 3 > 100) {
      text += line + "\n";
      line = "   ";
    }
    line += " " + part;
    at = end + 1;
  }
  return text + line + "};";
}

} // namespace retort::codegen
