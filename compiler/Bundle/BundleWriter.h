//===- BundleWriter.h - Writing a bundle, streamed -------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
//
// docs/bundle.md describes the two forms. Parts are appended in chunks, hashed on the way, and kept
// in a file that has no name until it is whole (O_TMPFILE where the file system has it): whatever
// stops the compile, nothing half-written stands under the output's name. No MLIR here.
//
//===----------------------------------------------------------------------===//
#pragma once
#include "runtime/src/engine/Manifest.h"
#include <cstdint>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <string_view>

namespace retort {

/// Writes one bundle. Not copyable, one thread at a time.
class BundleWriter {
public:
  /// Starts a bundle that commit() will name `path`: a directory if `path` ends in '/' or is an
  /// existing directory, else a file. Throws Error as checkOutput(path, true).
  explicit BundleWriter(std::string path);
  /// Removes what was written unless commit() has returned.
  ~BundleWriter();
  BundleWriter(const BundleWriter &) = delete;
  BundleWriter &operator=(const BundleWriter &) = delete;

  /// Throws Error (Usage) if `path` exists and `force` is not given, or if it is a directory that
  /// holds something else than a bundle; (Io) if its folder does not exist or is not writable. For
  /// the driver to call before the work starts.
  static void checkOutput(const std::string &path, bool force);

  /// Starts the part `name` ("weights.bin": letters, digits, '.', '_' and '-'), which ends with the
  /// next beginPart() or commit(). Throws Error (Internal) for a bad or repeated name.
  void beginPart(std::string_view name);
  /// Appends bytes to the part. Throws Error: Resources on a full disk, with the bytes written and
  /// needed; Io for what else the operating system refuses.
  void append(std::span<const uint8_t> bytes);
  void append(std::string_view text);
  /// Appends zeros until the part's size is a multiple of `alignment` bytes.
  void alignTo(uint64_t alignment);
  /// Bytes of the part so far.
  uint64_t partBytes() const;
  /// A whole part at once.
  void addPart(std::string_view name, std::span<const uint8_t> bytes);
  void addPart(std::string_view name, std::string_view text);

  /// Adds format and parts to what toJson() made of a manifest, writes it, makes everything durable (fsync) and
  /// gives it its name in one rename: an existing bundle is replaced by this. Returns the bundle's
  /// size in bytes. The manifest is checked as the runtime would: Error (Internal) if it would be
  /// refused. Same parts and manifest, same bytes.
  uint64_t commit(nlohmann::json manifest);

private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Whether the path looks like a bundle: a file with its magic, or a directory with manifest.json.
/// Does not throw.
bool isBundle(const std::string &path);

/// The manifest of a bundle of either form, its own hash checked but no part's. Throws Error: Io,
/// BadInput, Unsupported (a newer format).
engine::Manifest readBundleManifest(const std::string &path);

/// A part's bytes, checked against its hash. Throws like readBundleManifest, and Error (Usage) if
/// the bundle has no such part.
std::string readBundlePart(const std::string &path, std::string_view name);

} // namespace retort
