//===- BundleReader.h - The parts of a bundle -------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
//
// Opens both forms of a bundle: one file (a header page, parts from page to page, the manifest) or
// a directory (manifest.json, manifest.sha256, a file for each part).
//
//===----------------------------------------------------------------------===//
#pragma once
#include "runtime/base/MappedFile.h"
#include "runtime/src/engine/Manifest.h"
#include <span>
#include <string>
#include <vector>

namespace retort::engine {

constexpr char kBundleMagic[8] = {'R', 'E', 'T', 'O', 'R', 'T', 'B', '1'};

/// The first 56 bytes of the file form; little-endian, the rest of its page is zero.
struct BundleHeader {
  uint64_t manifestOffset = 0, manifestBytes = 0;
  std::string manifestSha256; ///< hexadecimal; 32 bytes in the file
};
constexpr uint64_t kBundleHeaderBytes = 8 + 8 + 8 + 32;

/// The header of a bundle's file. Throws Error: BadInput (no bundle, or its manifest is not inside
/// the file), Unsupported (another version's magic).
BundleHeader readBundleHeader(std::span<const uint8_t> file, const std::string &where);

/// The manifest of the file form from its bytes: header, manifest's hash, layout, zero padding; the
/// parts' hashes are not checked.
Manifest readBundleFile(std::span<const uint8_t> file, const std::string &where);

/// A bundle, mapped. Movable; spans stay valid for the life of the object.
/// How a bundle's bytes are had: mapped, and so shared with others who do; or copied, so that nobody who
/// writes to the file changes them; or that, and never paged out.
enum class Weights { Mapped, Copied, Locked };

class BundleReader {
public:
  /// Maps or copies the bundle and reads its manifest. Throws Error (Io, BadInput, Unsupported); the message
  /// begins with the path.
  static BundleReader open(const std::string &path, Weights weights = Weights::Mapped);

  const Manifest &manifest() const { return manifest_; }
  const std::string &path() const { return path_; }
  /// The bytes of a part of the manifest, aligned to 4096. Not yet checked against its hash.
  std::span<const uint8_t> bytes(const Manifest::Part &part) const;
  /// Checks every part against its hashes on up to `threads` threads (0: one a core). Throws Error
  /// (BadInput) that names the first damaged part and where in it.
  void verify(unsigned threads) const;
  /// The same for one part.
  void verify(const Manifest::Part &part) const;

private:
  std::string path_;
  Manifest manifest_;
  std::vector<MappedFile> files_; ///< one, or one for each part in the manifest's order
  bool isDirectory_ = false;
};

} // namespace retort::engine
