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
  bundle.verify(*found);
  bytes_ = bundle.bytes(*found);
}

std::vector<float> BundleWeights::read(const std::string &param, int64_t begin,
                                       int64_t rows) const {
  const engine::Manifest &manifest = bundle_.manifest();
  const auto found =
      std::ranges::find_if(manifest.params, [&](const engine::Manifest::Param &each) {
        return each.name == param && manifest.partOf(each) == part_;
      });
  auto bad = [&](const std::string &what) {
    fail(ExitCode::BadInput, bundle_.path() + ": parameter '" + param + "' " + what);
  };
  if (found == manifest.params.end())
    bad("is not in " + part_);
  const std::span<const uint8_t> packed = bytes_.subspan(found->offset, found->bytes);
  if (found->shape.size() == 1) {
    std::vector<float> out(static_cast<size_t>(rows));
    if ((begin + rows) * 4 > static_cast<int64_t>(packed.size()))
      bad("has fewer numbers than the program reads");
    std::memcpy(out.data(), packed.data() + begin * 4, out.size() * sizeof(float));
    return out;
  }
  const std::optional<NumberFormat> format = named<NumberFormat>(found->format);
  const std::optional<MatrixLayout> layout = named<MatrixLayout>(found->layout);
  if (!format || !layout)
    bad("has the format " + found->format + " in the layout '" + found->layout +
        "', which is not known");
  const int64_t cols = found->shape[1], parts = layout->gated ? 2 : 1,
                partRows = found->shape[0] / parts;
  const int64_t blockBytes = weight::blockBytes(*layout, *format, cols);
  std::vector<float> out(static_cast<size_t>(rows * cols));
  std::vector<float> block(static_cast<size_t>(weight::kBlockRows * cols));
  int64_t held = -1;
  for (int64_t row = begin; row < begin + rows; ++row) {
    // A gated matrix has a block of each half in turn.
    const int64_t part = row / partRows, own = row % partRows;
    const int64_t index = own / weight::kBlockRows * parts + part;
    if ((index + 1) * blockBytes > static_cast<int64_t>(packed.size()))
      bad("has fewer rows than the program reads");
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
