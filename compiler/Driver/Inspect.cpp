//===- Inspect.cpp - `retort inspect` -----------------------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Bundle/BundleWriter.h"
#include "compiler/Checkpoint/Checkpoint.h"
#include "compiler/Driver/Commands.h"
#include "compiler/Driver/Estimate.h"
#include "compiler/Driver/Lowered.h"
#include "compiler/Driver/Pipeline.h"
#include "compiler/Import/Config.h"
#include "compiler/Import/Family.h"
#include "compiler/Import/Import.h"
#include "dialects/Kernel/KernelCost.h"
#include "runtime/base/Output.h"

#include "llvm/Support/raw_ostream.h"
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>

namespace retort {
namespace {

using nlohmann::json;

std::string shapeText(const json &shape) {
  std::string text;
  for (const json &size : shape)
    text += (text.empty() ? "" : "x") + size.dump();
  return text;
}

/// "blk.12" of "blk.12.ffn_up.weight"; "model" for parameters of no block.
std::string blockOf(const std::string &name) {
  if (name.rfind("blk.", 0) != 0)
    return "model";
  return name.substr(0, name.find('.', 4));
}

/// Prints parameters grouped by block, each "suffix shape format".
void printParameters(const json &params) {
  std::vector<std::string> order;
  std::map<std::string, std::vector<std::string>> lines;
  for (const json &param : params) {
    const std::string name = param["name"], block = blockOf(name);
    if (!lines.count(block))
      order.push_back(block);
    std::string suffix = block == "model" ? name : name.substr(block.size() + 1);
    if (suffix.size() > 7 && suffix.ends_with(".weight"))
      suffix.resize(suffix.size() - 7);
    lines[block].push_back(suffix + " " + shapeText(param["shape"]) + " " +
                           param["format"].get<std::string>());
  }
  for (const std::string &block : order) {
    output::print("  %s\n", block.c_str());
    for (const std::string &line : lines[block])
      output::print("    %s\n", line.c_str());
  }
}

json describeCheckpoint(const std::string &path) {
  const Checkpoint checkpoint = Checkpoint::open(path);
  const ModelConfig config = readModelConfig(checkpoint);
  json params = json::array();
  for (const CheckpointTensor &tensor : checkpoint.tensors())
    params.push_back({{"name", tensor.name},
                      {"shape", tensor.shape},
                      {"format", tensor.format()},
                      {"bytes", tensor.storedBytes()}});
  json layers = json::array();
  for (const ModelConfig::Layer &layer : config.layers)
    layers.push_back({{"heads", layer.heads},
                      {"kv_heads", layer.kvHeads},
                      {"ffn", layer.ffn},
                      {"window", layer.window}});
  return {{"kind", "checkpoint"},
          {"model",
           {{"name", config.name},
            {"family", config.family->name},
            {"context", config.context},
            {"vocab", config.vocab},
            {"hidden", config.hidden},
            {"head_dim", config.headDim},
            {"blocks", config.layers.size()}}},
          {"layers", layers},
          {"weight_bytes", checkpoint.tensorBytes()},
          {"params", params}};
}

/// "norm + matmul" of a phase that stages with a norm and multiplies.
std::string opsText(kernel::PhaseOp phase) {
  std::string text;
  for (mlir::Operation &op : *phase.getBody().begin()) {
    std::string name = op.getName().stripDialect().str();
    if (auto stage = llvm::dyn_cast<kernel::StageOp>(op)) {
      if (!stage.getGain())
        continue; // part of the product, worth no word
      name = "norm";
    }
    text += (text.empty() ? "" : " + ") + name;
  }
  return text;
}

/// The programs of program.mlir, one for a CPU, decode and prefill for GPUs.
json describePrograms(mlir::ModuleOp module, const PredictOptions &predict) {
  json programs = json::array();
  std::vector<kernel::ProgramOp> ops;
  module.walk([&](kernel::ProgramOp program) { ops.push_back(program); });
  // Of programs for one and for two devices one is meant, the first kind if none is named.
  int64_t devices = predict.devices;
  for (kernel::ProgramOp program : ops)
    if (!devices && program.isCuda())
      devices = program.numDevices();
  for (kernel::ProgramOp program : ops) {
    json phases = json::array();
    auto phaseOps = program.getBody().getOps<kernel::PhaseOp>();
    auto op = phaseOps.begin();
    for (const kernel::PhaseCost &cost : kernel::phaseCosts(program)) {
      kernel::PhaseOp phase = *op++;
      const int64_t rowTile = phase.getRowTile().value_or(0);
      phases.push_back({{"name", cost.name},
                        {"layer", cost.label},
                        {"ops", opsText(phase)},
                        {"tiles", cost.tiles},
                        {"rows_of_tiles", phase.getPerRow() ? 1 : rowTile},
                        {"parts_of_rows", phase.getRowParts().value_or(1)},
                        {"weight_bytes", cost.weightBytes},
                        {"activation_bytes", cost.activationBytes},
                        {"cache_bytes_per_position", cost.cacheBytesPerPosition},
                        {"flops", cost.flops},
                        {"waits", cost.waits}});
    }
    programs.push_back({{"name", program.getSymName().str()},
                        {"target", program.getTarget().value_or("cpu").str()},
                        {"step", program.getStep().value_or("").str()},
                        {"max_rows", program.getMaxRows()},
                        {"devices", program.numDevices()},
                        {"phases", std::move(phases)}});
    if (program.getDevice())
      programs.back()["device"] = *program.getDevice();
    // Both devices' time stands with the first device's program.
    std::vector<kernel::ProgramOp> together = {program};
    for (kernel::ProgramOp other : ops)
      if (program.getDevice() == 0 && other.getDevice() == 1 &&
          other.getStep() == program.getStep())
        together.push_back(other);
    if (predicts(program, predict) && devices == program.numDevices() &&
        static_cast<int64_t>(together.size()) == devices)
      programs.back()["predicted"] = predictionOf(together, predict);
  }
  return programs;
}

/// Lowers the module's models for the GPUs that `predict` asks for, each device's part in a module
/// of its own.
void lowerForGpus(CompilerContext &context, mlir::ModuleOp module, const PredictOptions &predict) {
  if (predict.devices != 2)
    return context.lower(module, loweringPipeline("cuda"));
  mlir::OwningOpRef<mlir::ModuleOp> second = module.clone();
  context.lower(module, loweringPipeline("cuda0"));
  context.lower(*second, loweringPipeline("cuda1"));
  module.push_back(second.release());
}

json describeModule(const std::string &path, const PredictOptions &predict) {
  Workspace workspace(Workspace::defaultDir());
  CompilerContext context(workspace);
  auto module = context.parse(path);
  json models = json::array();
  for (lm::ModelOp model : module->getOps<lm::ModelOp>()) {
    json params = json::array();
    for (lm::ParamOp param : model.getBody()->getOps<lm::ParamOp>()) {
      std::string type;
      llvm::raw_string_ostream(type) << param.getParamType();
      params.push_back(
          {{"name", param.getSymName().str()},
           {"shape", std::vector<int64_t>(param.getShape().begin(), param.getShape().end())},
           {"format", type}});
    }
    models.push_back({{"symbol", model.getSymName().str()},
                      {"model",
                       {{"name", model.getSymName().str()},
                        {"family", model.getFamily().str()},
                        {"context", model.getContext()},
                        {"vocab", model.getVocab()},
                        {"hidden", model.getHidden()},
                        {"blocks", model.getBlocks().size()}}},
                      {"parameters", parameterCount(model)},
                      {"params", params}});
  }
  if (!predict.on.empty() && !models.empty() && module->getOps<kernel::ProgramOp>().empty())
    lowerForGpus(context, *module, predict);
  return {{"kind", "mlir"}, {"models", models}, {"programs", describePrograms(*module, predict)}};
}

/// Programs for a GPU of a checkpoint's model as it is.
json describeLowered(const std::string &path, const PredictOptions &predict) {
  const Checkpoint checkpoint = Checkpoint::open(path);
  Workspace workspace(Workspace::defaultDir());
  CompilerContext context(workspace);
  auto module = importModel(context.mlir(), checkpoint);
  lowerForGpus(context, *module, predict);
  return describePrograms(*module, predict);
}

void printPrediction(const json &program) {
  const json &p = program["predicted"];
  const int64_t rows = p["rows"], devices = p["devices"];
  const double us = p["us"], gbs = p["gb_s"], achievable = p["achievable_gb_s"];
  output::print("\n  %s on %s%s, predicted, not measured: %lld row%s, %lld positions\n",
                program["name"].get<std::string>().c_str(), devices == 2 ? "two " : "",
                p["device"].get<std::string>().c_str(), static_cast<long long>(rows),
                rows == 1 ? "" : "s", static_cast<long long>(p["context"].get<int64_t>()));
  output::print("  %-28s %6s %10s %10s %9s %9s %9s %9s  %s\n", "phase", "tiles", "memory", "L2",
                "us", "wait", "exchange", "hidden", "bound");
  for (const json &phase : p["phases"]) {
    const std::string name = phase["name"];
    output::print("  %-28s %6lld %10s %10s %9.2f %9.2f %9.2f %9.2f  %s\n",
                  name.substr(name.find('.') + 1).c_str(),
                  static_cast<long long>(phase["tiles"].get<int64_t>()),
                  formatBytes(phase["memory_bytes"]).c_str(),
                  formatBytes(phase["l2_bytes"]).c_str(), phase["us"].get<double>(),
                  phase["wait_us"].get<double>(), phase["exchange_us"].get<double>(),
                  phase["hidden_us"].get<double>(), phase["bound"].get<std::string>().c_str());
  }
  output::print("  %.1f us a step (as a graph %.1f), %.0f tokens/s, %.0f GB/s: %.0f %% of the %.0f "
                "that can be reached\n",
                us, p["graph_us"].get<double>(), p["tokens_per_second"].get<double>(), gbs,
                100 * gbs / achievable, achievable);
  for (const auto &[key, text] : {std::pair("weight_us", "weights"),
                                  {"wait_us", "waits"},
                                  {"attention_us", "attention"},
                                  {"exchange_us", "exchange"},
                                  {"launch_us", "launch"},
                                  {"excess_us", "L2, instructions or tensor cores beyond that"},
                                  {"other_us", "staging, first bytes, sums"},
                                  {"hidden_us", "less weights that come during waits"}})
    output::print("  %8.1f us %3.0f %%  %s\n", p[key].get<double>(),
                  100 * p[key].get<double>() / us, text);
  if (!p["sample"].is_null())
    output::print("  %8.1f us more in a step that draws tokens, and not simply the likeliest\n",
                  p["sample"]["us"].get<double>());
}

/// Bytes and flops are of a step of one row; weights are read once whatever the rows.
void printPrograms(const json &programs) {
  for (const json &program : programs) {
    const std::string step = program["step"];
    output::print("\n  %s: %s%s, up to %lld rows; for a step of one row:\n",
                  program["name"].get<std::string>().c_str(),
                  program["target"].get<std::string>().c_str(),
                  step.empty() ? "" : (", " + step).c_str(),
                  static_cast<long long>(program["max_rows"].get<int64_t>()));
    output::print("  %-28s %-22s %14s %10s %12s %10s %10s\n", "phase", "ops", "tiles", "weights",
                  "activations", "cache/pos", "MFLOP");
    for (const json &phase : program["phases"]) {
      const int64_t rows = phase["rows_of_tiles"];
      std::string tiles = std::to_string(phase["tiles"].get<int64_t>());
      if (rows)
        tiles += rows == 1 ? "/row" : "/" + std::to_string(rows) + " rows";
      std::string name = phase["name"];
      name = (phase["waits"].get<bool>() ? "* " : "  ") + name.substr(name.find('.') + 1);
      output::print("  %-28s %-22s %14s %10s %12s %10s %10.3f\n", name.c_str(),
                    phase["ops"].get<std::string>().c_str(), tiles.c_str(),
                    formatBytes(phase["weight_bytes"]).c_str(),
                    formatBytes(phase["activation_bytes"]).c_str(),
                    formatBytes(phase["cache_bytes_per_position"]).c_str(),
                    phase["flops"].get<double>() / 1e6);
    }
  }
  output::print("  *: waits for the phases before it\n");
}

void printCudaEntry(const engine::Manifest::CudaEntry &entry) {
  std::string arches, shared = formatBytes(entry.sharedBytes) + " of shared memory";
  for (const CudaArch &arch : entry.arches) {
    arches += (arches.empty() ? "" : ", ") + arch.text();
    for (const auto &own : entry.sharedBytesOn)
      if (own.arch.number == arch.number)
        shared += ", " + formatBytes(own.bytes) + " on " + own.arch.text();
  }
  output::print("  cuda %s, %s: up to %u rows, %zu kernel%s of %u threads, %s; "
                "%s, later GPUs by %s\n",
                entry.decode ? "decode" : "prefill", entry.persistent ? "persistent" : "graph",
                entry.maxRows, entry.kernels.size(), entry.kernels.size() == 1 ? "" : "s",
                entry.threads, shared.c_str(), arches.c_str(),
                entry.ptx ? entry.ptx->text("compute_").c_str() : "none");
}

void printModel(const json &model) {
  output::print("  %s, family %s: %llu blocks, hidden %lld, vocabulary %lld, context %lld\n",
                model["name"].get<std::string>().c_str(),
                model["family"].get<std::string>().c_str(),
                static_cast<unsigned long long>(model["blocks"].get<uint64_t>()),
                static_cast<long long>(model["hidden"].get<int64_t>()),
                static_cast<long long>(model["vocab"].get<int64_t>()),
                static_cast<long long>(model["context"].get<int64_t>()));
}

void printProvenance(const engine::Manifest::Provenance &made) {
  for (const auto &[key, value] :
       {std::pair<const char *, std::string>("teacher", made.teacherFile),
        {"teacher sha256", made.teacherSha256},
        {"corpus", made.corpus.empty() ? "none" : made.corpus},
        {"recipe", made.recipe},
        {"pipeline", made.pipeline},
        {"seed", std::to_string(made.seed)}})
    output::print("  %s: %s\n", key, value.c_str());
}

void printBundle(const engine::Manifest &manifest, const json &description) {
  printModel(description["model"]);
  output::print("  %s of weights read a token\n", formatBytes(manifest.bytesPerToken).c_str());
  if (!manifest.cacheFormat.empty())
    output::print(
        "  %s of keys and values a position, %s\n",
        formatBytes(manifest.pageBytes / static_cast<uint64_t>(manifest.pageRows)).c_str(),
        manifest.cacheFormat.c_str());
  for (const engine::Manifest::Entry &entry : manifest.entries)
    output::print("  cpu %s\n", entry.isa.c_str());
  for (const engine::Manifest::CudaEntry &entry : manifest.cudaEntries)
    printCudaEntry(entry);
  for (const engine::Manifest::Part &part : manifest.parts)
    output::print("  %-16s %10s  sha256 %s\n", part.name.c_str(), formatBytes(part.bytes).c_str(),
                  part.sha256.substr(0, 16).c_str());
  if (manifest.provenance)
    printProvenance(*manifest.provenance);
  // A bundle for several targets has the same parameters in a part each.
  json params = json::array();
  for (const json &param : description["params"])
    if (param.value("part", "") == description["params"].front().value("part", ""))
      params.push_back(param);
  printParameters(params);
}

/// Refuses if nothing could be predicted.
void checkPredicted(const json &programs, const InspectOptions &options) {
  int64_t most = 0, devices = 0;
  for (const json &program : programs) {
    if (program.contains("predicted"))
      return;
    if (program["target"] == "cuda") {
      most = std::max(most, program["max_rows"].get<int64_t>());
      devices = program["devices"];
    }
  }
  if (devices && options.predict.devices && devices != options.predict.devices)
    fail(ExitCode::Usage,
         "--devices " + std::to_string(options.predict.devices) + ": " + options.file +
             " has programs for " + (devices == 1 ? "one GPU" : "two GPUs") +
             ": compile it with --devices " + std::to_string(options.predict.devices));
  if (most)
    fail(ExitCode::Usage, "--rows " + std::to_string(options.predict.rows) + ": " + options.file +
                              " makes steps of up to " + std::to_string(most) + " rows");
  fail(ExitCode::Usage, options.file + ": has no program for a GPU to predict: compile it with "
                                       "--target cuda:sm_90");
}

} // namespace

void inspectCommand(const InspectOptions &options) {
  json description;
  engine::Manifest manifest; // of a bundle
  const PredictOptions &predict = options.predict;
  if (!predict.on.empty()) {
    if (!options.phases)
      fail(ExitCode::Usage, "--on " + predict.on + " predicts phases: add --phases");
    assumedDevice(predict);
  }
  if (options.phases && predict.on.empty() && !isBundle(options.file) &&
      !options.file.ends_with(".mlir"))
    fail(ExitCode::Usage,
         options.file + ": a checkpoint has no phases: compile it first, or name a GPU with --on");
  if (isBundle(options.file)) {
    manifest = readBundleManifest(options.file);
    description = json::parse(manifest.text);
    description["kind"] = "bundle";
    if (options.phases) {
      Workspace workspace(Workspace::defaultDir());
      CompilerContext context(workspace);
      description["programs"] =
          describePrograms(*context.parseText(readBundlePart(options.file, "program.mlir"),
                                              options.file + ": program.mlir"),
                           predict);
    }
  } else if (options.file.ends_with(".mlir"))
    description = describeModule(options.file, predict);
  else
    description = describeCheckpoint(options.file);
  if (description["kind"] == "checkpoint" && options.phases)
    description["programs"] = describeLowered(options.file, predict);
  if (!predict.on.empty())
    checkPredicted(description["programs"], options);
  if (options.json) {
    output::writeJson(description);
    return;
  }
  output::print("%s: %s\n", options.file.c_str(), description["kind"].get<std::string>().c_str());
  if (description["kind"] == "bundle")
    printBundle(manifest, description);
  else if (description["kind"] == "mlir")
    for (const json &model : description["models"]) {
      printModel(model["model"]);
      printParameters(model["params"]);
    }
  else {
    printModel(description["model"]);
    output::print("  %s of weights\n",
                  formatBytes(description["weight_bytes"].get<uint64_t>()).c_str());
    printParameters(description["params"]);
  }
  if (options.phases)
    printPrograms(description.value("programs", json::array()));
  for (const json &program : description.value("programs", json::array()))
    if (program.contains("predicted"))
      printPrediction(program);
}

} // namespace retort
