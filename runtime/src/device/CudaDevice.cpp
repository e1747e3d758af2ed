//===- CudaDevice.cpp - Steps on GPUs -------------------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/src/device/CudaDevice.h"
#include "runtime/base/Error.h"
#include "runtime/src/engine/Buffer.h"

#include <algorithm>
#include <cstring>
#include <thread>

namespace retort::engine {
namespace {

constexpr uint64_t kAlign = 256;  // of everything that a kernel gets a pointer to
constexpr size_t kLogitRows = 16; // rows of logits downloaded at once, and allocated at first

uint64_t aligned(uint64_t bytes) { return (bytes + kAlign - 1) / kAlign * kAlign; }

/// Kernels of a step on several GPUs wait for each other. If two sessions launched theirs in
/// different orders on two GPUs, each GPU could run the one that the other GPU's waits for. So
/// within a process such steps take turns.
std::mutex &stepsOnSeveralGpus() {
  static std::mutex mutex;
  return mutex;
}

uint64_t activationBytes(const CudaGpu &gpu, const Manifest &manifest, size_t devices, size_t d) {
  uint64_t bytes = 1;
  for (bool decode : {true, false})
    if (const auto *entry = manifest.findCuda(int(devices), int(d), decode))
      bytes = std::max(bytes, entry->activationBytes);
  return aligned(bytes);
}

} // namespace

CudaDevice::CudaDevice(std::shared_ptr<const Model> model, std::shared_ptr<CudaProgram> program)
    : model_(std::move(model)), program_(std::move(program)), gpus_(program_->size()) {
  const Manifest &manifest = model_->manifest();
  for (size_t d = 0; d < gpus_.size(); ++d) {
    Gpu &gpu = gpus_[d];
    gpu.shared = &program_->gpu(d);
    name_ += (d ? " + " : "") + gpu.shared->name();
    const Manifest::CudaEntry *some = nullptr;
    for (bool decode : {true, false})
      if (const auto *entry = manifest.findCuda(int(gpus_.size()), int(d), decode)) {
        some = entry;
        limits_.maxRows = std::max(limits_.maxRows, entry->maxRows);
        gpu.logitsBegin = entry->logitsBegin;
        gpu.logitsCount = std::max(gpu.logitsCount, entry->logitsCount);
        samples_ = samples_ && entry->argmax;
        draws_ = draws_ && (d != 0 || entry->sample);
      }
    limits_.pageRows = some->pageRows;
    limits_.pageBytes += some->pageBytes;
  }
}

CudaDevice::~CudaDevice() {
  for (Gpu &gpu : gpus_) {
    CurrentContext current(cuda(), gpu.shared->context());
    for (Step &step : gpu.steps)
      if (step.graph && !stuck_)
        cuda()->cuGraphExecDestroy(step.graph);
    if (stuck_) { // freeing would wait for kernels that wait for a GPU that is lost
      for (CudaMemory *memory :
           {&gpu.cache, &gpu.activations, &gpu.sync, &gpu.inputs, &gpu.logits, &gpu.otherLogits})
        memory->abandon();
      for (PinnedMemory *memory :
           {&gpu.pinnedInputs, &gpu.pinnedLogits, &gpu.pinnedOtherLogits, &gpu.received})
        memory->abandon();
      gpu.stream.abandon();
    }
    gpu = Gpu();
  }
}

/// Begins the messages of what `call` throws with the bundle's name.
template <class Call> void CudaDevice::named(Call call) const {
  try {
    call();
  } catch (const Error &error) {
    fail(error.code, model_->path() + ": " + error.message);
  }
}

std::string CudaDevice::failing(const Gpu &gpu) const { return gpu.shared->name() + " failed"; }

//===--- Memory -------------------------------------------------------------------------------===//

/// What a session needs on a GPU beside the weights and the cache.
uint64_t CudaDevice::workBytes(size_t d) const {
  const Manifest &manifest = model_->manifest();
  const Gpu &gpu = gpus_[d];
  uint64_t bytes = activationBytes(*gpu.shared, manifest, gpus_.size(), d) + layout_.bytes;
  for (bool decode : {true, false})
    if (const auto *entry = manifest.findCuda(int(gpus_.size()), int(d), decode))
      bytes += aligned(uint64_t(entry->syncWords) * 4);
  for (const Gpu &other : gpus_) // the first GPU keeps the others' logits too, if it can
    if (&other == &gpu || (d == 0 && draws_))
      bytes += aligned(uint64_t(logitRows_) * other.logitsCount * 4);
  return bytes;
}

void CudaDevice::checkMemory(const KvCache &cache) const {
  const Manifest &manifest = model_->manifest();
  for (size_t d = 0; d < gpus_.size(); ++d) {
    const auto *entry = manifest.findCuda(int(gpus_.size()), int(d), true);
    entry = entry ? entry : manifest.findCuda(int(gpus_.size()), int(d), false);
    const uint64_t weights = program_->missingWeightBytes(d), work = workBytes(d);
    const uint64_t pages = cache.pages(), free = gpus_[d].shared->freeBytes();
    const uint64_t room = free > weights + work ? (free - weights - work) / entry->pageBytes : 0;
    if (pages <= room)
      continue;
    std::string advice;
    if (room >= cache.slots()) // a page for each slot at least
      advice = "max_context " + std::to_string(room / cache.slots() * limits_.pageRows) +
               " or less, or ";
    if (cache.slots() > 1)
      advice += "fewer slots, or ";
    if (room > 0)
      advice += "cache_bytes " + std::to_string(room * limits_.pageBytes) + " or less";
    advice = room > 0 ? "ask for " + advice : "use a GPU with more memory";
    const uint64_t cacheBytes = pages > (uint64_t(1) << 62) / entry->pageBytes
                                    ? uint64_t(1) << 62
                                    : pages * entry->pageBytes;
    fail(ExitCode::Resources,
         gpus_[d].shared->name() + " has " + sizeText(free) + " free and the session needs " +
             sizeText(weights + work + cacheBytes) + ": " + sizeText(weights) + " for weights, " +
             sizeText(cacheBytes) + " for the cache of " + std::to_string(cache.slots()) +
             (cache.slots() == 1 ? " slot of " : " slots of ") +
             std::to_string(cache.maxContext()) + " positions, " + sizeText(work) +
             " for activations: " + advice);
  }
}

void CudaDevice::allocate(const KvCache &cache) {
  named([&] { allocateAll(cache); });
}

void CudaDevice::allocateAll(const KvCache &cache) {
  const uint64_t list = aligned(uint64_t(limits_.maxRows) * 4);
  layout_.step = draws_ ? aligned(uint64_t(limits_.maxRows) * sizeof(retort_choice)) : 0;
  layout_.tokens = layout_.step + aligned(sizeof(retort_cuda_step));
  layout_.slots = layout_.tokens + list;
  layout_.positions = layout_.slots + list;
  layout_.wanted = layout_.positions + list;
  layout_.chosen = layout_.wanted + list;
  layout_.table = layout_.chosen + aligned(uint64_t(limits_.maxRows) * sizeof(uint64_t));
  layout_.bytes = aligned(layout_.table + cache.table().size_bytes());
  logitRows_ = std::min<size_t>(limits_.maxRows, kLogitRows);
  checkMemory(cache);
  program_->load();
  for (Gpu &gpu : gpus_)
    allocateGpu(gpu, cache);
  setPeers();
  makeOtherLogits(logitRows_, gpus_[0].otherLogits, gpus_[0].pinnedOtherLogits);
  for (Gpu &gpu : gpus_) {
    CurrentContext current(cuda(), gpu.shared->context());
    cuda().check(cuda()->cuStreamSynchronize(gpu.stream.get()), failing(gpu));
    for (Step &step : gpu.steps)
      if (!step.code->entry->persistent)
        capture(gpu, step);
  }
}

void CudaDevice::allocateGpu(Gpu &gpu, const KvCache &cache) {
  const size_t d = size_t(&gpu - gpus_.data());
  const CudaDriverPointer &driver = program_->driver();
  const std::string what = gpu.shared->name() + ": no memory for ";
  CurrentContext current(cuda(), gpu.shared->context());
  gpu.stream = CudaStream(driver, what + "a stream");
  gpu.copied = CudaEvent(driver, CU_EVENT_DISABLE_TIMING, what + "an event");
  gpu.begin = CudaEvent(driver, CU_EVENT_DEFAULT, what + "an event");
  gpu.end = CudaEvent(driver, CU_EVENT_DEFAULT, what + "an event");
  const std::vector<CudaStepCode> &code = gpu.shared->code();
  uint64_t syncBytes = 0;
  for (const CudaStepCode &step : code)
    syncBytes += aligned(uint64_t(step.entry->syncWords) * 4);
  gpu.cache = CudaMemory(driver, cache.pages() * code[0].entry->pageBytes, what + "the KV cache");
  gpu.activations =
      CudaMemory(driver, activationBytes(*gpu.shared, model_->manifest(), gpus_.size(), d),
                 what + "activations");
  gpu.sync = CudaMemory(driver, std::max(syncBytes, kAlign), what + "activations");
  gpu.inputs = CudaMemory(driver, layout_.bytes, what + "a step");
  gpu.logits =
      CudaMemory(driver, std::max<uint64_t>(aligned(logitRows_ * gpu.logitsCount * 4), kAlign),
                 what + "logits");
  gpu.pinnedInputs = PinnedMemory(driver, layout_.bytes, what + "a step");
  gpu.pinnedLogits = PinnedMemory(
      driver, std::max<uint64_t>(uint64_t(kLogitRows) * gpu.logitsCount * 4, 4), what + "logits");
  std::memset(gpu.pinnedInputs.as(), 0, layout_.bytes);
  for (const CudaMemory *memory : {&gpu.cache, &gpu.sync})
    cuda().check(cuda()->cuMemsetD8Async(memory->address(), 0, memory->bytes(), gpu.stream.get()),
                 failing(gpu));
  const std::pair<const CudaMemory *, const char *> names[] = {{&gpu.cache, "cache"},
                                                               {&gpu.activations, "activations"},
                                                               {&gpu.sync, "sync"},
                                                               {&gpu.inputs, "inputs"},
                                                               {&gpu.logits, "logits"}};
  for (auto [memory, name] : names)
    cuda().nameMemory(memory->address(), memory->bytes(),
                      gpus_.size() > 1 ? name + ("." + std::to_string(d)) : name);
  CUdeviceptr sync = gpu.sync.address();
  for (const CudaStepCode &step : code) {
    gpu.steps.push_back({&step, sync, {}, nullptr});
    sync += aligned(uint64_t(step.entry->syncWords) * 4);
  }
}

/// Where each GPU receives what the others send (cuda_program.h).
void CudaDevice::setPeers() {
  if (gpus_.size() == 1)
    return;
  const std::string what = "no memory for exchanges";
  for (Gpu &to : gpus_) {
    if (program_->hasPeerAccess())
      break;
    CurrentContext current(cuda(), to.shared->context());
    const uint64_t bytes = to.activations.bytes() + to.sync.bytes();
    to.received = PinnedMemory(program_->driver(), bytes, what);
    std::memset(to.received.as(), 0, bytes);
  }
  for (Gpu &from : gpus_) {
    CurrentContext current(cuda(), from.shared->context());
    for (size_t e = 0; e < gpus_.size(); ++e) {
      const Gpu &to = gpus_[e];
      CUdeviceptr activations = to.activations.address(), sync = to.sync.address();
      if (!program_->hasPeerAccess()) {
        activations = to.received.address(what);
        sync = activations + to.activations.bytes();
      }
      for (size_t s = 0; s < from.steps.size(); ++s) {
        const uint64_t at = to.steps[s].sync - to.sync.address();
        from.steps[s].peers[e] = {reinterpret_cast<uint8_t *>(uintptr_t(activations)),
                                  reinterpret_cast<uint32_t *>(uintptr_t(sync + at))};
      }
    }
  }
}

/// Room for the logits of the second GPU, from which the first draws.
void CudaDevice::makeOtherLogits(size_t rows, CudaMemory &memory, PinnedMemory &pinned) const {
  if (gpus_.size() == 1 || !draws_)
    return;
  CurrentContext current(cuda(), gpus_[0].shared->context());
  const std::string what =
      gpus_[0].shared->name() + ": no memory for the logits of " + std::to_string(rows) + " rows";
  const uint64_t bytes = std::max<uint64_t>(aligned(rows * gpus_[1].logitsCount * 4), kAlign);
  if (program_->hasPeerAccess()) {
    memory = CudaMemory(program_->driver(), bytes, what);
    cuda().nameMemory(memory.address(), memory.bytes(), "logits.other");
  } else {
    pinned = PinnedMemory(program_->driver(), bytes, what);
  }
}

/// That room, as the GPU of the current context addresses it.
float *CudaDevice::otherLogits() const {
  const Gpu &first = gpus_[0];
  const CUdeviceptr at = program_->hasPeerAccess()
                             ? first.otherLogits.address()
                             : first.pinnedOtherLogits.address("the other GPU's logits");
  return reinterpret_cast<float *>(uintptr_t(at));
}

void CudaDevice::reserve(size_t wanted) {
  if (wanted > logitRows_)
    named([&] { growLogits(wanted); });
}

void CudaDevice::growLogits(size_t wanted) {
  const size_t rows = std::min<size_t>(limits_.maxRows, std::max(wanted, 2 * logitRows_));
  std::vector<CudaMemory> grown;
  for (Gpu &gpu : gpus_) {
    CurrentContext current(cuda(), gpu.shared->context());
    const uint64_t bytes = std::max<uint64_t>(uint64_t(rows) * gpu.logitsCount * 4, kAlign);
    grown.emplace_back(program_->driver(), bytes,
                       gpu.shared->name() + ": no memory for the logits of " +
                           std::to_string(wanted) + " rows");
  }
  CudaMemory other;
  PinnedMemory pinnedOther;
  makeOtherLogits(rows, other, pinnedOther);
  {
    CurrentContext current(cuda(), gpus_[0].shared->context());
    gpus_[0].otherLogits = std::move(other);
    gpus_[0].pinnedOtherLogits = std::move(pinnedOther);
    other = {};
    pinnedOther = {};
  }
  for (size_t d = 0; d < gpus_.size(); ++d) {
    CurrentContext current(cuda(), gpus_[d].shared->context());
    gpus_[d].logits = std::move(grown[d]);
    grown[d] = {};
  }
  logitRows_ = rows;
}

//===--- Steps --------------------------------------------------------------------------------===//

/// The first, which is decode if there is one, unless it has too few rows.
size_t CudaDevice::stepFor(size_t rows) const {
  size_t step = 0;
  while (rows > gpus_[0].steps[step].code->entry->maxRows)
    ++step;
  return step;
}

void CudaDevice::fill(Gpu &gpu, size_t index, const Step &step, const KvCache &cache,
                      const StepRows &rows, const StepResults &results) {
  const CUdeviceptr inputs = gpu.inputs.address();
  uint8_t *host = gpu.pinnedInputs.as();
  auto put = [&](uint64_t at, std::span<const int32_t> list) {
    if (!list.empty())
      std::memcpy(host + at, list.data(), list.size_bytes());
    return reinterpret_cast<const int32_t *>(uintptr_t(inputs + at));
  };
  retort_cuda_step out = {};
  out.weights = gpu.shared->weights();
  out.activations = gpu.activations.as<uint8_t>();
  out.cache = gpu.cache.as<uint8_t>();
  out.tokens = put(layout_.tokens, rows.tokens);
  out.slots = put(layout_.slots, rows.slots);
  out.positions = put(layout_.positions, rows.positions);
  out.wanted = put(layout_.wanted, rows.wanted);
  const bool newTable = gpu.tableVersion != cache.version();
  out.page_table = put(layout_.table, newTable ? cache.table() : std::span<const int32_t>());
  const size_t drawn = results.choices.size();
  if (results.tokens) { // kernels keep the maximum with what is there
    std::memset(host + layout_.chosen, 0, rows.wanted.size() * sizeof(uint64_t));
    out.chosen = reinterpret_cast<uint64_t *>(uintptr_t(inputs + layout_.chosen));
    const int64_t mine = int64_t(model_->pickable()) - int64_t(gpu.logitsBegin);
    out.num_choose = int32_t(std::clamp<int64_t>(mine, 0, gpu.logitsCount));
  }
  if (!results.tokens || drawn)
    out.logits = drawn && index > 0 ? otherLogits() : gpu.logits.as<float>();
  if (drawn && index == 0) {
    const uint64_t at = layout_.step - results.choices.size_bytes();
    std::memcpy(host + at, results.choices.data(), results.choices.size_bytes());
    out.choices = reinterpret_cast<const retort_choice *>(uintptr_t(inputs + at));
    out.other_logits = gpus_.size() > 1 ? otherLogits() : nullptr;
    out.num_sample = model_->pickable();
  }
  out.sync = reinterpret_cast<uint32_t *>(uintptr_t(step.sync));
  std::copy(std::begin(step.peers), std::end(step.peers), out.peers);
  out.num_rows = int32_t(rows.tokens.size());
  out.num_wanted = int32_t(rows.wanted.size());
  out.pages_per_slot = int32_t(cache.pagesPerSlot());
  out.num_devices = int32_t(gpus_.size());
  out.device = int32_t(index);
  out.generation = int32_t(generation_);
  std::memcpy(host + layout_.step, &out, sizeof out);
  const uint64_t begin = out.choices ? layout_.step - results.choices.size_bytes() : layout_.step;
  const uint64_t end = newTable ? layout_.bytes : layout_.table;
  cuda().check(
      cuda()->cuMemcpyHtoDAsync(inputs + begin, host + begin, end - begin, gpu.stream.get()),
      failing(gpu));
  gpu.tableVersion = cache.version();
}

/// Counts the step. Before its numbers start again, clears the words that exchanges compare with
/// them (kernels/cuda/exchange.cuh): no step is under way, and all words must be clear before a GPU
/// writes to another.
void CudaDevice::nextGeneration() {
  if (generation_++ != RETORT_CUDA_GENERATIONS)
    return;
  generation_ = 1;
  for (Gpu &gpu : gpus_) {
    CurrentContext current(cuda(), gpu.shared->context());
    cuda().check(cuda()->cuMemsetD8Async(gpu.sync.address(), 0, gpu.sync.bytes(), gpu.stream.get()),
                 failing(gpu));
    if (gpu.received.as())
      std::memset(gpu.received.as() + gpu.activations.bytes(), 0, gpu.sync.bytes());
  }
  for (Gpu &gpu : gpus_) {
    CurrentContext current(cuda(), gpu.shared->context());
    cuda().check(cuda()->cuStreamSynchronize(gpu.stream.get()), failing(gpu));
  }
}

void CudaDevice::launchKernel(const Gpu &gpu, const Step &step, const CudaStepCode::Kernel &kernel,
                              bool dependent) {
  CUdeviceptr argument = gpu.inputs.address() + layout_.step;
  int32_t phase = kernel.phase; // the persistent form's kernels have no second parameter
  void *parameters[] = {&argument, &phase};
  const unsigned threads = step.code->entry->threads;
  CUresult result;
  if (step.code->entry->persistent) {
    result =
        cuda()->cuLaunchCooperativeKernel(kernel.function, kernel.grid, 1, 1, threads, 1, 1,
                                          step.code->sharedBytes, gpu.stream.get(), parameters);
  } else {
    CUlaunchAttribute attribute = {};
    attribute.id = CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION;
    attribute.value.programmaticStreamSerializationAllowed = 1;
    CUlaunchConfig config = {kernel.grid,
                             1,
                             1,
                             threads,
                             1,
                             1,
                             step.code->sharedBytes,
                             gpu.stream.get(),
                             &attribute,
                             dependent ? 1u : 0u};
    result = cuda()->cuLaunchKernelEx(&config, kernel.function, parameters, nullptr);
  }
  cuda().check(result, failing(gpu));
}

/// Makes a graph of a step's kernels. Its only parameter is the step's address, which stays.
void CudaDevice::capture(Gpu &gpu, Step &step) {
  const std::string what = failing(gpu);
  const bool pdl = step.code->entry->pdl && gpu.shared->hasPdl();
  cuda().check(cuda()->cuStreamBeginCapture(gpu.stream.get(), CU_STREAM_CAPTURE_MODE_THREAD_LOCAL),
               what);
  CUgraph graph = nullptr;
  try {
    for (const CudaStepCode::Kernel &kernel : step.code->kernels)
      launchKernel(gpu, step, kernel, pdl && &kernel != &step.code->kernels.front());
  } catch (const Error &) {
    if (cuda()->cuStreamEndCapture(gpu.stream.get(), &graph) == CUDA_SUCCESS && graph)
      cuda()->cuGraphDestroy(graph);
    throw;
  }
  cuda().check(cuda()->cuStreamEndCapture(gpu.stream.get(), &graph), what);
  CUresult result = cuda()->cuGraphInstantiateWithFlags(&step.graph, graph, 0);
  cuda()->cuGraphDestroy(graph);
  cuda().check(result, what);
}

void CudaDevice::launch(Gpu &gpu, const Step &step) {
  cuda().check(cuda()->cuEventRecord(gpu.begin.get(), gpu.stream.get()), failing(gpu));
  if (step.code->entry->persistent)
    launchKernel(gpu, step, step.code->kernels[0], false);
  else
    cuda().check(cuda()->cuGraphLaunch(step.graph, gpu.stream.get()), failing(gpu));
  cuda().check(cuda()->cuEventRecord(gpu.end.get(), gpu.stream.get()), failing(gpu));
}

/// Draws tokens on the first GPU, a CTA a row, when all GPUs have made their logits.
void CudaDevice::launchSample(const Step &step, size_t wanted) {
  Gpu &gpu = gpus_[0];
  CurrentContext current(cuda(), gpu.shared->context());
  for (size_t d = 1; d < gpus_.size(); ++d)
    cuda().check(cuda()->cuStreamWaitEvent(gpu.stream.get(), gpus_[d].end.get(), 0), failing(gpu));
  const Manifest::CudaEntry::Sample &sample = *step.code->entry->sample;
  CUdeviceptr argument = gpu.inputs.address() + layout_.step;
  void *parameters[] = {&argument};
  CUlaunchConfig config = {unsigned(wanted), 1,       1, sample.threads, 1, 1, sample.sharedBytes,
                           gpu.stream.get(), nullptr, 0};
  cuda().check(cuda()->cuLaunchKernelEx(&config, step.code->sample, parameters, nullptr),
               failing(gpu));
  cuda().check(cuda()->cuEventRecord(gpu.end.get(), gpu.stream.get()), failing(gpu));
}

/// Waits for what was last recorded in `copied`. One of several GPUs may wait for ever for another
/// that is lost, so they are polled in turn.
void CudaDevice::wait() {
  if (gpus_.size() == 1) {
    CurrentContext current(cuda(), gpus_[0].shared->context());
    return cuda().check(cuda()->cuEventSynchronize(gpus_[0].copied.get()), failing(gpus_[0]));
  }
  for (size_t done = 0, turns = 0; done != gpus_.size(); ++turns) {
    done = 0;
    for (Gpu &gpu : gpus_) {
      CurrentContext current(cuda(), gpu.shared->context());
      CUresult result = cuda()->cuEventQuery(gpu.copied.get());
      if (result == CUDA_ERROR_NOT_READY)
        continue;
      cuda().check(result, failing(gpu));
      ++done;
    }
    if (turns > 1000)
      std::this_thread::yield();
  }
}

/// Copies [wanted][count] of each GPU to [wanted][vocab]. Waits for the step, also if there is
/// nothing to copy.
void CudaDevice::download(size_t wanted, float *logits) {
  const size_t vocab = size_t(model_->manifest().vocab);
  for (size_t begin = 0; begin == 0 || begin < wanted; begin += kLogitRows) {
    const size_t rows = std::min(kLogitRows, wanted - begin);
    for (Gpu &gpu : gpus_) {
      CurrentContext current(cuda(), gpu.shared->context());
      const uint64_t row = uint64_t(gpu.logitsCount) * sizeof(float);
      if (rows * row != 0)
        cuda().check(cuda()->cuMemcpyDtoHAsync(gpu.pinnedLogits.as(),
                                               gpu.logits.address() + begin * row, rows * row,
                                               gpu.stream.get()),
                     failing(gpu));
      cuda().check(cuda()->cuEventRecord(gpu.copied.get(), gpu.stream.get()), failing(gpu));
    }
    wait();
    for (Gpu &gpu : gpus_) {
      for (size_t r = 0; r < rows; ++r)
        std::copy_n(gpu.pinnedLogits.as<float>() + r * gpu.logitsCount, gpu.logitsCount,
                    logits + (begin + r) * vocab + gpu.logitsBegin);
    }
  }
}

/// The best of the GPUs' keys (cuda_program.h), row by row; of drawn tokens the first GPU's.
/// Waits for the step.
void CudaDevice::downloadTokens(size_t wanted, const StepResults &results) {
  const std::span<Gpu> choosing(gpus_.data(), results.choices.empty() ? gpus_.size() : 1);
  for (Gpu &gpu : gpus_) {
    CurrentContext current(cuda(), gpu.shared->context());
    if (wanted != 0 && &gpu < choosing.data() + choosing.size())
      cuda().check(cuda()->cuMemcpyDtoHAsync(gpu.pinnedInputs.as() + layout_.chosen,
                                             gpu.inputs.address() + layout_.chosen,
                                             wanted * sizeof(uint64_t), gpu.stream.get()),
                   failing(gpu));
    cuda().check(cuda()->cuEventRecord(gpu.copied.get(), gpu.stream.get()), failing(gpu));
  }
  wait();
  for (size_t r = 0; r < wanted; ++r) {
    uint32_t best = 0; // a key's upper half; no logit has 0
    results.tokens[r] = -1;
    for (Gpu &gpu : choosing) { // in the vocabulary's order: the first of equal ones wins
      uint64_t key;
      std::memcpy(&key, gpu.pinnedInputs.as() + layout_.chosen + r * sizeof key, sizeof key);
      if (uint32_t(key >> 32) <= best)
        continue;
      best = uint32_t(key >> 32);
      results.tokens[r] = int32_t(gpu.logitsBegin + (0xffffffffu - uint32_t(key)));
    }
  }
}

void CudaDevice::run(const KvCache &cache, const StepRows &rows, const StepResults &results) {
  std::unique_lock<std::mutex> turn;
  if (gpus_.size() > 1)
    turn = std::unique_lock(stepsOnSeveralGpus());
  const size_t index = stepFor(rows.tokens.size());
  try {
    nextGeneration();
    for (size_t d = 0; d < gpus_.size(); ++d) {
      CurrentContext current(cuda(), gpus_[d].shared->context());
      fill(gpus_[d], d, gpus_[d].steps[index], cache, rows, results);
    }
    for (Gpu &gpu : gpus_) {
      CurrentContext current(cuda(), gpu.shared->context());
      launch(gpu, gpu.steps[index]);
    }
    if (!results.choices.empty())
      launchSample(gpus_[0].steps[index], rows.wanted.size());
    if (results.tokens)
      downloadTokens(rows.wanted.size(), results);
    else
      download(rows.wanted.size(), results.logits);
  } catch (const Error &error) { // whatever it was, the cache may hold half a step
    stuck_ = gpus_.size() > 1;
    if (stuck_)
      program_->abandon();
    fail(ExitCode::Device,
         model_->path() + ": " + error.message + ": what the session held is lost, " +
             (stuck_ ? "restart the program" : "close all sessions on this GPU and make new ones"));
  }
  stepSeconds_ = 0;
  for (Gpu &gpu : gpus_) {
    float milliseconds = 0;
    CurrentContext current(cuda(), gpu.shared->context());
    if (cuda()->cuEventElapsedTime(&milliseconds, gpu.begin.get(), gpu.end.get()) == CUDA_SUCCESS)
      stepSeconds_ = std::max(stepSeconds_, double(milliseconds) * 1e-3);
  }
}

/// Steps follow it in each GPU's stream, so nothing waits here.
void CudaDevice::copyPage(int32_t from, int32_t to) {
  for (const Gpu &gpu : gpus_) {
    CurrentContext current(cuda(), gpu.shared->context());
    const uint64_t bytes = gpu.shared->code()[0].entry->pageBytes;
    const CUresult result = cuda()->cuMemcpyDtoDAsync(gpu.cache.address() + uint64_t(to) * bytes,
                                                      gpu.cache.address() + uint64_t(from) * bytes,
                                                      bytes, gpu.stream.get());
    named([&] { cuda().check(result, failing(gpu)); });
  }
}

std::string CudaDevice::takeCounters() const { return cuda().takeSimulatorReport(); }

} // namespace retort::engine
