//===- ManifestObject.h - Checked reading of a manifest's JSON ---*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "runtime/src/engine/Manifest.h"
#include <nlohmann/json.hpp>
#include <string>

namespace retort::engine {

/// A JSON value for a message: short, on one line.
std::string shown(const nlohmann::json &value);

/// An object of the manifest, and where it stands, for messages: "model", "parts.weights.bin". Its
/// calls throw Error (BadInput) that name key and value.
class ManifestObject {
public:
  using Json = nlohmann::json;
  ManifestObject(const Json &value, std::string path, const std::string &where);

  [[noreturn]] void bad(const std::string &key, const std::string &what) const;
  std::string pathOf(const std::string &key) const {
    return path_.empty() ? key : path_ + "." + key;
  }
  bool has(const std::string &key) const { return value_.contains(key); }
  const Json &at(const std::string &key) const;
  ManifestObject object(const std::string &key) const { return {at(key), pathOf(key), where_}; }
  const Json &array(const std::string &key) const;
  std::string text(const std::string &key) const;
  bool flagOr(const std::string &key, bool fallback) const;
  uint64_t number(const std::string &key, uint64_t low, uint64_t high) const;
  uint64_t numberOr(const std::string &key, uint64_t low, uint64_t high, uint64_t fallback) const {
    return has(key) ? number(key, low, high) : fallback;
  }
  uint64_t multiple(const std::string &key, uint64_t unit, uint64_t low, uint64_t high) const;
  const Json &json() const { return value_; }
  const std::string &where() const { return where_; }

private:
  const Json &value_;
  std::string path_;
  const std::string &where_;
};

/// An entry of target "cuda". `object` is manifest.entries[i]; the model's and the cache's values
/// must have been read.
Manifest::CudaEntry readCudaEntry(const ManifestObject &object, const Manifest &manifest);

/// Whether the CUDA entries go together: for each number of devices, every device has one entry for
/// the same steps, and together they write all logits.
void checkCudaEntries(const Manifest &manifest, const ManifestObject &root);

} // namespace retort::engine
