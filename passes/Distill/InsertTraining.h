//===- InsertTraining.h - Putting a distill.train into a module -----------===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "dialects/Distill/DistillOps.h"
#include "dialects/Weight/WeightOps.h"
#include "passes/Distill/Insert.h"
#include "passes/Quantize/Matrices.h"

namespace retort {

/// What the options format, embedding and logits of `pass` say. Fails with a diagnostic at `model`.
template <typename PassT> mlir::FailureOr<MatrixFormats> formatsOf(PassT &pass, lm::ModelOp model) {
  auto emitError = [&] { return model.emitError() << PassT::getArgumentName() << ": "; };
  if ((pass.embedding || pass.logits) && !pass.format)
    return emitError() << "a format of embedding or logits needs one of the others: give format";
  auto attribute = [&](const std::optional<NumberFormat> &format) {
    return format ? weight::FormatAttr::getChecked(emitError, model->getContext(), *format)
                  : weight::FormatAttr();
  };
  MatrixFormats formats = {attribute(pass.format), attribute(pass.embedding),
                           attribute(pass.logits)};
  if ((pass.format && !formats.layers) || (pass.embedding && !formats.embedding) ||
      (pass.logits && !formats.logits))
    return mlir::failure();
  return formats;
}

/// Appends a distill.train as the options of `pass` say, which are those of TrainingPass
/// (Passes.td) and the learning rate; teacher and format may be null.
template <typename PassT>
distill::TrainOp insertTraining(PassT &pass, mlir::StringRef name, lm::ModelOp teacher,
                                lm::ModelOp student, mlir::ArrayRef<mlir::Attribute> losses,
                                MatrixFormats formats) {
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
      builder.getI64IntegerAttr(pass.seed), formats.layers, formats.embedding, formats.logits,
      mlir::UnitAttr(), frozen.empty() ? mlir::ArrayAttr() : builder.getStrArrayAttr(frozen),
      distill::FileAttr(), mlir::UnitAttr());
}

} // namespace retort
