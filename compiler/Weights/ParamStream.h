//===- ParamStream.h - Making parameters by their weight programs -*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
//
// Evaluates the body of an lm.param a few rows at a time, in memory bounded whatever the
// parameter's size (at most about 200 MB for a transpose or a rotation of a large matrix, a few MB
// otherwise): what is read from the checkpoint is dropped from memory again. Two consumers: the
// bundle writer takes packed bytes, the executor takes float rows.
//
//===----------------------------------------------------------------------===//
#pragma once
#include "compiler/Checkpoint/Checkpoint.h"
#include "dialects/LM/LMOps.h"
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>

namespace retort {

class SafetensorsFile;

/// Where weight.load finds tensors: the checkpoint, and the workspace's safetensors objects by
/// their hash. Not thread-safe; keep one for each thread.
class WeightSources {
public:
  /// @param checkpoint  kept alive by the caller; may be null if no program loads from it.
  /// @param objectPath  the path of the workspace object with this hash (a safetensors file).
  explicit WeightSources(const Checkpoint *checkpoint,
                         std::function<std::string(const std::string &hash)> objectPath = {});
  ~WeightSources();
  WeightSources(const WeightSources &) = delete;
  WeightSources &operator=(const WeightSources &) = delete;

  /// The tensor that `load` reads. Throws Error (BadInput) if there is none of this name, or if its
  /// shape or its type is not the op's, with both.
  CheckpointTensor tensor(weight::LoadOp load);

private:
  const Checkpoint *checkpoint_;
  std::function<std::string(const std::string &)> objectPath_;
  std::map<std::string, std::unique_ptr<SafetensorsFile>> objects_;
};

namespace weight {
class Node;
}

/// A parameter's values. Throws Error (BadInput, Io, Unsupported) from every member.
class ParamStream {
public:
  /// Checks the program and finds its tensors; reads no weight. `param` and `sources` must outlive
  /// it.
  ParamStream(lm::ParamOp param, WeightSources &sources);
  ~ParamStream();
  ParamStream(ParamStream &&) noexcept;

  /// Logical shape, before packing; a vector is one row of columns() values.
  int64_t rows() const { return rows_; }
  int64_t columns() const { return columns_; }
  bool isVector() const { return isVector_; }

  /// Rows [begin, end) as float32, row-major, into out[(end - begin) * columns()]. Quantised and
  /// narrower types give exactly the values that the packed bytes stand for.
  void readRows(int64_t begin, int64_t end, float *out);

  /// Bytes that writePacked gives: of the packed layout where the program ends in weight.pack, else
  /// of the f32 (or bf16, f16) values, row-major, little endian.
  int64_t packedBytes() const;
  /// Gives the bytes to `sink` in order, in pieces of a few MB at most, which it must not keep.
  using Sink = std::function<void(std::span<const uint8_t>)>;
  void writePacked(const Sink &sink);

private:
  void checkLayout() const;
  void writeValues(const Sink &sink);
  void writeBlocks(const Sink &sink);
  std::string name_;
  std::shared_ptr<weight::Node> root_;      ///< the values, rounded as stored
  std::shared_ptr<weight::Node> unrounded_; ///< what is packed
  int64_t rows_ = 1, columns_ = 0;
  bool isVector_ = false;
  std::optional<MatrixLayout> layout_; ///< none: not packed
  mlir::Type stored_;                  ///< before packing: an element type or a format
};

} // namespace retort
