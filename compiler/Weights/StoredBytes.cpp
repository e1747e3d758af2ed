//===- StoredBytes.cpp - What decoding a token reads of a model -----------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Weights/StoredBytes.h"
#include "compiler/Checkpoint/DType.h"
#include "compiler/Weights/Pack.h"

#include "llvm/ADT/StringSet.h"

namespace retort {
namespace {

/// Mean bytes of a number of what `param` is made from; none if a training made some of it, or if it is
/// kept in several tensors, whose bytes the program does not say.
std::optional<double> bytesOfLoaded(lm::ParamOp param) {
  double bytes = 0, elements = 0;
  bool unknown = false;
  param.walk([&](weight::LoadOp load) {
    const std::optional<DType> type = dtypeNamed(load.getStored());
    const double count = double(load.getType().getNumElements());
    elements += count;
    unknown |= load.getFile().has_value() || !type;
    if (!unknown)
      bytes += count * double(blockBytes(*type)) / double(blockElements(*type));
  });
  if (unknown || elements == 0)
    return std::nullopt;
  return bytes / elements;
}

/// Bytes of `rows` rows of a matrix, or of a vector.
std::optional<double> bytesOfRows(lm::ParamOp param, int64_t rows) {
  const llvm::ArrayRef<int64_t> shape = param.getShape();
  if (shape.size() == 1)
    return 4.0 * double(shape[0]); // gains and biases are f32 in every bundle
  const std::optional<NumberFormat> format = weight::numberFormat(param.getParamType());
  if (format && *format != NumberFormat{})
    return rows == shape[0]
               ? double(weight::packedBytes(*format, rows, shape[1]))
               : double(rows * weight::blockBytes(*format, shape[1])) / weight::kBlockRows;
  const std::optional<double> each = bytesOfLoaded(param);
  return each ? std::optional(*each * double(rows * shape[1])) : std::nullopt;
}

} // namespace

std::optional<uint64_t> storedBytes(lm::ParamOp param) {
  const std::optional<double> bytes = bytesOfRows(param, param.getShape()[0]);
  return bytes ? std::optional(uint64_t(*bytes)) : std::nullopt;
}

std::optional<uint64_t> storedBytesPerToken(lm::ModelOp model) {
  llvm::StringSet<> read;
  double bytes = 0;
  bool known = true;
  model.walk([&](lm::ParamUserOpInterface op) {
    for (const lm::ParamUse &use : op.getParamUses()) {
      lm::ParamOp param = model.lookupParam(use.param.getValue());
      const bool lookup = use.role == lm::ParamRole::Table;
      if (!param || (!lookup && !read.insert(param.getSymName()).second))
        continue;
      const std::optional<double> part = bytesOfRows(param, lookup ? 1 : param.getShape()[0]);
      known &= part.has_value();
      bytes += part.value_or(0);
    }
  });
  return known ? std::optional(uint64_t(bytes)) : std::nullopt;
}

} // namespace retort
