//===- Explain.cpp - What was chosen for each layer, and why --------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Driver/Explain.h"
#include "compiler/Driver/DataWork.h"
#include "compiler/Driver/Progress.h"
#include "compiler/Weights/Pack.h"
#include "dialects/Distill/RoundingCosts.h"
#include "dialects/LM/Units.h"
#include "runtime/base/Names.h"

#include "llvm/ADT/STLExtras.h"
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

namespace retort {
namespace {

template <typename... Args> std::string line(const char *format, Args... values) {
  const int size = std::snprintf(nullptr, 0, format, values...);
  std::string text(static_cast<size_t>(size) + 1, '\0');
  std::snprintf(text.data(), text.size(), format, values...);
  text.back() = '\n';
  return text;
}

/// One group's choice among the probe's formats.
struct Chosen {
  size_t format = 0;
  std::vector<int64_t> bytes; ///< of each format
  int64_t weights = 0;
};

/// "blk.3 attn_q attn_k attn_v" of matrices whose names begin alike.
std::string nameOfGroup(const std::vector<std::string> &params) {
  const size_t dot = params.front().find('.', 4);
  const bool block = params.front().starts_with("blk.") && dot != std::string::npos;
  std::string text = block ? params.front().substr(0, dot) : "";
  for (const std::string &param : params) {
    std::string own = block ? param.substr(dot + 1) : param;
    if (own.ends_with(".weight"))
      own.resize(own.size() - 7);
    text += (text.empty() ? "" : " ") + own;
  }
  return text;
}

std::optional<Chosen> choiceOf(lm::ModelOp model, const RoundingCosts &costs,
                               const RoundingCosts::Group &group) {
  Chosen chosen;
  chosen.bytes.assign(costs.formats.size(), 0);
  for (const std::string &name : group.params) {
    lm::ParamOp param = model.lookupParam(name);
    const weight::FormatAttr format = param ? weight::getFormat(param.getType()) : nullptr;
    const auto found =
        format ? std::ranges::find(costs.formats, format.getValue()) : costs.formats.end();
    if (found == costs.formats.end())
      return std::nullopt;
    chosen.format = static_cast<size_t>(found - costs.formats.begin());
    chosen.weights += mlir::ShapedType::getNumElements(param.getShape());
    for (auto [bytes, each] : llvm::zip_equal(chosen.bytes, costs.formats))
      bytes += weight::packedBytes(each, param.getShape()[0], param.getShape()[1]);
  }
  return chosen;
}

/// The nearest format with fewer (`sign` -1) or more bytes: "i3g64s -69 kB +0.0031".
std::string neighbour(const RoundingCosts &costs, const RoundingCosts::Group &group,
                      const Chosen &chosen, int sign) {
  std::optional<size_t> best;
  for (size_t f = 0; f < costs.formats.size(); ++f) {
    const int64_t more = sign * (chosen.bytes[f] - chosen.bytes[chosen.format]);
    if (more > 0 && (!best || more < sign * (chosen.bytes[*best] - chosen.bytes[chosen.format])))
      best = f;
  }
  if (!best)
    return "-";
  const int64_t bytes = std::abs(chosen.bytes[*best] - chosen.bytes[chosen.format]);
  std::string text = line("%s %s%s %+.5f", nameOf(costs.formats[*best]).c_str(),
                          sign < 0 ? "-" : "+", formatBytes(static_cast<uint64_t>(bytes)).c_str(),
                          group.kl[*best] - group.kl[chosen.format]);
  text.pop_back();
  return text;
}

/// The last finished op of its kind.
template <typename OpT> OpT lastOf(mlir::ModuleOp module, llvm::function_ref<bool(OpT)> wanted) {
  OpT last;
  for (auto op : module.getOps<OpT>())
    if (op.getResult() && wanted(op))
      last = op;
  return last;
}

std::string explainFormats(mlir::ModuleOp module, lm::ModelOp model, const Workspace &workspace) {
  auto probe = lastOf<distill::ProbeOp>(module, [](distill::ProbeOp) { return true; });
  if (!probe)
    return {};
  const std::string path = workspace.objectPath(probe.getResult()->getSha256().str(), "json");
  const RoundingCosts costs = RoundingCosts::fromJson(readObject(path).dump(), path);
  std::string text = line("%-34s %-7s %9s %9s  %-26s %s", "matrices", "format", "bytes", "KL",
                          "one format smaller", "one format larger");
  double kl = 0, bytes = 0, weights = 0, best = 0;
  for (const RoundingCosts::Group &group : costs.groups) {
    const std::optional<Chosen> chosen = choiceOf(model, costs, group);
    if (!chosen)
      continue; // pruned away, or given a format that was not probed
    const double own = double(chosen->bytes[chosen->format]);
    text += line("%-34s %-7s %9s %9.5f  %-26s %s", nameOfGroup(group.params).c_str(),
                 nameOf(costs.formats[chosen->format]).c_str(),
                 formatBytes(static_cast<uint64_t>(own)).c_str(), group.kl[chosen->format],
                 neighbour(costs, group, *chosen, -1).c_str(),
                 neighbour(costs, group, *chosen, +1).c_str());
    kl += group.kl[chosen->format];
    bytes += own;
    weights += double(chosen->weights);
    for (size_t f = 0; f < costs.formats.size(); ++f)
      if (const double more = double(chosen->bytes[f]) - own; more > 0)
        best = std::max(best, (group.kl[chosen->format] - group.kl[f]) / more);
  }
  text +=
      line("\nthese matrices: %s, %.3f bits a weight; KL %.4f nats a token, the sum, and about "
           "%.4f together; one MB more would save %.5f",
           formatBytes(static_cast<uint64_t>(bytes)).c_str(), 8 * bytes / std::max(1.0, weights),
           kl, kl * RoundingCosts::kTogether, best * 1e6 * RoundingCosts::kTogether);
  auto score = lastOf<distill::ScoreOp>(module, [&](distill::ScoreOp op) {
    return op.getAgainst() && op.getModel() == model.getSymName();
  });
  if (score) {
    const nlohmann::json result =
        readObject(workspace.objectPath(score.getResult()->getSha256().str(), "json"));
    text += line("measured on held-out documents, all matrices rounded and every stage done: %.4f",
                 result.value("kl", std::nan("")));
  }
  return text;
}

/// Of gated units, by the last observation of their channels.
std::string explainWidths(mlir::ModuleOp module, lm::ModelOp model, const Workspace &workspace) {
  auto observe = lastOf<distill::ObserveOp>(module, [](distill::ObserveOp op) {
    return llvm::any_of(op.getStatistics().getAsRange<distill::StatisticAttr>(),
                        [](auto s) { return s.getValue() == distill::Statistic::FFN; });
  });
  if (!observe)
    return {};
  const std::string path = workspace.objectPath(observe.getResult()->getSha256().str(), "json");
  const Statistics statistics = Statistics::fromJson(readObject(path).dump(), path);
  std::string text =
      line("%-10s %8s %8s  %s", "layer", "channels", "of", "lost of the stream's square");
  bool cut = false;
  for (const lm::GatedUnit &unit : lm::Units(model).gated()) {
    const llvm::StringRef label = lm::blockLabel(unit.core);
    const auto block = statistics.blocks.find(std::string_view(label));
    if (block == statistics.blocks.end())
      continue;
    std::vector<double> importance = block->second[distill::Statistic::FFN];
    const size_t all = importance.size(), kept = static_cast<size_t>(unit.channels());
    if (kept >= all)
      continue;
    cut = true;
    std::ranges::sort(importance);
    text +=
        line("%-10s %8zu %8zu  %.5f", label.str().c_str(), kept, all, importance[all - kept - 1]);
  }
  return cut ? text : "";
}

} // namespace

std::string explain(mlir::ModuleOp module, lm::ModelOp model, const Workspace &workspace) {
  const std::string widths = explainWidths(module, model, workspace),
                    formats = explainFormats(module, model, workspace);
  if (widths.empty() && formats.empty())
    return "nothing was chosen by measured costs: the recipe says every shape and format\n";
  return widths + (widths.empty() || formats.empty() ? "" : "\n") + formats;
}

} // namespace retort
