//===- Adapter.cpp - LoRA adapters ----------------------------------------===//
// SPDX-License-Identifier: Apache-2.0
//
// What PEFT computes for its LoRA (peft/tuners/lora), from what it saves.
//
//===----------------------------------------------------------------------===//
#include "compiler/Checkpoint/Adapter.h"
#include "compiler/Checkpoint/Cursor.h"
#include "runtime/base/Json.h"
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <optional>

namespace retort {
namespace {

using nlohmann::json;

constexpr std::string_view kPrefix = "base_model.model.";

/// What adapter_config.json says of how updates are scaled.
class LoraConfig {
public:
  LoraConfig(const std::string &text, const std::string &path)
      : config_(parseJson(text, path)), path_(path) {
    if (!config_.is_object())
      fail(ExitCode::BadInput, path + ": the document is not a JSON object: the file is damaged");
    refuseUnsupported();
  }

  /// The rank of a module's update and the factor of its product.
  int64_t rank(const std::string &module) const {
    return static_cast<int64_t>(pattern("rank_pattern", module).value_or(number("r", 8)));
  }
  double scale(const std::string &module) const {
    const auto rank = static_cast<double>(this->rank(module));
    const double alpha = pattern("alpha_pattern", module).value_or(number("lora_alpha", 8));
    return alpha / (isSet("use_rslora") ? std::sqrt(rank) : rank);
  }
  /// Whether updated rows are scaled to lengths of their own.
  bool setsNorms() const { return isSet("use_dora"); }

private:
  [[noreturn]] void unsupported(const std::string &what) const {
    fail(ExitCode::Unsupported, path_ + ": " + what +
                                    " is not supported: merge the adapter with peft's "
                                    "merge_and_unload, and give the model that comes out");
  }

  void refuseUnsupported() const {
    const auto type = config_.find("peft_type");
    const std::string name =
        type != config_.end() && type->is_string() ? type->get<std::string>() : "no method";
    if (name != "LORA")
      unsupported("an adapter of " + quote(name));
    const auto task = config_.find("task_type");
    if (task != config_.end() && task->is_string() && *task != "CAUSAL_LM")
      unsupported("an adapter for the task " + quote(task->get<std::string>()));
    for (const char *key :
         {"use_qalora", "lora_bias", "layer_replication", "trainable_token_indices",
          "target_parameters", "megatron_config", "alora_invocation_tokens", "arrow_config"})
      if (isSet(key))
        unsupported("a LoRA with " + quote(key));
    // These change the base too.
    if (const auto init = config_.find("init_lora_weights");
        init != config_.end() && init->is_string())
      for (const char *method : {"pissa", "olora", "corda", "loftq", "lora_ga"})
        if (init->get<std::string>().starts_with(method))
          unsupported("a LoRA that begins as " + quote(init->get<std::string>()));
  }

  /// Whether the key is there and is neither null, false nor empty.
  bool isSet(const char *key) const {
    const auto it = config_.find(key);
    return it != config_.end() && !it->is_null() && *it != false && !it->empty();
  }

  double number(const char *key, double otherwise) const {
    const auto it = config_.find(key);
    return it == config_.end() || it->is_null() ? otherwise : positive(*it, key);
  }
  double positive(const json &value, const std::string &key) const {
    if (!value.is_number() || !(value.get<double>() > 0) || value.get<double>() > 1e9)
      fail(ExitCode::BadInput,
           path_ + ": key " + quote(key) + " is no number above 0: the file is damaged");
    return value.get<double>();
  }

  /// The number of the entry whose name the module's ends in.
  std::optional<double> pattern(const char *key, const std::string &module) const {
    const auto entries = config_.find(key);
    if (entries == config_.end() || entries->is_null())
      return std::nullopt;
    if (!entries->is_object())
      fail(ExitCode::BadInput,
           path_ + ": key " + quote(key) + " is not a JSON object: the file is damaged");
    std::optional<double> found;
    for (const auto &[name, value] : entries->items()) {
      if (name.find_first_of("*+?[](){}|\\$") != std::string::npos)
        unsupported("a LoRA whose " + quote(key) + " has an expression (" + quote(name) + ")");
      const std::string_view plain = std::string_view(name).substr(name.starts_with('^') ? 1 : 0);
      const bool atDot = module.size() > plain.size() &&
                         module[module.size() - plain.size() - 1] == '.' && !name.starts_with('^');
      if (module != plain && !(atDot && module.ends_with(plain)))
        continue;
      const double number = positive(value, key);
      if (found.value_or(number) != number)
        unsupported("a LoRA with two entries of " + quote(key) + " for " + quote(module));
      found = number;
    }
    return found;
  }

  const json config_;
  const std::string &path_;
};

/// The name from "layers." on, or of one of the modules beside the layers.
std::string withoutPrefix(std::string_view name) {
  for (std::string_view part : {"layers.", "embed_tokens.", "norm.", "lm_head."})
    for (size_t at = name.find(part); at != std::string_view::npos; at = name.find(part, at + 1))
      if (at == 0 || name[at - 1] == '.')
        return std::string(name.substr(at));
  return std::string(name);
}

} // namespace

const CheckpointTensor *Adapter::find(std::string_view name) const {
  const auto it = tensors_.find(name);
  return it == tensors_.end() ? nullptr : &it->second;
}

std::unique_ptr<Adapter> Adapter::of(const std::string &config, SafetensorsFile file,
                                     const std::string &path) {
  auto adapter = std::make_unique<Adapter>();
  adapter->path_ = path;
  adapter->file_ = std::make_unique<SafetensorsFile>(std::move(file));
  const std::string configPath = path + "/adapter_config.json";
  const LoraConfig lora(config, configPath);
  for (const SafetensorsTensor &tensor : adapter->file_->tensors())
    adapter->tensors_[tensor.name] = {
        tensor.name,  tensor.type, tensor.shape, tensor.bytes, &adapter->file_->file(),
        tensor.offset};
  constexpr std::string_view up = ".lora_B.weight", down = ".lora_A.weight",
                             norms = ".lora_magnitude_vector";
  const std::string prefix(kPrefix);
  auto other = [&](const std::string &name) {
    const CheckpointTensor *tensor = adapter->find(name);
    if (!tensor)
      fail(ExitCode::BadInput, path + ": has no tensor " + quote(name) +
                                   ", a part of an update: the adapter is not a whole one");
    return tensor;
  };
  auto twice = [&](const std::string &name) {
    fail(ExitCode::Unsupported, path + ": tensor " + quote(name) +
                                    " is for the same layer as another one: an adapter of several "
                                    "models in one is not supported");
  };
  for (const auto &[name, tensor] : adapter->tensors_)
    if (name.find(".lora_") != std::string::npos && !name.ends_with(up) && !name.ends_with(down) &&
        !(lora.setsNorms() && name.ends_with(norms)))
      fail(ExitCode::Unsupported,
           path + ": tensor " + quote(name) +
               " is of a variant of LoRA that is not supported: merge the adapter with peft's "
               "merge_and_unload, and give the model that comes out");
  for (const auto &[name, tensor] : adapter->tensors_) {
    if (!name.starts_with(kPrefix))
      fail(ExitCode::Unsupported, path + ": tensor " + quote(name) +
                                      " is not named as PEFT names an adapter's: save the adapter "
                                      "with peft's save_pretrained");
    const std::string inner = name.substr(kPrefix.size());
    if (inner.ends_with(norms)) {
      other(prefix + inner.substr(0, inner.size() - norms.size()) + std::string(down));
    } else if (inner.ends_with(up)) {
      other(prefix + inner.substr(0, inner.size() - up.size()) + std::string(down));
    } else if (inner.ends_with(down)) {
      const std::string module = inner.substr(0, inner.size() - down.size());
      const CheckpointTensor *b = other(prefix + module + std::string(up));
      const int64_t rank = lora.rank(module);
      if (tensor.shape.size() != 2 || b->shape.size() != 2 || tensor.shape[0] != rank ||
          b->shape[1] != rank)
        fail(ExitCode::BadInput, path + ": the update of " + quote(module) +
                                     " is not of the rank that adapter_config.json says, " +
                                     std::to_string(rank) +
                                     ": the files are of different adapters");
      const CheckpointTensor *lengths =
          lora.setsNorms() ? other(prefix + module + std::string(norms)) : nullptr;
      if (!adapter->updates_
               .try_emplace(withoutPrefix(module + ".weight"),
                            Update{b, &tensor, lora.scale(module), lengths})
               .second)
        twice(name);
    } else {
      std::string weight = withoutPrefix(inner);
      if (const size_t at = weight.find(".base_layer."); at != std::string::npos)
        weight.erase(at, std::string_view(".base_layer").size());
      if (!adapter->replacements_.try_emplace(weight, &tensor).second)
        twice(name);
    }
  }
  return adapter;
}

std::unique_ptr<Adapter> Adapter::open(const std::string &folder) {
  const std::string config = folder + "/adapter_config.json",
                    tensors = folder + "/adapter_model.safetensors";
  std::error_code ignored;
  if (!std::filesystem::exists(config, ignored))
    fail(ExitCode::Io, folder + ": has no adapter_config.json: give the folder that peft's "
                                "save_pretrained wrote");
  if (!std::filesystem::exists(tensors, ignored))
    fail(ExitCode::Io, folder + ": has no adapter_model.safetensors: save the adapter with peft's "
                                "save_pretrained, which writes one");
  std::unique_ptr<Adapter> adapter =
      of(readTextFile(config, kMaxConfigBytes), SafetensorsFile::open(tensors), folder);
  adapter->files_ = {config, tensors};
  return adapter;
}

} // namespace retort
