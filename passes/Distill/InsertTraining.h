//===- InsertTraining.h - Putting a distill.train into a module -----------===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "dialects/Distill/DistillOps.h"
#include "dialects/Weight/WeightOps.h"
#include "passes/Distill/Insert.h"

namespace retort {

/// The formats that a training or a fit rounds to; null: none.
struct QuantisedFormats {
  weight::FormatAttr matrices, embedding;
};

/// What the options format and embedding of `pass` say. Fails with a diagnostic at `model`.
template <typename PassT>
mlir::FailureOr<QuantisedFormats> formatsOf(PassT &pass, lm::ModelOp model) {
  auto emitError = [&] { return model.emitError() << PassT::getArgumentName() << ": "; };
  if (pass.embedding && !pass.format)
    return emitError() << "a format of the embedding needs one of the others: give format";
  auto attribute = [&](const std::optional<NumberFormat> &format) {
    return format ? weight::FormatAttr::getChecked(emitError, model->getContext(), *format)
                  : weight::FormatAttr();
  };
  QuantisedFormats formats = {attribute(pass.format), attribute(pass.embedding)};
  if ((pass.format && !formats.matrices) || (pass.embedding && !formats.embedding))
    return mlir::failure();
  return formats;
}

/// Appends a distill.train as the options of `pass` say, which are those of TrainingPass
/// (Passes.td) and the learning rate; teacher and format may be null.
template <typename PassT>
distill::TrainOp insertTraining(PassT &pass, mlir::StringRef name, lm::ModelOp teacher,
                                lm::ModelOp student, mlir::ArrayRef<mlir::Attribute> losses,
                                QuantisedFormats formats) {
  mlir::ModuleOp module = pass.getOperation();
  auto builder = mlir::OpBuilder::atBlockEnd(module.getBody());
  auto symbol = [&](mlir::StringRef text) {
    return mlir::FlatSymbolRefAttr::get(builder.getContext(), text);
  };
  llvm::SmallVector<mlir::StringRef> frozen;
  for (const std::string &param : pass.frozen)
    frozen.push_back(param);
  return builder.create<distill::TrainOp>(
      student.getLoc(), builder.getStringAttr(uniqueSymbol(module, name)),
      teacher ? symbol(teacher.getSymName()) : mlir::FlatSymbolRefAttr(),
      symbol(student.getSymName()), builder.getArrayAttr(losses),
      builder.getI64IntegerAttr(pass.tokens), builder.getI64IntegerAttr(pass.sequenceLength),
      builder.getI64IntegerAttr(pass.batchTokens), builder.getF64FloatAttr(pass.learningRate),
      builder.getF64FloatAttr(pass.warmup),
      distill::ScheduleAttr::get(builder.getContext(), pass.schedule),
      builder.getF64FloatAttr(pass.weightDecay), builder.getF64FloatAttr(pass.clip),
      builder.getI64IntegerAttr(pass.seed), formats.matrices, formats.embedding, mlir::UnitAttr(),
      frozen.empty() ? mlir::ArrayAttr() : builder.getStrArrayAttr(frozen), distill::FileAttr(),
      mlir::UnitAttr());
}

} // namespace retort
