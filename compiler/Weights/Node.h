//===- Node.h - Evaluating weight programs row by row -----------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
//
// A weight program as a graph of nodes, one class an op. Each gives any range of its rows, reading
// what it needs of its operands' rows, and holds at most a piece (kChunkFloats) of memory. A vector
// is a matrix of one column here, as the ops treat it: what they do, they do along its rows.
//
//===----------------------------------------------------------------------===//
#pragma once
#include "compiler/Checkpoint/Checkpoint.h"
#include "compiler/Weights/Pack.h"
#include <algorithm>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace retort::weight {

/// Temporary rows are read in pieces of this many numbers: 4 MB.
constexpr int64_t kChunkFloats = 1 << 20;

/// What an op's result is rounded to.
enum class Precision { F32, F16, BF16 };

class Node {
public:
  Node(int64_t rows, int64_t columns) : rows_(rows), columns_(columns) {}
  virtual ~Node() = default;
  int64_t rows() const { return rows_; }
  int64_t columns() const { return columns_; }
  /// Rows [begin, end), row-major, into `out`. 0 <= begin < end <= rows().
  virtual void read(int64_t begin, int64_t end, float *out) = 0;

protected:
  int64_t rows_, columns_;
};
using NodePtr = std::shared_ptr<Node>;

/// Calls body(begin, end, rows) for the rows [begin, end) of `node`, a piece at a time.
template <typename Body>
void forEachChunk(Node &node, int64_t begin, int64_t end, std::vector<float> &buffer, Body body) {
  const int64_t step = std::max<int64_t>(1, kChunkFloats / node.columns());
  for (int64_t at = begin; at < end; at += step) {
    const int64_t stop = std::min(end, at + step);
    buffer.resize(static_cast<size_t>((stop - at) * node.columns()));
    node.read(at, stop, buffer.data());
    body(at, stop, static_cast<const float *>(buffer.data()));
  }
}

NodePtr makeLoad(const CheckpointTensor &tensor, Precision precision);
NodePtr makeConstant(int64_t rows, int64_t columns, std::vector<float> values);
NodePtr makeTakeRows(NodePtr input, std::vector<int32_t> indices);
NodePtr makeTakeColumns(NodePtr input, std::vector<int32_t> indices);
NodePtr makeSliceRows(NodePtr input, int64_t offset, int64_t size);
NodePtr makeSliceColumns(NodePtr input, int64_t offset, int64_t size);
NodePtr makeConcatRows(std::vector<NodePtr> inputs);
NodePtr makeConcatColumns(std::vector<NodePtr> inputs);
NodePtr makeCast(NodePtr input, Precision precision);
NodePtr makeScale(NodePtr input, float factor, Precision precision);
/// The sum of two nodes of one shape, rounded.
NodePtr makeAdd(NodePtr left, NodePtr right, Precision precision);
/// left * right, rounded; `right` is held whole once a row is read.
NodePtr makeProduct(NodePtr left, NodePtr right, Precision precision);
/// Each row scaled to the length that `norms`, a vector, has for it, and rounded. Zeros stay zeros.
NodePtr makeSetNorms(NodePtr input, NodePtr norms, Precision precision);
/// Rounds every row to what `format` stores of it.
NodePtr makeQuantize(NodePtr input, NumberFormat format);

/// Throws Error (BadInput) if f16 cannot hold a value.
void roundTo(Precision precision, std::span<float> values);

} // namespace retort::weight
