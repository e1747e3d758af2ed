//===- Codegen.cpp - From a kernel.program to a CPU program ---------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Codegen/Codegen.h"
#include "compiler/Codegen/CpuEmitter.h"
#include "compiler/Codegen/Object.h"
#include "dialects/Kernel/KernelCost.h"
#include "runtime/base/Error.h"
#include "llvm/ADT/SetVector.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/raw_ostream.h"
#include <future>

using namespace mlir;
namespace retort {
namespace {

std::string compileFor(kernel::ProgramOp program, const std::string &isa) {
  llvm::LLVMContext context;
  std::unique_ptr<llvm::Module> module = codegen::loadKernels(context, isa);
  std::string entry = codegen::entrySymbol(isa);
  codegen::emitProgram(program, *module, entry, codegen::anyKernel(*module));
  return codegen::compileObject(*module, entry);
}

} // namespace

ModelLayout layOut(kernel::ProgramOp program) {
  ModelLayout layout;
  layout.weightBytes = *program.getWeightBytes();
  layout.cachePageBytes = *program.getPageBytes();
  layout.pageRows = program.getPageRows();
  layout.vocab = program.getVocab();
  llvm::SmallSetVector<CacheFormat, 4> cacheFormats;
  for (auto buffer : program.getBody().getOps<kernel::BufferOp>()) {
    if (buffer.getKind() == kernel::BufferKind::Cache)
      cacheFormats.insert(kernel::cacheFormat(buffer));
    if (buffer.getKind() != kernel::BufferKind::Weights)
      continue;
    ArrayRef<int64_t> shape = buffer.getTensor().getShape();
    layout.params.push_back({buffer.getSymName().str(),
                             nameOf(buffer.getFormat().value_or(NumberFormat{})),
                             buffer.getLayout() ? nameOf(*buffer.getLayout()) : "",
                             {shape.begin(), shape.end()},
                             static_cast<int64_t>(buffer.getOffset().value_or(0)),
                             buffer.sizeInBytes()});
  }
  for (CacheFormat format : cacheFormats)
    layout.cacheFormat += (layout.cacheFormat.empty() ? "" : ", ") + nameOf(format);
  llvm::sort(layout.params, [](const auto &a, const auto &b) { return a.offset < b.offset; });
  return layout;
}

std::string emitCpuText(kernel::ProgramOp program, const std::string &isa) {
  llvm::LLVMContext context;
  llvm::Module module("program", context);
  codegen::emitProgram(program, module, codegen::entrySymbol(isa), nullptr);
  std::string text;
  llvm::raw_string_ostream os(text);
  os << module;
  return text;
}

CompiledProgram emitCpu(kernel::ProgramOp program, const std::vector<std::string> &isas) {
  if (!program.getPageBytes() || !program.getActivationBytes() || !program.getWeightBytes())
    fail(ExitCode::Internal, "codegen: '" + program.getSymName().str() +
                                 "' has no planned buffers: run plan-buffers first");
  CompiledProgram result;
  static_cast<ModelLayout &>(result) = layOut(program);
  std::vector<std::future<std::string>> compiled; // each with a context of LLVM of its own
  for (const std::string &isa : isas)
    compiled.push_back(std::async(std::launch::async, compileFor, program, isa));
  std::vector<std::string> objects, symbols;
  for (size_t i = 0; i < isas.size(); ++i) {
    objects.push_back(compiled[i].get());
    symbols.push_back(codegen::entrySymbol(isas[i]));
    result.entries.push_back({isas[i], symbols.back()});
  }
  result.sharedObject = codegen::linkShared(objects, symbols);
  result.activationBytes = *program.getActivationBytes();
  result.scratchBytesPerThread = codegen::scratchBytes(program);
  result.maxRows = program.getMaxRows();
  result.bytesPerToken = kernel::bytesPerToken(program);
  return result;
}

} // namespace retort
