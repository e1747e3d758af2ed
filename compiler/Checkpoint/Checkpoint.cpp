//===- Checkpoint.cpp - A model's files, whatever their format ------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Checkpoint/Checkpoint.h"
#include "compiler/Checkpoint/Adapter.h"
#include "compiler/Checkpoint/CodedMatrix.h"
#include "compiler/Checkpoint/Cursor.h"
#include "compiler/Checkpoint/Gguf.h"
#include "compiler/Checkpoint/QuantizedFolder.h"
#include "compiler/Checkpoint/Safetensors.h"
#include "runtime/base/Json.h"
#include "runtime/base/Sha256.h"
#include "runtime/base/SystemError.h"
#include <algorithm>
#include <filesystem>
#include <map>
#include <set>
#include <sys/stat.h>

namespace retort {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMaxIndexBytes = 64 << 20;
constexpr size_t kMaxShards = 4096;
constexpr uint64_t kHashPiece = 8 << 20;

bool exists(const fs::path &path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
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
    fail(ExitCode::BadInput, path + ": " + what + ": the file is damaged");
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

/// Which part of a split model a GGUF file is (llama.cpp's gguf-split).
struct Split {
  int64_t number, count;
  std::optional<int64_t> tensors; ///< of all parts

  bool operator==(const Split &) const = default;
  /// "-00001-of-00003.gguf"
  std::string ending() const {
    char text[32];
    std::snprintf(text, sizeof text, "-%05lld-of-%05lld.gguf", static_cast<long long>(number + 1),
                  static_cast<long long>(count));
    return text;
  }
};

/// Nothing for a file that is the whole model.
std::optional<Split> splitOf(const GgufFile &file) {
  const int64_t count = file.integer("split.count").value_or(0);
  if (count <= 1)
    return std::nullopt;
  const int64_t number = file.integer("split.no").value_or(0);
  if (number < 0 || number >= count || count > static_cast<int64_t>(kMaxShards))
    fail(ExitCode::BadInput, file.path() + ": key 'split.no' is " + std::to_string(number) +
                                 " of " + std::to_string(count) + " parts: the file is damaged");
  return Split{number, count, file.integer("split.tensors.count")};
}

} // namespace

int64_t CheckpointTensor::elements() const {
  int64_t count = 1;
  for (int64_t size : shape)
    count *= size;
  return count;
}

std::string_view CheckpointTensor::format() const {
  return coded ? coded->format : retort::name(type);
}

uint64_t CheckpointTensor::storedBytes() const {
  return coded ? coded->storedBytes() : bytes.size();
}

Checkpoint::Checkpoint(Checkpoint &&) noexcept = default;
Checkpoint &Checkpoint::operator=(Checkpoint &&) noexcept = default;
Checkpoint::~Checkpoint() = default;

Checkpoint Checkpoint::open(const std::string &path, const std::string &adapter) {
  Checkpoint checkpoint;
  checkpoint.path_ = path;
  std::error_code ignored;
  if (fs::is_directory(path, ignored))
    checkpoint.openDirectory();
  else
    checkpoint.openGguf();
  checkpoint.index();
  if (!adapter.empty()) {
    checkpoint.adapter_ = Adapter::open(adapter);
    checkpoint.files_.insert(checkpoint.files_.end(), checkpoint.adapter_->files().begin(),
                             checkpoint.adapter_->files().end());
  }
  return checkpoint;
}

Checkpoint Checkpoint::of(GgufFile file) {
  Checkpoint checkpoint;
  checkpoint.path_ = file.path();
  checkpoint.addGguf(std::move(file));
  checkpoint.index();
  return checkpoint;
}

Checkpoint Checkpoint::of(SafetensorsFile file, std::string configJson) {
  Checkpoint checkpoint;
  checkpoint.path_ = file.path();
  checkpoint.configJson_ = std::move(configJson);
  checkpoint.shards_.push_back(std::make_unique<SafetensorsFile>(std::move(file)));
  for (const SafetensorsTensor &tensor : checkpoint.shards_.back()->tensors())
    checkpoint.tensors_.push_back({tensor.name, tensor.type, tensor.shape, tensor.bytes,
                                   &checkpoint.shards_.back()->file(), tensor.offset});
  checkpoint.index();
  return checkpoint;
}

void Checkpoint::addGguf(GgufFile file) {
  gguf_.push_back(std::make_unique<GgufFile>(std::move(file)));
  const GgufFile &part = *gguf_.back();
  files_.push_back(part.path());
  for (const GgufTensor &tensor : part.tensors())
    tensors_.push_back(
        {tensor.name, tensor.type, tensor.shape, tensor.bytes, &part.file(), tensor.offset});
}

void Checkpoint::openGguf() {
  GgufFile given = GgufFile::open(path_);
  const std::optional<Split> split = splitOf(given);
  if (!split)
    return addGguf(std::move(given));
  const std::string ending = split->ending();
  if (!path_.ends_with(ending))
    fail(ExitCode::BadInput, path_ + ": is part " + std::to_string(split->number + 1) + " of " +
                                 std::to_string(split->count) +
                                 " of a split model, but its name does not end in " +
                                 quote(ending) + ": give the parts the names they were made with");
  const std::string stem = path_.substr(0, path_.size() - ending.size());
  for (int64_t number = 0; number < split->count; ++number) {
    Split part{number, split->count, split->tensors};
    const std::string path = stem + part.ending();
    if (!exists(path))
      fail(ExitCode::Io, path + ": is missing: the model is split into " +
                             std::to_string(split->count) + " files, get them all");
    GgufFile file = GgufFile::open(path);
    if (splitOf(file) != part)
      fail(ExitCode::BadInput, path + ": is no part " + std::to_string(number + 1) + " of the " +
                                   std::to_string(split->count) + " of " + quote(path_) +
                                   ": it belongs to another model");
    addGguf(std::move(file));
  }
  std::set<std::string_view> names;
  for (const CheckpointTensor &tensor : tensors_)
    if (!names.insert(tensor.name).second)
      fail(ExitCode::BadInput, path_ + ": tensor " + quote(tensor.name) +
                                   " is in two parts: they belong to different models");
  if (split->tensors && static_cast<int64_t>(tensors_.size()) != *split->tensors)
    fail(ExitCode::BadInput, path_ + ": its parts have " + std::to_string(tensors_.size()) +
                                 " tensors together, not " + std::to_string(*split->tensors) +
                                 ": they belong to different models");
}

void Checkpoint::openDirectory() {
  const fs::path dir = path_;
  const std::string config = dir / "config.json", index = dir / "model.safetensors.index.json",
                    single = dir / "model.safetensors";
  if (!exists(config) && exists((dir / "adapter_config.json").string()))
    fail(ExitCode::Unsupported, path_ + ": is a LoRA adapter, not a model: give its base, and this "
                                        "as --adapter");
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
    fail(ExitCode::Io, path_ + ": has neither model.safetensors nor model.safetensors.index.json" +
                           (exists((dir / "pytorch_model.bin").string())
                                ? ": save pytorch_model.bin with transformers' save_pretrained"
                                : ": get the model's *.safetensors"));
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
                                     ", which the index says it has: the files are of "
                                     "different models");
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
  if (gguf_.empty())
    joinQuantized(configJson_, path_, tensors_);
  for (size_t i = 0; i < tensors_.size(); ++i)
    index_.emplace(tensors_[i].name, i);
}

const CheckpointTensor *Checkpoint::find(std::string_view name) const {
  if (auto it = index_.find(name); it != index_.end())
    return &tensors_[it->second];
  return adapter_ ? adapter_->find(name) : nullptr;
}

uint64_t Checkpoint::tensorBytes() const {
  uint64_t total = 0;
  for (const CheckpointTensor &tensor : tensors_)
    total += tensor.storedBytes();
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
