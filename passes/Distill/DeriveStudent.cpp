//===- DeriveStudent.cpp - Start the student as a copy of its teacher -----===//
// SPDX-License-Identifier: Apache-2.0
#include "passes/Distill/Passes.h"

using namespace mlir;

namespace retort {
#define GEN_PASS_DEF_DERIVESTUDENT
#include "passes/Distill/Passes.h.inc"
namespace {

struct DeriveStudent : impl::DeriveStudentBase<DeriveStudent> {
  using DeriveStudentBase::DeriveStudentBase;

  void runOnOperation() override {
    auto model = lm::findModel(getOperation(), teacher);
    if (failed(model))
      return signalPassFailure();
    if (student.empty() || SymbolTable::lookupSymbolIn(getOperation(), student)) {
      model->emitError() << "derive-student: the name '" << student.getValue() << "' is "
                         << (student.empty() ? "empty" : "taken");
      return signalPassFailure();
    }
    OpBuilder builder(&getContext());
    builder.setInsertionPointAfter(*model);
    cast<lm::ModelOp>(builder.clone(**model)).setSymName(student);
  }
};

} // namespace
} // namespace retort
