//===- CudaProgram.cpp - A model on one or more GPUs ----------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/src/device/CudaProgram.h"
#include "runtime/base/Error.h"
#include "runtime/src/engine/Model.h"

#include <algorithm>
#include <cstring>

namespace retort::engine {
namespace {

constexpr int kOldestMajor = 8;                   // sm_80: cp.async and bf16 tensor cores
constexpr uint64_t kPieceBytes = 16u << 20;       // of weights on their way
constexpr uint64_t kUsualSharedBytes = 48u << 10; // more must be asked for

bool runsOn(const CudaArch &arch, bool ptx, const CudaArch &gpu) {
  if (arch.suffix == 'a' || arch.number == gpu.number)
    return arch.number == gpu.number;
  if (arch.major() == gpu.major())
    return arch.minor() <= gpu.minor();
  return ptx && !arch.suffix && arch.major() < gpu.major();
}

std::string archList(const Manifest::CudaEntry &entry) {
  std::string text;
  for (const CudaArch &arch : entry.arches)
    text += (text.empty() ? "" : ", ") + arch.text();
  if (entry.ptx)
    text += (text.empty() ? "" : " and ") + entry.ptx->text("PTX for compute_");
  return text.empty() ? "no architecture" : text;
}

} // namespace

std::string whyNotOn(const Manifest::CudaEntry &entry, int major, int minor) {
  const CudaArch gpu{10 * major + minor};
  if (major < kOldestMajor)
    return "is of architecture " + gpu.text() +
           ", older than sm_80, the oldest that Retort makes code for";
  bool runs = entry.ptx && runsOn(*entry.ptx, true, gpu);
  for (const CudaArch &arch : entry.arches)
    runs = runs || runsOn(arch, false, gpu);
  return runs ? ""
              : "is of architecture " + gpu.text() + " and the bundle has code for " +
                    archList(entry) + ": compile the model with --target cuda:" + gpu.text();
}

//===--- CudaGpu ------------------------------------------------------------------------------===//

CudaGpu::CudaGpu(CudaDriverPointer driver, int ordinal,
                 std::vector<const Manifest::CudaEntry *> entries)
    : driver_(std::move(driver)), entries_(std::move(entries)) {
  const CudaDriver &cuda = *driver_;
  name_ = (cuda.simulated() ? "sim:" : "cuda:") + std::to_string(ordinal);
  cuda.check(cuda->cuDeviceGet(&device_, ordinal), name_ + ": cannot be used");
  char text[128] = "";
  if (cuda->cuDeviceGetName(text, sizeof text, device_) == CUDA_SUCCESS)
    name_ += std::string(" ") + text;
  major_ = attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR);
  minor_ = attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
  for (const Manifest::CudaEntry *entry : entries_) {
    // The simulator compiles program.cu's text: any of its architectures will do.
    if (std::string why = whyNotOn(*entry, major_, minor_);
        !why.empty() && (!cuda.simulated() || major_ < kOldestMajor))
      fail(ExitCode::Unsupported, name_ + " " + why);
    requireShared(entry->kernels[0].symbol, entry->sharedBytesOf(10 * major_ + minor_));
    if (entry->sample)
      requireShared(entry->sample->symbol, entry->sample->sharedBytes);
    if (entry->persistent && !attribute(CU_DEVICE_ATTRIBUTE_COOPERATIVE_LAUNCH))
      fail(ExitCode::Unsupported, name_ + " has no cooperative launch, which the bundle's "
                                          "persistent kernels need: compile it with --form graph");
  }
  CUresult result = cuda->cuDevicePrimaryCtxRetain(&context_, device_);
  if (result != CUDA_SUCCESS)
    context_ = nullptr;
  cuda.check(result, name_ + ": cannot be used");
}

CudaGpu::~CudaGpu() {
  if (abandoned_)
    weights_.abandon();
  if (!context_ || abandoned_)
    return;
  {
    CurrentContext current(*driver_, context_);
    weights_ = {};
    if (module_)
      (*driver_)->cuModuleUnload(module_);
  }
  (*driver_)->cuDevicePrimaryCtxRelease(device_);
}

int CudaGpu::attribute(CUdevice_attribute which) const {
  int value = 0;
  driver_->check((*driver_)->cuDeviceGetAttribute(&value, which, device_),
                 name_ + ": its properties cannot be read");
  return value;
}

uint64_t CudaGpu::freeBytes() const {
  CurrentContext current(*driver_, context_);
  size_t free = 0, total = 0;
  driver_->check((*driver_)->cuMemGetInfo(&free, &total), name_ + ": its memory cannot be read");
  return free;
}

void CudaGpu::loadCode(const void *image) {
  if (module_)
    return;
  CurrentContext current(*driver_, context_);
  CUresult result = (*driver_)->cuModuleLoadData(&module_, image);
  if (result != CUDA_SUCCESS) {
    module_ = nullptr;
    if (result == CUDA_ERROR_NO_BINARY_FOR_GPU || result == CUDA_ERROR_UNSUPPORTED_PTX_VERSION)
      fail(ExitCode::Unsupported, name_ + ": the driver has no use for the bundle's code, " +
                                      driver_->reason(result) +
                                      ": update the driver, or compile the model for this GPU");
    if (result == CUDA_ERROR_INVALID_IMAGE || result == CUDA_ERROR_INVALID_PTX ||
        result == CUDA_ERROR_INVALID_SOURCE) {
      const std::string said = driver_->simulatorError();
      fail(ExitCode::BadInput, name_ + ": the bundle's code cannot be loaded, " +
                                   (said.empty() ? driver_->reason(result) : said) +
                                   ": compile the model again");
    }
    driver_->check(result, name_ + ": the bundle's code cannot be loaded");
  }
  try {
    for (const Manifest::CudaEntry *entry : entries_)
      code_.push_back(findCode(*entry));
  } catch (const Error &) {
    code_.clear();
    (*driver_)->cuModuleUnload(std::exchange(module_, nullptr));
    throw;
  }
}

void CudaGpu::requireShared(const std::string &symbol, uint32_t bytes) const {
  const int shared = attribute(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN);
  if (bytes > uint32_t(shared))
    fail(ExitCode::Unsupported, name_ + " has " + std::to_string(shared) +
                                    " bytes of shared memory for a CTA and " + symbol + " needs " +
                                    std::to_string(bytes) + ": compile the model for this GPU");
}

/// `ctas`: how many of it fit a multiprocessor.
CUfunction CudaGpu::findKernel(const std::string &symbol, unsigned threads, unsigned sharedBytes,
                               int &ctas) const {
  const CudaDriver &cuda = *driver_;
  const std::string what = name_ + ": kernel " + symbol;
  CUfunction function = nullptr;
  if (cuda->cuModuleGetFunction(&function, module_, symbol.c_str()) != CUDA_SUCCESS)
    fail(ExitCode::BadInput, what + ", which the manifest names, is not in the bundle's code: "
                                    "compile the model again");
  if (sharedBytes > kUsualSharedBytes)
    cuda.check(cuda->cuFuncSetAttribute(function, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                                        int(sharedBytes)),
               what + " gets no shared memory");
  cuda.check(
      cuda->cuOccupancyMaxActiveBlocksPerMultiprocessor(&ctas, function, int(threads), sharedBytes),
      what + " cannot be placed");
  if (ctas < 1)
    fail(ExitCode::Unsupported, what + " with " + std::to_string(threads) + " threads and " +
                                    std::to_string(sharedBytes) +
                                    " bytes of shared memory does not fit a multiprocessor: "
                                    "compile the model for this GPU");
  return function;
}

CudaStepCode CudaGpu::findCode(const Manifest::CudaEntry &entry) const {
  CudaStepCode code;
  code.entry = &entry;
  code.sharedBytes = entry.sharedBytesOf(10 * major_ + minor_);
  int ctas = 0;
  for (const Manifest::CudaEntry::Kernel &kernel : entry.kernels) {
    CUfunction function = findKernel(kernel.symbol, entry.threads, code.sharedBytes, ctas);
    const unsigned multiprocessors = unsigned(attribute(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT));
    if (entry.persistent && kernel.grid > multiprocessors * unsigned(ctas))
      fail(ExitCode::Unsupported, name_ + ": kernel " + kernel.symbol + " has " +
                                      std::to_string(kernel.grid) +
                                      " CTAs that must run at once and the GPU holds " +
                                      std::to_string(multiprocessors * unsigned(ctas)) +
                                      ": compile the model for this GPU");
    code.kernels.push_back({function, kernel.grid ? kernel.grid : multiprocessors, kernel.phase});
  }
  if (entry.sample)
    code.sample =
        findKernel(entry.sample->symbol, entry.sample->threads, entry.sample->sharedBytes, ctas);
  return code;
}

void CudaGpu::loadWeights(std::span<const uint8_t> weights) {
  if (weights_.address())
    return;
  CurrentContext current(*driver_, context_);
  const CudaDriver &cuda = *driver_;
  const std::string what = name_ + ": the weights cannot be copied";
  CudaMemory memory(driver_, std::max<uint64_t>(weights.size(), 1),
                    name_ + ": no memory for the weights");
  struct Piece {
    PinnedMemory memory;
    CudaEvent copied;
    bool onItsWay = false;
  } pieces[2];
  for (Piece &piece : pieces) {
    piece.memory =
        PinnedMemory(driver_, std::clamp<uint64_t>(weights.size(), 1, kPieceBytes), what);
    piece.copied = CudaEvent(driver_, CU_EVENT_DISABLE_TIMING, what);
  }
  CudaStream stream(driver_, what);
  for (uint64_t begin = 0, next = 0; begin < weights.size(); begin += kPieceBytes, ++next) {
    Piece &piece = pieces[next % 2];
    if (piece.onItsWay)
      cuda.check(cuda->cuEventSynchronize(piece.copied.get()), what);
    const uint64_t bytes = std::min<uint64_t>(kPieceBytes, weights.size() - begin);
    std::memcpy(piece.memory.as(), &weights[begin], bytes);
    cuda.check(
        cuda->cuMemcpyHtoDAsync(memory.address() + begin, piece.memory.as(), bytes, stream.get()),
        what);
    cuda.check(cuda->cuEventRecord(piece.copied.get(), stream.get()), what);
    piece.onItsWay = true;
  }
  cuda.check(cuda->cuStreamSynchronize(stream.get()), what);
  weights_ = std::move(memory);
}

//===--- CudaProgram --------------------------------------------------------------------------===//

CudaProgram::CudaProgram(CudaDriverPointer driver, const Model &model,
                         std::span<const int> ordinals)
    : driver_(std::move(driver)) {
  const Manifest &manifest = model.manifest();
  const int devices = int(ordinals.size());
  const char *image = driver_->simulated() ? "program.cu" : "program.fatbin";
  if (!manifest.findPart(image))
    fail(ExitCode::Unsupported, std::string("the bundle has no ") + image +
                                    ": compile the model again, with --target cuda:...");
  image_ = model.part(image);
  for (int i = 0; i < devices; ++i) {
    std::vector<const Manifest::CudaEntry *> entries;
    for (bool decode : {true, false})
      if (const Manifest::CudaEntry *entry = manifest.findCuda(devices, i, decode))
        entries.push_back(entry);
    weights_.push_back(model.part(cudaWeightsName(devices, i)));
    gpus_.push_back(std::make_unique<CudaGpu>(driver_, ordinals[size_t(i)], std::move(entries)));
  }
  if (devices > 1)
    enablePeerAccess();
}

void CudaProgram::enablePeerAccess() {
  const CudaDriver &cuda = *driver_;
  peerAccess_ = true;
  for (const auto &one : gpus_)
    for (const auto &other : gpus_) {
      int can = 0;
      if (one != other &&
          (cuda->cuDeviceCanAccessPeer(&can, one->device(), other->device()) != CUDA_SUCCESS ||
           !can))
        peerAccess_ = false;
    }
  for (const auto &one : gpus_)
    for (const auto &other : gpus_)
      if (peerAccess_ && one != other) {
        CurrentContext current(cuda, one->context());
        CUresult result = cuda->cuCtxEnablePeerAccess(other->context(), 0);
        peerAccess_ = result == CUDA_SUCCESS || result == CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED;
      }
}

uint64_t CudaProgram::missingWeightBytes(size_t i) const {
  std::lock_guard lock(mutex_);
  return gpus_[i]->weights() ? 0 : weights_[i].size();
}

void CudaProgram::load() {
  std::lock_guard lock(mutex_);
  if (abandoned_)
    fail(ExitCode::Device, "the GPUs failed in another session: restart the program");
  if (loaded_)
    return;
  std::string text; // the simulator takes text, which ends with NUL
  const void *image = image_.data();
  if (driver_->simulated()) {
    text.assign(image_.begin(), image_.end());
    image = text.c_str();
  }
  for (auto &gpu : gpus_)
    gpu->loadCode(image);
  for (size_t i = 0; i < gpus_.size(); ++i) {
    gpus_[i]->loadWeights(weights_[i]);
    driver_->nameMemory(CUdeviceptr(uintptr_t(gpus_[i]->weights())), weights_[i].size(),
                        gpus_.size() > 1 ? "weights." + std::to_string(i) : "weights");
  }
  loaded_ = true;
}

void CudaProgram::abandon() {
  std::lock_guard lock(mutex_);
  abandoned_ = true;
  for (auto &gpu : gpus_)
    gpu->abandon();
}

} // namespace retort::engine
