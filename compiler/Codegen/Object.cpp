//===- Object.cpp - LLVM IR -> object file --------------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Codegen/Object.h"
#include "kernels/cpu/Bitcode.h"
#include "runtime/base/Error.h"
#include "llvm/Bitcode/BitcodeReader.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Verifier.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Passes/PassBuilder.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/TargetParser/Triple.h"
#include "llvm/Transforms/IPO/Internalize.h"

namespace retort::codegen {
namespace {

std::unique_ptr<llvm::TargetMachine> makeTarget(const llvm::Module &module) {
  static const bool initialised = [] {
    LLVMInitializeX86TargetInfo();
    LLVMInitializeX86Target();
    LLVMInitializeX86TargetMC();
    LLVMInitializeX86AsmPrinter();
    LLVMInitializeX86AsmParser();
    return true;
  }();
  (void)initialised;
  std::string error;
  const llvm::Target *target = llvm::TargetRegistry::lookupTarget(module.getTargetTriple(), error);
  if (!target)
    fail(ExitCode::Internal, "codegen: " + error);
  const llvm::Function *like = anyKernel(module);
  llvm::TargetOptions options;
  options.AllowFPOpFusion = llvm::FPOpFusion::Standard; // The kernels say where they fuse.
  return std::unique_ptr<llvm::TargetMachine>(target->createTargetMachine(
      module.getTargetTriple(), like->getFnAttribute("target-cpu").getValueAsString(),
      like->getFnAttribute("target-features").getValueAsString(), options, llvm::Reloc::PIC_,
      std::nullopt, llvm::CodeGenOptLevel::Aggressive));
}

void optimise(llvm::Module &module, llvm::TargetMachine &target) {
  llvm::LoopAnalysisManager loops;
  llvm::FunctionAnalysisManager functions;
  llvm::CGSCCAnalysisManager sccs;
  llvm::ModuleAnalysisManager modules;
  llvm::PipelineTuningOptions tuning;
  tuning.LoopVectorization = tuning.SLPVectorization = true;
  llvm::PassBuilder passes(&target, tuning);
  passes.registerModuleAnalyses(modules);
  passes.registerCGSCCAnalyses(sccs);
  passes.registerFunctionAnalyses(functions);
  passes.registerLoopAnalyses(loops);
  passes.crossRegisterProxies(loops, functions, sccs, modules);
  passes.buildPerModuleDefaultPipeline(llvm::OptimizationLevel::O3).run(module, modules);
}
} // namespace

std::unique_ptr<llvm::Module> loadKernels(llvm::LLVMContext &context, const std::string &isa) {
  std::span<const uint8_t> bytes = cpuKernelsBitcode(isa);
  if (bytes.empty())
    fail(ExitCode::Usage, "codegen: no CPU kernels for '" + isa + "': use x86-64-v3 or x86-64-v4");
  llvm::StringRef bitcode(reinterpret_cast<const char *>(bytes.data()), bytes.size());
  auto module = llvm::parseBitcodeFile(llvm::MemoryBufferRef(bitcode, isa), context);
  if (!module)
    fail(ExitCode::Internal,
         "codegen: kernels of " + isa + ": " + llvm::toString(module.takeError()));
  return std::move(*module);
}

const llvm::Function *anyKernel(const llvm::Module &module) {
  for (const llvm::Function &function : module)
    if (!function.isDeclaration() && function.hasFnAttribute("target-cpu"))
      return &function;
  fail(ExitCode::Internal, "codegen: the kernels' bitcode defines no function");
}

std::string compileObject(llvm::Module &module, const std::string &entry) {
  std::unique_ptr<llvm::TargetMachine> target = makeTarget(module);
  module.setDataLayout(target->createDataLayout());
  // The code generator itself may call these four.
  auto isKept = [&](const llvm::GlobalValue &value) {
    llvm::StringRef name = value.getName();
    return name == entry || name == "memcpy" || name == "memset" || name == "memmove" ||
           name == "memcmp";
  };
  llvm::internalizeModule(module, isKept);
  for (llvm::Function &function : module)
    if (!function.isDeclaration() && function.getName() != entry && isKept(function)) {
      function.setVisibility(llvm::GlobalValue::HiddenVisibility);
      function.setLinkage(llvm::GlobalValue::WeakAnyLinkage); // One copy for all objects.
    }
  std::string problem;
  llvm::raw_string_ostream problemStream(problem);
  if (llvm::verifyModule(module, &problemStream))
    fail(ExitCode::Internal, "codegen: emitted IR is not valid: " + problem);
  optimise(module, *target);
  llvm::SmallVector<char, 0> object;
  llvm::raw_svector_ostream os(object);
  llvm::legacy::PassManager emission;
  if (target->addPassesToEmitFile(emission, os, nullptr, llvm::CodeGenFileType::ObjectFile))
    fail(ExitCode::Internal, "codegen: the target cannot emit object files");
  emission.run(module);
  return std::string(object.data(), object.size());
}

} // namespace retort::codegen
