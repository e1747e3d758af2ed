//===- Checkpoint.h - A model's files, whatever their format ----*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "compiler/Checkpoint/DType.h"
#include "runtime/base/MappedFile.h"
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace retort {

class Adapter;
struct CodedMatrix;
class GgufFile;
class SafetensorsFile;

/// A tensor of a checkpoint, or a matrix that it keeps in several. Bytes are mapped, never read
/// whole.
struct CheckpointTensor {
  std::string_view name; ///< as the checkpoint has it
  DType type = DType::F32;
  std::vector<int64_t> shape; ///< slowest first
  std::span<const uint8_t> bytes;
  const MappedFile *file = nullptr; ///< release() drops pages that were consumed
  uint64_t offset = 0;              ///< of `bytes` in the file
  /// What the matrix is made of if it is kept in several tensors: `type`, `bytes`, `file` and
  /// `offset` are then its codes'.
  std::shared_ptr<const CodedMatrix> coded = nullptr;

  /// What its numbers are stored as: "BF16", "Q4_K", "GPTQ".
  std::string_view format() const;
  /// Whether it can be read as numbers.
  bool isOfWeights() const { return coded || retort::isOfWeights(type); }
  /// Bytes of all that it is made of.
  uint64_t storedBytes() const;
  int64_t elements() const;
  /// Rows x columns of a matrix; a vector is one row. (Tensors of models have no other ranks.)
  int64_t rows() const { return shape.size() < 2 ? 1 : shape[0]; }
  int64_t columns() const { return shape.empty() ? 1 : shape.back(); }
};

/// A .gguf file (or one of the parts of a split one, which all lie beside it), or a Hugging Face
/// directory: config.json with model.safetensors, or with model.safetensors.index.json and its
/// shards. What config.json's "quantization_config" says is kept in several tensors is one matrix
/// here. Movable; views live as long as it does.
class Checkpoint {
public:
  /// Maps and checks all files, with those of a LoRA adapter's folder if one is named: its tensors are
  /// found by find() but are none of tensors(). Throws Error: Io; BadInput (file, byte or key);
  /// Unsupported.
  static Checkpoint open(const std::string &path, const std::string &adapter = "");
  /// Of a GGUF file that is open already (its bytes may be anywhere in memory: release() then does
  /// nothing).
  static Checkpoint of(GgufFile file);
  /// Of a Hugging Face directory's config.json and its only file of tensors.
  static Checkpoint of(SafetensorsFile file, std::string configJson);
  Checkpoint(Checkpoint &&) noexcept;
  Checkpoint &operator=(Checkpoint &&) noexcept;
  ~Checkpoint();

  const std::string &path() const { return path_; }
  /// The GGUF file, of a split one the first part, which has the metadata; null for a Hugging Face
  /// directory.
  const GgufFile *gguf() const { return gguf_.empty() ? nullptr : gguf_.front().get(); }
  /// The text of config.json; empty for GGUF.
  const std::string &configJson() const { return configJson_; }

  /// What is merged into the weights; null if nothing is.
  const Adapter *adapter() const { return adapter_.get(); }

  std::span<const CheckpointTensor> tensors() const { return tensors_; }
  /// The tensor of this name in the checkpoint; null if there is none.
  const CheckpointTensor *find(std::string_view name) const;
  /// Bytes of all tensors as stored.
  uint64_t tensorBytes() const;

  /// SHA-256 of the content of all files that say what the model computes (the GGUF file;
  /// config.json, index and shards; the adapter's), not of their names' folder. Reads everything once, in bounded
  /// memory.
  std::string identity() const;
  /// Paths, sizes and modification times of those files in one line: a key for a cache of
  /// identity().
  std::string fingerprint() const;

private:
  Checkpoint() = default;
  void addGguf(GgufFile file);
  /// Opens a GGUF file, with all parts if it is one of several.
  void openGguf();
  void openDirectory();
  /// Adds the file's tensors, with a map only those that it gives to `shard`; returns how many.
  size_t addShard(const std::string &path, const std::map<std::string, std::string> *map,
                  const std::string &shard);
  /// Joins the tensors of quantised matrices and makes the index.
  void index();
  std::string path_, configJson_;
  std::vector<std::unique_ptr<GgufFile>> gguf_; ///< all parts
  std::vector<std::unique_ptr<SafetensorsFile>> shards_;
  std::unique_ptr<Adapter> adapter_;
  std::vector<std::string> files_; ///< what identity() covers
  std::vector<CheckpointTensor> tensors_;
  std::unordered_map<std::string_view, size_t> index_;
};

} // namespace retort
