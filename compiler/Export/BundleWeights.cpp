//===- BundleWeights.cpp - The numbers that a bundle's weights stand for --===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Export/BundleWeights.h"
#include "compiler/Weights/PackMma.h"
#include "runtime/base/Error.h"
#include "runtime/base/Names.h"
#include <algorithm>
#include <cstring>

namespace retort {

BundleWeights::BundleWeights(const engine::BundleReader &bundle, const std::string &part)
    : bundle_(bundle), part_(part) {
  const engine::Manifest::Part *found = bundle.manifest().findPart(part);
  if (!found)
    fail(ExitCode::BadInput,
         bundle.path() + ": has no part " + part + ": it was not compiled by this Retort");
  bytes_ = bundle.bytes(*found);
}

std::vector<float> BundleWeights::read(const std::string &param, int64_t begin, int64_t rows,
                                       int64_t cols) const {
  const engine::Manifest &manifest = bundle_.manifest();
  const auto found =
      std::ranges::find_if(manifest.params, [&](const engine::Manifest::Param &each) {
        return each.name == param && manifest.partOf(each) == part_;
      });
  auto bad = [&](const std::string &what) {
    fail(ExitCode::BadInput, bundle_.path() + ": parameter '" + param + "' " + what);
  };
  if (found == manifest.params.end())
    bad("of its program.mlir is not in " + part_);
  const std::vector<int64_t> &shape = found->shape;
  const bool isVector = shape.size() == 1;
  // The program and the manifest are two files' words.
  if (shape.empty() || shape.size() > 2 || (isVector ? 1 : shape[1]) != cols || begin < 0 ||
      rows < 0 || begin > shape[0] - rows)
    bad("has another shape in its program.mlir than in its manifest");
  const std::span<const uint8_t> packed = bytes_.subspan(found->offset, found->bytes);
  const std::optional<NumberFormat> format = named<NumberFormat>(found->format);
  const std::optional<MatrixLayout> layout =
      isVector ? MatrixLayout{} : named<MatrixLayout>(found->layout);
  const uint64_t bytes =
      !format || !layout ? 0
      : isVector         ? static_cast<uint64_t>(shape[0]) * sizeof(float)
                 : static_cast<uint64_t>(weight::packedBytes(*layout, *format, shape[0], cols));
  if (bytes != packed.size())
    bad("has " + std::to_string(packed.size()) + " bytes, which is no " + found->format +
        " in the layout '" + found->layout + "' of its shape");
  std::vector<float> out(static_cast<size_t>(rows * cols));
  if (isVector) {
    std::memcpy(out.data(), packed.data() + begin * static_cast<int64_t>(sizeof(float)),
                out.size() * sizeof(float));
    return out;
  }
  const int64_t parts = layout->gated ? 2 : 1, partRows = shape[0] / parts;
  const int64_t blockBytes = weight::blockBytes(*layout, *format, cols);
  std::vector<float> block(static_cast<size_t>(weight::kBlockRows * cols));
  int64_t held = -1;
  for (int64_t row = begin; row < begin + rows; ++row) {
    // A gated matrix has a block of each half in turn.
    const int64_t part = row / partRows, own = row % partRows;
    const int64_t index = own / weight::kBlockRows * parts + part;
    if (index != held)
      weight::unpackBlock(
          *layout, *format,
          packed.subspan(static_cast<size_t>(index * blockBytes), static_cast<size_t>(blockBytes)),
          cols, block.data());
    held = index;
    std::copy_n(block.data() + own % weight::kBlockRows * cols, cols,
                out.data() + (row - begin) * cols);
  }
  return out;
}

} // namespace retort
