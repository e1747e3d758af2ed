//===- Manifest.cpp - What a bundle says of itself ------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/src/engine/Manifest.h"
#include "runtime/base/Error.h"
#include "runtime/base/Json.h"
#include "runtime/src/abi/cpu_program.h"
#include "runtime/src/abi/cuda_program.h"
#include "runtime/src/engine/ManifestObject.h"

#include <algorithm>

namespace retort::engine {
namespace {

using Json = nlohmann::json;

bool isHash(std::string_view text) {
  return text.size() == 64 && std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

Manifest::Part readPart(const ManifestObject &object, const std::string &name, bool isFile) {
  Manifest::Part part;
  part.name = name;
  part.bytes = object.number("bytes", 0, uint64_t(1) << 48);
  if (isFile)
    part.offset = object.multiple("offset", kBundlePage, kBundlePage, uint64_t(1) << 48);
  part.sha256 = object.text("sha256");
  const Json &chunks = object.array("chunks");
  if (chunks.size() != (part.bytes + kHashChunkBytes - 1) / kHashChunkBytes)
    object.bad(object.pathOf("chunks"), "has " + std::to_string(chunks.size()) + " hashes for " +
                                            std::to_string(part.bytes) + " bytes");
  for (const Json &chunk : chunks)
    part.chunks.push_back(chunk.is_string() ? chunk.get<std::string>() : "");
  bool good = isHash(part.sha256) && std::all_of(part.chunks.begin(), part.chunks.end(), isHash);
  if (!good)
    object.bad(object.pathOf("sha256"), "or one of its chunks is not 64 hexadecimal digits");
  return part;
}

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
  ManifestObject parts = root.object("parts");
  for (const auto &[name, value] : parts.json().items()) {
    if (!isPartName(name) || name == "manifest.json" || name == "manifest.sha256")
      root.bad("parts", "has a part named " + shown(name) + ", which is no part's name");
    manifest.parts.push_back(readPart(ManifestObject(value, parts.pathOf(name), root.where()), name,
                                      fileBytes.has_value()));
  }
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

/// An entry's code and this runtime must agree on what they share (runtime/src/abi).
void checkAbi(const ManifestObject &entry, uint64_t ours) {
  const uint64_t abi = entry.numberOr("abi", 1, 1 << 16, 1);
  if (abi != ours)
    fail(ExitCode::Unsupported, entry.where() + ": " + entry.pathOf("abi") + " is " +
                                    std::to_string(abi) + ", and this runtime's is " +
                                    std::to_string(ours) +
                                    ": use the Retort that made it, or compile it again");
}

void readEntries(Manifest &manifest, const ManifestObject &root) {
  size_t index = 0;
  for (const Json &value : root.array("entries")) {
    ManifestObject entry(value, "entries[" + std::to_string(index++) + "]", root.where());
    const std::string target = entry.text("target");
    if (target == "cpu") {
      checkAbi(entry, RETORT_CPU_ABI_VERSION);
      manifest.entries.push_back({entry.text("isa"), entry.text("symbol")});
    } else if (target == "cuda") {
      checkAbi(entry, RETORT_CUDA_ABI_VERSION);
      manifest.cudaEntries.push_back(readCudaEntry(entry, manifest));
    }
  }
  checkCudaEntries(manifest, root);
}

/// Parameters are for people and tools; the runtime only sees to it that they are where they say.
void checkParams(const Manifest &manifest, const ManifestObject &root) {
  if (!root.has("params"))
    return;
  const char *usual = "weights.bin";
  for (const char *name : {"weights.cuda0.bin", "weights.cuda.bin", "weights.bin"})
    if (manifest.findPart(name))
      usual = name;
  size_t index = 0;
  for (const Json &value : root.array("params")) {
    ManifestObject param(value, "params[" + std::to_string(index++) + "]", root.where());
    param.text("name");
    param.text("format");
    for (const Json &dim : param.array("shape"))
      if (!dim.is_number_unsigned())
        param.bad(param.pathOf("shape"), "holds " + shown(dim));
    const std::string partName = param.has("part") ? param.text("part") : usual;
    const Manifest::Part *part = manifest.findPart(partName);
    if (!part)
      param.bad(param.pathOf("part"), "is " + shown(partName) + ", which is no part");
    const uint64_t weightBytes = part->bytes;
    uint64_t bytes = param.number("bytes", 0, weightBytes);
    param.number("offset", 0, weightBytes - bytes);
  }
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
  if (uint64_t format = root.number("format", 0, UINT64_MAX); format != kManifestFormat)
    fail(ExitCode::Unsupported, where + ": has format " + std::to_string(format) +
                                    ", and this runtime reads format " +
                                    std::to_string(kManifestFormat) +
                                    ": use the Retort that made the bundle, or compile it again");
  constexpr uint64_t terabyte = uint64_t(1) << 40;
  Manifest manifest;
  manifest.text = text;
  ManifestObject model = root.object("model");
  manifest.name = model.text("name");
  manifest.family = model.text("family");
  manifest.vocab = int64_t(model.number("vocab", 1, 1 << 24));
  manifest.context = int64_t(model.number("context", 1, 1 << 24));
  manifest.hidden = int64_t(model.number("hidden", 1, 1 << 20));
  manifest.maxRows = int64_t(model.number("max_rows", 1, 1 << 16));
  manifest.blocks = int64_t(model.number("blocks", 0, 1 << 16));
  ManifestObject cache = root.object("cache");
  manifest.pageRows = int64_t(cache.number("page_rows", 1, 1 << 12));
  manifest.pageBytes = cache.multiple("page_bytes", 64, 64, terabyte);
  manifest.bytesPerToken = root.object("figures").number("bytes_per_token", 0, uint64_t(1) << 48);
  readEntries(manifest, root);
  if (!manifest.entries.empty()) {
    ManifestObject buffers = root.object("buffers"); // of the CPU's program
    manifest.activationBytes = buffers.number("activations", 0, terabyte);
    manifest.scratchBytesPerThread = buffers.multiple("scratch_per_thread", 64, 0, terabyte);
  }
  readParts(manifest, root, fileBytes);
  checkNeededParts(manifest, root);
  checkParams(manifest, root);
  if (root.has("chat") && !root.at("chat").is_null())
    manifest.chat = ChatFormat::fromJson(root.at("chat"));
  return manifest;
}

} // namespace retort::engine
