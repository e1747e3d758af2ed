//===- ManifestCuda.cpp - What a manifest says of its CUDA programs -------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/src/engine/ManifestObject.h"

namespace retort::engine {

uint32_t Manifest::CudaEntry::sharedBytesOf(int number) const {
  for (const SharedBytes &own : sharedBytesOn)
    if (own.arch.number == number)
      return own.bytes;
  return sharedBytes;
}

void checkCudaEntries(const Manifest &manifest, const ManifestObject &root) {
  for (int devices = 1; devices <= kMaxCudaDevices; ++devices)
    for (bool decode : {true, false}) {
      const Manifest::CudaEntry *first = manifest.findCuda(devices, 0, decode);
      uint64_t logits = 0;
      for (int device = 0; device < devices; ++device) {
        auto nameOf = [&](int d) {
          return std::string(decode ? "decode" : "prefill") + " on device " + std::to_string(d) +
                 " of " + std::to_string(devices);
        };
        const std::string name = nameOf(device);
        const Manifest::CudaEntry *entry = manifest.findCuda(devices, device, decode);
        if (bool(entry) != bool(first))
          root.bad("entries", "have no " + nameOf(first ? device : 0));
        if (!entry)
          continue;
        if (entry->maxRows != first->maxRows || entry->logitsBegin != logits)
          root.bad("entries", "of " + name + " do not fit those of device 0");
        logits += entry->logitsCount;
        const Manifest::CudaEntry *other = manifest.findCuda(devices, device, !decode);
        if (other && (other->pageRows != entry->pageRows || other->pageBytes != entry->pageBytes ||
                      entry->pageRows != first->pageRows))
          root.bad("entries", "of " + name + " have another cache than its other entry");
      }
      if (first && logits != uint64_t(manifest.vocab))
        root.bad("entries", "write " + std::to_string(logits) + " of " +
                                std::to_string(manifest.vocab) + " logits");
      for (int device = 0; first && device < devices; ++device) {
        const Manifest::CudaEntry *other = manifest.findCuda(devices, device, !decode);
        if (other && other->logitsCount != manifest.findCuda(devices, device, decode)->logitsCount)
          root.bad("entries", "of decode and prefill write different logits on device " +
                                  std::to_string(device) + " of " + std::to_string(devices));
      }
    }
}

} // namespace retort::engine
