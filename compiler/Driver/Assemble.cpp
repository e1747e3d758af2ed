//===- Assemble.cpp - From a final model to a bundle ------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Driver/Assemble.h"
#include "compiler/Bundle/BundleWriter.h"
#include "compiler/Codegen/Cuda.h"
#include "compiler/Weights/ParamStream.h"
#include "dialects/Kernel/KernelCost.h"
#include "kernels/cuda/machine.h"
#include "runtime/src/abi/cpu_program.h"
#include "runtime/src/abi/cuda_program.h"

#include "llvm/Support/raw_ostream.h"
#include <nlohmann/json.hpp>

namespace retort {
namespace {

using nlohmann::json;

/// A target's code. Weights are in a part a device.
struct CompiledTarget {
  struct Part {
    LoweredTarget *lowered;
    std::string name;
  };
  std::vector<Part> parts;
  std::optional<CompiledProgram> cpu;
  std::optional<CompiledCuda> cuda;
  const ModelLayout &layout(size_t part = 0) const { return cpu ? *cpu : cuda->layouts[part]; }
};

json paramsOf(const std::vector<CompiledTarget> &targets) {
  json params = json::array();
  for (const CompiledTarget &target : targets)
    for (size_t part = 0; part < target.parts.size(); ++part)
      for (const ModelLayout::Param &param : target.layout(part).params) {
        json row = {{"name", param.name},
                    {"format", param.format},
                    {"shape", param.shape},
                    {"offset", param.offset},
                    {"bytes", param.bytes}};
        if (!param.layout.empty())
          row["layout"] = param.layout;
        if (target.parts[part].name != "weights.bin")
          row["part"] = target.parts[part].name;
        params.push_back(std::move(row));
      }
  return params;
}

/// Of the architectures whose code has more shared memory than the portable amount.
json sharedBytesOn() {
  json rows = json::array();
  for (const cuda::Architecture &arch : cuda::kArchitectures)
    if (const int bytes = cuda::sharedBytesOf(arch.number); bytes > cuda::kPortableSharedBytes)
      rows.push_back({{"arch", "sm_" + std::to_string(arch.number)}, {"bytes", bytes}});
  return rows;
}

json cudaEntry(const CompiledCuda &cuda, const CompiledCuda::Entry &entry) {
  const bool graph = cuda.form == CudaForm::Graph;
  json kernels = json::array();
  for (const CompiledCuda::Entry::Kernel &kernel : entry.kernels) {
    kernels.push_back({{"symbol", kernel.symbol}});
    if (graph)
      kernels.back().update({{"phase", kernel.phase}, {"grid", kernel.ctas}});
  }
  json row = {{"target", "cuda"},
              {"abi", RETORT_CUDA_ABI_VERSION},
              {"step", entry.step},
              {"form", graph ? "graph" : "persistent"},
              {"device", entry.device},
              {"devices", cuda.layouts.size()},
              {"max_rows", entry.maxRows},
              {"threads", entry.threads},
              {"shared_bytes", cuda::kPortableSharedBytes},
              {"shared_bytes_on", sharedBytesOn()},
              {"sync_words", entry.syncWords},
              {"activations", entry.activationBytes},
              {"page_bytes", cuda.layouts[entry.device].cachePageBytes},
              {"logits", {{"begin", entry.logitsBegin}, {"count", entry.logitsCount}}},
              {"grid", 0},
              {"kernels", std::move(kernels)},
              {"arches", cuda.arches},
              {"ptx", cuda.ptx}};
  if (entry.argmax)
    row["argmax"] = true;
  if (!entry.sample.empty())
    row["sample"] = {{"symbol", entry.sample},
                     {"threads", cuda::kSampleThreads},
                     {"shared_bytes", cuda::kSampleSharedBytes}};
  if (graph)
    row["pdl"] = true;
  return row;
}

json entriesOf(const std::vector<CompiledTarget> &targets) {
  json entries = json::array();
  for (const CompiledTarget &target : targets) {
    if (target.cpu)
      for (const CompiledProgram::Entry &entry : target.cpu->entries)
        entries.push_back({{"target", "cpu"},
                           {"abi", RETORT_CPU_ABI_VERSION},
                           {"isa", entry.isa},
                           {"symbol", entry.symbol}});
    if (target.cuda)
      for (const CompiledCuda::Entry &entry : target.cuda->entries)
        entries.push_back(cudaEntry(*target.cuda, entry));
  }
  return entries;
}

/// The rows of the CPU's step; without one, of the largest.
int64_t maxRows(const CompiledTarget &first) {
  if (first.cpu)
    return first.cpu->maxRows;
  int64_t rows = 0;
  for (const CompiledCuda::Entry &entry : first.cuda->entries)
    rows = std::max(rows, entry.maxRows);
  return rows;
}

json manifestOf(const std::vector<CompiledTarget> &targets, const LoadedTokenizer &tokenizer,
                const BundleInfo &info) {
  const CompiledTarget &first = targets.front();
  const ModelLayout &layout = first.layout();
  lm::ModelOp model = first.parts.front().lowered->model;
  int64_t pageBytes = 0;
  for (size_t part = 0; part < first.parts.size(); ++part)
    pageBytes += first.layout(part).cachePageBytes;
  json manifest = {
      {"retort", RETORT_VERSION},
      {"model",
       {{"name", info.name},
        {"family", model.getFamily().str()},
        {"context", model.getContext()},
        {"vocab", model.getVocab()},
        {"hidden", model.getHidden()},
        {"max_rows", maxRows(first)},
        {"blocks", model.getBlocks().size()}}},
      {"cache",
       {{"page_rows", layout.pageRows}, {"page_bytes", pageBytes}, {"format", layout.cacheFormat}}},
      {"buffers",
       {{"activations", first.cpu ? first.cpu->activationBytes : 0},
        {"scratch_per_thread", first.cpu ? first.cpu->scratchBytesPerThread : 0}}},
      {"entries", entriesOf(targets)},
      {"params", paramsOf(targets)},
      {"figures",
       {{"bytes_per_token", first.cpu ? first.cpu->bytesPerToken : first.cuda->bytesPerToken}}},
      {"provenance", *info.provenance}};
  if (tokenizer.spec.chat)
    manifest["chat"] = tokenizer.spec.chat->toJson();
  return manifest;
}

void checkInterrupted() {
  if (Progress::interrupted())
    fail(ExitCode::Interrupted, "stopped: what was computed is kept, run again to go on");
}

/// `done` of `all` bytes have been written before this part.
void writeWeights(BundleWriter &writer, const CompiledTarget::Part &part, const ModelLayout &layout,
                  WeightSources &sources, uint64_t done, uint64_t all, Progress &progress) {
  writer.beginPart(part.name);
  for (const ModelLayout::Param &param : layout.params) {
    checkInterrupted();
    while (writer.partBytes() < static_cast<uint64_t>(param.offset))
      writer.alignTo(64);
    lm::ParamOp op = part.lowered->model.lookupParam(param.name);
    if (!op)
      fail(ExitCode::Internal,
           "the program reads '" + param.name + "', which the model does not have");
    ParamStream stream(op, sources);
    if (stream.packedBytes() != param.bytes)
      fail(ExitCode::Internal,
           "'" + param.name + "' packs to " + std::to_string(stream.packedBytes()) +
               " bytes, but the program expects " + std::to_string(param.bytes));
    stream.writePacked([&](std::span<const uint8_t> bytes) {
      writer.append(bytes);
      progress.update(done + writer.partBytes(), all);
    });
  }
  while (writer.partBytes() < static_cast<uint64_t>(layout.weightBytes))
    writer.alignTo(64);
}

void describeParameters(Report &report, const ModelLayout &layout, lm::ModelOp teacher) {
  for (const ModelLayout::Param &param : layout.params) {
    ParameterRow row{param.name, param.shape, {}, param.format, static_cast<uint64_t>(param.bytes)};
    if (lm::ParamOp original = teacher ? teacher.lookupParam(param.name) : lm::ParamOp())
      row.teacherShape.assign(original.getShape().begin(), original.getShape().end());
    report.parameters.push_back(std::move(row));
  }
}

/// "retort_decode: 168 registers; retort_prefill: 255 registers", the most on any architecture.
std::string resourcesText(const CompiledCuda &cuda) {
  std::map<std::string, int> registers;
  for (const auto &[arch, functions] : cuda.resources)
    for (const CudaResources &function : functions)
      if (function.isKernel)
        registers[function.function] = std::max(registers[function.function], function.registers);
  int most = 0;
  for (const auto &[name, count] : registers)
    most = std::max(most, count);
  return std::to_string(registers.size()) + (registers.size() == 1 ? " kernel" : " kernels") +
         ", at most " + std::to_string(most) + " registers";
}

CompiledTarget compileCpu(LoweredTarget &lowered, Progress &progress) {
  CompiledTarget result{{{&lowered, "weights.bin"}}, {}, {}};
  progress.begin("emit code");
  result.cpu = emitCpu(lowered.programs.front());
  progress.end(formatBytes(result.cpu->sharedObject.size()));
  return result;
}

/// One program.cu and fat binary for all devices.
CompiledTarget compileCuda(std::vector<LoweredTarget *> devices, const CompileTargets &targets,
                           CudaForm form, Progress &progress) {
  CompiledTarget result;
  std::vector<kernel::ProgramOp> programs;
  for (LoweredTarget *device : devices) {
    result.parts.push_back({device, "weights." + device->name + ".bin"});
    programs.insert(programs.end(), device->programs.begin(), device->programs.end());
  }
  std::string arches;
  for (const CudaArch &arch : targets.cuda)
    arches += (arches.empty() ? "" : ", ") + arch.code();
  progress.begin("emit code for " + arches);
  result.cuda = emitCuda(programs, {.arches = targets.cuda, .form = form, .interrupted = [] {
                                      return Progress::interrupted();
                                    }});
  progress.end(formatBytes(result.cuda->fatbin.size()) + ", " + resourcesText(*result.cuda));
  return result;
}

LoweredTarget lowerFor(CompilerContext &context, lm::ModelOp model, const std::string &name) {
  LoweredTarget result{name, mlir::ModuleOp::create(model.getLoc()), {}, {}};
  result.module->push_back(model->clone());
  context.run(*result.module, loweringPipeline(name), nullptr);
  result.model = *result.module->getOps<lm::ModelOp>().begin();
  for (kernel::ProgramOp program : result.module->getOps<kernel::ProgramOp>())
    result.programs.push_back(program);
  return result;
}

} // namespace

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

LoweredModel lowerModel(CompilerContext &context, lm::ModelOp model, const CompileTargets &targets,
                        unsigned devices) {
  LoweredModel lowered;
  if (targets.cpu)
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

uint64_t writeBundle(const std::string &output, LoweredModel &lowered, Teacher &teacher,
                     const CompileTargets &targets, CudaForm form, const BundleInfo &info,
                     Progress &progress) {
  std::vector<CompiledTarget> compiled;
  std::vector<LoweredTarget *> devices;
  for (LoweredTarget &target : lowered.targets)
    if (target.name == "cpu")
      compiled.push_back(compileCpu(target, progress));
    else
      devices.push_back(&target);
  if (!devices.empty())
    compiled.push_back(compileCuda(devices, targets, form, progress));

  progress.begin("write the bundle");
  const LoadedTokenizer &tokenizer = teacher.tokenizerOf(lowered.model());
  WeightSources sources(&teacher.checkpoint(), [&](const std::string &key) {
    return teacher.workspace().objectPath(key, "safetensors");
  });
  BundleWriter writer(output);
  uint64_t done = 0;
  for (const CompiledTarget &target : compiled)
    for (size_t part = 0; part < target.parts.size(); ++part) {
      const ModelLayout &layout = target.layout(part);
      writeWeights(writer, target.parts[part], layout, sources, done, lowered.weightBytes,
                   progress);
      done += static_cast<uint64_t>(layout.weightBytes);
    }
  for (const CompiledTarget &target : compiled) {
    if (target.cpu)
      writer.addPart("program.so", target.cpu->sharedObject);
    if (target.cuda) {
      writer.addPart("program.fatbin", target.cuda->fatbin);
      writer.addPart("program.cu", target.cuda->text);
    }
  }
  writer.addPart("program.mlir", lowered.text());
  writer.addPart("tokenizer.bin", tokenizer.tables);
  writer.addPart("tokenizer.json", writeTokenizerJson(tokenizer.spec));
  describeParameters(*info.report, compiled.front().layout(), info.teacher);
  writer.addPart("report.json", info.report->toJson().dump(1) + "\n");
  writer.addPart("report.html", info.report->toHtml());
  const uint64_t bytes = writer.commit(manifestOf(compiled, tokenizer, info));
  progress.end(output + ", " + formatBytes(bytes));
  return bytes;
}

} // namespace retort
