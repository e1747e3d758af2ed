//===- OpenDevice.cpp - Which device runs a session -----------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/base/Error.h"
#include "runtime/src/device/CpuDevice.h"
#include "runtime/src/device/CudaDevice.h"

#include <algorithm>
#include <charconv>

namespace retort::engine {
namespace {

constexpr int kMaxSimulated = 16;

/// A session's choice of device, in parts.
struct Choice {
  enum { Any, Cpu, Cuda, Simulated } kind = Any;
  std::vector<int> gpus; ///< Cuda: the driver's numbers; empty: the first ones
  int simulated = 0;     ///< Simulated: how many; 0: as many as the bundle needs
};

std::optional<int> parseNumber(std::string_view text, int low, int high) {
  int value = -1;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < low || value > high)
    return std::nullopt;
  return value;
}

bool parseGpus(std::string_view text, std::vector<int> &gpus) {
  while (true) {
    const size_t comma = std::min(text.find(','), text.size());
    std::optional<int> gpu = parseNumber(text.substr(0, comma), 0, 1023);
    if (!gpu || std::count(gpus.begin(), gpus.end(), *gpu))
      return false;
    gpus.push_back(*gpu);
    if (comma == text.size())
      return true;
    text.remove_prefix(comma + 1);
  }
}

Choice parseChoice(const std::string &text) {
  Choice choice;
  bool good = text.empty();
  if (text == "cpu") {
    choice.kind = Choice::Cpu;
    good = true;
  } else if (text == "cuda" || text.starts_with("cuda:")) {
    choice.kind = Choice::Cuda;
    good = text == "cuda" || parseGpus(std::string_view(text).substr(5), choice.gpus);
  } else if (text == "sim" || text.starts_with("sim:")) {
    choice.kind = Choice::Simulated;
    if (text != "sim")
      choice.simulated =
          parseNumber(std::string_view(text).substr(4), 1, kMaxSimulated).value_or(-1);
    good = choice.simulated >= 0;
  }
  if (!good)
    fail(ExitCode::Usage, "'" + text +
                              "' is no device: write cpu, cuda, cuda:1, cuda:0,1, sim or "
                              "sim:2");
  return choice;
}

/// Whether the bundle has code for so many GPUs.
bool hasCodeFor(const Manifest &manifest, int devices) {
  return manifest.findCuda(devices, 0, true) || manifest.findCuda(devices, 0, false);
}

std::string countOf(int gpus) { return std::to_string(gpus) + (gpus == 1 ? " GPU" : " GPUs"); }

/// The most GPUs that the bundle has code for, of at most `available`; if there are none, the
/// fewest that it has code for.
int devicesFor(const Manifest &manifest, int available) {
  int devices = 0;
  for (int n = kMaxCudaDevices; n >= 1; --n)
    if (hasCodeFor(manifest, n) && (devices == 0 || devices > available))
      devices = n;
  return devices;
}

std::vector<int> gpusFor(const Manifest &manifest, const Choice &choice, int available) {
  std::vector<int> gpus = choice.gpus;
  if (gpus.empty())
    for (int i = 0; i < devicesFor(manifest, available); ++i)
      gpus.push_back(i);
  if (!hasCodeFor(manifest, int(gpus.size())))
    fail(ExitCode::Unsupported, "the bundle has code for " + countOf(devicesFor(manifest, 1)) +
                                    ", and the device names " + countOf(int(gpus.size())));
  for (int gpu : gpus)
    if (gpu >= available)
      fail(ExitCode::Unsupported,
           choice.gpus.empty()
               ? "the bundle is for " + countOf(int(gpus.size())) + " and there " +
                     (available == 1 ? "is 1" : "are " + std::to_string(available)) +
                     ": compile the model without --devices, or use a machine with more GPUs"
               : "there is no GPU " + std::to_string(gpu) + ": the driver has " +
                     countOf(available) + ", counted from 0");
  return gpus;
}

CudaDriverPointer openDriver(const Choice &choice, const Manifest &manifest) {
  if (choice.kind != Choice::Simulated)
    return CudaDriver::open();
  return CudaDriver::openSimulated(choice.simulated ? choice.simulated : devicesFor(manifest, 1));
}

std::unique_ptr<Device> openCuda(const std::shared_ptr<const Model> &model, const Choice &choice) {
  const Manifest &manifest = model->manifest();
  if (manifest.cudaEntries.empty())
    fail(ExitCode::Unsupported, "the bundle has no code for NVIDIA GPUs: compile the model with "
                                "--target cuda:sm_90, or for several targets cpu,cuda:sm_90");
  CudaDriverPointer driver = openDriver(choice, manifest);
  const int available = choice.simulated ? choice.simulated : driver->deviceCount();
  if (available == 0)
    fail(ExitCode::Unsupported, "the driver finds no NVIDIA GPU that this process may use: see "
                                "nvidia-smi and CUDA_VISIBLE_DEVICES");
  const std::vector<int> gpus = gpusFor(manifest, choice, available);
  std::string key = driver->simulated() ? "sim" : "cuda";
  for (int gpu : gpus)
    key += ":" + std::to_string(gpu);
  auto program = model->shared<CudaProgram>(
      key, [&] { return new CudaProgram(std::move(driver), *model, gpus); });
  return std::make_unique<CudaDevice>(model, std::move(program));
}

/// openCuda(), but messages begin with the bundle and end with the way to do without a GPU.
std::unique_ptr<Device> openCudaOrSayWhy(const std::shared_ptr<const Model> &model,
                                         const Choice &choice) {
  try {
    return openCuda(model, choice);
  } catch (const Error &error) {
    std::string message = model->path() + ": " + error.message;
    if (error.code == ExitCode::Unsupported && choice.kind != Choice::Simulated &&
        !model->manifest().cudaEntries.empty())
      message += model->program() ? "; or run it on the CPU (device cpu)"
                                  : "; or compile the model for the CPU (--target cpu)";
    fail(error.code, message);
  }
}

std::unique_ptr<Device> openCpu(std::shared_ptr<const Model> model, uint32_t threads) {
  if (!model->program())
    fail(ExitCode::Unsupported, model->path() +
                                    ": has no code for this CPU: compile the model with "
                                    "--target cpu, or run it on a GPU (device cuda)");
  return std::make_unique<CpuDevice>(std::move(model), threads);
}

/// Whether the machine has a driver and a GPU, whatever they are.
bool hasGpu() {
  try {
    return CudaDriver::open()->deviceCount() > 0;
  } catch (const Error &) {
    return false;
  }
}

} // namespace

std::unique_ptr<Device> openDevice(std::shared_ptr<const Model> model, const std::string &text,
                                   uint32_t threads) {
  const Choice choice = parseChoice(text);
  const bool cuda = !model->manifest().cudaEntries.empty();
  if (choice.kind == Choice::Cpu ||
      (choice.kind == Choice::Any && (!cuda || (model->program() && !hasGpu()))))
    return openCpu(std::move(model), threads);
  return openCudaOrSayWhy(model, choice);
}

} // namespace retort::engine
