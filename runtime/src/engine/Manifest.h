//===- Manifest.h - What a bundle says of itself ----------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
//
// The parsed form of a bundle's manifest.json (docs/bundle.md). It comes from an untrusted file:
// every number is checked against its range here, so that sums and products of the ranges' limits
// that the engine forms are checked or cannot overflow.
//
//===----------------------------------------------------------------------===//
#pragma once
#include "runtime/base/CudaArch.h"
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace retort::engine {

/// The manifest's "format": raised when an older runtime could not run the bundle.
constexpr int64_t kManifestFormat = 3;
constexpr uint64_t kMaxManifestBytes = 16u << 20;
/// The file form: the header's size and the alignment of parts, in bytes.
constexpr uint64_t kBundlePage = 4096;
/// Parts are hashed in pieces of this many bytes too, so that opening can use every core.
constexpr uint64_t kHashChunkBytes = 4u << 20;

constexpr int kMaxCudaDevices = 2;

struct Manifest {
  struct Part {
    std::string name;
    uint64_t offset = 0, bytes = 0;  ///< offset: of the file; 0 in the directory form
    std::string sha256;              ///< 64 hexadecimal digits
    std::vector<std::string> chunks; ///< SHA-256 of each kHashChunkBytes of it
    bool operator==(const Part &) const = default;
  };
  struct Entry { ///< of program.so
    std::string isa, symbol;
    bool operator==(const Entry &) const = default;
  };
  /// A step of one of `devices` GPUs, in program.fatbin (text: program.cu).
  struct CudaEntry {
    struct Kernel {
      std::string symbol;
      int32_t phase = 0; ///< graph: the kernel's second parameter, as kernels serve several phases
      uint32_t grid = 0; ///< CTAs; 0: one a multiprocessor
      bool operator==(const Kernel &) const = default;
    };
    struct Sample {
      std::string symbol;
      uint32_t threads = 0, sharedBytes = 0;
      bool operator==(const Sample &) const = default;
    };
    struct SharedBytes {
      CudaArch arch;
      uint32_t bytes = 0;
      bool operator==(const SharedBytes &) const = default;
    };
    bool decode = false;          ///< else prefill
    bool persistent = false;      ///< one cooperative kernel, else a graph of kernels in order
    bool pdl = false;             ///< graph: kernels may be launched before those before them end
    bool argmax = false;          ///< can give the largest logits' tokens in the place of logits
    std::optional<Sample> sample; ///< device 0: the kernel that draws tokens, after the step
    int device = 0, devices = 1;
    uint32_t maxRows = 0, threads = 0, syncWords = 0;
    uint32_t sharedBytes = 0; ///< dynamic, of a CTA of each kernel, but on these GPUs
    std::vector<SharedBytes> sharedBytesOn;
    /// Of a CTA of each kernel, on a GPU of the architecture of this number.
    uint32_t sharedBytesOf(int number) const;
    uint64_t activationBytes = 0;
    uint32_t pageRows = 0;                     ///< of the cache on this GPU
    uint64_t pageBytes = 0;                    ///< of the cache on this GPU
    uint32_t logitsBegin = 0, logitsCount = 0; ///< what this GPU writes of a row
    uint32_t grid = 0;                         ///< of kernels that do not say their own
    std::vector<Kernel> kernels;
    std::vector<CudaArch> arches; ///< of which there are cubins
    std::optional<CudaArch> ptx;
    bool operator==(const CudaEntry &) const = default;
  };
  struct Param {
    std::string name, format;
    std::string layout; ///< of packed weights; may be empty
    std::string part;   ///< empty: partOf() says
    std::vector<int64_t> shape;
    uint64_t offset = 0, bytes = 0; ///< in the part
    bool operator==(const Param &) const = default;
  };
  /// What the bundle was made from.
  struct Provenance {
    std::string teacherFile, teacherSha256;
    std::string recipe, pipeline; ///< the recipe's name; what it ran
    uint64_t seed = 0;
    std::string corpus; ///< its identity; empty: none
    bool operator==(const Provenance &) const = default;
  };
  std::string retort; ///< version of the compiler
  std::string name, family;
  int64_t vocab = 0, context = 0, hidden = 0, maxRows = 0, blocks = 0;
  int64_t pageRows = 0;
  uint64_t pageBytes = 0;
  std::string cacheFormat; ///< for people; may be empty
  uint64_t activationBytes = 0, scratchBytesPerThread = 0;
  uint64_t bytesPerToken = 0;
  std::vector<Entry> entries;         ///< of target "cpu"
  std::vector<CudaEntry> cudaEntries; ///< of target "cuda"
  std::vector<Part> parts;            ///< by offset, then by name
  std::vector<Param> params;
  std::optional<Provenance> provenance;
  std::string text; ///< as it stands in the bundle
  bool operator==(const Manifest &) const = default;

  const Part *findPart(std::string_view name) const;
  /// The part that a parameter is in: as it says, else that of the first target.
  std::string partOf(const Param &param) const;
  /// The first CUDA entry for a step of one of `devices` GPUs, or null.
  const CudaEntry *findCuda(int devices, int device, bool decode) const;
};

/// The part with a GPU's weights.
std::string cudaWeightsName(int devices, int device);

/// parseJson() for at most kMaxManifestBytes; `where` ("x.retort: manifest") begins its messages.
nlohmann::json parseManifestJson(std::string_view text, const std::string &where);

/// Parses and checks a manifest. `fileBytes` is where parts must end (the manifest's own offset) in
/// the file form, nullopt in the directory form. Throws Error: BadInput names the key and the
/// value; Unsupported for a newer format.
Manifest parseManifest(std::string_view text, const std::string &where,
                       std::optional<uint64_t> fileBytes);

class ManifestObject;
/// Whether the CUDA entries go together: for each number of devices, every device has one entry for
/// the same steps, and together they write all logits.
void checkCudaEntries(const Manifest &manifest, const ManifestObject &root);

/// Letters, digits, '.', '_' and '-', 1 to 64 of them, the first no '.'.
bool isPartName(std::string_view name);

} // namespace retort::engine
