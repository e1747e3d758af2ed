//===- Graph.h - A model as plain data, for the executor --------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
//
// What lies between MLIR and libtorch, which share no header: FromIR.h makes a Graph of an
// lm.model, Executor.h runs it. A node is an lm op (docs/reference/lm-dialect.md says what they
// compute); values are numbered, and a node's inputs come before it.
//
//===----------------------------------------------------------------------===//
#pragma once
#include "runtime/base/Activation.h"
#include "runtime/base/Error.h"
#include "runtime/base/NumberFormat.h"
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace retort::exec {

/// The number of a value: an activation of rows x features.
using ValueId = int32_t;
/// An index into Graph::params, or kNone.
using ParamId = int32_t;
constexpr int32_t kNone = -1;

/// A parameter: a matrix of rows x cols, or a vector (rows = 1).
struct Param {
  std::string name;
  int64_t rows = 1;
  int64_t cols = 0;
  bool isVector = false;
  NumberFormat format; ///< if quantised: its values are read as float all the same
  int64_t elements() const { return rows * cols; }
  bool operator==(const Param &) const = default;
};

/// The ops of lm that the executor runs.
enum class OpKind : uint8_t {
#define RETORT_EXEC_OP(Kind, mnemonic) Kind,
#include "compiler/Torch/Ops.def"
};

constexpr std::string_view kOpNames[] = {
#define RETORT_EXEC_OP(Kind, mnemonic) "lm." #mnemonic,
#include "compiler/Torch/Ops.def"
};
constexpr std::string_view nameOf(OpKind op) { return kOpNames[size_t(op)]; }

/// One op: what it reads, makes and is told. An enum among the attributes is its case's number.
struct Node {
  OpKind op;
  std::vector<ValueId> ins = {}, outs = {};
  std::map<std::string, ParamId, std::less<>> params = {}; ///< by role: "weight", "bias"
  std::map<std::string, std::vector<double>, std::less<>> attributes = {};

  /// The parameter of a role, or kNone.
  ParamId param(std::string_view role) const {
    const auto found = params.find(role);
    return found == params.end() ? kNone : found->second;
  }
  /// An attribute of many numbers.
  const std::vector<double> &numbers(std::string_view name) const {
    const auto found = attributes.find(name);
    if (found == attributes.end())
      fail(ExitCode::Internal, "executor: an op lacks its attribute '" + std::string(name) + "'");
    return found->second;
  }
  double number(std::string_view name) const { return numbers(name).front(); }
  /// An attribute that may be left out.
  double number(std::string_view name, double otherwise) const {
    return attributes.contains(name) ? number(name) : otherwise;
  }
  int64_t integer(std::string_view name) const { return int64_t(number(name)); }
};

/// A transformer layer: nodes[firstNode, firstNode + numNodes), which read `in` and make `out`.
struct Block {
  std::string label; ///< "blk.N", N as in the teacher
  int32_t firstNode = 0, numNodes = 0;
  ValueId in = kNone, out = kNone;
};

/// A model. Nodes before the first block make its input, those after the last one end in Logits.
struct Graph {
  std::string name; ///< the lm.model's symbol
  int64_t context = 0, vocab = 0, hidden = 0;
  /// After vocabulary pruning: this model's token i is the teacher's token vocabKept[i]. Else
  /// empty.
  std::vector<int32_t> vocabKept;
  std::vector<Param> params;
  std::vector<Node> nodes;
  std::vector<Block> blocks;
  std::vector<int64_t> features; ///< of each value

  std::span<const Node> nodesOf(const Block &block) const {
    return std::span(nodes).subspan(size_t(block.firstNode), size_t(block.numNodes));
  }
  ValueId addValue(int64_t count) {
    features.push_back(count);
    return ValueId(features.size()) - 1;
  }
};

} // namespace retort::exec
