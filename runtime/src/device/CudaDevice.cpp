//===- CudaDevice.cpp - Steps on graphics cards ----------------------------===//
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
constexpr size_t kLogitRows = 16; // rows of logits downloaded at once, and had room for at first

uint64_t aligned(uint64_t bytes) { return (bytes + kAlign - 1) / kAlign * kAlign; }

/// Kernels of a step on several cards wait for each other. If two sessions launched theirs in
/// different orders on two cards, each card could run the one that the other card's waits for. So
/// within a process such steps take turns.
std::mutex &stepsOnSeveralCards() {
  static std::mutex mutex;
  return mutex;
}

uint64_t activationBytes(const CudaCard &card, const Manifest &manifest, size_t devices, size_t d) {
  uint64_t bytes = 1;
  for (bool decode : {true, false})
    if (const auto *entry = manifest.findCuda(int(devices), int(d), decode))
      bytes = std::max(bytes, entry->activationBytes);
  return aligned(bytes);
}

} // namespace

CudaDevice::CudaDevice(std::shared_ptr<const Model> model, std::shared_ptr<CudaProgram> program)
    : model_(std::move(model)), program_(std::move(program)), cards_(program_->size()) {
  const Manifest &manifest = model_->manifest();
  for (size_t d = 0; d < cards_.size(); ++d) {
    Card &card = cards_[d];
    card.card = &program_->card(d);
    name_ += (d ? " + " : "") + card.card->name();
    const Manifest::CudaEntry *some = nullptr;
    for (bool decode : {true, false})
      if (const auto *entry = manifest.findCuda(int(cards_.size()), int(d), decode)) {
        some = entry;
        limits_.maxRows = std::max(limits_.maxRows, entry->maxRows);
        card.logitsBegin = entry->logitsBegin;
        card.logitsCount = std::max(card.logitsCount, entry->logitsCount);
        samples_ = samples_ && entry->argmax;
        draws_ = draws_ && (d != 0 || entry->sample);
      }
    limits_.pageRows = some->pageRows;
    limits_.pageBytes += some->pageBytes;
  }
}

CudaDevice::~CudaDevice() {
  for (Card &card : cards_) {
    CurrentContext current(cuda(), card.card->context());
    for (Step &step : card.steps)
      if (step.graph && !stuck_)
        cuda()->cuGraphExecDestroy(step.graph);
    if (stuck_) { // freeing would wait for kernels that wait for a card that is lost
      for (CudaMemory *memory : {&card.cache, &card.activations, &card.sync, &card.inputs,
                                 &card.logits, &card.otherLogits})
        memory->abandon();
      for (PinnedMemory *memory :
           {&card.pinnedInputs, &card.pinnedLogits, &card.pinnedOtherLogits, &card.received})
        memory->abandon();
      card.stream.abandon();
    }
    card = Card();
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

std::string CudaDevice::failing(const Card &card) const { return card.card->name() + " failed"; }

//===--- Memory -------------------------------------------------------------------------------===//

/// What a session needs on a card beside the weights and the cache.
uint64_t CudaDevice::workBytes(size_t d) const {
  const Manifest &manifest = model_->manifest();
  const Card &card = cards_[d];
  uint64_t bytes = activationBytes(*card.card, manifest, cards_.size(), d) + layout_.bytes;
  for (bool decode : {true, false})
    if (const auto *entry = manifest.findCuda(int(cards_.size()), int(d), decode))
      bytes += aligned(uint64_t(entry->syncWords) * 4);
  for (const Card &other : cards_) // the first card keeps the others' logits too, if it can
    if (&other == &card || (d == 0 && draws_))
      bytes += aligned(uint64_t(logitRows_) * other.logitsCount * 4);
  return bytes;
}

void CudaDevice::checkMemory(const KvCache &cache) const {
  const Manifest &manifest = model_->manifest();
  for (size_t d = 0; d < cards_.size(); ++d) {
    const auto *entry = manifest.findCuda(int(cards_.size()), int(d), true);
    entry = entry ? entry : manifest.findCuda(int(cards_.size()), int(d), false);
    const uint64_t weights = program_->missingWeightBytes(d), work = workBytes(d);
    const uint64_t pages = cache.pages(), free = cards_[d].card->freeBytes();
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
    advice = room > 0 ? "ask for " + advice : "use a card with more memory";
    const uint64_t cacheBytes = pages > (uint64_t(1) << 62) / entry->pageBytes
                                    ? uint64_t(1) << 62
                                    : pages * entry->pageBytes;
    fail(ExitCode::Resources,
         cards_[d].card->name() + " has " + sizeText(free) + " free and the session needs " +
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
  for (Card &card : cards_)
    allocateCard(card, cache);
  setPeers();
  makeOtherLogits(logitRows_, cards_[0].otherLogits, cards_[0].pinnedOtherLogits);
  for (Card &card : cards_) {
    CurrentContext current(cuda(), card.card->context());
    cuda().check(cuda()->cuStreamSynchronize(card.stream.get()), failing(card));
    for (Step &step : card.steps)
      if (!step.code->entry->persistent)
        capture(card, step);
  }
}

void CudaDevice::allocateCard(Card &card, const KvCache &cache) {
  const size_t d = size_t(&card - cards_.data());
  const CudaDriverPointer &driver = program_->driver();
  const std::string what = card.card->name() + ": no memory for ";
  CurrentContext current(cuda(), card.card->context());
  card.stream = CudaStream(driver, what + "a stream");
  card.copied = CudaEvent(driver, CU_EVENT_DISABLE_TIMING, what + "an event");
  card.begin = CudaEvent(driver, CU_EVENT_DEFAULT, what + "an event");
  card.end = CudaEvent(driver, CU_EVENT_DEFAULT, what + "an event");
  const std::vector<CudaStepCode> &code = card.card->code();
  uint64_t syncBytes = 0;
  for (const CudaStepCode &step : code)
    syncBytes += aligned(uint64_t(step.entry->syncWords) * 4);
  card.cache = CudaMemory(driver, cache.pages() * code[0].entry->pageBytes, what + "the KV cache");
  card.activations =
      CudaMemory(driver, activationBytes(*card.card, model_->manifest(), cards_.size(), d),
                 what + "activations");
  card.sync = CudaMemory(driver, std::max(syncBytes, kAlign), what + "activations");
  card.inputs = CudaMemory(driver, layout_.bytes, what + "a step");
  card.logits =
      CudaMemory(driver, std::max<uint64_t>(aligned(logitRows_ * card.logitsCount * 4), kAlign),
                 what + "logits");
  card.pinnedInputs = PinnedMemory(driver, layout_.bytes, what + "a step");
  card.pinnedLogits = PinnedMemory(
      driver, std::max<uint64_t>(uint64_t(kLogitRows) * card.logitsCount * 4, 4), what + "logits");
  std::memset(card.pinnedInputs.as(), 0, layout_.bytes);
  for (const CudaMemory *memory : {&card.cache, &card.sync})
    cuda().check(cuda()->cuMemsetD8Async(memory->address(), 0, memory->bytes(), card.stream.get()),
                 failing(card));
  const std::pair<const CudaMemory *, const char *> names[] = {{&card.cache, "cache"},
                                                               {&card.activations, "activations"},
                                                               {&card.sync, "sync"},
                                                               {&card.inputs, "inputs"},
                                                               {&card.logits, "logits"}};
  for (auto [memory, name] : names)
    cuda().nameMemory(memory->address(), memory->bytes(),
                      cards_.size() > 1 ? name + ("." + std::to_string(d)) : name);
  CUdeviceptr sync = card.sync.address();
  for (const CudaStepCode &step : code) {
    card.steps.push_back({&step, sync, {}, nullptr});
    sync += aligned(uint64_t(step.entry->syncWords) * 4);
  }
}

/// Where each card receives what the others send (cuda_program.h).
void CudaDevice::setPeers() {
  if (cards_.size() == 1)
    return;
  const std::string what = "no memory for exchanges";
  for (Card &to : cards_) {
    if (program_->hasPeerAccess())
      break;
    CurrentContext current(cuda(), to.card->context());
    const uint64_t bytes = to.activations.bytes() + to.sync.bytes();
    to.received = PinnedMemory(program_->driver(), bytes, what);
    std::memset(to.received.as(), 0, bytes);
  }
  for (Card &from : cards_) {
    CurrentContext current(cuda(), from.card->context());
    for (size_t e = 0; e < cards_.size(); ++e) {
      const Card &to = cards_[e];
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

/// Room for the logits of the second card, from which the first draws.
void CudaDevice::makeOtherLogits(size_t rows, CudaMemory &memory, PinnedMemory &pinned) const {
  if (cards_.size() == 1 || !draws_)
    return;
  CurrentContext current(cuda(), cards_[0].card->context());
  const std::string what =
      cards_[0].card->name() + ": no memory for the logits of " + std::to_string(rows) + " rows";
  const uint64_t bytes = std::max<uint64_t>(aligned(rows * cards_[1].logitsCount * 4), kAlign);
  if (program_->hasPeerAccess()) {
    memory = CudaMemory(program_->driver(), bytes, what);
    cuda().nameMemory(memory.address(), memory.bytes(), "logits.other");
  } else {
    pinned = PinnedMemory(program_->driver(), bytes, what);
  }
}

/// That room, as the card of the current context addresses it.
float *CudaDevice::otherLogits() const {
  const Card &first = cards_[0];
  const CUdeviceptr at = program_->hasPeerAccess()
                             ? first.otherLogits.address()
                             : first.pinnedOtherLogits.address("the other card's logits");
  return reinterpret_cast<float *>(uintptr_t(at));
}

void CudaDevice::reserve(size_t wanted) {
  if (wanted > logitRows_)
    named([&] { growLogits(wanted); });
}

void CudaDevice::growLogits(size_t wanted) {
  const size_t rows = std::min<size_t>(limits_.maxRows, std::max(wanted, 2 * logitRows_));
  std::vector<CudaMemory> grown;
  for (Card &card : cards_) {
    CurrentContext current(cuda(), card.card->context());
    const uint64_t bytes = std::max<uint64_t>(uint64_t(rows) * card.logitsCount * 4, kAlign);
    grown.emplace_back(program_->driver(), bytes,
                       card.card->name() + ": no memory for the logits of " +
                           std::to_string(wanted) + " rows");
  }
  CudaMemory other;
  PinnedMemory pinnedOther;
  makeOtherLogits(rows, other, pinnedOther);
  {
    CurrentContext current(cuda(), cards_[0].card->context());
    cards_[0].otherLogits = std::move(other);
    cards_[0].pinnedOtherLogits = std::move(pinnedOther);
    other = {};
    pinnedOther = {};
  }
  for (size_t d = 0; d < cards_.size(); ++d) {
    CurrentContext current(cuda(), cards_[d].card->context());
    cards_[d].logits = std::move(grown[d]);
    grown[d] = {};
  }
  logitRows_ = rows;
}

//===--- Steps --------------------------------------------------------------------------------===//

/// The first, which is decode if there is one, unless it has too few rows.
size_t CudaDevice::stepFor(size_t rows) const {
  size_t step = 0;
  while (rows > cards_[0].steps[step].code->entry->maxRows)
    ++step;
  return step;
}

void CudaDevice::fill(Card &card, size_t index, const Step &step, const KvCache &cache,
                      const StepRows &rows, const StepResults &results) {
  const CUdeviceptr inputs = card.inputs.address();
  uint8_t *host = card.pinnedInputs.as();
  auto put = [&](uint64_t at, std::span<const int32_t> list) {
    if (!list.empty())
      std::memcpy(host + at, list.data(), list.size_bytes());
    return reinterpret_cast<const int32_t *>(uintptr_t(inputs + at));
  };
  retort_cuda_step out = {};
  out.weights = card.card->weights();
  out.activations = card.activations.as<uint8_t>();
  out.cache = card.cache.as<uint8_t>();
  out.tokens = put(layout_.tokens, rows.tokens);
  out.slots = put(layout_.slots, rows.slots);
  out.positions = put(layout_.positions, rows.positions);
  out.wanted = put(layout_.wanted, rows.wanted);
  const bool newTable = card.tableVersion != cache.version();
  out.page_table = put(layout_.table, newTable ? cache.table() : std::span<const int32_t>());
  const size_t drawn = results.choices.size();
  if (results.tokens) { // kernels keep the maximum with what is there
    std::memset(host + layout_.chosen, 0, rows.wanted.size() * sizeof(uint64_t));
    out.chosen = reinterpret_cast<uint64_t *>(uintptr_t(inputs + layout_.chosen));
    const int64_t mine = int64_t(model_->pickable()) - int64_t(card.logitsBegin);
    out.num_choose = int32_t(std::clamp<int64_t>(mine, 0, card.logitsCount));
  }
  if (!results.tokens || drawn)
    out.logits = drawn && index > 0 ? otherLogits() : card.logits.as<float>();
  if (drawn && index == 0) {
    const uint64_t at = layout_.step - results.choices.size_bytes();
    std::memcpy(host + at, results.choices.data(), results.choices.size_bytes());
    out.choices = reinterpret_cast<const retort_choice *>(uintptr_t(inputs + at));
    out.other_logits = cards_.size() > 1 ? otherLogits() : nullptr;
    out.num_sample = model_->pickable();
  }
  out.sync = reinterpret_cast<uint32_t *>(uintptr_t(step.sync));
  std::copy(std::begin(step.peers), std::end(step.peers), out.peers);
  out.num_rows = int32_t(rows.tokens.size());
  out.num_wanted = int32_t(rows.wanted.size());
  out.pages_per_slot = int32_t(cache.pagesPerSlot());
  out.num_devices = int32_t(cards_.size());
  out.device = int32_t(index);
  out.generation = int32_t(generation_);
  std::memcpy(host + layout_.step, &out, sizeof out);
  const uint64_t begin = out.choices ? layout_.step - results.choices.size_bytes() : layout_.step;
  const uint64_t end = newTable ? layout_.bytes : layout_.table;
  cuda().check(
      cuda()->cuMemcpyHtoDAsync(inputs + begin, host + begin, end - begin, card.stream.get()),
      failing(card));
  card.tableVersion = cache.version();
}

/// When the numbers of steps start again, what earlier ones have left in exchanges' words must go
/// (kernels/cuda/exchange.cuh). No step is under way; all must be done before a card writes to
/// another.
void CudaDevice::nextGeneration() {
  if (generation_++ != RETORT_CUDA_GENERATIONS)
    return;
  generation_ = 1;
  for (Card &card : cards_) {
    CurrentContext current(cuda(), card.card->context());
    cuda().check(
        cuda()->cuMemsetD8Async(card.sync.address(), 0, card.sync.bytes(), card.stream.get()),
        failing(card));
    if (card.received.as())
      std::memset(card.received.as() + card.activations.bytes(), 0, card.sync.bytes());
  }
  for (Card &card : cards_) {
    CurrentContext current(cuda(), card.card->context());
    cuda().check(cuda()->cuStreamSynchronize(card.stream.get()), failing(card));
  }
}

void CudaDevice::launchKernel(const Card &card, const Step &step,
                              const CudaStepCode::Kernel &kernel, bool dependent) {
  CUdeviceptr argument = card.inputs.address() + layout_.step;
  int32_t phase = kernel.phase; // the persistent form's kernels have no second parameter
  void *parameters[] = {&argument, &phase};
  const unsigned threads = step.code->entry->threads;
  CUresult result;
  if (step.code->entry->persistent) {
    result =
        cuda()->cuLaunchCooperativeKernel(kernel.function, kernel.grid, 1, 1, threads, 1, 1,
                                          step.code->sharedBytes, card.stream.get(), parameters);
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
                             card.stream.get(),
                             &attribute,
                             dependent ? 1u : 0u};
    result = cuda()->cuLaunchKernelEx(&config, kernel.function, parameters, nullptr);
  }
  cuda().check(result, failing(card));
}

/// Makes a graph of a step's kernels. Its only parameter is the step's address, which stays.
void CudaDevice::capture(Card &card, Step &step) {
  const std::string what = failing(card);
  const bool pdl = step.code->entry->pdl && card.card->hasPdl();
  cuda().check(cuda()->cuStreamBeginCapture(card.stream.get(), CU_STREAM_CAPTURE_MODE_THREAD_LOCAL),
               what);
  CUgraph graph = nullptr;
  try {
    for (const CudaStepCode::Kernel &kernel : step.code->kernels)
      launchKernel(card, step, kernel, pdl && &kernel != &step.code->kernels.front());
  } catch (const Error &) {
    if (cuda()->cuStreamEndCapture(card.stream.get(), &graph) == CUDA_SUCCESS && graph)
      cuda()->cuGraphDestroy(graph);
    throw;
  }
  cuda().check(cuda()->cuStreamEndCapture(card.stream.get(), &graph), what);
  CUresult result = cuda()->cuGraphInstantiateWithFlags(&step.graph, graph, 0);
  cuda()->cuGraphDestroy(graph);
  cuda().check(result, what);
}

void CudaDevice::launch(Card &card, const Step &step) {
  cuda().check(cuda()->cuEventRecord(card.begin.get(), card.stream.get()), failing(card));
  if (step.code->entry->persistent)
    launchKernel(card, step, step.code->kernels[0], false);
  else
    cuda().check(cuda()->cuGraphLaunch(step.graph, card.stream.get()), failing(card));
  cuda().check(cuda()->cuEventRecord(card.end.get(), card.stream.get()), failing(card));
}

/// Draws tokens on the first card, a CTA a row, when all cards have made their logits.
void CudaDevice::launchSample(const Step &step, size_t wanted) {
  Card &card = cards_[0];
  CurrentContext current(cuda(), card.card->context());
  for (size_t d = 1; d < cards_.size(); ++d)
    cuda().check(cuda()->cuStreamWaitEvent(card.stream.get(), cards_[d].end.get(), 0),
                 failing(card));
  const Manifest::CudaEntry::Sample &sample = *step.code->entry->sample;
  CUdeviceptr argument = card.inputs.address() + layout_.step;
  void *parameters[] = {&argument};
  CUlaunchConfig config = {unsigned(wanted),  1,       1, sample.threads, 1, 1, sample.sharedBytes,
                           card.stream.get(), nullptr, 0};
  cuda().check(cuda()->cuLaunchKernelEx(&config, step.code->sample, parameters, nullptr),
               failing(card));
  cuda().check(cuda()->cuEventRecord(card.end.get(), card.stream.get()), failing(card));
}

/// Waits for what was last recorded in `copied`. Of several cards one may wait for ever for another
/// that is lost, so they are asked in turn.
void CudaDevice::wait() {
  if (cards_.size() == 1) {
    CurrentContext current(cuda(), cards_[0].card->context());
    return cuda().check(cuda()->cuEventSynchronize(cards_[0].copied.get()), failing(cards_[0]));
  }
  for (size_t done = 0, turns = 0; done != cards_.size(); ++turns) {
    done = 0;
    for (Card &card : cards_) {
      CurrentContext current(cuda(), card.card->context());
      CUresult result = cuda()->cuEventQuery(card.copied.get());
      if (result == CUDA_ERROR_NOT_READY)
        continue;
      cuda().check(result, failing(card));
      ++done;
    }
    if (turns > 1000)
      std::this_thread::yield();
  }
}

/// Copies [wanted][count] of each card to [wanted][vocab]. Waits for the step, also if there is
/// nothing to copy.
void CudaDevice::download(size_t wanted, float *logits) {
  const size_t vocab = size_t(model_->manifest().vocab);
  for (size_t begin = 0; begin == 0 || begin < wanted; begin += kLogitRows) {
    const size_t rows = std::min(kLogitRows, wanted - begin);
    for (Card &card : cards_) {
      CurrentContext current(cuda(), card.card->context());
      const uint64_t row = uint64_t(card.logitsCount) * sizeof(float);
      if (rows * row != 0)
        cuda().check(cuda()->cuMemcpyDtoHAsync(card.pinnedLogits.as(),
                                               card.logits.address() + begin * row, rows * row,
                                               card.stream.get()),
                     failing(card));
      cuda().check(cuda()->cuEventRecord(card.copied.get(), card.stream.get()), failing(card));
    }
    wait();
    for (Card &card : cards_) {
      for (size_t r = 0; r < rows; ++r)
        std::copy_n(card.pinnedLogits.as<float>() + r * card.logitsCount, card.logitsCount,
                    logits + (begin + r) * vocab + card.logitsBegin);
    }
  }
}

/// The best of the cards' keys (cuda_program.h), row by row; of drawn tokens the first card's.
/// Waits for the step.
void CudaDevice::downloadTokens(size_t wanted, const StepResults &results) {
  const std::span<Card> choosing(cards_.data(), results.choices.empty() ? cards_.size() : 1);
  for (Card &card : cards_) {
    CurrentContext current(cuda(), card.card->context());
    if (wanted != 0 && &card < choosing.data() + choosing.size())
      cuda().check(cuda()->cuMemcpyDtoHAsync(card.pinnedInputs.as() + layout_.chosen,
                                             card.inputs.address() + layout_.chosen,
                                             wanted * sizeof(uint64_t), card.stream.get()),
                   failing(card));
    cuda().check(cuda()->cuEventRecord(card.copied.get(), card.stream.get()), failing(card));
  }
  wait();
  for (size_t r = 0; r < wanted; ++r) {
    uint32_t best = 0; // a key's upper half; no logit has 0
    results.tokens[r] = -1;
    for (Card &card : choosing) { // in the vocabulary's order: the first of equal ones wins
      uint64_t key;
      std::memcpy(&key, card.pinnedInputs.as() + layout_.chosen + r * sizeof key, sizeof key);
      if (uint32_t(key >> 32) <= best)
        continue;
      best = uint32_t(key >> 32);
      results.tokens[r] = int32_t(card.logitsBegin + (0xffffffffu - uint32_t(key)));
    }
  }
}

void CudaDevice::run(const KvCache &cache, const StepRows &rows, const StepResults &results) {
  std::unique_lock<std::mutex> turn;
  if (cards_.size() > 1)
    turn = std::unique_lock(stepsOnSeveralCards());
  const size_t index = stepFor(rows.tokens.size());
  try {
    nextGeneration();
    for (size_t d = 0; d < cards_.size(); ++d) {
      CurrentContext current(cuda(), cards_[d].card->context());
      fill(cards_[d], d, cards_[d].steps[index], cache, rows, results);
    }
    for (Card &card : cards_) {
      CurrentContext current(cuda(), card.card->context());
      launch(card, card.steps[index]);
    }
    if (!results.choices.empty())
      launchSample(cards_[0].steps[index], rows.wanted.size());
    if (results.tokens)
      downloadTokens(rows.wanted.size(), results);
    else
      download(rows.wanted.size(), results.logits);
  } catch (const Error &error) { // whatever it was, the cache may hold half a step
    stuck_ = cards_.size() > 1;
    if (stuck_)
      program_->abandon();
    fail(
        ExitCode::Device,
        model_->path() + ": " + error.message + ": what the session held is lost, " +
            (stuck_ ? "restart the program" : "close all sessions on this card and make new ones"));
  }
  stepSeconds_ = 0;
  for (Card &card : cards_) {
    float milliseconds = 0;
    CurrentContext current(cuda(), card.card->context());
    if (cuda()->cuEventElapsedTime(&milliseconds, card.begin.get(), card.end.get()) == CUDA_SUCCESS)
      stepSeconds_ = std::max(stepSeconds_, double(milliseconds) * 1e-3);
  }
}

std::string CudaDevice::takeCounters() const { return cuda().takeSimulatorReport(); }

} // namespace retort::engine
