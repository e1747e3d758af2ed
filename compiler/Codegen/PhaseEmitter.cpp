//===- PhaseEmitter.cpp - Tile ops -> calls of microkernels ---------------===//
// SPDX-License-Identifier: Apache-2.0
// Each tile op becomes calls of kernels/cpu with constant shapes, marked alwaysinline: LLVM then
// specialises the microkernel for this shape. What a microkernel takes is in kernels/cpu/kernels.h.
#include "compiler/Codegen/PhaseEmitter.h"
#include "compiler/Codegen/CpuEmitter.h"
#include "kernels/cpu/kernels.h"
#include "runtime/base/Error.h"
#include "runtime/src/abi/cpu_program.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
namespace retort::codegen {
namespace {

static_assert(RK_ACT_SILU == int(Activation::Silu) &&
              RK_ACT_GELU_TANH == int(Activation::GeluTanh) &&
              RK_ACT_GELU == int(Activation::Gelu) && RK_ACT_SIGMOID == int(Activation::Sigmoid));

int64_t roundUp64(int64_t bytes) { return (bytes + 63) / 64 * 64; }

/// Bytes of one staged row in scratch.
int64_t stagedRowBytes(kernel::StagedType type) {
  if (type.getElementType().isF32())
    return roundUp64(4 * type.getFeatures());
  return rk_quant_row_bytes(type.getFeatures(), type.getGroup());
}

/// f32 rows that need neither a norm nor a choice are read where they are.
bool stagedInPlace(kernel::StageOp op) {
  return op.getResult().getType().getElementType().isF32() && !op.getGain() && !op.getRows();
}

class PhaseEmitter {
public:
  PhaseEmitter(kernel::ProgramOp program, ArrayRef<kernel::BufferOp> buffers,
               const SymbolTable &symbols, llvm::Module &module, llvm::Function *function)
      : program(program), buffers(buffers), symbols(symbols), module(module), function(function),
        builder(module.getContext()) {
    builder.SetInsertPoint(llvm::BasicBlock::Create(module.getContext(), "entry", function));
    step = function->getArg(0);
    scratch = function->getArg(1);
    begin = function->getArg(2);
    end = function->getArg(3);
    rows = field64(offsetof(retort_cpu_step, num_rows));
  }

  void emit(Operation &operation) {
    llvm::TypeSwitch<Operation *>(&operation)
        .Case([&](kernel::EmbedOp op) { emit(op); })
        .Case([&](kernel::AnglesOp op) { emit(op); })
        .Case([&](kernel::StageOp op) { emit(op); })
        .Case([&](kernel::MatmulOp op) { emit(op); })
        .Case([&](kernel::MatmulGluOp op) { emit(op); })
        .Case([&](kernel::RopeAppendOp op) { emit(op); })
        .Case([&](kernel::AttentionOp op) { emit(op); })
        .Case([&](kernel::NormOp op) { emit(op); })
        .Case([&](kernel::LayerNormOp op) { emit(op); })
        .Case([&](kernel::GluOp op) { emit(op); })
        .Case([&](kernel::ResidualOp op) { emit(op); })
        .Default([](Operation *op) {
          fail(ExitCode::Internal,
               "codegen: no CPU code for '" + op->getName().getStringRef().str() + "'");
        });
  }

  void finish() { builder.CreateRetVoid(); }

private:
  /// Rows that a worker holds: quantised rows one after the other, or f32 rows `ld` elements apart.
  struct Staged {
    llvm::Value *data, *rows;
    int64_t ld;
  };

  kernel::ProgramOp program;
  ArrayRef<kernel::BufferOp> buffers;
  const SymbolTable &symbols;
  llvm::Module &module;
  llvm::Function *function;
  llvm::IRBuilder<> builder;
  llvm::Value *step, *scratch, *begin, *end, *rows;
  int64_t scratchUsed = 0;
  llvm::DenseMap<Value, Staged> staged;

  //===--- Values ---------------------------------------------------------------------------===//

  llvm::Value *i64(int64_t value) { return builder.getInt64(value); }
  llvm::Value *f32(double value) { return llvm::ConstantFP::get(builder.getFloatTy(), value); }
  llvm::Value *f32(const APFloat &value) {
    return llvm::ConstantFP::get(builder.getContext(), value);
  }
  llvm::Value *null() { return llvm::ConstantPointerNull::get(builder.getPtrTy()); }
  llvm::Value *field(llvm::Type *type, size_t offset) {
    return builder.CreateLoad(
        type, builder.CreateConstInBoundsGEP1_64(builder.getInt8Ty(), step, offset));
  }
  llvm::Value *pointer(size_t offset) { return field(builder.getPtrTy(), offset); }
  llvm::Value *field64(size_t offset) {
    return builder.CreateSExt(field(builder.getInt32Ty(), offset), builder.getInt64Ty());
  }
  /// Element `index` of the step's int32 array at `offset`.
  llvm::Value *stepElement(size_t offset, llvm::Value *index) {
    llvm::Value *at = builder.CreateInBoundsGEP(builder.getInt32Ty(), pointer(offset), index);
    return builder.CreateSExt(builder.CreateLoad(builder.getInt32Ty(), at), builder.getInt64Ty());
  }
  llvm::Value *bytesAt(llvm::Value *base, llvm::Value *offset) {
    return builder.CreateInBoundsGEP(builder.getInt8Ty(), base, offset);
  }
  /// &base[row * ld + column], f32.
  llvm::Value *floatsAt(llvm::Value *base, llvm::Value *row, int64_t ld, int64_t column = 0) {
    llvm::Value *index = builder.CreateAdd(builder.CreateMul(row, i64(ld)), i64(column));
    return builder.CreateInBoundsGEP(builder.getFloatTy(), base, index);
  }

  kernel::BufferOp buffer(FlatSymbolRefAttr name) {
    return symbols.lookup<kernel::BufferOp>(name.getValue());
  }
  int64_t columns(FlatSymbolRefAttr name) { return buffer(name).getTensor().getShape().back(); }
  NumberFormat format(FlatSymbolRefAttr weights) { return *buffer(weights).getFormat(); }
  /// The argument of a buffer; null for an absent one.
  llvm::Value *data(FlatSymbolRefAttr name) {
    if (!name)
      return null();
    kernel::BufferOp memory = buffer(name);
    if (memory.getKind() == kernel::BufferKind::Output)
      return pointer(offsetof(retort_cpu_step, logits));
    for (auto [index, argument] : llvm::enumerate(buffers))
      if (argument == memory)
        return function->getArg(4 + index);
    llvm_unreachable("every buffer of the phase is an argument");
  }

  void call(const std::string &name, ArrayRef<llvm::Value *> arguments) {
    SmallVector<llvm::Type *> types;
    for (llvm::Value *argument : arguments)
      types.push_back(argument->getType());
    llvm::FunctionCallee callee = module.getOrInsertFunction(
        name, llvm::FunctionType::get(builder.getVoidTy(), types, false));
    builder.CreateCall(callee, arguments)->addFnAttr(llvm::Attribute::AlwaysInline);
  }

  /// for (i = from; i < to; ++i) body(i)
  void loop(llvm::Value *from, llvm::Value *to, llvm::function_ref<void(llvm::Value *)> body) {
    loopBy(from, to, [&](llvm::Value *i) {
      body(i);
      return builder.CreateAdd(i, i64(1));
    });
  }
  /// for (i = from; i < to; i = body(i))
  void loopBy(llvm::Value *from, llvm::Value *to,
              llvm::function_ref<llvm::Value *(llvm::Value *)> body) {
    llvm::LLVMContext &context = module.getContext();
    llvm::BasicBlock *before = builder.GetInsertBlock();
    llvm::BasicBlock *head = llvm::BasicBlock::Create(context, "head", function);
    llvm::BasicBlock *inside = llvm::BasicBlock::Create(context, "body", function);
    llvm::BasicBlock *after = llvm::BasicBlock::Create(context, "after", function);
    builder.CreateBr(head);
    builder.SetInsertPoint(head);
    llvm::PHINode *i = builder.CreatePHI(builder.getInt64Ty(), 2);
    i->addIncoming(from, before);
    builder.CreateCondBr(builder.CreateICmpSLT(i, to), inside, after);
    builder.SetInsertPoint(inside);
    llvm::Value *next = body(i);
    i->addIncoming(next, builder.GetInsertBlock());
    builder.CreateBr(head);
    builder.SetInsertPoint(after);
  }

  //===--- Tile ops -------------------------------------------------------------------------===//

  void emit(kernel::EmbedOp op) {
    NumberFormat table = format(op.getTableAttr());
    int64_t in = columns(op.getTableAttr());
    loop(begin, end, [&](llvm::Value *r) {
      SmallVector<llvm::Value *> arguments = {data(op.getTableAttr()), i64(in)};
      if (table.quantised())
        arguments.push_back(i64(table.group));
      arguments.append({stepElement(offsetof(retort_cpu_step, tokens), r), f32(op.getScale()),
                        floatsAt(data(op.getDestAttr()), r, in)});
      call("rk_embed_" + codesName(table), arguments);
    });
  }

  void emit(kernel::AnglesOp op) {
    int64_t dims = columns(op.getDestAttr());
    llvm::Value *positions = builder.CreateInBoundsGEP(
        builder.getInt32Ty(), pointer(offsetof(retort_cpu_step, positions)), begin);
    call("rk_rope_table",
         {positions, builder.CreateSub(end, begin), data(op.getInvFreqAttr()), i64(dims / 2),
          f32(op.getScale()), data(op.getStepsAttr()), i64(op.getEvery().value_or(1)),
          floatsAt(data(op.getDestAttr()), begin, dims)});
  }

  void emit(kernel::StageOp op) {
    kernel::StagedType type = op.getResult().getType();
    int64_t ld = columns(op.getSourceAttr()), features = type.getFeatures();
    llvm::Value *source = data(op.getSourceAttr()), *count = rows;
    if (stagedInPlace(op)) {
      staged[op.getResult()] = {floatsAt(source, i64(0), ld, op.getAt()), rows, ld};
      return;
    }
    if (op.getRows()) {
      count = field64(offsetof(retort_cpu_step, num_wanted));
      returnIfZero(count);
    }
    int64_t rowBytes = stagedRowBytes(type);
    llvm::Value *target = bytesAt(scratch, i64(scratchUsed));
    scratchUsed += rowBytes * static_cast<int64_t>(program.getMaxRows());
    loop(i64(0), count, [&](llvm::Value *r) {
      llvm::Value *row = op.getRows() ? stepElement(offsetof(retort_cpu_step, wanted), r) : r;
      stageRow(op, floatsAt(source, row, ld, op.getAt()),
               bytesAt(target, builder.CreateMul(r, i64(rowBytes))));
    });
    staged[op.getResult()] = {target, count,
                              type.getElementType().isF32() ? rowBytes / 4 : features};
  }

  void stageRow(kernel::StageOp op, llvm::Value *x, llvm::Value *y) {
    kernel::StagedType type = op.getResult().getType();
    llvm::Value *n = i64(type.getFeatures());
    bool quantised = !type.getElementType().isF32();
    if (!op.getGain()) {
      if (quantised)
        call("rk_quantize", {x, n, i64(type.getGroup()), y});
      else
        call("rk_copy", {x, n, y});
      return;
    }
    llvm::Value *gain = data(op.getGainAttr()), *offset = f32(op.getOffset() ? 1.0 : 0.0);
    if (quantised)
      call("rk_rms_norm_quantize", {x, gain, offset, n, f32(op.getEps()), i64(type.getGroup()), y});
    else
      call("rk_rms_norm", {x, gain, offset, n, f32(op.getEps()), null(), y});
  }

  void returnIfZero(llvm::Value *count) {
    llvm::BasicBlock *none = llvm::BasicBlock::Create(module.getContext(), "none", function);
    llvm::BasicBlock *some = llvm::BasicBlock::Create(module.getContext(), "some", function);
    builder.CreateCondBr(builder.CreateICmpEQ(count, i64(0)), none, some);
    builder.SetInsertPoint(none);
    builder.CreateRetVoid();
    builder.SetInsertPoint(some);
  }

  /// Columns 16 * begin to 16 * end - 1, not past `out`, of a product; `rest` are the arguments
  /// that follow n1. Decoding (one row) is a call of its own so that its code is specialised.
  void linear(const std::string &kernel, NumberFormat weightsFormat, const Staged &x,
              llvm::Value *weights, int64_t in, int64_t out, ArrayRef<llvm::Value *> rest) {
    llvm::Value *n0 = builder.CreateMul(begin, i64(16));
    llvm::Value *n1 = builder.CreateMul(end, i64(16));
    if (out % 16 != 0)
      n1 = builder.CreateBinaryIntrinsic(llvm::Intrinsic::smin, n1, i64(out));
    auto product = [&](llvm::Value *count) {
      SmallVector<llvm::Value *> arguments = {x.data};
      if (!weightsFormat.integers())
        arguments.push_back(i64(x.ld));
      arguments.append({count, weights, i64(in)});
      if (weightsFormat.quantised())
        arguments.push_back(i64(weightsFormat.group));
      arguments.append({i64(out), n0, n1});
      arguments.append(rest.begin(), rest.end());
      call(kernel + codesName(weightsFormat), arguments);
    };
    llvm::BasicBlock *one = llvm::BasicBlock::Create(module.getContext(), "one", function);
    llvm::BasicBlock *many = llvm::BasicBlock::Create(module.getContext(), "many", function);
    llvm::BasicBlock *done = llvm::BasicBlock::Create(module.getContext(), "done", function);
    builder.CreateCondBr(builder.CreateICmpEQ(x.rows, i64(1)), one, many);
    builder.SetInsertPoint(one);
    product(i64(1));
    builder.CreateBr(done);
    builder.SetInsertPoint(many);
    product(x.rows);
    builder.CreateBr(done);
    builder.SetInsertPoint(done);
  }

  void emit(kernel::MatmulOp op) {
    ArrayRef<int64_t> shape = buffer(op.getWeightsAttr()).getTensor().getShape();
    llvm::Value *cap = op.getSoftCap() ? f32(*op.getSoftCap()) : f32(0.0);
    linear("rk_linear_", format(op.getWeightsAttr()), staged.at(op.getSource()),
           data(op.getWeightsAttr()), shape[1], shape[0],
           {data(op.getBiasAttr()), cap, data(op.getResidualAttr()), data(op.getDestAttr())});
  }

  void emit(kernel::MatmulGluOp op) {
    int64_t channels = columns(op.getDestAttr());
    linear("rk_glu_linear_", format(op.getWeightsAttr()), staged.at(op.getSource()),
           data(op.getWeightsAttr()), columns(op.getWeightsAttr()), channels,
           {i64(static_cast<int64_t>(op.getAct())), data(op.getDestAttr())});
  }

  /// The slot's own row of the step's page table, for row `r` of the step.
  llvm::Value *pageTable(llvm::Value *r) {
    llvm::Value *slot = stepElement(offsetof(retort_cpu_step, slots), r);
    llvm::Value *index =
        builder.CreateMul(slot, field64(offsetof(retort_cpu_step, pages_per_slot)));
    return builder.CreateInBoundsGEP(builder.getInt32Ty(),
                                     pointer(offsetof(retort_cpu_step, page_table)), index);
  }
  std::string cacheSuffix(FlatSymbolRefAttr cache) {
    return nameOf(kernel::cacheFormat(buffer(cache)));
  }

  void emit(kernel::RopeAppendOp op) {
    llvm::Value *heads = i64(op.getHeads()), *kvHeads = i64(op.getKvHeads());
    llvm::Value *dims = i64(op.getDims()), *offset = f32(op.getOffset() ? 1.0 : 0.0);
    loop(begin, end, [&](llvm::Value *r) {
      llvm::Value *q = floatsAt(data(op.getQAttr()), r, columns(op.getQAttr()), op.getQAt());
      llvm::Value *k = floatsAt(data(op.getKAttr()), r, columns(op.getKAttr()), op.getKAt());
      llvm::Value *v = floatsAt(data(op.getVAttr()), r, columns(op.getVAttr()), op.getVAt());
      auto norm = [&](FlatSymbolRefAttr gain, llvm::Value *x, llvm::Value *count) {
        if (gain)
          call("rk_rms_norm_groups", {x, data(gain), offset, count, dims, f32(op.getEps()), x});
      };
      auto rotate = [&](FlatSymbolRefAttr angles, llvm::Value *x, llvm::Value *count) {
        if (angles)
          call("rk_rope",
               {x, count, dims, i64(columns(angles)), floatsAt(data(angles), r, columns(angles))});
      };
      auto prepare = [&](FlatSymbolRefAttr gain, FlatSymbolRefAttr angles, llvm::Value *x,
                         llvm::Value *count) {
        if (op.getNormLast())
          rotate(angles, x, count);
        norm(gain, x, count);
        if (!op.getNormLast())
          rotate(angles, x, count);
      };
      prepare(op.getQNormAttr(), op.getQAngles() ? op.getQAnglesAttr() : op.getAnglesAttr(), q,
              heads);
      prepare(op.getKNormAttr(), op.getAnglesAttr(), k, kvHeads);
      call("rk_cache_append_" + cacheSuffix(op.getCacheAttr()),
           {k, v, kvHeads, dims, pointer(offsetof(retort_cpu_step, cache)), pageTable(r),
            i64(*program.getPageBytes()), data(op.getCacheAttr()),
            stepElement(offsetof(retort_cpu_step, positions), r)});
    });
  }

  /// Tiles are heads of rows; those of one key/value head that this thread has go in one call.
  void emit(kernel::AttentionOp op) {
    int64_t heads = op.getHeads(), group = heads / op.getKvHeads();
    llvm::Value *cap = op.getSoftCap() ? f32(*op.getSoftCap()) : f32(0.0);
    loopBy(begin, end, [&](llvm::Value *tile) -> llvm::Value * {
      llvm::Value *r = builder.CreateUDiv(tile, i64(heads));
      llvm::Value *head = builder.CreateURem(tile, i64(heads));
      llvm::Value *groupEnd = builder.CreateMul(
          builder.CreateAdd(builder.CreateUDiv(head, i64(group)), i64(1)), i64(group));
      llvm::Value *count = builder.CreateBinaryIntrinsic(
          llvm::Intrinsic::smin, builder.CreateSub(groupEnd, head), builder.CreateSub(end, tile));
      call("rk_attention_" + cacheSuffix(op.getCacheAttr()),
           {floatsAt(data(op.getQAttr()), r, columns(op.getQAttr()), op.getQAt()), i64(heads),
            i64(op.getKvHeads()), i64(op.getDims()), pointer(offsetof(retort_cpu_step, cache)),
            pageTable(r), i64(*program.getPageBytes()), data(op.getCacheAttr()),
            stepElement(offsetof(retort_cpu_step, positions), r), i64(op.getWindow().value_or(0)),
            f32(op.getScale()), cap, data(op.getSinksAttr()), head, builder.CreateAdd(head, count),
            floatsAt(data(op.getDestAttr()), r, heads * op.getDims())});
      return builder.CreateAdd(tile, count);
    });
  }

  void emit(kernel::NormOp op) {
    int64_t n = columns(op.getSourceAttr()), groups = op.getGroups().value_or(1);
    llvm::Value *offset = f32(op.getOffset() ? 1.0 : 0.0);
    loop(begin, end, [&](llvm::Value *r) {
      llvm::Value *x = floatsAt(data(op.getSourceAttr()), r, n);
      llvm::Value *y = floatsAt(data(op.getDestAttr()), r, n);
      llvm::Value *residual =
          op.getResidual() ? floatsAt(data(op.getResidualAttr()), r, n) : null();
      if (groups == 1) {
        call("rk_rms_norm",
             {x, data(op.getGainAttr()), offset, i64(n), f32(op.getEps()), residual, y});
        return;
      }
      call("rk_rms_norm_groups",
           {x, data(op.getGainAttr()), offset, i64(groups), i64(n / groups), f32(op.getEps()), y});
      if (op.getResidual())
        call("rk_add", {residual, y, i64(n), y});
    });
  }

  void emit(kernel::LayerNormOp op) {
    int64_t n = columns(op.getSourceAttr());
    loop(begin, end, [&](llvm::Value *r) {
      call("rk_layer_norm", {floatsAt(data(op.getSourceAttr()), r, n), data(op.getGainAttr()),
                             data(op.getBiasAttr()), i64(n), f32(op.getEps()),
                             floatsAt(data(op.getDestAttr()), r, n)});
    });
  }

  void emit(kernel::GluOp op) {
    int64_t n = columns(op.getDestAttr());
    loop(begin, end, [&](llvm::Value *r) {
      call("rk_glu",
           {floatsAt(data(op.getGateAttr()), r, columns(op.getGateAttr()), op.getGateAt()),
            floatsAt(data(op.getUpAttr()), r, columns(op.getUpAttr()), op.getUpAt()), i64(n),
            i64(static_cast<int64_t>(op.getAct())), floatsAt(data(op.getDestAttr()), r, n)});
    });
  }

  void emit(kernel::ResidualOp op) {
    int64_t n = columns(op.getDestAttr());
    loop(begin, end, [&](llvm::Value *r) {
      call("rk_add", {floatsAt(data(op.getLhsAttr()), r, n), floatsAt(data(op.getRhsAttr()), r, n),
                      i64(n), floatsAt(data(op.getDestAttr()), r, n)});
    });
  }
};
} // namespace

llvm::Function *emitPhaseFunction(kernel::ProgramOp program, kernel::PhaseOp phase,
                                  ArrayRef<kernel::BufferOp> buffers, const SymbolTable &symbols,
                                  llvm::Module &module, const llvm::Function *like) {
  llvm::LLVMContext &context = module.getContext();
  llvm::Type *ptr = llvm::PointerType::getUnqual(context), *i64 = llvm::Type::getInt64Ty(context);
  SmallVector<llvm::Type *> types = {ptr, ptr, i64, i64};
  for (kernel::BufferOp buffer : buffers)
    types.push_back(buffer.getKind() == kernel::BufferKind::Cache ? i64 : ptr);
  auto *function = llvm::Function::Create(
      llvm::FunctionType::get(llvm::Type::getVoidTy(context), types, false),
      llvm::GlobalValue::InternalLinkage, "phase." + phase.getSymName(), module);
  copyTargetAttributes(*function, like);
  function->addFnAttr(llvm::Attribute::NoInline);
  for (size_t index = 0; index < buffers.size(); ++index)
    if (types[4 + index]->isPointerTy())
      function->addParamAttr(4 + index, llvm::Attribute::NoAlias);
  function->addParamAttr(1, llvm::Attribute::NoAlias);
  PhaseEmitter emitter(program, buffers, symbols, module, function);
  for (Operation &op : *phase.getBody().begin())
    emitter.emit(op);
  emitter.finish();
  return function;
}

int64_t scratchBytes(kernel::ProgramOp program) {
  int64_t most = 64;
  for (kernel::PhaseOp phase : program.getBody().getOps<kernel::PhaseOp>()) {
    int64_t bytes = 0;
    for (kernel::StageOp stage : phase.getBody().getOps<kernel::StageOp>())
      if (!stagedInPlace(stage))
        bytes += stagedRowBytes(stage.getResult().getType()) *
                 static_cast<int64_t>(program.getMaxRows());
    most = std::max(most, bytes);
  }
  return roundUp64(most);
}

} // namespace retort::codegen
