//===- NamedOption.h - Pass options that are named values -------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
//
// `format=i4g64s embedding=i4g32s`: lets a pass's option be a value that runtime/base/Names.h knows
// by name, or a std::optional of one, which no text leaves empty.
//
//===----------------------------------------------------------------------===//
#pragma once
#include "dialects/Distill/Schedule.h"
#include "llvm/Support/CommandLine.h"

namespace retort {

template <typename T, typename Option = T> struct NamedParser : llvm::cl::basic_parser<Option> {
  using llvm::cl::basic_parser<Option>::basic_parser;
  using OptVal = llvm::cl::OptionValue<Option>;

  bool parse(llvm::cl::Option &option, llvm::StringRef, llvm::StringRef name, Option &value) {
    if constexpr (!std::is_same_v<T, Option>)
      if (value.reset(); name.empty())
        return false;
    if (std::optional<T> found = named<T>(name)) {
      value = *found;
      return false;
    }
    return option.error("'" + name + "' is none of " + allNames<T>());
  }
  static void print(llvm::raw_ostream &os, const T &value) { os << nameOf(value); }
  static void print(llvm::raw_ostream &os, const std::optional<T> &value) {
    if (value)
      os << nameOf(*value);
  }
  void printOptionDiff(const llvm::cl::Option &option, const Option &, const OptVal &,
                       size_t width) const {
    this->printOptionNoValue(option, width);
  }
  llvm::StringRef getValueName() const override { return "name"; }
};

} // namespace retort

namespace llvm::cl {
template <> struct parser<retort::NumberFormat> : retort::NamedParser<retort::NumberFormat> {
  using NamedParser::NamedParser;
};
template <>
struct parser<std::optional<retort::NumberFormat>>
    : retort::NamedParser<retort::NumberFormat, std::optional<retort::NumberFormat>> {
  using NamedParser::NamedParser;
};
template <> struct parser<retort::CacheFormat> : retort::NamedParser<retort::CacheFormat> {
  using NamedParser::NamedParser;
};
template <> struct parser<retort::Schedule> : retort::NamedParser<retort::Schedule> {
  using NamedParser::NamedParser;
};
} // namespace llvm::cl
