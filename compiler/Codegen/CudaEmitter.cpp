//===- CudaEmitter.cpp - kernel.program -> EmitC -> CUDA C++ --------------===//
// SPDX-License-Identifier: Apache-2.0
// program.cu is for people too: a namespace a program, in it the shapes, a function a phase with a
// comment of what it does, and `run`, the list of phases and waits. A product's first weights are
// fetched while the CTA waits for others, as soon as the product before it is done with the ring of
// shared memory that weights stream through: weights depend on nothing. So do the keys and values
// of earlier steps, which attention has L2 asked for then.
#include "compiler/Codegen/CudaEmitter.h"
#include "compiler/Codegen/CudaShapes.h"
#include "kernels/cuda/shapes.h"
#include "mlir/Dialect/EmitC/IR/EmitC.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/Target/Cpp/CppEmitter.h"
#include "runtime/base/Error.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSet.h"

using namespace mlir;
namespace retort {

CudaForm parseCudaForm(const std::string &word) {
  if (word == "persistent")
    return CudaForm::Persistent;
  if (word == "graph")
    return CudaForm::Graph;
  fail(ExitCode::Usage, "--form " + word + ": write persistent or graph");
}

namespace codegen {
namespace {

/// "blk3_ffn_down" of "run.blk.3.ffn_down".
std::string identifier(StringRef phase) {
  phase.consume_front("run.");
  std::string result;
  if (phase.consume_front("blk."))
    result = "blk";
  for (char c : phase)
    result += llvm::isAlnum(c) ? c : '_';
  return result;
}

std::string threeDigits(size_t number) {
  std::string digits = std::to_string(number);
  return std::string(digits.size() < 3 ? 3 - digits.size() : 0, '0') + digits;
}

/// "0" or "1" where a program has one for each device.
std::string deviceSuffix(kernel::ProgramOp program) {
  return program.getDevice() ? std::to_string(*program.getDevice()) : std::string();
}

/// The phase is one that draws tokens: no part of the step's kernels.
bool draws(kernel::PhaseOp phase) { return !phase.getOps<kernel::SampleOp>().empty(); }

void checkProgram(kernel::ProgramOp program) {
  if (!program.isCuda())
    fail(ExitCode::Internal,
         "codegen: '" + program.getSymName().str() + "' is no program for CUDA");
  if (!program.getPageBytes() || !program.getActivationBytes() || !program.getWeightBytes())
    fail(ExitCode::Internal, "codegen: '" + program.getSymName().str() +
                                 "' has no planned buffers: run plan-buffers first");
  if (program.getPageRows() != cuda::CacheShape::kPageRows)
    fail(ExitCode::Internal, "codegen: '" + program.getSymName().str() + "' has pages of " +
                                 std::to_string(program.getPageRows()) + " positions: " +
                                 std::to_string(cuda::CacheShape::kPageRows) + " are needed");
}

/// Emits one program's namespace and entries.
class ProgramEmitter {
public:
  ProgramEmitter(ImplicitLocOpBuilder &builder, kernel::ProgramOp program, CudaForm form)
      : builder(builder), program(program), form(form), shapes(program), symbols(program),
        phases(cudaPhases(program)),
        space(program.getStep()->str() + deviceSuffix(program) + "_step") {}

  void emit() {
    // Calls name the shapes, which the text has first.
    std::vector<std::vector<CudaCall>> calls;
    for (kernel::PhaseOp phase : program.getBody().getOps<kernel::PhaseOp>())
      calls.push_back(shapes.calls(phase));
    verbatim("namespace " + space + " {");
    for (const std::string &declaration : shapes.declarations())
      verbatim(declaration);
    for (auto [index, phase] : llvm::enumerate(program.getBody().getOps<kernel::PhaseOp>()))
      if (!draws(phase))
        emitPhase(phase, phases[index].name, calls[index]);
    if (form == CudaForm::Persistent)
      emitRun();
    verbatim("} // namespace " + space);
    if (form == CudaForm::Persistent)
      entry(cudaEntry(program), "", "  " + space + "::run(cta);\n");
    else
      emitGraphKernels();
    for (auto [index, phase] : llvm::enumerate(program.getBody().getOps<kernel::PhaseOp>()))
      if (draws(phase))
        emitSample(phase, calls[index].front());
  }

private:
  ImplicitLocOpBuilder &builder;
  kernel::ProgramOp program;
  CudaForm form;
  CudaShapes shapes;
  SymbolTable symbols;
  std::vector<CudaPhase> phases;
  std::string space;
  llvm::StringSet<> fetches;    ///< phases that have a fetch
  llvm::StringSet<> prefetches; ///< phases that have a prefetch

  void verbatim(const std::string &text) { builder.create<emitc::VerbatimOp>(text); }

  Type ctaType() { return emitc::OpaqueType::get(builder.getContext(), "Cta &"); }

  /// Opens `RETORT_DEVICE void name(Cta &cta)`; `body` creates what it does.
  void function(const std::string &name, function_ref<void(Value)> body) {
    OpBuilder::InsertionGuard guard(builder);
    auto type = builder.getFunctionType({ctaType()}, {});
    auto func = builder.create<emitc::FuncOp>(name, type);
    func.setSpecifiersAttr(builder.getStrArrayAttr({"RETORT_DEVICE"}));
    builder.setInsertionPointToEnd(func.addEntryBlock());
    body(func.getArgument(0));
    builder.create<emitc::ReturnOp>(Value());
  }

  void call(const std::string &callee, Value cta, ArrayRef<std::string> arguments = {},
            StringRef shape = {}) {
    auto opaque = [&](StringRef text) -> Attribute {
      return emitc::OpaqueAttr::get(builder.getContext(), text);
    };
    SmallVector<Attribute> args = {builder.getIndexAttr(0)};
    for (const std::string &argument : arguments)
      args.push_back(opaque(argument));
    ArrayAttr templateArgs;
    if (!shape.empty())
      templateArgs = builder.getArrayAttr({opaque(shape)});
    builder.create<emitc::CallOpaqueOp>(TypeRange(), callee, ValueRange(cta),
                                        builder.getArrayAttr(args), templateArgs);
  }

  std::string qualified(const std::string &function) {
    return program.isDecode() ? function : "prefill::" + function;
  }

  void emitPhase(kernel::PhaseOp phase, const std::string &name,
                 const std::vector<CudaCall> &calls) {
    StringRef title = phase.getSymName();
    title.consume_front("run.");
    verbatim("\n// " + title.str() + ": " + kernel::describe(phase, kernel::Buffers(symbols)));
    auto ahead = [&](const CudaCall &one, const std::string &argument, llvm::StringSet<> &having,
                     const char *suffix, const char *callee) {
      if (!argument.empty() && having.insert(name).second)
        function(name + suffix,
                 [&](Value cta) { call(qualified(callee), cta, {argument}, one.shape); });
    };
    for (const CudaCall &one : calls) {
      ahead(one, one.weights, fetches, "_fetch", "matmulFetch");
      ahead(one, one.prefetched, prefetches, "_prefetch", "attendPrefetch");
    }
    function(name, [&](Value cta) {
      for (const CudaCall &one : calls)
        call(qualified(one.function), cta, one.arguments, one.shape);
    });
  }

  void emitRun() {
    verbatim("\n// The step: a wait is for all CTAs to have done all that stands before it" +
             std::string(program.getDevice()
                             ? program.isDecode()
                                   ? "; what the\n// other device sends brings its own flags."
                                   : ", an exchange\n// for those of the other device too."
                             : "."));
    function("run", [&](Value cta) {
      // A product's fetch goes out once the product before it has let go of the ring.
      std::vector<std::string> products;
      for (const CudaPhase &phase : phases)
        if (fetches.contains(phase.name))
          products.push_back(phase.name);
      ArrayRef<std::string> next = products;
      auto fetch = [&] {
        call(next.front() + "_fetch", cta);
        next = next.drop_front();
      };
      if (!next.empty())
        fetch();
      size_t index = 0;
      bool waits = false, ringIsFree = false;
      std::string exchange; // in place of a wait: its number
      verbatim("uint32_t ticket;");
      for (Operation &op : *program.getBody().begin()) {
        waits |= isa<kernel::WaitOp, kernel::ExchangeOp>(op);
        // While decoding, values bring their flags along: a wait is enough.
        if (auto between = dyn_cast<kernel::ExchangeOp>(op); between && !program.isDecode())
          exchange = std::to_string(between.getIndex());
        if (!isa<kernel::PhaseOp>(op) || draws(cast<kernel::PhaseOp>(op)))
          continue;
        const std::string &name = phases[index++].name;
        bool fetchesNow = ringIsFree && !next.empty(), prefetchesNow = prefetches.contains(name);
        if (waits && (fetchesNow || prefetchesNow || !exchange.empty())) {
          verbatim(exchange.empty() ? "ticket = cta.arrive();"
                                    : "ticket = cta.arriveSending(" + exchange + ");");
          if (prefetchesNow) // before the weights, which it would come after
            call(name + "_prefetch", cta);
          if (fetchesNow)
            fetch();
          verbatim(exchange.empty() ? "cta.waitFor(ticket);"
                                    : "cta.waitReceiving(ticket, " + exchange + ");");
          exchange.clear();
        } else if (waits) {
          verbatim("cta.wait();");
        } else if (fetchesNow) {
          fetch();
        }
        call(name, cta);
        ringIsFree = fetches.contains(name) || (ringIsFree && !fetchesNow);
        waits = false;
      }
    });
  }

  void emitSample(kernel::PhaseOp phase, const CudaCall &call) {
    verbatim("\n// sample: " + kernel::describe(phase, kernel::Buffers(symbols)) +
             "\nRETORT_KERNEL(" + cudaSample(program) +
             ", kSampleThreads, 1, const retort_cuda_step *step) {\n  " + call.function + "<" +
             space + "::" + call.shape + ">(*step);\n}");
  }

  void entry(const std::string &symbol, StringRef parameters, const std::string &body) {
    verbatim("\nRETORT_KERNEL(" + symbol + ", " +
             (program.isDecode() ? "kThreads" : "kPrefillThreads") +
             ", 1, const retort_cuda_step *step" + parameters.str() + ") {\n  Cta cta(step);\n" +
             body + "}");
  }

  /// A kernel a shape, told which of the shape's phases to run: phases of equal shape share code.
  /// Every launch waits for the one before it, also where the phases need not: later ones rely on
  /// it.
  void emitGraphKernels() {
    llvm::MapVector<StringRef, std::string> cases;
    for (const CudaPhase &phase : phases) {
      std::string function = space + "::" + phase.name;
      std::string &text = cases[phase.kernel];
      text += "  case " + std::to_string(phase.number) + ":\n";
      if (prefetches.contains(phase.name))
        text += "    " + function + "_prefetch(cta);\n";
      if (fetches.contains(phase.name))
        text += "    " + function + "_fetch(cta);\n";
      text += "    cta.wait();\n";
      if (phase.receives >= 0)
        text += "    cta.receive(" + std::to_string(phase.receives) + ");\n";
      text += "    " + function + "(cta);\n";
      if (phase.sends >= 0)
        text += "    cta.send(" + std::to_string(phase.sends) + ");\n";
      text += "    break;\n";
    }
    for (auto &[kernel, text] : cases)
      entry(kernel.str(), ", int32_t phase", "  switch (phase) {\n" + text + "  }\n");
  }
};

/// EmitC names the parameter of each function v1; here it is always the CTA.
std::string withNames(StringRef text) {
  std::string result;
  auto isWord = [](char c) { return llvm::isAlnum(c) || c == '_'; };
  SmallVector<StringRef> lines;
  text.split(lines, '\n');
  for (StringRef line : lines) {
    if (line.empty() && StringRef(result).ends_with("\n\n"))
      continue;
    if (line == "  return;") // of a function without a result
      continue;
    for (size_t at = 0; at < line.size(); ++at) {
      bool starts = at == 0 || !isWord(line[at - 1]);
      if (starts && line.substr(at).starts_with("Cta & v1")) {
        result += "Cta &cta";
        at += 7;
      } else if (starts && line.substr(at).starts_with("v1") &&
                 (at + 2 == line.size() || !isWord(line[at + 2])) &&
                 !line.ltrim().starts_with("//")) {
        result += "cta";
        at += 1;
      } else {
        result += line[at];
      }
    }
    result += '\n';
  }
  result.pop_back();
  return result;
}
} // namespace

std::vector<CudaPhase> cudaPhases(kernel::ProgramOp program) {
  constexpr int64_t kFewCtas = 64; // fewer CTAs than the GPUs in mind have multiprocessors
  std::vector<CudaPhase> result;
  CudaShapes shapes(program);
  int64_t exchange = -1; // between the last phase and the next
  for (Operation &op : *program.getBody().begin()) {
    if (auto between = dyn_cast<kernel::ExchangeOp>(op); between && !program.isDecode()) {
      exchange = between.getIndex();
      result.back().sends = exchange;
    }
    auto phase = dyn_cast<kernel::PhaseOp>(op);
    if (!phase || draws(phase))
      continue;
    std::string kernel = cudaEntry(program);
    for (const CudaCall &call : shapes.calls(phase))
      kernel += "_" + call.shape;
    int64_t number = static_cast<int64_t>(result.size());
    int64_t most = phase.getPerRow() ? phase.getTiles() * program.getMaxRows() : 0;
    result.push_back({"p" + threeDigits(number) + "_" + identifier(phase.getSymName()), kernel,
                      number, -1, std::exchange(exchange, -1), most <= kFewCtas ? most : 0});
  }
  return result;
}

std::string cudaSample(kernel::ProgramOp program) {
  for (auto phase : program.getBody().getOps<kernel::PhaseOp>())
    if (draws(phase))
      return cudaEntry(program) + "_sample";
  return "";
}

int64_t cudaSyncWords(kernel::ProgramOp program) {
  int64_t mostHeads = 0;
  program.walk([&](kernel::AttendOp op) {
    mostHeads = std::max(mostHeads, static_cast<int64_t>(op.getKvHeads()));
  });
  return cuda::syncWords(static_cast<int>(program.getMaxRows()), static_cast<int>(mostHeads),
                         static_cast<int>(program.flaggedBytes() / 4));
}

std::string cudaEntry(kernel::ProgramOp program) {
  std::string entry = "retort_" + program.getStep()->str();
  return program.getDevice() ? entry + "_" + std::to_string(*program.getDevice()) : entry;
}

OwningOpRef<ModuleOp> emitEmitC(ArrayRef<kernel::ProgramOp> programs, CudaForm form) {
  kernel::ProgramOp first = programs.front();
  MLIRContext *context = first.getContext();
  context->getOrLoadDialect<emitc::EmitCDialect>();
  ImplicitLocOpBuilder builder(UnknownLoc::get(context), context);
  OwningOpRef<ModuleOp> module = builder.create<ModuleOp>();
  builder.setInsertionPointToEnd(module->getBody());
  auto verbatim = [&](const std::string &text) { builder.create<emitc::VerbatimOp>(text); };
  verbatim("// Made by Retort from program.mlir, which has the buffers that the offsets mean.\n"
           "// A function a phase; its template is in kernels/cuda.");
  if (form == CudaForm::Graph)
    verbatim("#define RETORT_GRAPH 1 // a kernel a phase");
  builder.create<emitc::IncludeOp>("kernels/cuda/program.cuh");
  verbatim("\nnamespace retort::cuda::program {");
  for (kernel::ProgramOp program : programs) {
    checkProgram(program);
    ProgramEmitter(builder, program, form).emit();
  }
  verbatim("\n} // namespace retort::cuda::program");
  return module;
}

std::string emitCudaText(ArrayRef<kernel::ProgramOp> programs, CudaForm form) {
  OwningOpRef<ModuleOp> module = emitEmitC(programs, form);
  std::string text;
  llvm::raw_string_ostream os(text);
  if (failed(emitc::translateToCpp(*module, os)))
    fail(ExitCode::Internal, "codegen: EmitC did not become text");
  return withNames(text);
}

} // namespace codegen
} // namespace retort
