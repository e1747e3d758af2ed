//===- Accesses.cpp - Which buffers tile ops touch, and when --------------===//
// SPDX-License-Identifier: Apache-2.0
#include "dialects/Kernel/Accesses.h"
#include "llvm/ADT/DenseSet.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
namespace retort::kernel {

//===----------------------------------------------------------------------===//
// Accesses
//===----------------------------------------------------------------------===//

bool Access::conflicts(const Access &other) const {
  bool commute = is<access::Maximum>() && other.is<access::Maximum>();
  return buffer == other.buffer && (writes() || other.writes()) && !commute;
}

StringRef Access::verb() const {
  return llvm::TypeSwitch<AccessEffect *, StringRef>(way)
      .Case([](access::Write *) { return "writes"; })
      .Case([](access::Update *) { return "updates"; })
      .Case([](access::Maximum *) { return "keeps the maximum in"; })
      .Case([](access::Send *) { return "sends to"; })
      .Default([](AccessEffect *) { return "reads"; });
}

SmallVector<Access> TileOpInterface::getAccesses() {
  SmallVector<SideEffects::EffectInstance<AccessEffect>> effects;
  getEffects(effects);
  SmallVector<Access> result;
  for (const auto &effect : effects)
    result.push_back({cast<FlatSymbolRefAttr>(effect.getSymbolRef()), effect.getEffect(),
                      !effect.getEffectOnFullRegion()});
  return result;
}

//===----------------------------------------------------------------------===//
// History
//===----------------------------------------------------------------------===//

/// The accesses of a phase's ops, in order.
static SmallVector<PhaseAccess> accesses(PhaseOp phase) {
  SmallVector<PhaseAccess> result;
  for (auto op : phase.getBody().getOps<TileOpInterface>())
    for (const Access &access : op.getAccesses())
      result.push_back({phase, op, access});
  return result;
}

/// The other device takes what a phase sends as a sign that what it sent itself has been read.
static bool announces(const Access &send, const Access &receive) {
  return send.is<access::Send>() && receive.is<access::Receive>();
}

std::optional<Conflict> AccessHistory::conflict(PhaseOp phase) const {
  for (const PhaseAccess &later : accesses(phase)) {
    for (const PhaseAccess &earlier : exchanged)
      if (announces(earlier.access, later.access) ||
          (later.access.is<access::Send>() && later.access.buffer == earlier.access.buffer))
        return Conflict{earlier, later, /*exchange=*/true};
    for (const PhaseAccess &earlier : running)
      if (earlier.access.conflicts(later.access) || announces(later.access, earlier.access))
        return Conflict{earlier, later};
  }
  return std::nullopt;
}

void AccessHistory::append(PhaseOp phase) {
  for (const PhaseAccess &access : accesses(phase)) {
    running.push_back(access);
    if (access.access.is<access::Send, access::Receive>())
      exchanged.push_back(access);
  }
}

static void end(SmallVector<PhaseAccess> &accesses, PhaseOp phase) {
  llvm::erase_if(accesses, [&](const PhaseAccess &access) {
    return access.phase == phase || access.phase->isBeforeInBlock(phase);
  });
}

void AccessHistory::wait(PhaseOp phase) { end(running, phase); }

void AccessHistory::exchange(PhaseOp phase) {
  end(running, phase);
  end(exchanged, phase);
}

//===----------------------------------------------------------------------===//
// Lives
//===----------------------------------------------------------------------===//

llvm::DenseMap<StringAttr, Life> lives(ProgramOp program) {
  llvm::DenseMap<StringAttr, Life> result;
  int64_t epoch = 0;
  StringAttr last;
  for (Operation &op : *program.getBody().begin()) {
    // A wait for an earlier phase than the last leaves others running.
    if (auto wait = dyn_cast<WaitOp>(op))
      epoch += wait.getPhaseAttr().getAttr() == last;
    if (auto exchange = dyn_cast<ExchangeOp>(op))
      epoch += exchange.getPhaseAttr().getAttr() == last;
    auto phase = dyn_cast<PhaseOp>(op);
    if (!phase)
      continue;
    last = phase.getSymNameAttr();
    for (const PhaseAccess &access : accesses(phase))
      result.insert({access.access.buffer.getAttr(), {epoch, epoch}}).first->second.last = epoch;
  }
  return result;
}

//===----------------------------------------------------------------------===//
// Verification
//===----------------------------------------------------------------------===//

static LogicalResult report(const Conflict &conflict) {
  const auto &[earlier, later, exchange] = conflict;
  PhaseOp first = earlier.phase, second = later.phase;
  InFlightDiagnostic error = later.op->emitOpError();
  error << "in phase '" << second.getSymName() << "' " << later.access.verb() << " '"
        << later.access.buffer.getValue() << "' after '" << earlier.op->getName() << "' in phase '"
        << first.getSymName() << "' " << earlier.access.verb() << " ";
  if (earlier.access.buffer == later.access.buffer)
    error << "it";
  else
    error << "'" << earlier.access.buffer.getValue() << "'";
  return error << ", with no " << (exchange ? "kernel.exchange" : "kernel.wait") << " between them";
}

/// What ops of a phase may pass to each other: only what the same tile made.
static LogicalResult verifyPhase(PhaseOp phase) {
  SmallVector<PhaseAccess> all = accesses(phase);
  for (const auto &[index, later] : llvm::enumerate(all))
    for (const PhaseAccess &earlier : ArrayRef(all).take_front(index)) {
      bool passes =
          earlier.access.conflicts(later.access) && !(earlier.access.own && later.access.own);
      if (passes || announces(earlier.access, later.access) ||
          announces(later.access, earlier.access))
        return later.op->emitOpError()
               << later.access.verb() << " '" << later.access.buffer.getValue() << "' in phase '"
               << phase.getSymName() << "', in which other tiles of '" << earlier.op->getName()
               << "' touch '" << earlier.access.buffer.getValue() << "'";
    }
  return success();
}

/// Activations that share bytes hold values at different times.
static LogicalResult verifySharing(ProgramOp program) {
  struct Placed {
    BufferOp buffer;
    int64_t begin, end;
    Life life;
  };
  SmallVector<Placed> placed;
  llvm::DenseMap<StringAttr, Life> known = lives(program);
  for (auto buffer : program.getBody().getOps<BufferOp>()) {
    bool received = buffer.getKind() == BufferKind::Received && !buffer.isFlagged();
    auto life = known.find(buffer.getSymNameAttr());
    if (!buffer.getOffset() || life == known.end() ||
        !(received || buffer.getKind() == BufferKind::Activation))
      continue;
    int64_t begin = *buffer.getOffset();
    // What the other device writes it writes at any time.
    placed.push_back({buffer, begin, begin + buffer.sizeInBytes(),
                      received ? Life{0, std::numeric_limits<int64_t>::max()} : life->second});
  }
  for (size_t later = 0; later < placed.size(); ++later)
    for (const Placed &earlier : ArrayRef(placed).take_front(later)) {
      Placed &here = placed[later];
      if (here.begin < earlier.end && earlier.begin < here.end && here.life.meets(earlier.life))
        return here.buffer.emitOpError()
               << "shares bytes with '" << BufferOp(earlier.buffer).getSymName()
               << "', and no kernel.wait ends the use of one before that of the other";
    }
  return success();
}

namespace {
/// What activations and received buffers hold as a program runs.
class Contents {
public:
  explicit Contents(ProgramOp program) {
    for (auto buffer : program.getBody().getOps<BufferOp>()) {
      if (buffer.getKind() == BufferKind::Activation || buffer.getKind() == BufferKind::Received)
        empty.insert(buffer.getSymNameAttr());
      if (buffer.getKind() == BufferKind::Received)
        received.push_back(buffer.getSymNameAttr());
    }
  }

  /// What was received before is out of date: it is other buffers' turn.
  void exchange() {
    for (StringAttr name : received)
      if (!sent.contains(name))
        empty.insert(name);
    sent.clear();
  }

  LogicalResult access(const PhaseAccess &by) {
    const auto &[phase, op, access] = by;
    StringAttr name = access.buffer.getAttr();
    if (access.reads() && empty.contains(name)) { // (C11)
      const char *why = access.is<access::Receive>()
                            ? "', which nothing sends for the last kernel.exchange"
                            : "', which nothing before it writes";
      return TileOpInterface(op)->emitOpError() << "in phase '" << PhaseOp(phase).getSymName()
                                                << "' reads '" << name.getValue() << why;
    }
    if (access.writes())
      empty.erase(name);
    if (access.is<access::Send>())
      sent.insert(name);
    return success();
  }

private:
  llvm::DenseSet<StringAttr> empty, sent; ///< the second: since the last exchange
  SmallVector<StringAttr> received;
};
} // namespace

LogicalResult verifyAccesses(ProgramOp program) {
  AccessHistory history;
  Contents contents(program);
  llvm::DenseMap<StringAttr, PhaseOp> phases;
  for (Operation &op : *program.getBody().begin()) {
    if (auto wait = dyn_cast<WaitOp>(op))
      history.wait(phases.at(wait.getPhaseAttr().getAttr()));
    if (auto exchange = dyn_cast<ExchangeOp>(op)) {
      history.exchange(phases.at(exchange.getPhaseAttr().getAttr()));
      contents.exchange();
    }
    auto phase = dyn_cast<PhaseOp>(op);
    if (!phase)
      continue;
    if (failed(verifyPhase(phase))) // (C10)
      return failure();
    for (const PhaseAccess &access : accesses(phase))
      if (failed(contents.access(access)))
        return failure();
    if (std::optional<Conflict> conflict = history.conflict(phase)) // (C9)
      return report(*conflict);
    history.append(phase);
    phases[phase.getSymNameAttr()] = phase;
  }
  return verifySharing(program); // (C12)
}

} // namespace retort::kernel
