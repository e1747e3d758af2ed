//===- Assemble.cpp - From a final model to a bundle ------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Driver/Assemble.h"
#include "compiler/Bundle/BundleWriter.h"
#include "compiler/Weights/ParamStream.h"
#include "dialects/Kernel/KernelCost.h"

#include "llvm/Support/raw_ostream.h"
#include <nlohmann/json.hpp>

namespace retort {
namespace {

using nlohmann::json;

json manifestOf(const CompiledProgram &program, LoweredModel &lowered,
                const LoadedTokenizer &tokenizer, const BundleInfo &info) {
  lm::ModelOp model = lowered.model;
  json entries = json::array(), params = json::array();
  for (const CompiledProgram::Entry &entry : program.entries)
    entries.push_back({{"target", "cpu"}, {"isa", entry.isa}, {"symbol", entry.symbol}});
  for (const CompiledProgram::Param &param : program.params) {
    json row = {{"name", param.name},
                {"format", param.format},
                {"shape", param.shape},
                {"offset", param.offset},
                {"bytes", param.bytes}};
    if (!param.layout.empty())
      row["layout"] = param.layout;
    params.push_back(std::move(row));
  }
  json manifest = {
      {"retort", RETORT_VERSION},
      {"model",
       {{"name", info.name},
        {"family", model.getFamily().str()},
        {"context", model.getContext()},
        {"vocab", model.getVocab()},
        {"hidden", model.getHidden()},
        {"max_rows", program.maxRows},
        {"blocks", model.getBlocks().size()}}},
      {"cache", {{"page_rows", program.pageRows}, {"page_bytes", program.cachePageBytes}}},
      {"buffers",
       {{"activations", program.activationBytes},
        {"scratch_per_thread", program.scratchBytesPerThread}}},
      {"entries", entries},
      {"params", params},
      {"figures", {{"bytes_per_token", program.bytesPerToken}}},
      {"provenance", *info.provenance}};
  if (tokenizer.spec.chat)
    manifest["chat"] = tokenizer.spec.chat->toJson();
  return manifest;
}

void writeWeights(BundleWriter &writer, const CompiledProgram &program, LoweredModel &lowered,
                  Teacher &teacher, Progress &progress) {
  WeightSources sources(&teacher.checkpoint(), [&](const std::string &key) {
    return teacher.workspace().objectPath(key, "safetensors");
  });
  writer.beginPart("weights.bin");
  for (const CompiledProgram::Param &param : program.params) {
    if (Progress::interrupted())
      fail(ExitCode::Interrupted, "stopped: what was computed is kept, run again to go on");
    while (writer.partBytes() < static_cast<uint64_t>(param.offset))
      writer.alignTo(64);
    lm::ParamOp op = lowered.model.lookupParam(param.name);
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
      progress.update(writer.partBytes(), program.weightBytes);
    });
  }
  while (writer.partBytes() < static_cast<uint64_t>(program.weightBytes))
    writer.alignTo(64);
}

void describeParameters(Report &report, const CompiledProgram &program, lm::ModelOp teacher) {
  for (const CompiledProgram::Param &param : program.params) {
    ParameterRow row{param.name, param.shape, {}, param.format, static_cast<uint64_t>(param.bytes)};
    if (lm::ParamOp original = teacher ? teacher.lookupParam(param.name) : lm::ParamOp())
      row.teacherShape.assign(original.getShape().begin(), original.getShape().end());
    report.parameters.push_back(std::move(row));
  }
}

} // namespace

std::string loweringPipeline() {
  return "builtin.module(lm.model(fuse-qkv,fuse-gate-up),lower-to-kernel,"
         "kernel.program(plan-buffers))";
}

LoweredModel lowerModel(CompilerContext &context, lm::ModelOp model, const std::string &target) {
  if (target != "cpu")
    fail(ExitCode::Unsupported, "--target " + target + ": this build emits code for: cpu");
  LoweredModel lowered;
  lowered.module = mlir::ModuleOp::create(model.getLoc());
  lowered.module->push_back(model->clone());
  context.run(*lowered.module, loweringPipeline(), nullptr);
  lowered.model = *lowered.module->getOps<lm::ModelOp>().begin();
  lowered.program = *lowered.module->getOps<kernel::ProgramOp>().begin();
  lowered.weightBytes = lowered.program.getWeightBytes().value_or(0);
  lowered.bytesPerToken = kernel::bytesPerToken(lowered.program);
  return lowered;
}

uint64_t writeBundle(const std::string &output, LoweredModel &lowered, Teacher &teacher,
                     const BundleInfo &info, Progress &progress) {
  progress.begin("emit code");
  const CompiledProgram program = emitCpu(lowered.program);
  progress.end(formatBytes(program.sharedObject.size()));

  progress.begin("write the bundle");
  const LoadedTokenizer &tokenizer = teacher.tokenizerOf(lowered.model);
  BundleWriter writer(output);
  writeWeights(writer, program, lowered, teacher, progress);
  writer.addPart("program.so", program.sharedObject);
  std::string text;
  llvm::raw_string_ostream(text) << *lowered.module;
  writer.addPart("program.mlir", text);
  writer.addPart("tokenizer.bin", tokenizer.tables);
  writer.addPart("tokenizer.json", writeTokenizerJson(tokenizer.spec));
  describeParameters(*info.report, program, info.teacher);
  writer.addPart("report.json", info.report->toJson().dump(1) + "\n");
  writer.addPart("report.html", info.report->toHtml());
  const uint64_t bytes = writer.commit(manifestOf(program, lowered, tokenizer, info));
  progress.end(output + ", " + formatBytes(bytes));
  return bytes;
}

} // namespace retort
