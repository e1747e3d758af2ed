//===- CodedMatrix.h - Matrices of codes and scales -------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
//
// How quantised Hugging Face checkpoints keep a matrix: codes of a few bits in one tensor, scales in
// another, zero points in a third. A weight is (number[code] - zero) * scale, in float32.
//
//===----------------------------------------------------------------------===//
#pragma once
#include "compiler/Checkpoint/Checkpoint.h"
#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace retort {

/// Codes that lie in bytes or in words of 32 bits, several to a word.
struct Codes {
  CheckpointTensor tensor;
  int bits = 8;              ///< of a code: 2, 4 or 8; or 3, on end, so that some cross words
  int wordBytes = 1;         ///< 1 or 4
  bool alongRows = false;    ///< a word holds codes of several rows, else of several columns
  uint64_t rowStride = 0;    ///< words from a row (or a word of rows) to the next
  uint64_t columnStride = 1; ///< and from a column to the next
  uint32_t increment = 0;    ///< added to each word before it is taken apart; of 3 bits, to a code
  bool isAwq = false;        ///< AutoAWQ's order within a word: 0, 2, 4, 6, 1, 3, 5, 7
  bool isHighFirst = false;  ///< the first code of a byte is its high half

  int perWord() const { return wordBytes * 8 / bits; }
};

/// A matrix that a checkpoint keeps in several tensors.
struct CodedMatrix {
  /// Scales that are codes themselves, as bitsandbytes' double quantisation has them.
  struct NestedScales {
    CheckpointTensor numbers, scales; ///< what a code stands for, and each block's factor
    int64_t block = 0;
    float offset = 0;
  };

  std::string name;        ///< of the matrix: the checkpoint lists it as this
  std::string_view format; ///< "GPTQ", "NF4", ...
  int64_t rows = 0, columns = 0;
  Codes codes;
  std::array<float, 256> numbers{}; ///< what each code stands for

  CheckpointTensor scales;
  int64_t rowsPerScale = 1, columnsPerScale = 1;
  bool scalesByColumn = false; ///< the scales of a group of columns lie together
  bool scalesOnEnd = false;    ///< groups are cut from all rows on end, not from each row
  float scaleFactor = 1, scaleDivisor = 1; ///< of every scale
  std::optional<NestedScales> nested;

  std::optional<Codes> zeros;                    ///< a zero point for each scale
  float zeroOffset = 0;                          ///< what a zero point's code 0 stands for
  bool zerosAreSigned = false;                   ///< in two's complement
  std::optional<CheckpointTensor> groupOfColumn; ///< int32, where groups are not runs of columns

  /// Groups of columns that a row has.
  int64_t groups() const { return (columns + columnsPerScale - 1) / columnsPerScale; }
  /// Bytes of all its tensors.
  uint64_t storedBytes() const;
  /// Drops the pages of all its tensors from memory.
  void release() const;
};

/// Reads rows of a coded matrix.
class CodedReader {
public:
  /// Reads which group each column is of. Throws Error (BadInput) if there is no such group.
  explicit CodedReader(std::shared_ptr<const CodedMatrix> matrix);
  /// Rows [begin, end), row-major, into `out`.
  void read(int64_t begin, int64_t end, float *out);

private:
  void readGroups();
  void readScales(int64_t row);

  std::shared_ptr<const CodedMatrix> matrix_;
  std::vector<int32_t> group_;      ///< of each column
  std::vector<float> scale_, zero_; ///< of each group, in the row at hand
};

} // namespace retort
