//===- GgufValues.cpp - Typed access to GGUF metadata ---------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Checkpoint/Cursor.h"
#include "compiler/Checkpoint/Gguf.h"
#include <charconv>
#include <cmath>
#include <limits>
#include <utility>

namespace retort {
namespace {

using Type = GgufFile::Type;
using Value = GgufFile::Value;

[[noreturn]] void wrongKind(const GgufFile &file, const Value &value, std::string_view wanted) {
  fail(ExitCode::BadInput, file.path() + ": byte " + std::to_string(value.offset) + ": key " +
                               quote(value.key) + " is not " + std::string(wanted) +
                               ": the file is damaged or was converted wrongly");
}

const Value *scalar(const GgufFile &file, std::string_view key, std::string_view wanted) {
  const Value *value = file.find(key);
  if (value && value->isArray)
    wrongKind(file, *value, wanted);
  return value;
}

const Value *array(const GgufFile &file, std::string_view key, std::string_view wanted) {
  const Value *value = file.find(key);
  if (value && !value->isArray)
    wrongKind(file, *value, wanted);
  return value;
}

template <typename T> T load(const Value &value, uint64_t index) {
  T result;
  std::memcpy(&result, value.bytes.data() + index * sizeof(T), sizeof(T));
  return result;
}

/// Element `index` as an integer; nothing if it is none or does not fit.
std::optional<int64_t> integerAt(const Value &value, uint64_t index) {
  switch (value.type) {
  case Type::U8:
    return load<uint8_t>(value, index);
  case Type::I8:
    return load<int8_t>(value, index);
  case Type::U16:
    return load<uint16_t>(value, index);
  case Type::I16:
    return load<int16_t>(value, index);
  case Type::U32:
    return load<uint32_t>(value, index);
  case Type::I32:
    return load<int32_t>(value, index);
  case Type::I64:
    return load<int64_t>(value, index);
  case Type::U64: {
    uint64_t number = load<uint64_t>(value, index);
    if (number > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()))
      return std::nullopt;
    return static_cast<int64_t>(number);
  }
  default:
    return std::nullopt;
  }
}

/// The shortest decimal that rounds to the float: 1e-5, not the float's own 9.99999975e-6.
double decimal(float number) {
  char text[32];
  double result = number;
  if (std::isfinite(number)) {
    auto end = std::to_chars(text, text + sizeof text, number).ptr;
    std::from_chars(text, end, result);
  }
  return result;
}

std::optional<double> numberAt(const Value &value, uint64_t index) {
  if (value.type == Type::F32)
    return decimal(load<float>(value, index));
  if (value.type == Type::F64)
    return load<double>(value, index);
  std::optional<int64_t> integer = integerAt(value, index);
  return integer ? std::optional<double>(static_cast<double>(*integer)) : std::nullopt;
}

/// All elements by `at`, as T.
template <typename T, typename At>
std::optional<std::vector<T>> elements(const GgufFile &file, std::string_view key,
                                       std::string_view wanted, At at) {
  const Value *value = array(file, key, wanted);
  if (!value)
    return std::nullopt;
  std::vector<T> result;
  for (uint64_t i = 0; i < value->count; ++i) {
    auto element = at(*value, i);
    if (!element)
      wrongKind(file, *value, wanted);
    if constexpr (std::is_integral_v<T>)
      if (!std::in_range<T>(*element))
        wrongKind(file, *value, wanted);
    if (i == 0) // its kind fits, and its bytes are in the file
      result.reserve(value->count);
    result.push_back(static_cast<T>(*element));
  }
  return result;
}

} // namespace

std::optional<std::string_view> GgufFile::string(std::string_view key) const {
  const Value *value = scalar(*this, key, "a string");
  if (!value)
    return std::nullopt;
  if (value->type != Type::String)
    wrongKind(*this, *value, "a string");
  return std::string_view(reinterpret_cast<const char *>(value->bytes.data()) + 8,
                          value->bytes.size() - 8);
}

std::optional<int64_t> GgufFile::integer(std::string_view key) const {
  const Value *value = scalar(*this, key, "an integer");
  if (!value)
    return std::nullopt;
  std::optional<int64_t> result = integerAt(*value, 0);
  if (!result)
    wrongKind(*this, *value, "an integer that fits 63 bits");
  return result;
}

std::optional<double> GgufFile::number(std::string_view key) const {
  const Value *value = scalar(*this, key, "a number");
  if (!value)
    return std::nullopt;
  std::optional<double> result = numberAt(*value, 0);
  if (!result)
    wrongKind(*this, *value, "a number");
  return result;
}

std::optional<bool> GgufFile::boolean(std::string_view key) const {
  const Value *value = scalar(*this, key, "a boolean");
  if (!value)
    return std::nullopt;
  if (value->type != Type::Bool || value->bytes[0] > 1)
    wrongKind(*this, *value, "a boolean");
  return value->bytes[0] == 1;
}

std::optional<std::vector<std::string_view>> GgufFile::strings(std::string_view key) const {
  const Value *value = array(*this, key, "an array of strings");
  if (!value)
    return std::nullopt;
  if (value->type != Type::String)
    wrongKind(*this, *value, "an array of strings");
  std::vector<std::string_view> result;
  result.reserve(value->count);
  Cursor cursor(value->bytes, path_);
  for (uint64_t i = 0; i < value->count; ++i)
    result.push_back(cursor.readString("a string"));
  return result;
}

std::optional<std::vector<int32_t>> GgufFile::int32s(std::string_view key) const {
  return elements<int32_t>(*this, key, "an array of 32-bit integers", integerAt);
}

std::optional<std::vector<int64_t>> GgufFile::integers(std::string_view key) const {
  return elements<int64_t>(*this, key, "an array of integers", integerAt);
}

std::optional<std::vector<float>> GgufFile::floats(std::string_view key) const {
  return elements<float>(*this, key, "an array of numbers", numberAt);
}

} // namespace retort
