//===- TileOpInterface.td - What a tile op says of itself ---------*- tablegen -*-===//
// SPDX-License-Identifier: Apache-2.0
#ifndef RETORT_KERNEL_TILE_OP_INTERFACE_TD
#define RETORT_KERNEL_TILE_OP_INTERFACE_TD
include "mlir/IR/OpBase.td"
include "mlir/Interfaces/SideEffectInterfaceBase.td"

def TileOpInterface : EffectOpInterfaceBase<"TileOpInterface", "::retort::kernel::AccessEffect"> {
  let description = [{
    What is known of a tile op without asking which one it is: the buffers that it touches, its tile
    space, its cost, and a few words for people. Waits are derived from the accesses, and verified
    by them (dialects/Kernel/Accesses.h).
  }];
  let cppNamespace = "::retort::kernel";
  let methods = [
    InterfaceMethod<
      "Appends an effect for each buffer that the op names; generated from its arguments.",
      "void", "getEffects", (ins
        "::llvm::SmallVectorImpl<::mlir::SideEffects::EffectInstance<"
        "::retort::kernel::AccessEffect>> &":$effects),
      "", [{ (void)effects; }]>,
    InterfaceMethod<[{
        The tiles of a phase that has the op, where a tile has `rowTile` rows of the step (0: it is
        not cut so). A tile a row unless the op says otherwise; none for an op that goes with any
        tile space.
      }], "::std::optional<::retort::kernel::TileSpace>", "getTileSpace",
      (ins "const ::retort::kernel::Buffers &":$buffers, "int64_t":$rowTile),
      "", [{
        (void)buffers, (void)rowTile;
        return ::retort::kernel::TileSpace{1, /*rowTile=*/1};
      }]>,
    InterfaceMethod<"Verifies the shapes of the buffers, all of which exist.",
      "::llvm::LogicalResult", "verifyBuffers", (ins "const ::retort::kernel::Buffers &":$buffers)>,
    InterfaceMethod<"Adds what the op moves and computes to the cost of its phase.",
      "void", "addCost",
      (ins "const ::retort::kernel::Buffers &":$buffers, "::retort::kernel::PhaseCost &":$cost)>,
    InterfaceMethod<[{
        Appends what the op does in words: "norm", "576 -> 960, int4 in groups of 64".
      }],
      "void", "describe",
      (ins "const ::retort::kernel::Buffers &":$buffers, "::retort::kernel::Words &":$words)>];
  let extraClassDeclaration = [{
    /// The buffers that the op names, in the order of its arguments.
    ::llvm::SmallVector<::retort::kernel::Access> getAccesses();
  }];
  let extraTraitClassDeclaration = [{
    ::llvm::LogicalResult verifySymbolUses(::mlir::SymbolTableCollection &tables) {
      return ::retort::kernel::verifyTileOp(
          ::llvm::cast<TileOpInterface>(this->getOperation()), tables);
    }
  }];
}

/// How an op touches a buffer. `Own`: each tile only its own part of it (its row, or the 16 columns
/// that it makes), so that ops of one phase may pass it on; else any part.
class Access<string effect, EffectRange range>
    : SideEffect<TileOpInterface, "::retort::kernel::access::" # effect, DefaultResource, 0, range>;
def Read : Access<"Read", FullEffect>;
def ReadOwn : Access<"Read", PartialEffect>;
def Write : Access<"Write", FullEffect>;
def WriteOwn : Access<"Write", PartialEffect>;
/// Reads and writes it. What tiles pass to each other there (`Update`: nothing else is read) the op
/// orders itself.
def Update : Access<"Update", FullEffect>;
def UpdateOwn : Access<"Update", PartialEffect>;
/// Atomically keeps the maximum: the order of tiles does not matter.
def Maximum : Access<"Maximum", FullEffect>;
/// Writes it on the other device, and reads what the other device wrote.
def Send : Access<"Send", FullEffect>;
def Receive : Access<"Receive", FullEffect>;

/// A buffer among the arguments of a tile op.
class Buffer<Access access> : Arg<FlatSymbolRefAttr, "", [access]>;
class OptionalBuffer<Access access> : Arg<OptionalAttr<FlatSymbolRefAttr>, "", [access]>;
#endif
