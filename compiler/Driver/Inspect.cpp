//===- Inspect.cpp - `retort inspect` -----------------------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Bundle/BundleWriter.h"
#include "compiler/Driver/Commands.h"
#include "compiler/Driver/Estimate.h"
#include "compiler/Driver/Pipeline.h"
#include "compiler/Import/Checkpoint.h"

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
    std::printf("  %s\n", block.c_str());
    for (const std::string &line : lines[block])
      std::printf("    %s\n", line.c_str());
  }
}

json describeCheckpoint(const std::string &path) {
  const Checkpoint checkpoint = Checkpoint::open(path);
  const ModelConfig config = readModelConfig(checkpoint);
  json params = json::array();
  for (const CheckpointTensor &tensor : checkpoint.tensors())
    params.push_back({{"name", tensor.name},
                      {"shape", tensor.shape},
                      {"format", name(tensor.type)},
                      {"bytes", tensor.bytes.size()}});
  json layers = json::array();
  for (const ModelConfig::Layer &layer : config.layers)
    layers.push_back({{"heads", layer.heads},
                      {"kv_heads", layer.kvHeads},
                      {"ffn", layer.ffn},
                      {"window", layer.window}});
  return {{"kind", "checkpoint"},
          {"model",
           {{"name", config.name},
            {"family", config.family},
            {"context", config.context},
            {"vocab", config.vocab},
            {"hidden", config.hidden},
            {"head_dim", config.headDim},
            {"blocks", config.layers.size()}}},
          {"layers", layers},
          {"weight_bytes", checkpoint.tensorBytes()},
          {"params", params}};
}

json describeModule(const std::string &path) {
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
  return {{"kind", "mlir"}, {"models", models}};
}

void printModel(const json &model) {
  std::printf("  %s, family %s: %llu blocks, hidden %lld, vocabulary %lld, context %lld\n",
              model["name"].get<std::string>().c_str(), model["family"].get<std::string>().c_str(),
              static_cast<unsigned long long>(model["blocks"].get<uint64_t>()),
              static_cast<long long>(model["hidden"].get<int64_t>()),
              static_cast<long long>(model["vocab"].get<int64_t>()),
              static_cast<long long>(model["context"].get<int64_t>()));
}

void printBundle(const json &manifest) {
  printModel(manifest["model"]);
  std::printf("  %s of weights read a token\n",
              formatBytes(manifest["figures"]["bytes_per_token"].get<uint64_t>()).c_str());
  for (const auto &[name, part] : manifest["parts"].items())
    std::printf("  %-16s %10s  sha256 %s\n", name.c_str(),
                formatBytes(part["bytes"].get<uint64_t>()).c_str(),
                part["sha256"].get<std::string>().substr(0, 16).c_str());
  for (const auto &[key, value] : manifest["provenance"].items())
    std::printf("  %s: %s\n", key.c_str(),
                value.is_string() ? value.get<std::string>().c_str() : value.dump().c_str());
  printParameters(manifest["params"]);
}

} // namespace

void inspectCommand(const InspectOptions &options) {
  json description;
  if (isBundle(options.file)) {
    description = readBundleManifest(options.file);
    description["kind"] = "bundle";
  } else if (options.file.ends_with(".mlir"))
    description = describeModule(options.file);
  else
    description = describeCheckpoint(options.file);
  if (options.json) {
    std::printf("%s\n", description.dump(1).c_str());
    return;
  }
  std::printf("%s: %s\n", options.file.c_str(), description["kind"].get<std::string>().c_str());
  if (description["kind"] == "bundle")
    printBundle(description);
  else if (description["kind"] == "mlir")
    for (const json &model : description["models"]) {
      printModel(model["model"]);
      printParameters(model["params"]);
    }
  else {
    printModel(description["model"]);
    std::printf("  %s of weights\n",
                formatBytes(description["weight_bytes"].get<uint64_t>()).c_str());
    printParameters(description["params"]);
  }
}

} // namespace retort
