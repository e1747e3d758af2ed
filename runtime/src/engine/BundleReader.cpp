//===- BundleReader.cpp - The parts of a bundle ---------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/src/engine/BundleReader.h"
#include "runtime/base/Error.h"
#include "runtime/base/Machine.h"
#include "runtime/base/Sha256.h"
#include "runtime/src/engine/ThreadPool.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <sys/stat.h>
#include <thread>

namespace retort::engine {
namespace {

uint64_t readU64(const uint8_t *bytes) {
  uint64_t value = 0;
  for (int i = 7; i >= 0; --i)
    value = value << 8 | bytes[i];
  return value;
}

std::string hexOf(std::span<const uint8_t> bytes) {
  std::string text;
  for (uint8_t byte : bytes) {
    text += "0123456789abcdef"[byte >> 4];
    text += "0123456789abcdef"[byte & 15];
  }
  return text;
}

std::string_view textOf(std::span<const uint8_t> bytes) {
  return {reinterpret_cast<const char *>(bytes.data()), bytes.size()};
}

void checkZero(std::span<const uint8_t> file, uint64_t begin, uint64_t end,
               const std::string &where) {
  for (uint64_t i = begin; i < end; ++i)
    if (file[i] != 0)
      fail(ExitCode::BadInput,
           where + ": byte " + std::to_string(i) +
               " of the padding is not zero: the bundle was changed or damaged, "
               "copy it again");
}

void checkManifestHash(std::string_view manifest, std::string_view expected,
                       const std::string &where) {
  if (sha256Hex(manifest) != expected)
    fail(ExitCode::BadInput, where + ": the manifest does not match its SHA-256: the bundle was "
                                     "changed or damaged, copy it again");
}

/// manifest.sha256 holds "<64 digits>  manifest.json\n", as sha256sum writes it.
std::string readManifestSum(const std::string &path) {
  MappedFile file = MappedFile::open(path);
  std::string_view text = textOf(file.bytes());
  if (text.size() != 64 + 16 || text.substr(64) != "  manifest.json\n")
    fail(ExitCode::BadInput, path +
                                 ": is not what `sha256sum manifest.json` prints: the bundle was "
                                 "changed or damaged, copy it again");
  return std::string(text.substr(0, 64));
}

struct Chunk {
  const Manifest::Part *part;
  size_t index;
};

} // namespace

BundleHeader readBundleHeader(std::span<const uint8_t> file, const std::string &where) {
  if (file.size() < 8 || std::memcmp(file.data(), kBundleMagic, 7) != 0)
    fail(ExitCode::BadInput,
         where + ": is not a Retort bundle: it does not begin with \"RETORTB1\"");
  if (file[7] != uint8_t(kBundleMagic[7]))
    fail(ExitCode::Unsupported, where + ": is a bundle of another version, and this runtime reads "
                                        "RETORTB1: use the Retort that made it");
  if (file.size() < kBundlePage)
    fail(ExitCode::BadInput, where + ": has " + std::to_string(file.size()) +
                                 " bytes, less than a bundle's header: copy it again");
  BundleHeader header{readU64(&file[8]), readU64(&file[16]), hexOf(file.subspan(24, 32))};
  if (header.manifestBytes > kMaxManifestBytes || header.manifestOffset > file.size() ||
      header.manifestBytes != file.size() - header.manifestOffset ||
      header.manifestOffset < kBundlePage || header.manifestOffset % kBundlePage != 0)
    fail(ExitCode::BadInput, where + ": should end with a manifest of " +
                                 std::to_string(header.manifestBytes) + " bytes at byte " +
                                 std::to_string(header.manifestOffset) + " but has " +
                                 std::to_string(file.size()) + " bytes: copy it again");
  return header;
}

Manifest readBundleFile(std::span<const uint8_t> file, const std::string &where) {
  BundleHeader header = readBundleHeader(file, where);
  checkZero(file, kBundleHeaderBytes, kBundlePage, where);
  std::string_view text = textOf(file.subspan(header.manifestOffset));
  checkManifestHash(text, header.manifestSha256, where);
  Manifest manifest = parseManifest(text, where + ": manifest", header.manifestOffset);
  for (size_t i = 0; i < manifest.parts.size(); ++i) {
    const Manifest::Part &part = manifest.parts[i];
    checkZero(file, part.offset + part.bytes,
              i + 1 < manifest.parts.size() ? manifest.parts[i + 1].offset : header.manifestOffset,
              where);
  }
  return manifest;
}

BundleReader BundleReader::open(const std::string &path, Weights weights) {
  const auto openFile = [weights](const std::string &name) {
    return weights == Weights::Mapped ? MappedFile::open(name)
                                      : MappedFile::copy(name, weights == Weights::Locked);
  };
  BundleReader reader;
  reader.path_ = path;
  struct stat info;
  reader.isDirectory_ = ::stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
  if (!reader.isDirectory_) {
    reader.files_.push_back(openFile(path));
    reader.manifest_ = readBundleFile(reader.files_[0].bytes(), path);
    return reader;
  }
  const std::string manifestPath = path + "/manifest.json";
  MappedFile manifest = MappedFile::open(manifestPath);
  if (manifest.bytes().size() > kMaxManifestBytes)
    fail(ExitCode::BadInput, manifestPath + ": is larger than " +
                                 std::to_string(kMaxManifestBytes) +
                                 " bytes: the bundle is damaged");
  checkManifestHash(textOf(manifest.bytes()), readManifestSum(path + "/manifest.sha256"), path);
  reader.manifest_ = parseManifest(textOf(manifest.bytes()), manifestPath, std::nullopt);
  for (const Manifest::Part &part : reader.manifest_.parts) {
    reader.files_.push_back(openFile(path + "/" + part.name));
    if (reader.files_.back().bytes().size() != part.bytes)
      fail(ExitCode::BadInput, path + ": the part " + part.name + " has " +
                                   std::to_string(reader.files_.back().bytes().size()) +
                                   " bytes, not the " + std::to_string(part.bytes) +
                                   " that the manifest says: copy the bundle again");
  }
  return reader;
}

std::span<const uint8_t> BundleReader::bytes(const Manifest::Part &part) const {
  if (!isDirectory_)
    return files_[0].bytes().subspan(part.offset, part.bytes);
  return files_[size_t(&part - manifest_.parts.data())].bytes();
}

void BundleReader::verify(unsigned threads) const {
  std::vector<Chunk> chunks;
  for (const Manifest::Part &part : manifest_.parts)
    for (size_t i = 0; i < part.chunks.size(); ++i)
      chunks.push_back({&part, i});
  // The first damaged chunk in the bundle's order, whichever thread finds it.
  std::atomic<size_t> next{0}, bad{chunks.size()};
  auto work = [&] {
    for (size_t i; (i = next.fetch_add(1)) < chunks.size();) {
      std::span<const uint8_t> all = bytes(*chunks[i].part);
      const uint64_t begin = chunks[i].index * kHashChunkBytes;
      auto piece = all.subspan(begin, std::min<uint64_t>(kHashChunkBytes, all.size() - begin));
      if (sha256Hex(piece) == chunks[i].part->chunks[chunks[i].index])
        continue;
      size_t seen = bad.load();
      while (i < seen && !bad.compare_exchange_weak(seen, i)) {
      }
    }
  };
  size_t wanted = threads ? threads : usableCores();
  runOnThreads(unsigned(std::min(wanted, chunks.size())), work);
  if (size_t i = bad.load(); i < chunks.size())
    fail(ExitCode::BadInput, path_ + ": the part " + chunks[i].part->name +
                                 " does not match its SHA-256 (after byte " +
                                 std::to_string(chunks[i].index * kHashChunkBytes) +
                                 " of it): the bundle was changed or damaged, copy it again");
}

void BundleReader::verify(const Manifest::Part &part) const {
  if (sha256Hex(bytes(part)) != part.sha256)
    fail(ExitCode::BadInput, path_ + ": the part " + part.name +
                                 " does not match its SHA-256: the bundle was changed or damaged, "
                                 "copy it again");
}

} // namespace retort::engine
