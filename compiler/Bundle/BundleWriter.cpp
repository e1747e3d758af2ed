//===- BundleWriter.cpp - Writing a bundle, streamed -----------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Bundle/BundleWriter.h"
#include "compiler/Bundle/ManifestWriter.h"
#include "compiler/Bundle/OutputFile.h"
#include "runtime/base/Error.h"
#include "runtime/base/Sha256.h"
#include "runtime/src/engine/BundleReader.h"
#include "runtime/src/engine/Manifest.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <unistd.h>

namespace retort {
namespace {

namespace fs = std::filesystem;
using engine::kBundlePage;
using engine::kHashChunkBytes;

bool namesDirectory(const std::string &path) {
  std::error_code ignored;
  return path.ends_with('/') || fs::is_directory(path, ignored);
}

std::string withoutSlashes(std::string path) {
  while (path.size() > 1 && path.ends_with('/'))
    path.pop_back();
  return path;
}

void appendU64(std::string &out, uint64_t value) {
  for (int i = 0; i < 8; ++i)
    out += char(value >> 8 * i);
}

void appendHex(std::string &out, std::string_view hex) {
  for (size_t i = 0; i < hex.size(); i += 2)
    out += char(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16));
}

/// Hashes of a part while it grows: of the whole and of each chunk.
class PartHash {
public:
  void add(std::span<const uint8_t> bytes) {
    whole_.add(bytes);
    size_ += bytes.size();
    while (!bytes.empty()) {
      if (!chunk_)
        chunk_.emplace();
      const size_t n = std::min<uint64_t>(bytes.size(), kHashChunkBytes - inChunk_);
      chunk_->add(bytes.first(n));
      bytes = bytes.subspan(n);
      if ((inChunk_ += n) == kHashChunkBytes)
        endChunk();
    }
  }
  uint64_t size() const { return size_; }
  engine::Manifest::Part finish() {
    if (chunk_)
      endChunk();
    return {.name = {}, .bytes = size_, .sha256 = whole_.hex(), .chunks = std::move(chunks_)};
  }

private:
  void endChunk() {
    chunks_.push_back(chunk_->hex());
    chunk_.reset();
    inChunk_ = 0;
  }
  Sha256 whole_;
  std::optional<Sha256> chunk_;
  uint64_t size_ = 0, inChunk_ = 0;
  std::vector<std::string> chunks_;
};

} // namespace

struct BundleWriter::State {
  std::string path; ///< of the bundle, no slash at its end
  bool isDirectory = false;
  std::optional<OutputFile> file; ///< file form: the bundle; directory form: the part
  std::optional<OutputDirectory> directory;
  std::vector<engine::Manifest::Part> parts;
  std::string part; ///< name of the one being written; empty: none
  std::optional<PartHash> hash;
  uint64_t offset = 0; ///< file form: where the part begins

  void pad() { // file form: parts begin on pages
    const uint64_t rest = file->bytes() % kBundlePage;
    if (rest)
      file->write(std::string(kBundlePage - rest, '\0'));
  }
  void endPart() {
    if (part.empty())
      return;
    engine::Manifest::Part &made = parts.emplace_back(hash->finish());
    made.name = part;
    if (isDirectory) {
      file->closeAs(directory->path() + "/" + part);
      file.reset();
    } else {
      made.offset = offset;
      pad();
    }
    part.clear();
    hash.reset();
  }
  void writeFileInDirectory(const std::string &name, std::string_view text) {
    OutputFile out(directory->path(), path);
    out.write(text);
    out.closeAs(directory->path() + "/" + name);
  }
};

BundleWriter::BundleWriter(std::string path) : state_(std::make_unique<State>()) {
  checkOutput(path, true);
  state_->isDirectory = namesDirectory(path);
  state_->path = withoutSlashes(std::move(path));
  if (state_->isDirectory) {
    state_->directory.emplace(state_->path);
  } else {
    state_->file.emplace(OutputFile::folderOf(state_->path), state_->path);
    state_->file->write(std::string(kBundlePage, '\0')); // the header comes last
  }
}

BundleWriter::~BundleWriter() = default;

void BundleWriter::checkOutput(const std::string &path, bool force) {
  const std::string name = withoutSlashes(path);
  const std::string folder = OutputFile::folderOf(name);
  std::error_code ignored;
  if (path.empty())
    fail(ExitCode::Usage, "the output has no name: give -o OUT.retort");
  if (!fs::is_directory(folder, ignored))
    fail(ExitCode::Io, folder + ": is no folder, so " + name + " cannot be written: make it first");
  if (::access(folder.c_str(), W_OK | X_OK) != 0)
    fail(ExitCode::Io, folder + ": is not writable, so " + name + " cannot be written");
  if (fs::is_directory(name, ignored)) {
    const bool empty = fs::is_empty(name, ignored);
    if (!empty && !isBundle(name))
      fail(ExitCode::Usage, name + ": is a folder that holds something else than a bundle: name "
                                   "another output");
    if (!empty && !force)
      fail(ExitCode::Usage, name + ": exists: add --force to replace it");
    return;
  }
  if (fs::exists(name, ignored) && !fs::is_regular_file(name, ignored))
    fail(ExitCode::Usage, name + ": is neither a file nor a folder: name another output");
  if (fs::exists(fs::symlink_status(name, ignored)) && !force)
    fail(ExitCode::Usage, name + ": exists: add --force to replace it");
}

void BundleWriter::beginPart(std::string_view name) {
  state_->endPart();
  const bool again = std::any_of(state_->parts.begin(), state_->parts.end(),
                                 [&](const auto &part) { return part.name == name; });
  if (!engine::isPartName(name) || again)
    fail(ExitCode::Internal, "a bundle cannot have a part '" + std::string(name) + "' (again)");
  state_->part = name;
  state_->hash.emplace();
  if (state_->isDirectory)
    state_->file.emplace(state_->directory->path(), state_->path);
  else
    state_->offset = state_->file->bytes();
}

void BundleWriter::append(std::span<const uint8_t> bytes) {
  if (state_->part.empty())
    fail(ExitCode::Internal, "bytes are appended to a bundle outside a part");
  state_->file->write({reinterpret_cast<const char *>(bytes.data()), bytes.size()});
  state_->hash->add(bytes);
}

void BundleWriter::append(std::string_view text) {
  append(std::span(reinterpret_cast<const uint8_t *>(text.data()), text.size()));
}

void BundleWriter::alignTo(uint64_t alignment) {
  const uint64_t rest = partBytes() % alignment;
  if (rest)
    append(std::string(alignment - rest, '\0'));
}

uint64_t BundleWriter::partBytes() const { return state_->hash ? state_->hash->size() : 0; }

void BundleWriter::addPart(std::string_view name, std::span<const uint8_t> bytes) {
  beginPart(name);
  append(bytes);
  state_->endPart();
}

void BundleWriter::addPart(std::string_view name, std::string_view text) {
  addPart(name, std::span(reinterpret_cast<const uint8_t *>(text.data()), text.size()));
}

uint64_t BundleWriter::commit(nlohmann::json manifest) {
  State &s = *state_;
  s.endPart();
  addParts(manifest, s.parts, !s.isDirectory);
  const std::string text = manifest.dump(1) + "\n";
  const std::optional<uint64_t> end = s.isDirectory ? std::nullopt : std::optional(s.file->bytes());
  try {
    engine::parseManifest(text, s.path + ": manifest", end);
  } catch (const Error &error) {
    fail(ExitCode::Internal, "the bundle would not open: " + error.message);
  }
  const std::string sum = sha256Hex(text);
  if (s.isDirectory) {
    s.writeFileInDirectory("manifest.json", text);
    s.writeFileInDirectory("manifest.sha256", sum + "  manifest.json\n");
    return s.directory->commit();
  }
  s.file->write(text);
  std::string header(engine::kBundleMagic, sizeof engine::kBundleMagic);
  appendU64(header, *end);
  appendU64(header, text.size());
  appendHex(header, sum);
  s.file->writeAt(0, header);
  const uint64_t bytes = s.file->bytes();
  s.file->closeAs(s.path);
  return bytes;
}

bool isBundle(const std::string &path) {
  std::error_code ignored;
  if (fs::is_directory(path, ignored))
    return fs::is_regular_file(path + "/manifest.json", ignored) &&
           fs::is_regular_file(path + "/manifest.sha256", ignored);
  char magic[sizeof engine::kBundleMagic] = {};
  std::ifstream(path, std::ios::binary).read(magic, sizeof magic);
  return std::equal(magic, magic + 7, engine::kBundleMagic);
}

engine::Manifest readBundleManifest(const std::string &path) {
  return engine::BundleReader::open(path).manifest();
}

std::string readBundlePart(const std::string &path, std::string_view name) {
  const engine::BundleReader bundle = engine::BundleReader::open(path);
  const engine::Manifest::Part *part = bundle.manifest().findPart(name);
  if (!part)
    fail(ExitCode::Usage, path + ": has no part '" + std::string(name) + "'");
  bundle.verify(*part);
  const std::span<const uint8_t> bytes = bundle.bytes(*part);
  return std::string(bytes.begin(), bytes.end());
}

} // namespace retort
