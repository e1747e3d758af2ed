//===- Checkpoint.cpp - Saving a training run -------------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Torch/Checkpoint.h"
#include "compiler/Checkpoint/Safetensors.h"
#include "compiler/Torch/Parallel.h"
#include "runtime/base/Sha256.h"
#include "runtime/base/SystemError.h"
#include <chrono>
#include <cstring>
#include <filesystem>
#include <functional>
#include <span>

namespace retort::exec {
namespace {

struct Named {
  std::string name;
  std::vector<int64_t> shape;
  std::function<at::Tensor()> values;

  Named(std::string name, const at::Tensor &tensor)
      : name(std::move(name)), shape(tensor.sizes().vec()), values([tensor] { return tensor; }) {}
  /// The weights of a parameter; made, if need be, when they are written.
  explicit Named(const Trained &trained)
      : name(trained.param->name), shape(shapeOf(*trained.param)),
        values([&trained] { return trained.values(); }) {}

  static std::vector<int64_t> shapeOf(const Param &param) {
    return param.isVector ? std::vector{param.cols} : std::vector{param.rows, param.cols};
  }
};

void writeFile(const std::string &path, const std::vector<Named> &tensors,
               const std::vector<std::pair<std::string, std::string>> &metadata) {
  const std::string temporary = path + ".partial";
  {
    SafetensorsWriter writer(temporary);
    for (const Named &tensor : tensors)
      writer.addTensor(tensor.name, DType::F32, {tensor.shape.begin(), tensor.shape.end()});
    for (const auto &[key, value] : metadata)
      writer.setMetadata(key, value);
    writer.begin();
    for (const Named &tensor : tensors) {
      const at::Tensor values = tensor.values();
      writer.append(std::span<const float>(data<float>(values), size_t(values.numel())));
    }
    writer.finish();
  }
  std::error_code error;
  std::filesystem::rename(temporary, path, error);
  if (error)
    failSystem(path, "cannot be written", error.value());
}

void copyFrom(const SafetensorsFile &file, const std::string &name, const at::Tensor &to) {
  std::memcpy(to.data_ptr(), file.find(name)->bytes.data(), to.nbytes());
}

std::span<const uint8_t> bytesOf(const at::Tensor &tensor) {
  return {static_cast<const uint8_t *>(tensor.data_ptr()), tensor.nbytes()};
}

/// Covers whatever a run is taken up from.
class CheckpointSum {
public:
  CheckpointSum(const std::string &key, const std::string &rollbacks) {
    hash_.add(key + '\n' + rollbacks + '\n');
  }
  void add(const std::string &name, std::span<const uint8_t> bytes) {
    hash_.add(name + ' ' + std::to_string(bytes.size()) + '\n');
    hash_.add(bytes);
  }
  std::string hex() { return hash_.hex(); }

private:
  Sha256 hash_;
};

std::string metadataOf(const SafetensorsFile &file, const std::string &key) {
  const auto found = file.metadata().find(key);
  return found == file.metadata().end() ? "" : found->second;
}

} // namespace

double nowSeconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

Checkpoints::Checkpoints(const TrainOptions &options, std::vector<Trained> &params)
    : options_(options), params_(params), endedAt_(nowSeconds()) {}

bool Checkpoints::resume(RunState &state) {
  if (options_.checkpointPath.empty() || !std::filesystem::exists(options_.checkpointPath))
    return false;
  bool taken = false;
  try {
    taken = take(state);
  } catch (...) {
    taken = errorInFlight().code == ExitCode::Ok; // A damaged checkpoint costs time, not the run.
  }
  if (!taken && options_.note)
    options_.note(options_.checkpointPath +
                  ": this checkpoint is damaged or another training's, so training begins anew");
  return taken;
}

bool Checkpoints::take(RunState &state) {
  const SafetensorsFile file = SafetensorsFile::open(options_.checkpointPath);
  const std::string rollbacks = metadataOf(file, "retort.rollbacks");
  if (metadataOf(file, "retort.checkpoint") != "3" ||
      metadataOf(file, "retort.key") != options_.key)
    return false;
  // Every tensor is looked at before the first one is taken over.
  CheckpointSum sum(options_.key, rollbacks);
  for (const Trained &trained : params_)
    for (const char *suffix : {"", ".mean", ".variance"}) {
      const SafetensorsTensor *tensor = file.find(trained.param->name + suffix);
      if (!tensor || tensor->bytes.size() != trained.master.nbytes())
        return false;
      sum.add(tensor->name, tensor->bytes);
    }
  const SafetensorsTensor *curve = file.find(kCurve);
  if (!curve)
    return false;
  sum.add(kCurve, curve->bytes);
  if (metadataOf(file, "retort.sum") != sum.hex())
    return false;
  for (Trained &trained : params_) {
    copyFrom(file, trained.param->name, trained.master);
    copyFrom(file, trained.param->name + ".mean", trained.mean);
    copyFrom(file, trained.param->name + ".variance", trained.variance);
  }
  state.curve.resize(curve->bytes.size() / sizeof(float));
  std::memcpy(state.curve.data(), curve->bytes.data(), curve->bytes.size());
  state.step = int64_t(state.curve.size());
  saved_ = false;
  state.rollbacks =
      std::max<int64_t>(state.rollbacks, std::strtoll(rollbacks.c_str(), nullptr, 10));
  return true;
}

void Checkpoints::maybeSave(const RunState &state) {
  const double pause = std::max(options_.checkpointSeconds, 19 * tookSeconds_);
  if (nowSeconds() - endedAt_ >= pause)
    save(state);
}

void Checkpoints::save(const RunState &state) {
  if (options_.checkpointPath.empty())
    return;
  const double begun = nowSeconds();
  std::vector<Named> tensors;
  for (const Trained &trained : params_) {
    tensors.emplace_back(trained.param->name, trained.master);
    tensors.emplace_back(trained.param->name + ".mean", trained.mean);
    tensors.emplace_back(trained.param->name + ".variance", trained.variance);
  }
  tensors.emplace_back(kCurve, at::tensor(state.curve));
  const std::string rollbacks = std::to_string(state.rollbacks);
  CheckpointSum sum(options_.key, rollbacks);
  for (const Named &tensor : tensors)
    sum.add(tensor.name, bytesOf(tensor.values()));
  writeFile(options_.checkpointPath, tensors,
            {{"retort.checkpoint", "3"},
             {"retort.key", options_.key},
             {"retort.rollbacks", rollbacks},
             {"retort.sum", sum.hex()}});
  saved_ = true;
  endedAt_ = nowSeconds();
  tookSeconds_ = endedAt_ - begun;
}

void writeWeights(const std::vector<Trained> &params, const std::string &path) {
  writeFile(path, {params.begin(), params.end()}, {{"format", "pt"}});
}

void writeWeights(const std::vector<Trained> &params, const TrainResult &result,
                  const std::string &path) {
  std::vector<Named> tensors(params.begin(), params.end());
  tensors.emplace_back(kCurve, at::tensor(result.curve));
  writeFile(path, tensors, {{"format", "pt"}, {kTokens, std::to_string(result.tokens)}});
}

} // namespace retort::exec
