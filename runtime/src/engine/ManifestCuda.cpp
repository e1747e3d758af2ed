//===- ManifestCuda.cpp - What a manifest says of its CUDA programs -------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/src/engine/ManifestObject.h"

#include <algorithm>

namespace retort::engine {

std::optional<CudaArch> CudaArch::parse(std::string_view text, std::string_view prefix) {
  CudaArch arch;
  if (!text.starts_with(prefix))
    return std::nullopt;
  text.remove_prefix(prefix.size());
  if (!text.empty() && (text.back() == 'a' || text.back() == 'f')) {
    arch.suffix = text.back();
    text.remove_suffix(1);
  }
  if (text.size() < 2 || text.size() > 3 ||
      !std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; }))
    return std::nullopt;
  for (char digit : text.substr(0, text.size() - 1))
    arch.major = 10 * arch.major + (digit - '0');
  arch.minor = text.back() - '0';
  return arch;
}

std::string CudaArch::text(const char *prefix) const {
  std::string text = prefix + std::to_string(major) + std::to_string(minor);
  if (suffix)
    text += suffix;
  return text;
}

uint32_t Manifest::CudaEntry::sharedBytesOf(int major, int minor) const {
  for (const SharedBytes &card : sharedBytesOn)
    if (card.arch.major == major && card.arch.minor == minor)
      return card.bytes;
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
