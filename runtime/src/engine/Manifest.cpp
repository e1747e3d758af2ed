//===- Manifest.cpp - What a bundle says of itself ------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/src/engine/Manifest.h"
#include "runtime/base/Error.h"
#include "runtime/base/Json.h"
#include "runtime/src/engine/ManifestFields.h"

#include <algorithm>

namespace retort::engine {
namespace {

using Json = nlohmann::json;

/// Parts lie one after the other, each from a page's start, up to the manifest: every byte of the
/// file is in the header, a part, its zero padding or the manifest.
void checkLayout(const Manifest &manifest, const ManifestObject &root, uint64_t end) {
  uint64_t next = kBundlePage;
  for (const Manifest::Part &part : manifest.parts) {
    if (part.offset != next)
      root.bad("parts." + part.name, "is at byte " + std::to_string(part.offset) +
                                         ", not where the part before it ends, " +
                                         std::to_string(next));
    next = (part.offset + part.bytes + kBundlePage - 1) / kBundlePage * kBundlePage;
  }
  if (next != end)
    root.bad("parts", "end at byte " + std::to_string(next) + ", not at the manifest, byte " +
                          std::to_string(end));
}

void readParts(Manifest &manifest, const ManifestObject &root, std::optional<uint64_t> fileBytes) {
  root.object(kPartsKey, [&](const ManifestObject &parts) {
    for (const auto &[name, value] : parts.json().items()) {
      if (!isPartName(name) || name == "manifest.json" || name == "manifest.sha256")
        root.bad("parts", "has a part named " + shown(name) + ", which is no part's name");
      Manifest::Part &part = manifest.parts.emplace_back();
      part.name = name;
      partFields(ManifestObject(value, parts.pathOf(name), root.where()), part,
                 fileBytes.has_value());
    }
  });
  std::sort(manifest.parts.begin(), manifest.parts.end(), [](const auto &a, const auto &b) {
    return a.offset != b.offset ? a.offset < b.offset : a.name < b.name;
  });
  if (fileBytes)
    checkLayout(manifest, root, *fileBytes);
}

/// What the entries need to run.
void checkNeededParts(const Manifest &manifest, const ManifestObject &root) {
  auto need = [&](const std::string &name) {
    if (!manifest.findPart(name))
      root.bad("parts." + name, "is missing");
  };
  if (!manifest.entries.empty()) {
    need("weights.bin");
    need("program.so");
  }
  for (const Manifest::CudaEntry &entry : manifest.cudaEntries)
    need(cudaWeightsName(entry.devices, entry.device));
  if (!manifest.cudaEntries.empty() && !manifest.findPart("program.cu"))
    need("program.fatbin");
}

/// Reads an entry whose code and this runtime agree on what they share.
template <class Entry>
void readEntry(const ManifestObject &io, const EntryHead &head, uint64_t ours,
               std::vector<Entry> &entries, const Manifest &manifest) {
  if (head.abi != ours)
    fail(ExitCode::Unsupported, io.where() + ": " + io.pathOf("abi") + " is " +
                                    std::to_string(head.abi) + ", and this runtime's is " +
                                    std::to_string(ours) +
                                    ": use the Retort that made it, or compile it again");
  entryFields(io, entries.emplace_back(), manifest);
}

void readEntries(Manifest &manifest, const ManifestObject &root) {
  root.each(kEntriesKey, kMaxList, "entries", [&](const ManifestObject &io) {
    EntryHead head;
    headFields(io, head);
    if (head.target == kCpuTarget)
      readEntry(io, head, RETORT_CPU_ABI_VERSION, manifest.entries, manifest);
    else if (head.target == kCudaTarget)
      readEntry(io, head, RETORT_CUDA_ABI_VERSION, manifest.cudaEntries, manifest);
  });
  checkCudaEntries(manifest, root);
}

} // namespace

bool isPartName(std::string_view name) {
  return !name.empty() && name.size() <= 64 && name[0] != '.' &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '.' || c == '_' || c == '-';
         });
}

const Manifest::Part *Manifest::findPart(std::string_view name) const {
  auto found =
      std::find_if(parts.begin(), parts.end(), [&](const Part &part) { return part.name == name; });
  return found == parts.end() ? nullptr : &*found;
}

std::string Manifest::partOf(const Param &param) const {
  if (!param.part.empty())
    return param.part;
  for (const char *name : {"weights.cuda0.bin", "weights.cuda.bin"})
    if (findPart(name))
      return name;
  return "weights.bin";
}

const Manifest::CudaEntry *Manifest::findCuda(int devices, int device, bool decode) const {
  auto found = std::find_if(cudaEntries.begin(), cudaEntries.end(), [&](const CudaEntry &entry) {
    return entry.devices == devices && entry.device == device && entry.decode == decode;
  });
  return found == cudaEntries.end() ? nullptr : &*found;
}

std::string cudaWeightsName(int devices, int device) {
  return devices == 1 ? "weights.cuda.bin" : "weights.cuda" + std::to_string(device) + ".bin";
}

nlohmann::json parseManifestJson(std::string_view text, const std::string &where) {
  if (text.size() > kMaxManifestBytes)
    fail(ExitCode::BadInput, where + ": has " + std::to_string(text.size()) +
                                 " bytes, more than the " + std::to_string(kMaxManifestBytes) +
                                 " allowed: the bundle is damaged");
  return parseJson(text, where, "the bundle is damaged, make or copy it again");
}

Manifest parseManifest(std::string_view text, const std::string &where,
                       std::optional<uint64_t> fileBytes) {
  Json json = parseManifestJson(text, where);
  ManifestObject root(json, "", where);
  uint64_t format = 0;
  formatField(root, format);
  if (format != kManifestFormat)
    fail(ExitCode::Unsupported, where + ": has format " + std::to_string(format) +
                                    ", and this runtime reads format " +
                                    std::to_string(kManifestFormat) +
                                    ": use the Retort that made the bundle, or compile it again");
  Manifest manifest;
  manifest.text = text;
  modelFields(root, manifest);
  readEntries(manifest, root);
  bufferFields(root, manifest);
  readParts(manifest, root, fileBytes);
  checkNeededParts(manifest, root);
  toolFields(root, manifest);
  return manifest;
}

} // namespace retort::engine
