//===- Manifest.h - What a bundle says of itself ---------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
//
// The parsed form of a bundle's manifest.json (docs/bundle.md). It comes from an untrusted file:
// every number is checked against its range here, so that sums and products of the ranges' limits
// that the engine forms are checked or cannot overflow.
//
//===----------------------------------------------------------------------===//
#pragma once
#include "runtime/src/tokenizer/ChatFormat.h"
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace retort::engine {

constexpr int64_t kManifestFormat = 1;
constexpr uint64_t kMaxManifestBytes = 16u << 20;
/// The file form: the header's size and the alignment of parts, in bytes.
constexpr uint64_t kBundlePage = 4096;
/// Parts are hashed in pieces of this many bytes too, so that opening can use every core.
constexpr uint64_t kHashChunkBytes = 4u << 20;

struct Manifest {
  struct Part {
    std::string name;
    uint64_t offset = 0, bytes = 0;  ///< offset: of the file; 0 in the directory form
    std::string sha256;              ///< 64 hexadecimal digits
    std::vector<std::string> chunks; ///< SHA-256 of each kHashChunkBytes of it
  };
  struct Entry {
    std::string target, isa, symbol;
  };
  std::string name, family;
  int64_t vocab = 0, context = 0, hidden = 0, maxRows = 0, blocks = 0;
  int64_t pageRows = 0;
  uint64_t pageBytes = 0;
  uint64_t activationBytes = 0, scratchBytesPerThread = 0;
  uint64_t bytesPerToken = 0;
  std::vector<Entry> entries;
  std::vector<Part> parts; ///< by offset, then by name
  std::optional<ChatFormat> chat;
  std::string text; ///< as it stands in the bundle

  const Part *findPart(std::string_view name) const;
};

/// Parses JSON of at most kMaxManifestBytes, nested at most 64 deep. Throws Error (BadInput) with
/// the line's column or byte; `where` ("x.retort: manifest") begins its message.
nlohmann::json parseBoundedJson(std::string_view text, const std::string &where);

/// Parses and checks a manifest. `fileBytes` is where parts must end (the manifest's own offset) in
/// the file form, nullopt in the directory form. Throws Error: BadInput names the key and the
/// value; Unsupported for a newer format.
Manifest parseManifest(std::string_view text, const std::string &where,
                       std::optional<uint64_t> fileBytes);

/// Letters, digits, '.', '_' and '-', 1 to 64 of them, the first no '.'.
bool isPartName(std::string_view name);

} // namespace retort::engine
