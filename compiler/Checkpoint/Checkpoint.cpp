//===- Checkpoint.cpp - A model's files, whatever their format ------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Checkpoint/Checkpoint.h"
#include "compiler/Checkpoint/Cursor.h"
#include "compiler/Checkpoint/Gguf.h"
#include "compiler/Checkpoint/Safetensors.h"
#include "runtime/base/Json.h"
#include "runtime/base/Sha256.h"
#include "runtime/base/SystemError.h"
#include <algorithm>
#include <filesystem>
#include <map>
#include <sys/stat.h>

namespace retort {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMaxConfigBytes = 16 << 20;
constexpr uint64_t kMaxIndexBytes = 64 << 20;
constexpr size_t kMaxShards = 4096;
constexpr uint64_t kHashPiece = 8 << 20;

bool exists(const fs::path &path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

/// The whole of a small text file. Throws Error (Io; BadInput if it has more than `limit` bytes).
std::string readTextFile(const std::string &path, uint64_t limit) {
  MappedFile file = MappedFile::open(path);
  if (file.bytes().size() > limit)
    fail(ExitCode::BadInput, path + ": has " + std::to_string(file.bytes().size()) +
                                 " bytes, more than the " + std::to_string(limit) +
                                 " that such a file may have: check that it is the right file");
  return {reinterpret_cast<const char *>(file.bytes().data()), file.bytes().size()};
}

/// A shard's name must be a plain file name, so that an index cannot reach out of its directory.
bool isPlainFileName(const std::string &name) {
  return !name.empty() && name.size() < 256 && isVisibleAscii(name) && name[0] != '.' &&
         name.find('/') == std::string::npos && name.ends_with(".safetensors");
}

/// The index's weight_map: which shard holds which tensor.
std::map<std::string, std::string> readWeightMap(const std::string &path) {
  nlohmann::json index = parseJson(readTextFile(path, kMaxIndexBytes), path);
  auto damaged = [&](const std::string &what) {
    fail(ExitCode::BadInput, path + ": " + what + ": the file is damaged, download it again");
  };
  if (!index.is_object() || !index.contains("weight_map") || !index["weight_map"].is_object())
    damaged("has no 'weight_map' object");
  std::map<std::string, std::string> map;
  for (auto &[tensor, shard] : index["weight_map"].items()) {
    if (!shard.is_string() || !isPlainFileName(shard.get<std::string>()))
      damaged("tensor " + quote(tensor) + " lies in " +
              (shard.is_string() ? quote(shard.get<std::string>()) : "no file") +
              ", which is not the name of a .safetensors file beside the index");
    map[tensor] = shard.get<std::string>();
  }
  return map;
}

} // namespace

int64_t CheckpointTensor::elements() const {
  int64_t count = 1;
  for (int64_t size : shape)
    count *= size;
  return count;
}

Checkpoint::Checkpoint(Checkpoint &&) noexcept = default;
Checkpoint &Checkpoint::operator=(Checkpoint &&) noexcept = default;
Checkpoint::~Checkpoint() = default;

Checkpoint Checkpoint::open(const std::string &path) {
  Checkpoint checkpoint;
  checkpoint.path_ = path;
  std::error_code ignored;
  if (fs::is_directory(path, ignored))
    checkpoint.openDirectory();
  else
    checkpoint.addGguf(GgufFile::open(path));
  checkpoint.index();
  return checkpoint;
}

Checkpoint Checkpoint::of(GgufFile file) {
  Checkpoint checkpoint;
  checkpoint.path_ = file.path();
  checkpoint.addGguf(std::move(file));
  checkpoint.index();
  return checkpoint;
}

void Checkpoint::addGguf(GgufFile file) {
  gguf_ = std::make_unique<GgufFile>(std::move(file));
  files_ = {path_};
  for (const GgufTensor &tensor : gguf_->tensors())
    tensors_.push_back(
        {tensor.name, tensor.type, tensor.shape, tensor.bytes, &gguf_->file(), tensor.offset});
}

void Checkpoint::openDirectory() {
  const fs::path dir = path_;
  const std::string config = dir / "config.json", index = dir / "model.safetensors.index.json",
                    single = dir / "model.safetensors";
  if (!exists(config))
    fail(ExitCode::Io, path_ + ": has no config.json: give a .gguf file or a Hugging Face "
                               "directory (config.json and *.safetensors)");
  configJson_ = readTextFile(config, kMaxConfigBytes);
  files_ = {config};
  if (exists(single)) {
    files_.push_back(single);
    addShard(single, nullptr, "");
    return;
  }
  if (!exists(index))
    fail(ExitCode::Io, path_ + ": has neither model.safetensors nor "
                               "model.safetensors.index.json: download the model's *.safetensors");
  files_.push_back(index);
  std::map<std::string, std::string> map = readWeightMap(index);
  std::map<std::string, size_t> expected; // tensors of each shard
  for (const auto &[tensor, shard] : map)
    ++expected[shard];
  if (expected.size() > kMaxShards)
    fail(ExitCode::BadInput, index + ": names " + std::to_string(expected.size()) +
                                 " files, more than " + std::to_string(kMaxShards) +
                                 ": the file is damaged");
  for (const auto &[shard, count] : expected) {
    files_.push_back(dir / shard);
    if (addShard(dir / shard, &map, shard) == count)
      continue;
    for (const auto &[tensor, where] : map)
      if (where == shard && !shards_.back()->find(tensor))
        fail(ExitCode::BadInput, (dir / shard).string() + ": has no tensor " + quote(tensor) +
                                     ", which the index says it has: download it again");
  }
}

size_t Checkpoint::addShard(const std::string &path, const std::map<std::string, std::string> *map,
                            const std::string &shard) {
  shards_.push_back(std::make_unique<SafetensorsFile>(SafetensorsFile::open(path)));
  const SafetensorsFile &file = *shards_.back();
  size_t count = 0;
  for (const SafetensorsTensor &tensor : file.tensors()) {
    if (map) { // a tensor that the index has elsewhere, or nowhere, is not this file's to give
      auto it = map->find(tensor.name);
      if (it == map->end() || it->second != shard)
        continue;
    }
    ++count;
    tensors_.push_back(
        {tensor.name, tensor.type, tensor.shape, tensor.bytes, &file.file(), tensor.offset});
  }
  return count;
}

void Checkpoint::index() {
  for (size_t i = 0; i < tensors_.size(); ++i)
    index_.emplace(tensors_[i].name, i);
}

const CheckpointTensor *Checkpoint::find(std::string_view name) const {
  auto it = index_.find(name);
  return it == index_.end() ? nullptr : &tensors_[it->second];
}

uint64_t Checkpoint::tensorBytes() const {
  uint64_t total = 0;
  for (const CheckpointTensor &tensor : tensors_)
    total += tensor.bytes.size();
  return total;
}

std::string Checkpoint::identity() const {
  Sha256 all;
  for (const std::string &path : files_) {
    MappedFile file = MappedFile::open(path);
    Sha256 hash;
    for (uint64_t at = 0; at < file.bytes().size(); at += kHashPiece) {
      uint64_t size = std::min<uint64_t>(kHashPiece, file.bytes().size() - at);
      hash.add(file.bytes().subspan(at, size));
      file.release(at, size);
    }
    all.add(fs::path(path).extension().string() + " " + hash.hex() + "\n");
  }
  return all.hex();
}

std::string Checkpoint::fingerprint() const {
  std::string text;
  for (const std::string &path : files_) {
    struct stat info;
    std::error_code ignored;
    if (::stat(path.c_str(), &info) != 0)
      failSystem(path, "cannot be read");
    text += fs::absolute(path, ignored).string() + " " + std::to_string(info.st_size) + " " +
            std::to_string(info.st_mtim.tv_sec) + "." + std::to_string(info.st_mtim.tv_nsec) + " " +
            std::to_string(info.st_ino) + ";";
  }
  return text;
}

} // namespace retort
