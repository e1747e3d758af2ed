//===- CudaShapes.h - Shapes and calls of CUDA phases ----------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
// A phase of a CUDA program is a call of a function template in kernels/cuda with a shape, a
// constant of a struct of kernels/cuda/shapes.h, and pointers. Phases of equal shape share the
// constant, and so the code.
#pragma once
#include "compiler/Codegen/CudaShapeText.h"
#include "dialects/Kernel/KernelOps.h"
#include "mlir/IR/SymbolTable.h"
#include "llvm/ADT/DenseMap.h"
#include <string>
#include <vector>

namespace retort::codegen {

/// A call in a phase function.
struct CudaCall {
  std::string function;               ///< "matmulGlu"
  std::string shape;                  ///< the constant's name
  std::vector<std::string> arguments; ///< after the CTA: "cta.weights<uint8_t>(4096)", "nullptr"
  std::string weights;                ///< argument of matmulFetch; empty: nothing to fetch
  std::string prefetched = {};        ///< argument of attendPrefetch; empty: nothing to prefetch
};

/// The distinct shapes of a program, in order of first use.
class CudaShapes {
public:
  explicit CudaShapes(kernel::ProgramOp program);

  /// The calls of a phase's ops.
  std::vector<CudaCall> calls(kernel::PhaseOp phase);

  /// The shapes and tables that calls() named so far.
  std::vector<std::string> declarations() const;

private:
  kernel::ProgramOp program;
  mlir::SymbolTable symbols;
  struct Declared {
    std::string base, name;  ///< the name is the base, and a number if others have the same
    std::string declaration; ///< with NAME in the name's place
  };
  std::vector<Declared> shapes;
  /// The exchange that ops which send, or read what was sent, take part in.
  llvm::DenseMap<mlir::Operation *, int64_t> exchanges;
  kernel::BufferOp buffer(mlir::FlatSymbolRefAttr name);
  int64_t columns(mlir::FlatSymbolRefAttr name);
  std::string address(mlir::FlatSymbolRefAttr name);
  /// The outbox of a product that sends, or the inbox of what it sent: "inbox(cta, 4096, 3)".
  std::string flagged(const std::string &box, mlir::Operation *op,
                      mlir::FlatSymbolRefAttr received);
  /// The argument and the member of a product whose prologue adds up partial sums.
  std::string partials(kernel::StageOp stage);
  /// The name of a shape, or of a table by its declaration.
  template <IsShape Shape> std::string intern(const std::string &base, const Shape &shape);
  std::string intern(const std::string &base, const std::string &declaration);
  /// The name of a table in constant memory of what a constant buffer holds; its length follows
  /// `base`.
  std::string table(const std::string &base, mlir::FlatSymbolRefAttr constant);

  cuda::ProductShape product(kernel::StageOp stage, mlir::FlatSymbolRefAttr matrix,
                             mlir::FlatSymbolRefAttr dest);
  /// "Matmul_576x960_i4g32s".
  std::string productName(const char *kind, const cuda::ProductShape &product,
                          mlir::FlatSymbolRefAttr weights);
  template <typename Op> cuda::CacheShape cache(Op op);
  template <typename Op> cuda::AppendShape append(Op op);
  template <typename Op> std::vector<std::string> appendArguments(Op op);

  CudaCall call(kernel::EmbedOp op);
  CudaCall call(kernel::AnglesOp op);
  CudaCall call(kernel::MatmulOp op);
  CudaCall call(kernel::MatmulGluOp op);
  CudaCall call(kernel::AttendOp op);
  CudaCall call(kernel::RopeAppendOp op);
  CudaCall call(kernel::AttentionOp op);
  CudaCall call(kernel::NormOp op);
  CudaCall call(kernel::LayerNormOp op);
  CudaCall call(kernel::GluOp op);
  CudaCall call(kernel::ResidualOp op);
  CudaCall call(kernel::SumOp op);
  CudaCall call(kernel::SampleOp op);
};

} // namespace retort::codegen
