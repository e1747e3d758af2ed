//===- Interpret.cpp - The pass that runs a model on a few tokens -----------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Torch/Interpret.h"
#include "compiler/Torch/FromIR.h"
#include "compiler/Torch/Loader.h"
#include "compiler/Weights/ParamStream.h"
#include "dialects/Distill/DistillOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/raw_ostream.h"

namespace retort::exec {
namespace {

class Interpret : public mlir::PassWrapper<Interpret, mlir::OperationPass<mlir::ModuleOp>> {
public:
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(Interpret)
  Interpret() = default;
  Interpret(const Interpret &other) : PassWrapper(other) {}

  llvm::StringRef getArgument() const final { return "interpret"; }
  llvm::StringRef getDescription() const final {
    return "Run each model on tokens and print what its ops make";
  }

  void getDependentDialects(mlir::DialectRegistry &registry) const override {
    registry.insert<distill::DistillDialect>();
  }

  void runOnOperation() override {
    for (lm::ModelOp model : getOperation().getOps<lm::ModelOp>())
      try {
        run(model);
      } catch (const Error &error) {
        model.emitError("interpret: ") << error.message;
        return signalPassFailure();
      }
  }

private:
  void run(lm::ModelOp model) {
    const Graph graph = graphFromModel(model);
    auto *files = getContext().getLoadedDialect<distill::DistillDialect>();
    WeightSources sources(nullptr,
                          [&](const std::string &hash) { return files->resolveFile(hash); });
    const ReadRows read = [&](ParamId param, int64_t begin, int64_t end, float *out) {
      return guarded([&] {
        const std::string &name = graph.params[size_t(param)].name;
        ParamStream(model.lookupParam(name), sources).readRows(begin, end, out);
      });
    };
    std::vector<std::vector<float>> values;
    check(loadExecutor()->interpret({&graph, read}, {{tokens.begin(), tokens.end()}, {}}, values));
    print(graph, values);
  }

  /// A line an op's result, `lm.norm: [1.0000, 2.0000] [3.0000, 4.0000]`: a list a row.
  void print(const Graph &graph, const std::vector<std::vector<float>> &values) {
    llvm::outs() << '@' << graph.name << '\n';
    auto block = graph.blocks.begin();
    for (size_t i = 0; i < graph.nodes.size(); ++i) {
      const Node &node = graph.nodes[i];
      for (const ValueId out : node.outs)
        print(nameOf(node.op), graph, out, values);
      if (block != graph.blocks.end() && int64_t(i + 1) == block->firstNode + block->numNodes) {
        print("lm.block \"" + block->label + '"', graph, block->out, values);
        ++block;
      }
    }
    llvm::outs().flush();
  }

  void print(const llvm::Twine &what, const Graph &graph, ValueId value,
             const std::vector<std::vector<float>> &values) {
    const std::vector<float> &numbers = values[size_t(value)];
    const size_t features = size_t(graph.features[size_t(value)]);
    llvm::outs() << what << ':';
    for (size_t i = 0; i < numbers.size(); ++i)
      llvm::outs() << (i % features == 0 ? " [" : ", ") << llvm::format("%.4f", numbers[i])
                   << ((i + 1) % features == 0 ? "]" : "");
    llvm::outs() << '\n';
  }

  ListOption<int32_t> tokens{*this, "tokens", llvm::cl::desc("The rows' tokens, one document")};
};

} // namespace

void registerInterpretPass() { mlir::PassRegistration<Interpret>(); }

} // namespace retort::exec
