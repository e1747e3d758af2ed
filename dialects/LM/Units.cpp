//===- Units.cpp - What a block is made of --------------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "dialects/LM/Units.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace retort;
using namespace retort::lm;

//===- Finding ------------------------------------------------------------===//

static bool isOpaque(Operation *op) {
  auto user = dyn_cast<ParamUserOpInterface>(op);
  return user && llvm::any_of(user.getParamUses(),
                              [](const ParamUse &use) { return use.role == ParamRole::Opaque; });
}

/// Whether the op multiplies its one operand by a matrix that it declares from end to end.
static bool isProduct(Operation *op) {
  auto user = dyn_cast<ParamUserOpInterface>(op);
  if (!user || isOpaque(op) || op->getNumOperands() != 1 || op->getNumResults() != 1)
    return false;
  bool multiplies = false, readsOperand = false, makesResult = false;
  for (const ParamUse &use : user.getParamUses()) {
    multiplies |= use.role == ParamRole::Matrix;
    for (const ParamAxis &axis : use.axes) {
      if (axis.kind != ParamAxis::Kind::Features)
        continue;
      readsOperand |= axis.rows == op->getOperand(0);
      makesResult |= axis.rows == op->getResult(0);
    }
  }
  return multiplies && readsOperand && makesResult;
}

static Projection projectionOf(Value value) {
  Projection found;
  while (Operation *op = value.getDefiningOp()) {
    found.isAlone &= value.hasOneUse();
    auto split = dyn_cast<SplitOp>(op);
    if (isProduct(op)) {
      found.op = cast<ParamUserOpInterface>(op);
      found.rows = found.rows ? found.rows : value;
      return found;
    }
    if (split && !found.split) {
      found.split = split;
      found.rows = value;
    } else if (isa<HeadwiseOpInterface>(op) && !isOpaque(op)) {
      found.between.push_back(cast<HeadwiseOpInterface>(op));
    } else {
      found.other = op;
      break;
    }
    value = op->getOperand(0);
  }
  return found;
}

Addition lm::additionOf(Value output) {
  Addition addition;
  while (output.hasOneUse()) {
    Operation *op = *output.user_begin();
    if (auto residual = dyn_cast<ResidualOp>(op)) {
      if (residual.getOutput() == output)
        addition.residual = residual;
      break;
    }
    if (!isa<HeadwiseOpInterface, AllReduceOp>(op))
      break;
    addition.between.push_back(op);
    output = op->getResult(0);
  }
  return addition;
}

Unit::Unit(Operation *core, int64_t parts) : core(core), parts(parts) {
  for (Value operand : core->getOperands())
    inputs.push_back(projectionOf(operand));
  if (Value result = core->getResult(0); result.hasOneUse())
    if (auto user = dyn_cast<GateOp>(*result.user_begin()); user && user.getInput() == result) {
      gate = user;
      inputs.push_back(projectionOf(gate.getGate()));
    }
  if (result().hasOneUse()) {
    Operation *user = *result().user_begin();
    if (isProduct(user))
      output = cast<ParamUserOpInterface>(user);
    else
      other = user;
  }
  addition = additionOf(output ? output->getResult(0) : result());
}

Value Unit::result() const { return gate ? gate->getResult(0) : core->getResult(0); }

AttentionUnit::AttentionUnit(AttentionOp attention) : Unit(attention, attention.getKvHeads()) {}

std::optional<int64_t> AttentionUnit::window() const {
  std::optional<uint64_t> window = attention().getWindow();
  return window ? std::optional<int64_t>(*window) : std::nullopt;
}

GatedUnit::GatedUnit(GluOp glu) : Unit(glu, features(glu.getResult())) {}

Units::Units(Operation *root) {
  root->walk([&](Operation *op) {
    llvm::TypeSwitch<Operation *>(op)
        .Case([&](AttentionOp attention) {
          inOrder.push_back(&attentionUnits.emplace_back(attention));
        })
        .Case([&](GluOp glu) { inOrder.push_back(&gatedUnits.emplace_back(glu)); });
  });
  for (const Unit *unit : inOrder)
    addMembers(*unit);
  root->walk([&](ParamUserOpInterface op) {
    if (!members.contains(op) && llvm::any_of(op.getParamUses(), [](const ParamUse &use) {
          return use.role == ParamRole::Opaque ||
                 (use.role == ParamRole::Matrix &&
                  llvm::none_of(use.axes, [](const ParamAxis &axis) {
                    return axis.kind == ParamAxis::Kind::Tokens;
                  }));
        }))
      strayOps.push_back(op);
  });
}

void Units::addMembers(const Unit &unit) {
  auto add = [&](Operation *op) {
    if (op)
      members.try_emplace(op, &unit);
  };
  add(unit.core);
  add(unit.gate);
  for (const Projection &input : unit.inputs) {
    add(input.op);
    add(input.split);
    for (Operation *op : input.between)
      add(op);
  }
  add(unit.output);
}

//===- Taking parts -------------------------------------------------------===//

std::optional<Obstacle> Unit::whyNotFed() const {
  auto attention = dyn_cast<AttentionOp>(core);
  for (const Projection &input : inputs) {
    if (input.other && !isa<SplitOp>(input.other))
      return Obstacle{
          core,
          ("'" + input.other->getName().getStringRef() + "' feeds, which is no plain linear layer")
              .str(),
          true, false};
    if (!input.op || input.split || !input.isAlone)
      return Obstacle{
          core, attention ? "no plain linear layers feed" : "is not between plain linear layers",
          true, true};
    if (!attention && !input.between.empty())
      return Obstacle{core, "normalises or rotates a gated unit's channels", false, false};
    for (HeadwiseOpInterface op : input.between)
      if (features(op->getResult(0)) / op.getNumHeads() != attention.getHeadDim())
        return Obstacle{op,
                        isa<NormOp>(op) ? "normalises all heads together"
                                        : ("has heads of another size for '" +
                                           op->getName().getStringRef() + "' than for attention")
                                              .str(),
                        false, false};
  }
  return std::nullopt;
}

std::optional<Obstacle> Unit::whyNotFollowed() const {
  if (output)
    return std::nullopt;
  if (other)
    return Obstacle{
        core,
        ("'" + other->getName().getStringRef() + "' follows, which is no plain linear layer").str(),
        true, false};
  return Obstacle{core,
                  isa<AttentionOp>(core) ? "no plain linear layer follows"
                                         : "is not between plain linear layers",
                  true, !isa<AttentionOp>(core)};
}

weight::QuantizeOp lm::finalQuantize(ParamOp param) {
  return param.getProgramValue().getDefiningOp<weight::QuantizeOp>();
}

SmallVector<UnitAxis> Unit::axes() const {
  SmallVector<UnitAxis> found;
  auto add = [&](Operation *op, Value rows) {
    auto user = dyn_cast<ParamUserOpInterface>(op);
    if (!user)
      return;
    for (const ParamUse &use : user.getParamUses())
      for (auto [index, axis] : llvm::enumerate(use.axes)) {
        const bool isHeads = axis.kind == ParamAxis::Kind::Heads;
        if (axis.rows == rows &&
            (isHeads || (axis.kind == ParamAxis::Kind::Features && axis.runs == 1)))
          found.push_back({user, lookupParam(op, use.param.getValue()),
                           index == 0 ? weight::Axis::Rows : weight::Axis::Columns,
                           (isHeads ? axis.runs : features(rows)) / parts});
      }
  };
  for (const Projection &input : inputs) {
    add(input.op, input.rows);
    for (Operation *op : input.between)
      add(op, op->getResult(0));
  }
  add(core, core->getResult(0));
  add(output, result());
  return found;
}

void Unit::setParts(int64_t count) const {
  auto narrow = [&](Value rows) { setFeatures(rows, features(rows) / parts * count); };
  for (const Projection &input : inputs) {
    narrow(input.rows);
    for (HeadwiseOpInterface op : input.between) {
      op.setNumHeads(op.getNumHeads() / parts * count);
      narrow(op->getResult(0));
    }
  }
  narrow(core->getResult(0));
  if (gate)
    narrow(result());
  if (auto attention = dyn_cast<AttentionOp>(core)) {
    attention.setHeads(int64_t(attention.getHeads()) / parts * count);
    attention.setKvHeads(count);
  }
}

std::string lm::describeUser(ParamUserOpInterface op) {
  std::string what =
      isa<LinearOp>(op) ? "a linear layer" : ("'" + op->getName().getStringRef() + "'").str();
  return what + " @" + op.getParamUses().front().param.getValue().str();
}
