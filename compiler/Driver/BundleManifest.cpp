//===- BundleManifest.cpp - What a bundle's manifest says -------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Driver/BundleManifest.h"
#include "kernels/cuda/machine.h"

#include <algorithm>

namespace retort {
namespace {

using engine::Manifest;

void addParams(Manifest &manifest, const CompiledTarget &target) {
  for (size_t part = 0; part < target.parts.size(); ++part)
    for (const ModelLayout::Param &param : target.layout(part).params)
      manifest.params.push_back({.name = param.name,
                                 .format = param.format,
                                 .layout = param.layout,
                                 .part = target.cpu ? "" : target.parts[part].name,
                                 .shape = param.shape,
                                 .offset = static_cast<uint64_t>(param.offset),
                                 .bytes = static_cast<uint64_t>(param.bytes)});
}

/// Of the architectures whose code has more shared memory than the portable amount.
std::vector<Manifest::CudaEntry::SharedBytes> sharedBytesOn() {
  std::vector<Manifest::CudaEntry::SharedBytes> made;
  for (const cuda::Architecture &arch : cuda::kArchitectures)
    if (const int bytes = cuda::sharedBytesOf(arch.number); bytes > cuda::kPortableSharedBytes)
      made.push_back({{arch.number}, uint32_t(bytes)});
  return made;
}

Manifest::CudaEntry cudaEntry(const CompiledCuda &cuda, const CompiledCuda::Entry &entry) {
  Manifest::CudaEntry made;
  made.decode = entry.step == "decode";
  made.persistent = cuda.form == CudaForm::Persistent;
  made.pdl = !made.persistent;
  made.argmax = entry.argmax;
  if (!entry.sample.empty())
    made.sample = {entry.sample, cuda::kSampleThreads, cuda::kSampleSharedBytes};
  made.device = static_cast<int>(entry.device);
  made.devices = static_cast<int>(cuda.layouts.size());
  made.maxRows = static_cast<uint32_t>(entry.maxRows);
  made.threads = static_cast<uint32_t>(entry.threads);
  made.syncWords = static_cast<uint32_t>(entry.syncWords);
  made.sharedBytes = cuda::kPortableSharedBytes;
  made.sharedBytesOn = sharedBytesOn();
  made.activationBytes = static_cast<uint64_t>(entry.activationBytes);
  const ModelLayout &layout = cuda.layouts[entry.device];
  made.pageRows = static_cast<uint32_t>(layout.pageRows);
  made.pageBytes = static_cast<uint64_t>(layout.cachePageBytes);
  made.logitsBegin = static_cast<uint32_t>(entry.logitsBegin);
  made.logitsCount = static_cast<uint32_t>(entry.logitsCount);
  for (const CompiledCuda::Entry::Kernel &kernel : entry.kernels)
    made.kernels.push_back(
        {kernel.symbol, static_cast<int32_t>(kernel.phase), static_cast<uint32_t>(kernel.ctas)});
  made.arches = cuda.arches;
  made.ptx = cuda.ptx;
  return made;
}

void addEntries(Manifest &manifest, const CompiledTarget &target) {
  if (target.cpu)
    for (const CompiledProgram::Entry &entry : target.cpu->entries)
      manifest.entries.push_back({entry.isa, entry.symbol});
  if (target.cuda)
    for (const CompiledCuda::Entry &entry : target.cuda->entries)
      manifest.cudaEntries.push_back(cudaEntry(*target.cuda, entry));
}

/// The rows of the CPU's step; without one, of the largest.
int64_t maxRows(const CompiledTarget &first) {
  if (first.cpu)
    return first.cpu->maxRows;
  int64_t rows = 0;
  for (const CompiledCuda::Entry &entry : first.cuda->entries)
    rows = std::max(rows, entry.maxRows);
  return rows;
}

} // namespace

Manifest manifestOf(const std::vector<CompiledTarget> &targets, const BundleInfo &info) {
  const CompiledTarget &first = targets.front();
  lm::ModelOp model = first.parts.front().lowered->model;
  Manifest manifest;
  manifest.retort = RETORT_VERSION;
  manifest.name = info.name;
  manifest.family = model.getFamily().str();
  manifest.context = model.getContext();
  manifest.vocab = model.getVocab();
  manifest.hidden = model.getHidden();
  manifest.maxRows = maxRows(first);
  manifest.blocks = static_cast<int64_t>(model.getBlocks().size());
  manifest.pageRows = first.layout().pageRows;
  for (size_t part = 0; part < first.parts.size(); ++part)
    manifest.pageBytes += static_cast<uint64_t>(first.layout(part).cachePageBytes);
  manifest.cacheFormat = first.layout().cacheFormat;
  if (first.cpu) {
    manifest.activationBytes = static_cast<uint64_t>(first.cpu->activationBytes);
    manifest.scratchBytesPerThread = static_cast<uint64_t>(first.cpu->scratchBytesPerThread);
  }
  manifest.bytesPerToken =
      static_cast<uint64_t>(first.cpu ? first.cpu->bytesPerToken : first.cuda->bytesPerToken);
  for (const CompiledTarget &target : targets) {
    addEntries(manifest, target);
    addParams(manifest, target);
  }
  manifest.provenance = info.provenance;
  return manifest;
}

} // namespace retort
