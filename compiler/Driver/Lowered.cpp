//===- Lowered.cpp - A model lowered for each target -------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Driver/Lowered.h"
#include "dialects/Kernel/KernelCost.h"

#include "llvm/Support/raw_ostream.h"

namespace retort {

std::string loweringPipeline(const std::string &target) {
  std::string device; // of a model cut over two
  if (target == "cuda0" || target == "cuda1")
    device = std::string("partition{devices=2 device=") + target.back() + "},";
  if (target == "cpu")
    return "builtin.module(lm.model(fuse-qkv,fuse-gate-up),lower-to-kernel,"
           "kernel.program(plan-buffers))";
  return "builtin.module(lm.model(" + device +
         "fuse-qkv,fuse-gate-up),"
         "lower-to-kernel{target=cuda step=decode},lower-to-kernel{target=cuda step=prefill},"
         "kernel.program(plan-buffers))";
}

std::string LoweredModel::text() {
  std::string text;
  llvm::raw_string_ostream os(text);
  if (targets.size() == 1) {
    os << *targets.front().module;
    return text;
  }
  mlir::OwningOpRef<mlir::ModuleOp> all = mlir::ModuleOp::create(model().getLoc());
  for (LoweredTarget &target : targets) {
    mlir::ModuleOp copy = target.module->clone();
    copy.setSymName(target.name);
    all->push_back(copy);
  }
  os << *all;
  return text;
}

namespace {
LoweredTarget lowerFor(CompilerContext &context, lm::ModelOp model, const std::string &name) {
  LoweredTarget result{name, mlir::ModuleOp::create(model.getLoc()), {}, {}};
  result.module->push_back(model->clone());
  context.lower(*result.module, loweringPipeline(name));
  result.model = *result.module->getOps<lm::ModelOp>().begin();
  for (kernel::ProgramOp program : result.module->getOps<kernel::ProgramOp>())
    result.programs.push_back(program);
  return result;
}
} // namespace

LoweredModel lowerModel(CompilerContext &context, lm::ModelOp model, const CompileTargets &targets,
                        unsigned devices) {
  LoweredModel lowered;
  if (!targets.cpu.empty())
    lowered.targets.push_back(lowerFor(context, model, "cpu"));
  for (unsigned device = 0; !targets.cuda.empty() && device < devices; ++device)
    lowered.targets.push_back(
        lowerFor(context, model, devices == 1 ? "cuda" : "cuda" + std::to_string(device)));
  for (LoweredTarget &target : lowered.targets)
    lowered.weightBytes += target.programs.front().getWeightBytes().value_or(0);
  for (LoweredTarget &target : lowered.targets)
    if (lowered.targets.front().name != "cpu" || &target == &lowered.targets.front())
      lowered.bytesPerToken += kernel::bytesPerToken(target.programs.front());
  return lowered;
}

} // namespace retort
