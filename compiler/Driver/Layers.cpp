//===- Layers.cpp - What a specialist's layers are, beside its teacher's --===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Driver/Layers.h"
#include "compiler/Weights/StoredBytes.h"
#include "dialects/LM/Units.h"

#include "llvm/ADT/StringSet.h"
#include <algorithm>

namespace retort {
namespace {

enum class Part { Attention, Ffn, Other };

Part partOf(const lm::Units &units, mlir::Operation *op) {
  const lm::Unit *unit = units.of(op);
  if (!unit)
    return Part::Other;
  return llvm::isa<lm::AttentionOp>(unit->core) ? Part::Attention : Part::Ffn;
}

LayerRow &rowNamed(std::vector<LayerRow> &rows, llvm::StringRef name) {
  auto found =
      std::find_if(rows.begin(), rows.end(), [&](const LayerRow &row) { return row.name == name; });
  if (found != rows.end())
    return *found;
  rows.emplace_back().name = name.str();
  return rows.back();
}

/// Adds `model`'s layers to the rows' `shape`, with bytes, or to their `teacher`.
void addLayers(std::vector<LayerRow> &rows, lm::ModelOp model,
               std::optional<LayerShape> LayerRow::*which) {
  const bool withBytes = which == &LayerRow::shape;
  const lm::Units units(model);
  llvm::StringSet<> counted;
  model.getForward().walk<mlir::WalkOrder::PreOrder>([&](lm::ParamUserOpInterface op) {
    for (const lm::ParamUse &use : op.getParamUses()) {
      lm::ParamOp param = model.lookupParam(use.param.getValue());
      if (!param || !counted.insert(param.getSymName()).second)
        continue;
      const llvm::StringRef label = lm::blockLabel(op);
      LayerRow &row = rowNamed(rows, label.empty() ? param.getSymName() : label);
      std::optional<LayerShape> &shape = row.*which;
      if (!shape)
        shape.emplace();
      const int64_t weights = mlir::ShapedType::getNumElements(param.getShape());
      const uint64_t bytes = withBytes ? storedBytes(param).value_or(4 * uint64_t(weights)) : 0;
      const Part part = partOf(units, op);
      (part == Part::Attention ? shape->attention
       : part == Part::Ffn     ? shape->ffn
                               : shape->other) += weights;
      (part == Part::Attention ? row.attentionBytes
       : part == Part::Ffn     ? row.ffnBytes
                               : row.otherBytes) += bytes;
    }
  });
  for (const lm::AttentionUnit &unit : units.attentions())
    if (auto &shape = rowNamed(rows, lm::blockLabel(unit.core)).*which) {
      shape->heads += unit.heads();
      shape->kvHeads += unit.kvHeads();
    }
  for (const lm::GatedUnit &unit : units.gated())
    if (auto &shape = rowNamed(rows, lm::blockLabel(unit.core)).*which)
      shape->channels += unit.channels();
}

} // namespace

std::vector<LayerRow> layersOf(lm::ModelOp model, lm::ModelOp teacher) {
  std::vector<LayerRow> rows;
  if (teacher)
    addLayers(rows, teacher, &LayerRow::teacher);
  addLayers(rows, model, &LayerRow::shape);
  return rows;
}

} // namespace retort
