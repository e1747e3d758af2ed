//===- BlockFit.h - Solving the layers of a student's blocks -----------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "compiler/Torch/Checkpoint.h"
#include "compiler/Torch/Forward.h"
#include "compiler/Torch/Gram.h"
#include <map>
#include <set>
#include <utility>

namespace retort::exec {

/// A teacher and a student that run in step, a block at a time over all sequences. Within the student's
/// block every op is run for all sequences before the next one, so that a layer's equations are summed
/// over all of its inputs, which the layers before it, done already, have made; and nothing runs twice.
/// Layers that are wanted are solved for, and those with a format rounded (distill.fit). Throws Error.
class BlockFit {
public:
  using Streams = std::vector<at::Tensor>; ///< of each run, [rows, hidden] float

  /// The models must outlive the object, and so must `sequences` its construction. `damping` is above 0.
  BlockFit(const Model &student, const Model &teacher, const std::vector<Sequence> &sequences,
           double damping, Precision precision);

  /// The parameters of the student to work on. With `towardsOutputs` a layer that is not added to the
  /// stream is solved for what the teacher's layer of its name gives, if that is as wide; the teacher's
  /// next blocks then keep that.
  void want(std::vector<std::string> params, bool towardsOutputs);

  /// Runs the teacher up to and with its block of this label, and the student's block; blocks in order.
  /// Not `wholly`, the student's stream stays, and what is behind the last wanted layer is not run.
  void runTeacher(const std::string &label);
  void runStudent(const Block &block, bool wholly = true);
  /// Rounds the logits' matrix, after the last block, if it is wanted and is not the embedding too.
  void fitLogits();

  /// What was worked on since it was taken last.
  std::vector<Trained> take() { return std::exchange(fitted_, {}); }
  /// The mean square of what the student's stream lacks of the teacher's, over that of the teacher's.
  double lacking() const;
  int64_t rows() const; ///< of all runs

  const Streams &teacherStream() const { return teacher_.stream; }
  void setStudentStream(const Streams &streams) { student_.stream = streams; }

private:
  /// A model, its weights one block at a time, and its stream in every run.
  struct Side {
    Side(const Model &model, Precision precision);
    void enter(const std::vector<Rows> &runs);
    void drop();

    const Model model; ///< quantised parameters are read as they will be stored
    const Graph &graph;
    Weights weights;
    Forward forward;
    Streams stream;
  };

  bool isWanted(const std::string &param) const;
  void nameOutputs(const Block &block);
  void keepOutput(const Node &linear, const Values &values);
  const Param &paramOf(const Node &node) const {
    return student_.graph.params[size_t(node.param("weight"))];
  }
  void fitLayer(const Block &block, size_t index);
  bool logitsAreWanted() const;
  at::Tensor lackOfStream(size_t run, const Node &residual, size_t addition) const;
  at::Tensor rightOf(const Block &block, size_t index, const std::vector<at::Tensor> &inputs);

  const Model &model_;
  const double damping_;
  std::vector<std::string> params_;
  Side student_, teacher_;
  std::vector<Rows> runs_, teacherRuns_;
  std::vector<at::Tensor> rowFactors_;
  size_t teacherBlock_ = 0; ///< blocks of the teacher that were run
  /// The teacher's stream after each addition of the current block, by run.
  std::vector<Streams> additions_;
  /// What its layers of these names give, by parameter and run: those that are fitted towards it.
  std::set<std::string> outputNames_;
  std::map<std::string, std::vector<at::Tensor>> outputs_;
  std::vector<Values> values_;    ///< of the student's current block, by run
  std::map<ValueId, Gram> grams_; ///< of the current block's inputs
  std::vector<Trained> fitted_;
};

} // namespace retort::exec
