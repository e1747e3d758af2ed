//===- fuzz_bundle.cpp - Bundles' headers and manifests -------------------===//
// SPDX-License-Identifier: Apache-2.0
//
// The first byte chooses: the input is a manifest of the directory form, a manifest put into an
// otherwise right file, or a whole file. Nothing but Error may come out, and what is accepted lies
// inside the file.
//
//===----------------------------------------------------------------------===//
#include "runtime/base/Error.h"
#include "runtime/base/Sha256.h"
#include "runtime/src/engine/BundleReader.h"

#include <cstdlib>
#include <cstring>

using namespace retort;
using namespace retort::engine;

namespace {

/// A file of one page of parts that ends with the manifest, its length and hash right.
std::string fileWith(std::string_view manifest) {
  std::string file(2 * kBundlePage, '\0');
  std::memcpy(file.data(), kBundleMagic, sizeof kBundleMagic);
  for (int i = 0; i < 8; ++i) {
    file[8 + size_t(i)] = char(file.size() >> 8 * i);
    file[16 + size_t(i)] = char(manifest.size() >> 8 * i);
  }
  const std::string hash = sha256Hex(manifest);
  for (size_t i = 0; i < 32; ++i)
    file[24 + i] = char(std::stoi(hash.substr(2 * i, 2), nullptr, 16));
  return file.append(manifest);
}

void readFile(std::string_view bytes) {
  Manifest manifest =
      readBundleFile({reinterpret_cast<const uint8_t *>(bytes.data()), bytes.size()}, "fuzz");
  for (const Manifest::Part &part : manifest.parts)
    if (part.offset > bytes.size() || part.bytes > bytes.size() - part.offset)
      std::abort();
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size == 0)
    return 0;
  const std::string_view text(reinterpret_cast<const char *>(data) + 1, size - 1);
  try {
    switch (data[0] % 3) {
    case 0:
      parseManifest(text, "fuzz", std::nullopt);
      break;
    case 1:
      readFile(fileWith(text));
      break;
    default:
      readFile(text);
    }
  } catch (const Error &error) {
    if (error.message.empty() || error.message.find('\n') != std::string::npos)
      std::abort();
  }
  return 0;
}
