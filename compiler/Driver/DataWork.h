//===- DataWork.h - Executing the ops of the distill dialect --*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "compiler/Data/Packing.h"
#include "compiler/Driver/FieldCorpus.h"
#include "compiler/Driver/Teacher.h"
#include "compiler/Driver/Workspace.h"
#include "compiler/Report/Report.h"
#include "compiler/Torch/Executor.h"
#include "dialects/Distill/DistillOps.h"
#include "mlir/IR/BuiltinOps.h"
#include <map>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

namespace retort {

/// A symbol for people: "tuned_teacher" is "tuned teacher".
std::string wordsOf(llvm::StringRef symbol);

/// An object of the workspace as JSON. Throws Error (BadInput) if it is none.
nlohmann::json readObject(const std::string &path);

struct DataWorkOptions {
  unsigned threads = 0; ///< 0: one a core
  /// Runs nothing that takes long: an op without a finished result gets the key it will have, and
  /// an observation a stand-in in which all is equally important, so that the passes that follow
  /// give the shapes and sizes that the real compile will have.
  bool planOnly = false;
};

/// What one piece of data work will take; seconds and bytes are estimates from its flops and
/// shapes.
struct PlannedWork {
  std::string name;
  bool cached = false;
  double seconds = 0;
  uint64_t memoryBytes = 0, diskBytes = 0;
  bool recompute = false; ///< training runs blocks again, as memory does not hold all activations
};

/// Executes the ops of the distill dialect: the only impure part of a compile. Each op's result is
/// an object of the workspace whose key covers the op, the models that it names (their whole
/// programs), the checkpoint and the corpus; work that is there already is not done again.
class DataWork {
public:
  /// All references must outlive the object.
  DataWork(Teacher &teacher, FieldCorpus &corpus, Workspace &workspace, Progress &progress,
           DataWorkOptions options);
  ~DataWork();

  /// Executes every op of `module` that has no result, in order, and sets the results. Throws
  /// Error; Interrupted if the user asked to stop.
  void run(mlir::ModuleOp module);

  const std::vector<PlannedWork> &plan() const { return plan_; }
  /// Bytes of weights that decoding a token read when each distill.score was made, by the score's
  /// name; none for a model in training.
  const std::map<std::string, uint64_t> &weightBytes() const { return weightBytes_; }
  /// The gates judged so far, in order.
  const std::vector<GateOutcome> &gates() const { return gates_; }
  /// Loss curves of the trainings so far, in order.
  const std::vector<LossCurve> &curves() const { return curves_; }

private:
  void runOp(distill::ObserveOp op);
  void runOp(distill::ProbeOp op);
  void runOp(distill::FitOp op);
  void runOp(distill::TrainOp op);
  void runOp(distill::ScoreOp op);
  void judge(distill::GateOp op);

  template <typename OpT> static void setResult(OpT op, const std::string &key) {
    op.setResultAttr(distill::FileAttr::get(op.getContext(), key));
  }
  exec::Executor &executor();
  lm::ModelOp model(mlir::Operation *op, llvm::StringRef name);
  std::string keyOf(mlir::Operation *op, llvm::ArrayRef<lm::ModelOp> models);
  /// Puts what stands for the result of `key` in a plan under a key of its own, which it returns: it is
  /// never taken for the real thing.
  std::string putStandIn(const std::string &key, const std::string &text);
  /// Throws what work on these documents with this model would throw in its middle.
  void checkDocuments(lm::ModelOp model, Split split);
  /// Training documents for `op`, drawn by its name too, so that no two stages see the same first.
  std::vector<exec::Sequence> packTrain(mlir::Operation *op, lm::ModelOp model, int64_t tokens,
                                        int64_t sequenceTokens, uint64_t seed);
  std::string observe(distill::ObserveOp op, lm::ModelOp model);
  void train(distill::TrainOp op, const std::string &key, const std::string &output);
  void readCurve(distill::TrainOp op, const std::string &key);
  nlohmann::json score(distill::ScoreOp op, lm::ModelOp model);
  nlohmann::json answer(distill::ScoreOp op, lm::ModelOp model);
  /// The progress callback of executor calls; the note comes from the loss.
  exec::OnProgress onProgress();

  Teacher &teacher_;
  FieldCorpus &corpus_;
  Workspace &workspace_;
  Progress &progress_;
  DataWorkOptions options_;
  std::unique_ptr<exec::Executor> executor_;
  std::vector<PlannedWork> plan_;
  std::vector<LossCurve> curves_;
  std::vector<GateOutcome> gates_;
  std::map<std::string, uint64_t> weightBytes_;
};

} // namespace retort
