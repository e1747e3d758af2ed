//===- CudaArch.cpp - Names of GPU architectures --------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/base/CudaArch.h"
#include <charconv>

namespace retort {

std::optional<CudaArch> CudaArch::parse(std::string_view text, std::string_view prefix) {
  CudaArch arch;
  if (!text.starts_with(prefix))
    return std::nullopt;
  text.remove_prefix(prefix.size());
  if (!text.empty() && (text.back() == 'a' || text.back() == 'f')) {
    arch.suffix = text.back();
    text.remove_suffix(1);
  }
  const char *end = text.data() + text.size();
  auto [at, error] = std::from_chars(text.data(), end, arch.number);
  if (text.size() < 2 || text.size() > 3 || error != std::errc() || at != end || arch.number < 10)
    return std::nullopt;
  return arch;
}

std::string CudaArch::text(const char *prefix) const {
  std::string text = prefix + std::to_string(number);
  if (suffix)
    text += suffix;
  return text;
}

} // namespace retort
