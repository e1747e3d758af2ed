//===- Checkpoint.cpp - Saving a training run -------------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Torch/Checkpoint.h"
#include "compiler/Checkpoint/Safetensors.h"
#include "compiler/Torch/Parallel.h"
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
    fail(ExitCode::Io, path + ": cannot be written: " + error.message());
}

bool copyFrom(const SafetensorsFile &file, const std::string &name, const at::Tensor &to) {
  const SafetensorsTensor *from = file.find(name);
  if (!from || from->type != DType::F32 || from->bytes.size() != to.nbytes())
    return false;
  std::memcpy(to.data_ptr(), from->bytes.data(), to.nbytes());
  return true;
}

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
  try {
    const SafetensorsFile file = SafetensorsFile::open(options_.checkpointPath);
    const SafetensorsTensor *curve = file.find("training.curve");
    if (metadataOf(file, "retort.checkpoint") != "2" || !curve ||
        metadataOf(file, "retort.key") != options_.key)
      return false;
    // Every tensor is looked at before the first one is taken over.
    for (const Trained &trained : params_)
      for (const char *suffix : {"", ".mean", ".variance"}) {
        const SafetensorsTensor *tensor = file.find(trained.param->name + suffix);
        if (!tensor || tensor->type != DType::F32 ||
            tensor->bytes.size() != trained.master.nbytes())
          return false;
      }
    for (Trained &trained : params_) {
      copyFrom(file, trained.param->name, trained.master);
      copyFrom(file, trained.param->name + ".mean", trained.mean);
      copyFrom(file, trained.param->name + ".variance", trained.variance);
    }
    state.curve.resize(curve->bytes.size() / sizeof(float));
    std::memcpy(state.curve.data(), curve->bytes.data(), curve->bytes.size());
    state.step = int64_t(state.curve.size());
    saved_ = false;
    state.rollbacks = std::max<int64_t>(
        state.rollbacks, std::strtoll(metadataOf(file, "retort.rollbacks").c_str(), nullptr, 10));
    return true;
  } catch (const std::exception &) {
    return false;
  } catch (const Error &) {
    return false; // A damaged checkpoint costs time, not the run.
  }
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
  tensors.emplace_back("training.curve", at::tensor(state.curve));
  writeFile(options_.checkpointPath, tensors,
            {{"retort.checkpoint", "2"},
             {"retort.key", options_.key},
             {"retort.rollbacks", std::to_string(state.rollbacks)}});
  saved_ = true;
  endedAt_ = nowSeconds();
  tookSeconds_ = endedAt_ - begun;
}

void writeWeights(const std::vector<Trained> &params, const std::string &path) {
  std::vector<Named> tensors;
  for (const Trained &trained : params)
    tensors.emplace_back(trained);
  writeFile(path, tensors, {{"format", "pt"}});
}

} // namespace retort::exec
