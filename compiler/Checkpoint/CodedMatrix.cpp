//===- CodedMatrix.cpp - Matrices of codes and scales ---------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Checkpoint/CodedMatrix.h"
#include "compiler/Checkpoint/Cursor.h"
#include <algorithm>
#include <bit>
#include <cstring>

#pragma STDC FP_CONTRACT OFF

namespace retort {
namespace {

/// Where in a word AutoAWQ puts its eight codes.
constexpr int kAwqPlaces[] = {0, 4, 1, 5, 2, 6, 3, 7};

/// Reads single codes. A value in the loops below, so that what is the same for all codes stays in
/// registers.
class CodeReader {
public:
  explicit CodeReader(const Codes &codes)
      : data_(codes.tensor.bytes.data()), rowStride_(codes.rowStride),
        columnStride_(codes.columnStride), increment_(codes.increment),
        mask_((1u << codes.bits) - 1), perWord_(codes.perWord()),
        log2PerWord_(std::countr_zero(static_cast<unsigned>(perWord_))), bits_(codes.bits),
        isWide_(codes.wordBytes == 4), alongRows_(codes.alongRows), isAwq_(codes.isAwq),
        isHighFirst_(codes.isHighFirst) {}

  uint32_t at(int64_t row, int64_t column) const {
    auto r = static_cast<uint64_t>(row), c = static_cast<uint64_t>(column);
    if (bits_ == 3)
      return crossing(r, c);
    uint64_t &packed = alongRows_ ? r : c;
    int place = static_cast<int>(packed) & (perWord_ - 1);
    packed >>= log2PerWord_;
    if (isAwq_)
      place = kAwqPlaces[place];
    if (isHighFirst_)
      place = perWord_ - 1 - place;
    const uint64_t word = r * rowStride_ + c * columnStride_;
    uint32_t bits = 0;
    if (isWide_)
      std::memcpy(&bits, data_ + word * sizeof bits, sizeof bits);
    else
      bits = data_[word];
    return (bits + increment_) >> (place * bits_) & mask_;
  }

private:
  /// A code of a run of bits over words.
  uint32_t crossing(uint64_t r, uint64_t c) const {
    uint64_t &packed = alongRows_ ? r : c;
    const uint64_t bit = packed * static_cast<uint64_t>(bits_), shift = bit % 32;
    packed = bit / 32;
    const uint64_t at = r * rowStride_ + c * columnStride_;
    uint32_t low = 0, high = 0;
    std::memcpy(&low, data_ + at * sizeof low, sizeof low);
    if (shift + static_cast<uint64_t>(bits_) > 32)
      std::memcpy(&high, data_ + (at + (alongRows_ ? rowStride_ : columnStride_)) * sizeof high,
                  sizeof high);
    const uint64_t both = uint64_t(high) << 32 | low;
    return (static_cast<uint32_t>(both >> shift) + increment_) & mask_;
  }

  const uint8_t *data_;
  uint64_t rowStride_, columnStride_;
  uint32_t increment_, mask_;
  int perWord_, log2PerWord_, bits_;
  bool isWide_, alongRows_, isAwq_, isHighFirst_;
};

float numberAt(const CheckpointTensor &tensor, uint64_t index) {
  float number;
  dequantize(tensor.type, tensor.bytes.data() + index * blockBytes(tensor.type), 1, &number);
  return number;
}

float scaleAt(const CodedMatrix &matrix, uint64_t index) {
  if (const auto &nested = matrix.nested) {
    const float number = numberAt(nested->numbers, matrix.scales.bytes[index]);
    return number * numberAt(nested->scales, index / static_cast<uint64_t>(nested->block)) +
           nested->offset;
  }
  return numberAt(matrix.scales, index) * matrix.scaleFactor / matrix.scaleDivisor;
}

template <typename Visit> void forEachTensor(const CodedMatrix &matrix, Visit visit) {
  visit(matrix.codes.tensor);
  visit(matrix.scales);
  if (matrix.nested) {
    visit(matrix.nested->numbers);
    visit(matrix.nested->scales);
  }
  if (matrix.zeros)
    visit(matrix.zeros->tensor);
  if (matrix.groupOfColumn)
    visit(*matrix.groupOfColumn);
}

} // namespace

uint64_t CodedMatrix::storedBytes() const {
  uint64_t total = 0;
  forEachTensor(*this, [&](const CheckpointTensor &tensor) { total += tensor.bytes.size(); });
  return total;
}

void CodedMatrix::release() const {
  forEachTensor(*this, [](const CheckpointTensor &tensor) {
    if (tensor.file)
      tensor.file->release(tensor.offset, tensor.bytes.size());
  });
}

CodedReader::CodedReader(std::shared_ptr<const CodedMatrix> matrix) : matrix_(std::move(matrix)) {
  const auto columns = static_cast<size_t>(matrix_->columns);
  group_.resize(columns);
  for (size_t column = 0; column < columns; ++column)
    group_[column] = static_cast<int32_t>(static_cast<int64_t>(column) / matrix_->columnsPerScale);
  if (matrix_->groupOfColumn)
    readGroups();
  // Groups of rows on end may begin within a row, and so touch one more.
  scale_.resize(static_cast<size_t>(matrix_->groups()) + 1);
  zero_.resize(scale_.size());
}

void CodedReader::readGroups() {
  const CheckpointTensor &stored = *matrix_->groupOfColumn;
  std::vector<int32_t> groups(group_.size());
  std::memcpy(groups.data(), stored.bytes.data(), stored.bytes.size());
  // Older files have zeros where groups are runs of columns.
  if (std::ranges::all_of(groups, [](int32_t group) { return group == 0; }))
    return;
  for (size_t column = 0; column < groups.size(); ++column)
    if (groups[column] < 0 || groups[column] >= matrix_->groups())
      fail(ExitCode::BadInput, "tensor " + quote(stored.name) + " has column " +
                                   std::to_string(column) + " in group " +
                                   std::to_string(groups[column]) + " of " +
                                   std::to_string(matrix_->groups()) + ": the file is damaged");
  group_ = std::move(groups);
}

/// Scales and zero points of a row's groups.
void CodedReader::readScales(int64_t row) {
  const CodedMatrix &m = *matrix_;
  const int64_t groups = m.groups();
  const std::optional<CodeReader> zeros =
      m.zeros ? std::optional(CodeReader(*m.zeros)) : std::nullopt;
  const auto first = static_cast<uint64_t>(row / m.rowsPerScale * groups);
  for (int64_t group = 0; group < groups; ++group) {
    const auto at = static_cast<size_t>(group);
    scale_[at] = scaleAt(m, m.scalesByColumn
                                ? at * static_cast<uint64_t>(m.rows) + static_cast<uint64_t>(row)
                                : first + at);
    if (!zeros)
      continue;
    const uint32_t code = zeros->at(row / m.rowsPerScale, group);
    const uint32_t sign = 1u << (m.zeros->bits - 1);
    const float zero = m.zerosAreSigned ? float(int(code ^ sign) - int(sign)) : float(code);
    zero_[at] = zero + m.zeroOffset;
  }
}

void CodedReader::read(int64_t begin, int64_t end, float *out) {
  const CodedMatrix &m = *matrix_;
  const CodeReader codes(m.codes);
  const std::array<float, 256> numbers = m.numbers;
  for (int64_t row = begin; row < end; ++row) {
    if (m.scalesOnEnd) {
      const int64_t start = row * m.columns, first = start / m.columnsPerScale;
      const int64_t last = (start + m.columns - 1) / m.columnsPerScale;
      for (int64_t group = first; group <= last; ++group)
        scale_[static_cast<size_t>(group - first)] = scaleAt(m, static_cast<uint64_t>(group));
      for (int64_t column = 0; column < m.columns; ++column)
        group_[static_cast<size_t>(column)] =
            static_cast<int32_t>((start + column) / m.columnsPerScale - first);
    } else {
      readScales(row);
    }
    for (int64_t column = 0; column < m.columns; ++column) {
      const auto group = static_cast<size_t>(group_[static_cast<size_t>(column)]);
      *out++ = (numbers[codes.at(row, column)] - zero_[group]) * scale_[group];
    }
  }
}

} // namespace retort
