//===- Assemble.cpp - From a final model to a bundle ------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Driver/Assemble.h"
#include "compiler/Bundle/BundleWriter.h"
#include "compiler/Bundle/ManifestWriter.h"
#include "compiler/Driver/BundleManifest.h"
#include "compiler/Weights/ParamStream.h"

#include <map>
#include <nlohmann/json.hpp>

namespace retort {
namespace {

/// "2 kernels, at most 168 registers" on any architecture.
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

CompiledTarget compileCpu(LoweredTarget &lowered, const CompileTargets &targets,
                          Progress &progress) {
  CompiledTarget result{{{&lowered, "weights.bin"}}, {}, {}};
  progress.begin("emit code");
  result.cpu = emitCpu(lowered.programs.front(), targets.cpu);
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
    arches += (arches.empty() ? "" : ", ") + arch.text();
  progress.begin("emit code for " + arches);
  result.cuda = emitCuda(programs, {.arches = targets.cuda, .form = form, .interrupted = [] {
                                      return Progress::interrupted();
                                    }});
  progress.end(formatBytes(result.cuda->fatbin.size()) + ", " + resourcesText(*result.cuda));
  return result;
}

std::vector<CompiledTarget> compileAll(LoweredModel &lowered, const CompileTargets &targets,
                                       CudaForm form, Progress &progress) {
  std::vector<CompiledTarget> compiled;
  std::vector<LoweredTarget *> devices;
  for (LoweredTarget &target : lowered.targets)
    if (target.name == "cpu")
      compiled.push_back(compileCpu(target, targets, progress));
    else
      devices.push_back(&target);
  if (!devices.empty())
    compiled.push_back(compileCuda(devices, targets, form, progress));
  return compiled;
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

/// The weights of all targets, a part a device.
void writeAllWeights(BundleWriter &writer, const std::vector<CompiledTarget> &compiled,
                     WeightSources &sources, uint64_t all, Progress &progress) {
  uint64_t done = 0;
  for (const CompiledTarget &target : compiled)
    for (size_t part = 0; part < target.parts.size(); ++part) {
      const ModelLayout &layout = target.layout(part);
      writeWeights(writer, target.parts[part], layout, sources, done, all, progress);
      done += static_cast<uint64_t>(layout.weightBytes);
    }
}

void writePrograms(BundleWriter &writer, const std::vector<CompiledTarget> &compiled) {
  for (const CompiledTarget &target : compiled) {
    if (target.cpu)
      writer.addPart("program.so", target.cpu->sharedObject);
    if (target.cuda) {
      writer.addPart("program.fatbin", target.cuda->fatbin);
      writer.addPart("program.cu", target.cuda->text);
    }
  }
}

void describeParameters(Report &report, const ModelLayout &layout, lm::ModelOp teacher) {
  for (const ModelLayout::Param &param : layout.params) {
    ParameterRow row{param.name, param.shape, {}, param.format, static_cast<uint64_t>(param.bytes)};
    if (lm::ParamOp original = teacher ? teacher.lookupParam(param.name) : lm::ParamOp())
      row.teacherShape.assign(original.getShape().begin(), original.getShape().end());
    report.parameters.push_back(std::move(row));
  }
}

} // namespace

uint64_t writeBundle(const std::string &output, LoweredModel &lowered, Teacher &teacher,
                     const CompileTargets &targets, CudaForm form, const BundleInfo &info,
                     Progress &progress) {
  const std::vector<CompiledTarget> compiled = compileAll(lowered, targets, form, progress);
  progress.begin("write the bundle");
  const LoadedTokenizer &tokenizer = teacher.tokenizerOf(lowered.model());
  WeightSources sources(&teacher.checkpoint(), [&](const std::string &key) {
    return teacher.workspace().objectPath(key, "safetensors");
  });
  BundleWriter writer(output);
  writeAllWeights(writer, compiled, sources, lowered.weightBytes, progress);
  writePrograms(writer, compiled);
  writer.addPart("program.mlir", lowered.text());
  writer.addPart("tokenizer.bin", tokenizer.tables);
  if (tokenizer.spec.chat)
    writer.addPart("chat.bin", tokenizer.spec.chat->toBytes());
  writer.addPart("tokenizer.json", writeTokenizerJson(tokenizer.spec));
  describeParameters(*info.report, compiled.front().layout(), info.teacher);
  writer.addPart("report.json", info.report->toJson().dump(1) + "\n");
  writer.addPart("report.html", info.report->toHtml());
  engine::Manifest manifest = manifestOf(compiled, info);
  const uint64_t bytes = writer.commit(toJson(std::move(manifest)));
  progress.end(output + ", " + formatBytes(bytes));
  return bytes;
}

} // namespace retort
