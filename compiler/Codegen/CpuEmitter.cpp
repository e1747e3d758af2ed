//===- CpuEmitter.cpp - kernel.program -> LLVM IR: the entry and its phases -===//
// SPDX-License-Identifier: Apache-2.0
// The entry is a straight list: for each phase, this thread's share [begin, end) of its tiles and
// one call; for each kernel.wait, the barrier. Tiles are shared out statically and evenly: the
// weights of a thread are the same in every step and stay in its cache's reach.
#include "compiler/Codegen/CpuEmitter.h"
#include "compiler/Codegen/PhaseEmitter.h"
#include "runtime/base/Error.h"
#include "runtime/src/abi/cpu_program.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir;
namespace retort::codegen {

std::string entrySymbol(const std::string &isa) {
  return "retort_step_" + isa.substr(isa.rfind('-') + 1);
}

void copyTargetAttributes(llvm::Function &function, const llvm::Function *like) {
  function.addFnAttr(llvm::Attribute::NoUnwind);
  if (!like)
    return;
  for (llvm::Attribute attribute : like->getAttributes().getFnAttrs())
    if (attribute.isStringAttribute())
      function.addFnAttr(attribute);
}

namespace {
/// Buffers of a phase that are passed to its function, in order of first use: weights and
/// activations as pointers, a cache as its offset in a page. Inputs and outputs come with the step.
SmallVector<kernel::BufferOp> phaseArguments(kernel::PhaseOp phase, const SymbolTable &symbols) {
  SmallVector<kernel::BufferOp> arguments;
  for (auto op : phase.getBody().getOps<kernel::TileOpInterface>())
    for (const kernel::Access &access : op.getAccesses()) {
      auto buffer = symbols.lookup<kernel::BufferOp>(access.buffer.getAttr());
      if (buffer.getKind() != kernel::BufferKind::Input &&
          buffer.getKind() != kernel::BufferKind::Output && !llvm::is_contained(arguments, buffer))
        arguments.push_back(buffer);
    }
  return arguments;
}

/// A text that is equal for phases that differ in nothing but which buffers they touch.
std::string shapeKey(kernel::PhaseOp phase, ArrayRef<kernel::BufferOp> arguments) {
  std::string key;
  llvm::raw_string_ostream os(key);
  os << phase.getTiles() << (phase.getPerRow() ? "r" : "");
  for (kernel::BufferOp buffer : arguments)
    os << ';' << static_cast<int>(buffer.getKind()) << ' ' << buffer.getType() << ' '
       << buffer.getFormatAttr() << ' ' << buffer.getLayoutAttr();
  for (Operation &op : *phase.getBody().begin()) {
    os << '\n' << op.getName();
    for (NamedAttribute attribute : op.getAttrDictionary()) {
      os << ' ' << attribute.getName().getValue() << '=';
      auto name = dyn_cast<FlatSymbolRefAttr>(attribute.getValue());
      const auto *at = name ? llvm::find_if(arguments,
                                            [&](kernel::BufferOp buffer) {
                                              return buffer.getSymName() == name.getValue();
                                            })
                            : arguments.end();
      if (at != arguments.end())
        os << '#' << (at - arguments.begin());
      else
        os << attribute.getValue();
    }
    for (Type type : op.getResultTypes())
      os << " -> " << type;
  }
  return key;
}

class ProgramEmitter {
public:
  ProgramEmitter(kernel::ProgramOp program, llvm::Module &module, const llvm::Function *like)
      : program(program), module(module), like(like), symbols(program),
        builder(module.getContext()) {}

  void emit(const std::string &symbol) {
    llvm::Type *ptr = builder.getPtrTy(), *i32 = builder.getInt32Ty();
    entry = llvm::Function::Create(llvm::FunctionType::get(builder.getVoidTy(), {ptr, i32}, false),
                                   llvm::GlobalValue::ExternalLinkage, symbol, module);
    copyTargetAttributes(*entry, like);
    builder.SetInsertPoint(llvm::BasicBlock::Create(module.getContext(), "entry", entry));
    step = entry->getArg(0);
    loadStep();
    for (Operation &op : *program.getBody().begin()) {
      if (auto phase = dyn_cast<kernel::PhaseOp>(op))
        emitPhase(phase);
      else if (isa<kernel::WaitOp>(op))
        emitBarrier();
    }
    emitBarrier(); // A thread may return only when all are done: the caller reads the logits.
    builder.CreateRetVoid();
  }

private:
  kernel::ProgramOp program;
  llvm::Module &module;
  const llvm::Function *like;
  SymbolTable symbols;
  llvm::IRBuilder<> builder;
  llvm::Function *entry = nullptr;
  llvm::Value *step = nullptr, *weights = nullptr, *activations = nullptr, *scratch = nullptr;
  llvm::Value *threads = nullptr, *thread = nullptr, *rows = nullptr;
  llvm::StringMap<llvm::Function *> outlined;
  std::map<std::pair<int64_t, bool>, std::pair<llvm::Value *, llvm::Value *>> shares;

  llvm::Value *field(llvm::Type *type, size_t offset) {
    return builder.CreateLoad(
        type, builder.CreateConstInBoundsGEP1_64(builder.getInt8Ty(), step, offset));
  }
  llvm::Value *field64(size_t offset) {
    return builder.CreateSExt(field(builder.getInt32Ty(), offset), builder.getInt64Ty());
  }

  void loadStep() {
    llvm::Type *ptr = builder.getPtrTy();
    weights = field(ptr, offsetof(retort_cpu_step, weights));
    activations = field(ptr, offsetof(retort_cpu_step, activations));
    threads = field64(offsetof(retort_cpu_step, num_threads));
    rows = field64(offsetof(retort_cpu_step, num_rows));
    thread = builder.CreateSExt(entry->getArg(1), builder.getInt64Ty());
    scratch = builder.CreateInBoundsGEP(
        builder.getInt8Ty(), field(ptr, offsetof(retort_cpu_step, scratch)),
        builder.CreateMul(thread, builder.getInt64(scratchBytes(program))));
    // All shares are computed here, where they dominate every use.
    for (kernel::PhaseOp phase : program.getBody().getOps<kernel::PhaseOp>()) {
      auto &share = shares[{phase.getTiles(), phase.getPerRow()}];
      if (share.first)
        continue;
      llvm::Value *tiles = builder.getInt64(phase.getTiles());
      if (phase.getPerRow())
        tiles = builder.CreateMul(tiles, rows);
      llvm::Value *next = builder.CreateAdd(thread, builder.getInt64(1));
      share = {builder.CreateUDiv(builder.CreateMul(tiles, thread), threads),
               builder.CreateUDiv(builder.CreateMul(tiles, next), threads)};
    }
  }

  llvm::Value *address(kernel::BufferOp buffer) {
    if (buffer.getKind() == kernel::BufferKind::Constant)
      return constant(buffer);
    if (!buffer.getOffset())
      fail(ExitCode::Internal, "codegen: buffer '" + buffer.getSymName().str() +
                                   "' has no offset: run plan-buffers first");
    int64_t offset = *buffer.getOffset();
    if (buffer.getKind() == kernel::BufferKind::Cache)
      return builder.getInt64(offset);
    return builder.CreateConstInBoundsGEP1_64(
        builder.getInt8Ty(),
        buffer.getKind() == kernel::BufferKind::Weights ? weights : activations, offset);
  }

  llvm::Value *constant(kernel::BufferOp buffer) {
    std::string name = ("constant." + buffer.getSymName()).str();
    if (llvm::GlobalVariable *global = module.getNamedGlobal(name))
      return global;
    SmallVector<float> values(llvm::cast<DenseElementsAttr>(*buffer.getValue()).getValues<float>());
    llvm::Constant *data = llvm::ConstantDataArray::get(module.getContext(), values);
    auto *global = new llvm::GlobalVariable(module, data->getType(), /*isConstant=*/true,
                                            llvm::GlobalValue::InternalLinkage, data, name);
    global->setAlignment(llvm::Align(64));
    return global;
  }

  void emitPhase(kernel::PhaseOp phase) {
    SmallVector<kernel::BufferOp> buffers = phaseArguments(phase, symbols);
    llvm::Function *&function = outlined[shapeKey(phase, buffers)];
    if (!function)
      function = emitPhaseFunction(program, phase, buffers, symbols, module, like);
    auto [begin, end] = shares.at({phase.getTiles(), phase.getPerRow()});
    llvm::BasicBlock *work =
        llvm::BasicBlock::Create(module.getContext(), phase.getSymName(), entry);
    llvm::BasicBlock *after = llvm::BasicBlock::Create(module.getContext(), "", entry);
    builder.CreateCondBr(builder.CreateICmpULT(begin, end), work, after);
    builder.SetInsertPoint(work);
    SmallVector<llvm::Value *> arguments = {step, scratch, begin, end};
    for (kernel::BufferOp buffer : buffers)
      arguments.push_back(address(buffer));
    builder.CreateCall(function, arguments);
    builder.CreateBr(after);
    builder.SetInsertPoint(after);
  }

  void emitBarrier() {
    llvm::FunctionCallee barrier = module.getOrInsertFunction(
        "rk_barrier", builder.getVoidTy(), builder.getPtrTy(), builder.getInt32Ty());
    builder.CreateCall(barrier, {field(builder.getPtrTy(), offsetof(retort_cpu_step, barrier)),
                                 builder.CreateTrunc(threads, builder.getInt32Ty())});
  }
};
} // namespace

void emitProgram(kernel::ProgramOp program, llvm::Module &module, const std::string &symbol,
                 const llvm::Function *like) {
  ProgramEmitter(program, module, like).emit(symbol);
}

} // namespace retort::codegen
