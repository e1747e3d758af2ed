//===- ManifestCuda.cpp - What a manifest says of its CUDA programs -------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/src/engine/ManifestObject.h"

#include <algorithm>

namespace retort::engine {
namespace {

using Json = nlohmann::json;
using CudaEntry = Manifest::CudaEntry;
constexpr uint64_t kMaxShared = 1u << 20, kMaxGrid = 1u << 20;

bool isSymbol(std::string_view text) {
  auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; };
  return !text.empty() && text.size() <= 256 && letter(text[0]) &&
         std::all_of(text.begin(), text.end(),
                     [&](char c) { return letter(c) || (c >= '0' && c <= '9'); });
}

bool choice(const ManifestObject &object, const char *key, const char *yes, const char *no) {
  const std::string text = object.text(key);
  if (text != yes && text != no)
    object.bad(object.pathOf(key),
               "is " + shown(text) + ", neither \"" + yes + "\" nor \"" + no + "\"");
  return text == yes;
}

CudaArch readArch(const ManifestObject &object, const char *key, const Json &value,
                  const char *prefix) {
  std::optional<CudaArch> arch;
  if (value.is_string())
    arch = CudaArch::parse(value.get_ref<const std::string &>(), prefix);
  if (!arch)
    object.bad(object.pathOf(key), "holds " + shown(value) + ", which is no architecture");
  return *arch;
}

void readSharedBytes(const ManifestObject &object, CudaEntry &entry) {
  entry.sharedBytes = uint32_t(object.number("shared_bytes", 0, kMaxShared));
  if (!object.has("shared_bytes_on"))
    return;
  const Json &cards = object.array("shared_bytes_on");
  if (cards.size() > 64)
    object.bad(object.pathOf("shared_bytes_on"), "has " + std::to_string(cards.size()) + " cards");
  size_t index = 0;
  for (const Json &value : cards) {
    ManifestObject card(value, object.pathOf("shared_bytes_on[" + std::to_string(index++) + "]"),
                        object.where());
    const CudaArch arch = readArch(card, "arch", card.at("arch"), "sm_");
    entry.sharedBytesOn.emplace_back(arch, uint32_t(card.number("bytes", 0, kMaxShared)));
  }
}

void readKernels(const ManifestObject &object, CudaEntry &entry, uint64_t grid) {
  const Json &kernels = object.array("kernels");
  if (kernels.empty() || kernels.size() > 65536 || (entry.persistent && kernels.size() != 1))
    object.bad(object.pathOf("kernels"), "has " + std::to_string(kernels.size()) + " kernels" +
                                             (entry.persistent ? ", not the one" : ""));
  size_t index = 0;
  for (const Json &value : kernels) {
    ManifestObject kernel(value, object.pathOf("kernels[" + std::to_string(index++) + "]"),
                          object.where());
    CudaEntry::Kernel &made = entry.kernels.emplace_back();
    made.symbol = kernel.text("symbol");
    if (!isSymbol(made.symbol))
      kernel.bad(kernel.pathOf("symbol"), "is " + shown(made.symbol) + ", which is no symbol");
    made.phase = int32_t(kernel.numberOr("phase", 0, 65535, 0));
    made.grid = uint32_t(kernel.numberOr("grid", 0, kMaxGrid, grid));
  }
}

void readSample(const ManifestObject &object, CudaEntry &entry) {
  if (!object.has("sample"))
    return;
  ManifestObject sample = object.object("sample");
  CudaEntry::Sample &made = entry.sample.emplace();
  made.symbol = sample.text("symbol");
  if (!isSymbol(made.symbol))
    sample.bad(sample.pathOf("symbol"), "is " + shown(made.symbol) + ", which is no symbol");
  made.threads = uint32_t(sample.multiple("threads", 32, 32, 1024));
  made.sharedBytes = uint32_t(sample.number("shared_bytes", 0, kMaxShared));
  if (!entry.argmax || entry.device != 0)
    object.bad(object.pathOf("sample"), entry.argmax ? "is there for a device that is not the first"
                                                     : "is there without \"argmax\"");
}

void readLogits(const ManifestObject &object, CudaEntry &entry, uint64_t vocab) {
  entry.logitsCount = entry.device == 0 ? uint32_t(vocab) : 0;
  if (!object.has("logits"))
    return;
  ManifestObject logits = object.object("logits");
  entry.logitsCount = uint32_t(logits.number("count", 0, vocab));
  entry.logitsBegin = uint32_t(logits.number("begin", 0, vocab - entry.logitsCount));
}

} // namespace

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

uint32_t CudaEntry::sharedBytesOf(int major, int minor) const {
  for (const auto &[arch, bytes] : sharedBytesOn)
    if (arch.major == major && arch.minor == minor)
      return bytes;
  return sharedBytes;
}

CudaEntry readCudaEntry(const ManifestObject &object, const Manifest &manifest) {
  CudaEntry entry;
  entry.decode = choice(object, "step", "decode", "prefill");
  entry.persistent = choice(object, "form", "persistent", "graph");
  entry.devices = int(object.numberOr("devices", 1, kMaxCudaDevices, 1));
  entry.device = int(object.numberOr("device", 0, uint64_t(entry.devices) - 1, 0));
  entry.maxRows = uint32_t(object.number("max_rows", 1, 1 << 16));
  entry.threads = uint32_t(object.multiple("threads", 32, 32, 1024));
  readSharedBytes(object, entry);
  entry.syncWords = uint32_t(object.number("sync_words", 0, 1 << 24));
  entry.activationBytes = object.number("activations", 0, uint64_t(1) << 40);
  entry.pageRows = uint32_t(object.numberOr("page_rows", 1, 1 << 12, uint64_t(manifest.pageRows)));
  entry.pageBytes = object.has("page_bytes")
                        ? object.multiple("page_bytes", 64, 64, uint64_t(1) << 40)
                        : manifest.pageBytes;
  entry.pdl = object.flagOr("pdl", false);
  entry.argmax = object.flagOr("argmax", false);
  readSample(object, entry);
  readKernels(object, entry, object.numberOr("grid", 0, kMaxGrid, 0));
  readLogits(object, entry, uint64_t(manifest.vocab));
  const Json &arches = object.array("arches");
  if (arches.size() > 64)
    object.bad(object.pathOf("arches"), "has " + std::to_string(arches.size()) + " names");
  for (const Json &value : arches)
    entry.arches.push_back(readArch(object, "arches", value, "sm_"));
  if (object.has("ptx") && !object.at("ptx").is_null() && object.at("ptx") != "")
    entry.ptx = readArch(object, "ptx", object.at("ptx"), "compute_");
  return entry;
}

void checkCudaEntries(const Manifest &manifest, const ManifestObject &root) {
  for (int devices = 1; devices <= kMaxCudaDevices; ++devices)
    for (bool decode : {true, false}) {
      const CudaEntry *first = manifest.findCuda(devices, 0, decode);
      uint64_t logits = 0;
      for (int device = 0; device < devices; ++device) {
        auto nameOf = [&](int d) {
          return std::string(decode ? "decode" : "prefill") + " on device " + std::to_string(d) +
                 " of " + std::to_string(devices);
        };
        const std::string name = nameOf(device);
        const CudaEntry *entry = manifest.findCuda(devices, device, decode);
        if (bool(entry) != bool(first))
          root.bad("entries", "have no " + nameOf(first ? device : 0));
        if (!entry)
          continue;
        if (entry->maxRows != first->maxRows || entry->logitsBegin != logits)
          root.bad("entries", "of " + name + " do not fit those of device 0");
        logits += entry->logitsCount;
        const CudaEntry *other = manifest.findCuda(devices, device, !decode);
        if (other && (other->pageRows != entry->pageRows || other->pageBytes != entry->pageBytes ||
                      entry->pageRows != first->pageRows))
          root.bad("entries", "of " + name + " have another cache than its other entry");
      }
      if (first && logits != uint64_t(manifest.vocab))
        root.bad("entries", "write " + std::to_string(logits) + " of " +
                                std::to_string(manifest.vocab) + " logits");
      for (int device = 0; first && device < devices; ++device) {
        const CudaEntry *other = manifest.findCuda(devices, device, !decode);
        if (other && other->logitsCount != manifest.findCuda(devices, device, decode)->logitsCount)
          root.bad("entries", "of decode and prefill write different logits on device " +
                                  std::to_string(device) + " of " + std::to_string(devices));
      }
    }
}

} // namespace retort::engine
