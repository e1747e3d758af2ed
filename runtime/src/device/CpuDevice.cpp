//===- CpuDevice.cpp - Steps on a pool of threads -------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/src/device/CpuDevice.h"
#include "runtime/base/Error.h"
#include "runtime/base/Machine.h"

#include <algorithm>
#include <cstring>
#include <unistd.h>

namespace retort::engine {
namespace {

/// No more threads than cores: every phase ends with all of them, so those without a core would make
/// the others wait, and the step is the same to the bit with fewer.
uint32_t threadsOr(uint32_t threads) {
  if (threads > 1024)
    fail(ExitCode::Usage, "threads is " + std::to_string(threads) + ", more than 1024");
  const uint32_t cores = std::min(usableCores(), 1024u);
  return threads ? std::min(threads, cores) : cores;
}

/// A buffer that every step uses whole must fit the machine's memory.
Buffer makeBuffer(uint64_t bytes, uint64_t count, const char *what) {
  const uint64_t memory = uint64_t(::sysconf(_SC_PHYS_PAGES)) * uint64_t(::sysconf(_SC_PAGESIZE));
  if (bytes != 0 && count > memory / bytes)
    fail(ExitCode::Resources, "the model needs " + std::to_string(count) + " times " +
                                  sizeText(bytes) + " of " + what + " and the machine has " +
                                  sizeText(memory));
  return {bytes * count, what};
}

} // namespace

CpuDevice::CpuDevice(std::shared_ptr<const Model> model, uint32_t threads)
    : model_(std::move(model)), name_("cpu " + model_->program()->isa()),
      limits_{uint32_t(model_->manifest().maxRows), uint32_t(model_->manifest().pageRows),
              model_->manifest().pageBytes},
      weights_(model_->part("weights.bin").data()), pool_(threadsOr(threads)) {}

void CpuDevice::allocate(const KvCache &cache) {
  const Manifest &manifest = model_->manifest();
  cache_ = Buffer(cache.bytes(), "the KV cache (" + std::to_string(cache.pages()) + " pages)");
  activations_ = makeBuffer(manifest.activationBytes, 1, "activations");
  scratch_ = makeBuffer(manifest.scratchBytesPerThread, pool_.threads(), "scratch");
}

void CpuDevice::run(const KvCache &cache, const StepRows &rows, const StepResults &results) {
  retort_cpu_step step = {};
  step.weights = weights_;
  step.activations = activations_.data();
  step.scratch = scratch_.data();
  step.cache = cache_.data();
  step.tokens = rows.tokens.data();
  step.slots = rows.slots.data();
  step.positions = rows.positions.data();
  step.page_table = cache.table().data();
  step.wanted = rows.wanted.data();
  step.logits = results.logits;
  step.barrier = &barrier_;
  step.num_rows = int32_t(rows.tokens.size());
  step.num_wanted = int32_t(rows.wanted.size());
  step.num_threads = int32_t(pool_.ready());
  step.pages_per_slot = int32_t(cache.pagesPerSlot());
  const std::pair<retort_cpu_entry, const retort_cpu_step *> call{model_->program()->entry(),
                                                                  &step};
  pool_.run(
      [](const void *argument, int32_t thread) {
        const auto &[entry, cpuStep] = *static_cast<const decltype(call) *>(argument);
        entry(cpuStep, thread);
      },
      &call, unsigned(step.num_threads));
}

void CpuDevice::copyPage(int32_t from, int32_t to) {
  std::memcpy(cache_.data() + uint64_t(to) * limits_.pageBytes,
              cache_.data() + uint64_t(from) * limits_.pageBytes, limits_.pageBytes);
}

} // namespace retort::engine
