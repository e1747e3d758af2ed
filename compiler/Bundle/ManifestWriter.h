//===- ManifestWriter.h - A manifest as JSON -------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "runtime/src/engine/Manifest.h"
#include <nlohmann/json_fwd.hpp>
#include <vector>

namespace retort {

/// What engine::parseManifest() reads, but for the keys of addParts(): which parts there are,
/// BundleWriter::commit() knows.
nlohmann::json toJson(engine::Manifest manifest);

/// Adds the format and the parts; `isFile` as BundleWriter's form.
void addParts(nlohmann::json &manifest, std::vector<engine::Manifest::Part> parts, bool isFile);

} // namespace retort
