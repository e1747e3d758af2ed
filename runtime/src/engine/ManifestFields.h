//===- ManifestFields.h - Every key of a manifest, once --------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
//
// Each function lists the keys of one object, their ranges, and the fields that they fill. `Io` is
// ManifestObject, which reads and checks, or ManifestWriter (compiler/Bundle), which writes, so a
// key that is added here is read and written. docs/bundle.md is their manual.
//
//===----------------------------------------------------------------------===//
#pragma once
#include "runtime/src/abi/cpu_program.h"
#include "runtime/src/abi/cuda_program.h"
#include "runtime/src/engine/ManifestObject.h"

#include <algorithm>

namespace retort::engine {

constexpr uint64_t kMaxBytes = uint64_t(1) << 48, kMaxMemory = uint64_t(1) << 40;
constexpr uint64_t kMaxShared = 1u << 20, kMaxGrid = 1u << 20, kMaxRows = 1u << 16;
constexpr size_t kMaxKernels = 65536, kMaxNames = 64, kMaxList = size_t(1) << 24;

/// A name that the dynamic linker and the CUDA driver take.
inline bool isSymbol(std::string_view text) {
  auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; };
  return !text.empty() && text.size() <= 256 && letter(text[0]) &&
         std::all_of(text.begin(), text.end(),
                     [&](char c) { return letter(c) || (c >= '0' && c <= '9'); });
}

/// 64 lower-case hexadecimal digits.
inline bool isHash(std::string_view text) {
  return text.size() == 64 && std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

template <class Io> void symbolField(const Io &io, std::string &symbol) {
  io.text("symbol", symbol);
  io.check(isSymbol(symbol), "symbol",
           [&] { return "is " + shown(symbol) + ", which is no symbol"; });
}

/// "sm_90a" or "compute_90", by the prefix.
template <class Io, class Value>
void archField(const Io &io, const char *key, Value &value, const char *prefix) {
  auto parse = [&](std::string_view text) { return CudaArch::parse(text, prefix); };
  auto print = [&](const CudaArch &arch) { return arch.text(prefix); };
  if constexpr (std::is_same_v<Value, CudaArch>)
    io.word(key, value, "architecture", parse, print);
  else if constexpr (std::is_same_v<Value, std::optional<CudaArch>>)
    io.wordIf(key, value, "architecture", parse, print);
  else
    io.words(key, value, kMaxNames, "architecture", parse, print);
}

//===----------------------------------------------------------------------===//
// Parts and parameters
//===----------------------------------------------------------------------===//

template <class Io> void partFields(const Io &io, Manifest::Part &part, bool isFile) {
  io.number("bytes", part.bytes, 0, kMaxBytes);
  if (isFile)
    io.multiple("offset", part.offset, kBundlePage, kBundlePage, kMaxBytes);
  io.text("sha256", part.sha256);
  io.texts("chunks", part.chunks);
  io.check(part.chunks.size() == (part.bytes + kHashChunkBytes - 1) / kHashChunkBytes, "chunks",
           [&] {
             return "has " + std::to_string(part.chunks.size()) + " hashes for " +
                    std::to_string(part.bytes) + " bytes";
           });
  io.check(isHash(part.sha256) && std::all_of(part.chunks.begin(), part.chunks.end(), isHash),
           "sha256", [] { return "or one of its chunks is not 64 hexadecimal digits"; });
}

/// Parameters are for people and tools; the runtime only sees to it that they are where they say.
template <class Io>
void paramFields(const Io &io, Manifest::Param &param, const Manifest &manifest) {
  io.text("name", param.name);
  io.text("format", param.format);
  io.textIf("layout", param.layout);
  io.sizes("shape", param.shape);
  io.textIf("part", param.part);
  const Manifest::Part *part = manifest.findPart(manifest.partOf(param));
  io.check(part, "part",
           [&] { return "is " + shown(manifest.partOf(param)) + ", which is no part"; });
  const uint64_t bytes = part ? part->bytes : 0;
  io.number("bytes", param.bytes, 0, bytes);
  io.number("offset", param.offset, 0, bytes - param.bytes);
}

//===----------------------------------------------------------------------===//
// Entries
//===----------------------------------------------------------------------===//

/// What an entry is for, and the version of what its code and the runtime share (runtime/src/abi).
struct EntryHead {
  std::string target;
  uint64_t abi = 1;
};
constexpr const char *kCpuTarget = "cpu", *kCudaTarget = "cuda";
constexpr const char *kEntriesKey = "entries", *kPartsKey = "parts"; // of lists that mix kinds

template <class Io> void headFields(const Io &io, EntryHead &head) {
  io.text("target", head.target);
  io.numberOr("abi", head.abi, 1, 1 << 16, 1);
}

template <class Io> void entryFields(const Io &io, Manifest::Entry &entry, const Manifest &) {
  io.text("isa", entry.isa);
  io.text("symbol", entry.symbol);
}

template <class Io> void sampleFields(const Io &io, Manifest::CudaEntry::Sample &sample) {
  symbolField(io, sample.symbol);
  io.multiple("threads", sample.threads, 32, 32, 1024);
  io.number("shared_bytes", sample.sharedBytes, 0, kMaxShared);
}

template <class Io> void kernelFields(const Io &io, Manifest::CudaEntry &entry) {
  io.numberOr("grid", entry.grid, 0, kMaxGrid, 0);
  io.list("kernels", entry.kernels, kMaxKernels, "kernels", [&](const auto &object, auto &kernel) {
    symbolField(object, kernel.symbol);
    object.numberOr("phase", kernel.phase, 0, 65535, 0);
    object.numberOr("grid", kernel.grid, 0, kMaxGrid, entry.grid);
  });
  io.check(entry.persistent ? entry.kernels.size() == 1 : !entry.kernels.empty(), "kernels", [&] {
    return "has " + std::to_string(entry.kernels.size()) + " kernels" +
           (entry.persistent ? ", not the one" : "");
  });
}

template <class Io>
void entryFields(const Io &io, Manifest::CudaEntry &entry, const Manifest &manifest) {
  io.choice("step", entry.decode, "decode", "prefill");
  io.choice("form", entry.persistent, "persistent", "graph");
  io.numberOr("devices", entry.devices, 1, kMaxCudaDevices, 1);
  io.numberOr("device", entry.device, 0, uint64_t(entry.devices) - 1, 0);
  io.number("max_rows", entry.maxRows, 1, kMaxRows);
  io.multiple("threads", entry.threads, 32, 32, 1024);
  io.number("shared_bytes", entry.sharedBytes, 0, kMaxShared);
  io.listIf("shared_bytes_on", entry.sharedBytesOn, kMaxNames, "GPUs",
            [](const auto &own, auto &value) {
              archField(own, "arch", value.arch, "sm_");
              own.number("bytes", value.bytes, 0, kMaxShared);
            });
  io.number("sync_words", entry.syncWords, 0, 1 << 24);
  io.number("activations", entry.activationBytes, 0, kMaxMemory);
  io.numberOr("page_rows", entry.pageRows, 1, 1 << 12, uint64_t(manifest.pageRows));
  io.multipleOr("page_bytes", entry.pageBytes, 64, 64, kMaxMemory, manifest.pageBytes);
  io.flag("pdl", entry.pdl);
  io.flag("argmax", entry.argmax);
  io.optional("sample", entry.sample,
              [](const auto &object, auto &sample) { sampleFields(object, sample); });
  io.check(!entry.sample || (entry.argmax && entry.device == 0), "sample", [&] {
    return entry.argmax ? "is there for a device that is not the first"
                        : "is there without \"argmax\"";
  });
  kernelFields(io, entry);
  if (Io::reads) // where no key says otherwise
    entry.logitsCount = entry.device == 0 ? uint32_t(manifest.vocab) : 0;
  const uint64_t vocab = uint64_t(manifest.vocab);
  io.objectIf("logits", [&](const auto &logits) {
    logits.number("count", entry.logitsCount, 0, vocab);
    logits.number("begin", entry.logitsBegin, 0, vocab - entry.logitsCount);
  });
  archField(io, "arches", entry.arches, "sm_");
  archField(io, "ptx", entry.ptx, "compute_");
}

//===----------------------------------------------------------------------===//
// The manifest, but for parts and entries
//===----------------------------------------------------------------------===//

template <class Io> void formatField(const Io &io, uint64_t &format) {
  io.number("format", format, 0, UINT64_MAX);
}

template <class Io> void modelFields(const Io &io, Manifest &manifest) {
  io.text("retort", manifest.retort);
  io.object("model", [&](const auto &model) {
    model.text("name", manifest.name);
    model.text("family", manifest.family);
    model.number("vocab", manifest.vocab, 1, 1 << 24);
    model.number("context", manifest.context, 1, 1 << 24);
    model.number("hidden", manifest.hidden, 1, 1 << 20);
    model.number("max_rows", manifest.maxRows, 1, kMaxRows);
    model.number("blocks", manifest.blocks, 0, 1 << 16);
  });
  io.object("cache", [&](const auto &cache) {
    cache.number("page_rows", manifest.pageRows, 1, 1 << 12);
    cache.multiple("page_bytes", manifest.pageBytes, 64, 64, kMaxMemory);
    cache.textIf("format", manifest.cacheFormat);
  });
  io.object("figures", [&](const auto &figures) {
    figures.number("bytes_per_token", manifest.bytesPerToken, 0, kMaxBytes);
  });
}

/// What the program for a CPU needs; where there is none, the key may be absent.
template <class Io> void bufferFields(const Io &io, Manifest &manifest) {
  if (manifest.entries.empty())
    return;
  io.object("buffers", [&](const auto &buffers) {
    buffers.number("activations", manifest.activationBytes, 0, kMaxMemory);
    buffers.multiple("scratch_per_thread", manifest.scratchBytesPerThread, 64, 0, kMaxMemory);
  });
}

/// For people and tools; the runtime reads none of it.
template <class Io> void toolFields(const Io &io, Manifest &manifest) {
  io.listIf("params", manifest.params, kMaxList, "parameters",
            [&](const auto &object, auto &param) { paramFields(object, param, manifest); });
  io.optional("provenance", manifest.provenance, [](const auto &made, auto &value) {
    made.object("teacher", [&](const auto &teacher) {
      teacher.text("file", value.teacherFile);
      teacher.text("sha256", value.teacherSha256);
    });
    made.text("recipe", value.recipe);
    made.text("pipeline", value.pipeline);
    made.number("seed", value.seed, 0, INT64_MAX);
    made.textIf("corpus", value.corpus);
  });
}

} // namespace retort::engine
