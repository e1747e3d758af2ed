//===- shapes.h - What a kernel is compiled for, and what follows from it --------------------===//
// SPDX-License-Identifier: Apache-2.0
//
// Each kernel of kernels/cuda is a template over one of these structs. What its tiles are, what it
// holds in shared memory and how it goes through its pieces are functions of the struct, which the
// kernel, the emitter (compiler/Codegen/CudaShapes.cpp), the verifier of kernel.phase and the cost
// model call. `members` names a shape's members in their order, and kType the
// struct, for the emitted text.
//
// Members have at most 4 bytes: clang 19 crashes on some template arguments with larger ones.
//
// Columns are of f32 in memory; "at" is the first one, "stride" from a row to the next.
#pragma once
#include "kernels/cuda/layout.h"
#include "kernels/cuda/machine.h"
#include "runtime/base/Activation.h"

namespace retort::cuda {

// A kernel that computes with a float of its shape makes it a constexpr variable first: read from
// the template argument itself it acts as 0 where clang 19 compiles for the simulator
// (test/unit/CudaKernels finds that).

// Shapes are written with these names where only this namespace is at hand.
using retort::Activation;
using retort::CacheFormat;

/// How many tiles a step has: `tiles` for each `rowTile` rows begun; with `rowParts` n a row is n of
/// what `rowTile` counts. rowTile 0: `tiles` whatever the rows.
struct TileSpace {
  int tiles = 1, rowTile = 0, rowParts = 1;

  RETORT_HOST_DEVICE constexpr int of(int rows) const {
    return rowTile ? tiles * ceilDiv(rows * rowParts, rowTile) : tiles;
  }
  constexpr bool perRow() const { return rowTile == 1 && rowParts == 1; }
  bool operator==(const TileSpace &) const = default;
};

//===- Products -----------------------------------------------------------------------------===//

/// A tile of prefill's products: `blocks` blocks of 16 weight rows times kRows rows of the step.
struct PrefillTile {
  static constexpr int kRows = 64;
  int blocks;
  bool operator==(const PrefillTile &) const = default;
};
/// By mma.sync (prefill_rows.cuh): 4 warps along the weights and 2 along the rows, 32 x 32 each.
constexpr PrefillTile kMmaTile = {8};
/// By wgmma (prefill_wgmma.cuh): 8 warps along the weights, 32 x 64 each.
constexpr PrefillTile kWgmmaTile = {16};

/// f32 that a row has for a piece beside its bytes: for each group its scale, and its values' sum if
/// the weights have minima.
RETORT_HOST_DEVICE constexpr int pieceScales(WeightLayout weights) {
  return weights.groupsPerPiece() * (weights.minima ? 2 : 1);
}

/// Rows of the step times a packed matrix: matmul, matmulGlu and matmulArgmax, decoding (matmul.cuh)
/// and prefill (prefill_matmul.cuh).
struct ProductShape {
  static constexpr char kType[] = "ProductShape";
  static constexpr int kMaxDecodeRows = 16;

  int in = 0, out = 0; ///< columns and rows of the matrix; gated: channels
  WeightLayout weights = {};
  bool gated = false; ///< a matrix of 2 out rows, "mma16_gated": act(gate) * up
  Activation act = Activation::Silu;
  int maxRows = 0; ///< of a step
  int sourceStride = 0, sourceAt = 0, destStride = 0;
  bool norm = false; ///< RMS norm of the source, with gain[i], or 1 + gain[i]
  bool normOffset = false;
  float eps = 0;
  bool hasBias = false, hasResidual = false; ///< residual rows are destStride apart; it may be dest
  float softCap = 0;                         ///< 0: none
  bool wanted = false;                       ///< rows are step.wanted's
  bool sums = false;                         ///< rows are source + what the other device sent
  bool sends = false;                        ///< what goes to dest goes to the other device too

  template <class F> constexpr void members(const F &f) const {
    f("in", in), f("out", out), f("weights", weights), f("gated", gated), f("act", act);
    f("maxRows", maxRows), f("sourceStride", sourceStride), f("sourceAt", sourceAt);
    f("destStride", destStride), f("norm", norm), f("normOffset", normOffset), f("eps", eps);
    f("hasBias", hasBias), f("hasResidual", hasResidual), f("softCap", softCap);
    f("wanted", wanted), f("sums", sums), f("sends", sends);
  }
  RETORT_HOST_DEVICE constexpr int matrices() const { return gated ? 2 : 1; }
  /// Of 16 rows, of each matrix.
  RETORT_HOST_DEVICE constexpr int blocks() const { return ceilDiv(out, 16); }
  RETORT_HOST_DEVICE constexpr int pieces() const { return int(weights.pieces(in)); }
  /// With padding.
  RETORT_HOST_DEVICE constexpr int columns() const { return pieces() * weights.pieceCols(); }
  /// Whether decoding's products are integer tensor cores' (weights.cuh).
  RETORT_HOST_DEVICE constexpr bool integers() const { return weights.integers(); }
  /// Whether a row of the source may be loaded four values at a time.
  RETORT_HOST_DEVICE constexpr bool vectors() const {
    return in % 4 == 0 && sourceStride % 4 == 0 && sourceAt % 4 == 0;
  }

  //===- Decoding: a tile is a block, of all rows; the warps share out its pieces.

  RETORT_HOST_DEVICE constexpr TileSpace decodeTiles() const { return {blocks()}; }

  /// A product is compiled for up to 4, 8 and 16 rows: n times 4 of them, 8 columns of B each.
  RETORT_HOST_DEVICE static constexpr int rowGroups(int rows) {
    return rows <= 4 ? 1 : rows <= 8 ? 2 : 4;
  }
  /// Partial sums [matrices][warp][step row][16 weight rows], each step row 24 floats: fragments are
  /// stored without conflicts, since rows t start 8 banks apart.
  static constexpr int kPartRowFloats = 24;
  RETORT_HOST_DEVICE static constexpr int warpPartFloats(int n) { return n * 4 * kPartRowFloats; }
  RETORT_HOST_DEVICE constexpr int partFloats(int n) const {
    return matrices() * kWarps * warpPartFloats(n);
  }
  /// Two buffers where they are small: one barrier a tile instead of two.
  RETORT_HOST_DEVICE constexpr int partBuffers(int n) const { return matrices() * n <= 4 ? 2 : 1; }
  /// The work area: the warps' sums of squares, partial sums, then the staged rows.
  RETORT_HOST_DEVICE constexpr int squareBytes() const { return maxRows * kWarps * 4; }
  RETORT_HOST_DEVICE constexpr int partsAt() const { return ceilDiv(squareBytes(), 128) * 128; }
  RETORT_HOST_DEVICE constexpr int rowsAt(int n) const {
    return partsAt() + partBuffers(n) * partFloats(n) * 4;
  }
  /// Bytes of a staged row, which becomes two and starts 16 further round the banks.
  RETORT_HOST_DEVICE constexpr int rowStride() const {
    return columns() * (integers() ? 1 : 2) + 16;
  }
  /// Scales of integers' rows: [piece][row][pieceScales]. 4 words more a piece, so that those of two
  /// pieces are written to different banks.
  RETORT_HOST_DEVICE constexpr int rowScales() const {
    return integers() ? pieceScales(weights) : 0;
  }
  RETORT_HOST_DEVICE constexpr int pieceFloats(int n) const {
    return rowScales() ? 4 * n * rowScales() + 4 : 0;
  }
  RETORT_HOST_DEVICE constexpr int scaleBytes(int n) const { return pieces() * pieceFloats(n) * 4; }
  /// Bytes of `rows` staged rows, of at most 4 n.
  RETORT_HOST_DEVICE constexpr int stagedBytes(int n, int rows) const {
    return scaleBytes(n) + rows * 2 * rowStride();
  }
  /// Whether `rows` rows fit beside the partial sums.
  RETORT_HOST_DEVICE constexpr bool fits(int n, int rows, SharedMemory shared) const {
    return rowsAt(n) + stagedBytes(n, rows) <= shared.workBytes();
  }

  /// Pieces of a block that a warp reads: of the warp with most.
  RETORT_HOST_DEVICE constexpr int warpPieces() const { return ceilDiv(pieces(), kWarps); }
  /// Slots of the ring that they take, and pieces of a slot. A slot costs its warp some 80
  /// instructions, so it is as large as leaves three slots, of which two are in flight while one is
  /// read.
  RETORT_HOST_DEVICE constexpr int blockSlots(SharedMemory shared) const {
    return ceilDiv(warpPieces(), maxOf(1, shared.warpRingBytes() / 3 / weights.pieceBytes()));
  }
  RETORT_HOST_DEVICE constexpr int slotPieces(SharedMemory shared) const {
    return ceilDiv(warpPieces(), blockSlots(shared));
  }
  /// Every slot is full, which the compiler may know: that saves instructions.
  RETORT_HOST_DEVICE constexpr bool fullSlots(SharedMemory shared) const {
    return pieces() % kWarps == 0 && warpPieces() % slotPieces(shared) == 0;
  }

  //===- Prefill: a tile is a PrefillTile; a gated product's blocks are gate and up in turns.

  /// f32 weights are not for tensor cores.
  RETORT_HOST_DEVICE constexpr PrefillTile prefillTile(bool wgmma) const {
    return {wgmma && weights.kind != WeightKind::F32 ? kWgmmaTile.blocks : kMmaTile.blocks};
  }
  /// Tiles along the weights.
  RETORT_HOST_DEVICE constexpr int outTiles(bool wgmma) const {
    return ceilDiv(matrices() * blocks(), prefillTile(wgmma).blocks);
  }
  RETORT_HOST_DEVICE constexpr TileSpace prefillTiles(bool wgmma) const {
    return {outTiles(wgmma), PrefillTile::kRows};
  }
};

//===- Attention ----------------------------------------------------------------------------===//

/// A layer's part of a page of the cache: K [kvHeads][kPageRows][dims], then V.
struct CacheShape {
  static constexpr char kType[] = "CacheShape";
  static constexpr int kPageRows = 16; ///< positions of a page

  int kvHeads = 0, dims = 0;
  CacheFormat format = CacheFormat::F16;
  int pageBytes = 0; ///< of all layers

  template <class F> constexpr void members(const F &f) const {
    f("kvHeads", kvHeads), f("dims", dims), f("format", format), f("pageBytes", pageBytes);
  }
  RETORT_HOST_DEVICE constexpr int valueBytes() const {
    return format == CacheFormat::F32 ? 4 : format == CacheFormat::F8E4M3 ? 1 : 2;
  }
  RETORT_HOST_DEVICE constexpr int headValues() const { return kPageRows * dims; }
  RETORT_HOST_DEVICE constexpr int valueOffset() const { return kvHeads * headValues(); }
};

/// Heads normed and rotated on their way to attention and the cache: prefill's ropeAppend
/// (prefill_attention.cuh), and a part of attend.
struct AppendShape {
  static constexpr char kType[] = "AppendShape";
  int heads = 0;
  CacheShape cache = {};
  int rotaryDims = 0; ///< features of a head that are rotated
  int qStride = 0, qAt = 0, kStride = 0, kAt = 0, vStride = 0, vAt = 0;
  bool qNorm = false, kNorm = false, normOffset = false;
  bool normLast = false; ///< heads are rotated first
  float eps = 0;

  template <class F> constexpr void members(const F &f) const {
    f("heads", heads), f("cache", cache), f("rotaryDims", rotaryDims), f("qStride", qStride);
    f("qAt", qAt), f("kStride", kStride), f("kAt", kAt), f("vStride", vStride), f("vAt", vAt);
    f("qNorm", qNorm), f("kNorm", kNorm), f("normOffset", normOffset), f("normLast", normLast);
    f("eps", eps);
  }
  /// Query heads that share a key/value head.
  RETORT_HOST_DEVICE constexpr int group() const { return heads / cache.kvHeads; }
  /// A tile is a head of a row, a warp's.
  RETORT_HOST_DEVICE constexpr TileSpace tiles() const { return {1, 1, heads + 2 * cache.kvHeads}; }
};

/// Attention of a decoding step (attend.cuh). A tile is a row, a key/value head with at most 8 of
/// its query heads, and a split of the row's pages.
struct AttendShape {
  static constexpr char kType[] = "AttendShape";
  AppendShape append = {};
  int splits = 1, maxRows = 0;
  int window = 0; ///< positions that a row sees; 0: all
  float scale = 0, softCap = 0;
  bool sinks = false;
  int countersAt = kSyncReserved; ///< word of `sync` from which on arrivals of splits are counted

  template <class F> constexpr void members(const F &f) const {
    f("append", append), f("splits", splits), f("maxRows", maxRows), f("window", window);
    f("scale", scale), f("softCap", softCap), f("sinks", sinks), f("countersAt", countersAt);
  }
  /// Query heads of a tile: the largest divisor of the group up to 8, the columns of a product.
  RETORT_HOST_DEVICE constexpr int tileHeads() const {
    int best = 1;
    for (int d = 1; d <= 8; ++d)
      best = append.group() % d == 0 ? d : best;
    return best;
  }
  /// Tiles of a row and split.
  RETORT_HOST_DEVICE constexpr int splitTiles() const { return append.heads / tileHeads(); }
  RETORT_HOST_DEVICE constexpr TileSpace tiles() const { return {splits * splitTiles(), 1}; }
  /// Splits that a row of `pages` pages has: a split is worth its combining from a page a warp on.
  /// Other tiles of the row end at once.
  RETORT_HOST_DEVICE constexpr int splitsOf(int pages) const {
    return minOf(ceilDiv(pages, kWarps), splits);
  }

  /// Parts of a key of 32 features, of a value of 64; the last may be filled up.
  RETORT_HOST_DEVICE constexpr int segments() const { return ceilDiv(append.cache.dims, 32); }
  RETORT_HOST_DEVICE constexpr int chunks() const { return ceilDiv(append.cache.dims, 64); }
  /// A page is asked for while the one before is worked on, all of it at once if registers hold it
  /// beside the sums: so many of each at a time. Words are those of eight elements.
  RETORT_HOST_DEVICE constexpr int heldSegments() const {
    return minOf(segments(), 32 / (2 * append.cache.valueBytes()));
  }
  RETORT_HOST_DEVICE constexpr int heldChunks() const {
    const int words = 2 * append.cache.valueBytes(), room = words == 8 ? 128 : 176;
    int held = chunks();
    while (held > 1 && words * (2 * heldSegments() + 4 * held) + 16 * chunks() > room)
      held = (held + 1) / 2;
    return held;
  }
  /// Times that the loads of a page are waited for.
  RETORT_HOST_DEVICE constexpr int pageTrips() const {
    return ceilDiv(segments(), heldSegments()) + ceilDiv(chunks(), heldChunks()) - 1;
  }

  // Shared memory. While walking: queries, for each 16 features the A registers of the lanes, of
  // which g is the head, 16 bytes each; K, then V of this step's rows [maxRows] in the cache's
  // format; scratch. Strides in bytes are such that a request of a quarter of the warp (of half, if
  // its lanes ask for 8 bytes) is in different banks.
  static constexpr int kQueryStride = 8 * 64 + 64; ///< of a block; neighbours' banks differ
  RETORT_HOST_DEVICE static constexpr int stride(int bytes, int rest, int modulus) {
    return bytes + ((rest - bytes) % modulus + modulus) % modulus;
  }
  RETORT_HOST_DEVICE constexpr int keyStride() const {
    const int bytes = append.cache.valueBytes();
    return stride(append.cache.dims * bytes, bytes == 1 ? 32 : bytes == 2 ? 64 : 16, 128);
  }
  RETORT_HOST_DEVICE constexpr int valueStride() const {
    return stride(append.cache.dims * append.cache.valueBytes(), 16, 64);
  }
  RETORT_HOST_DEVICE constexpr int keysAt() const { return 2 * segments() * kQueryStride; }
  RETORT_HOST_DEVICE constexpr int valuesAt() const { return keysAt() + maxRows * keyStride(); }
  RETORT_HOST_DEVICE constexpr int scratchAt() const {
    return valuesAt() + maxRows * valueStride();
  }
  // After: the warps' sums of mergeHeads() heads at a time, [kWarps][heads][chunks * 64] f32, then
  // m and l of each.
  RETORT_HOST_DEVICE constexpr int mergeFloats() const { return chunks() * 64; }
  RETORT_HOST_DEVICE constexpr int mergeHeads() const {
    return minOf(tileHeads(), chunks() <= 2 ? 8 : 4);
  }
  // Last, in both, the flag of the tile that adds up the splits.
  RETORT_HOST_DEVICE constexpr int flagAt() const {
    const int walk = scratchAt() + kWarps * append.cache.dims * 4;
    const int merge = kWarps * mergeHeads() * (mergeFloats() + 2) * 4;
    return ceilDiv(maxOf(walk, merge), 16) * 16;
  }
  RETORT_HOST_DEVICE constexpr int workBytes() const { return flagAt() + 16; }
  /// Floats of a partial sum in memory: o [dims], m, l.
  RETORT_HOST_DEVICE constexpr int sumFloats() const { return append.cache.dims + 2; }
};

/// Attention of a prefill step (prefill_attention.cuh). A tile is kQueries queries, a row and a
/// query head each, that share a key/value head.
struct AttentionShape {
  static constexpr char kType[] = "AttentionShape";
  static constexpr int kQueries = 128;

  int heads = 0;
  CacheShape cache = {};
  int qStride = 0, qAt = 0;
  int window = 0;
  float scale = 0, softCap = 0;
  bool sinks = false;

  template <class F> constexpr void members(const F &f) const {
    f("heads", heads), f("cache", cache), f("qStride", qStride), f("qAt", qAt);
    f("window", window), f("scale", scale), f("softCap", softCap), f("sinks", sinks);
  }
  RETORT_HOST_DEVICE constexpr int group() const { return heads / cache.kvHeads; }
  RETORT_HOST_DEVICE constexpr TileSpace tiles() const {
    return {cache.kvHeads, kQueries, group()};
  }

  // Shared memory: [2 buffers][K, V][keyTile][keyUnits, swizzled], then for features beyond 128 the
  // queries as f16, which registers have no room for.
  /// Of 16 bytes, of a key in shared memory.
  RETORT_HOST_DEVICE constexpr int keyUnits() const { return ceilDiv(cache.dims, 64) * 8; }
  /// Keys of a tile of them.
  RETORT_HOST_DEVICE constexpr int keyTile() const {
    return cache.dims > 128 ? 16 : cache.dims > 64 ? 32 : 64;
  }
  RETORT_HOST_DEVICE constexpr int keyTileBytes() const { return keyTile() * keyUnits() * 16; }
  RETORT_HOST_DEVICE constexpr bool queriesShared() const { return cache.dims > 128; }
  RETORT_HOST_DEVICE constexpr int queriesAt() const { return 4 * keyTileBytes(); }
  RETORT_HOST_DEVICE constexpr int arenaBytes() const {
    return queriesAt() + (queriesShared() ? kQueries * keyUnits() * 16 : 0);
  }
};

//===- Rows ---------------------------------------------------------------------------------===//

/// The tiles of a phase whose elements, `features` a row, are spread over threads of all CTAs.
RETORT_HOST_DEVICE constexpr TileSpace elementTiles(int features) {
  return {1, kThreads, features};
}

/// embed (embed.cuh): a tile is a row.
struct EmbedShape {
  static constexpr char kType[] = "EmbedShape";
  int hidden = 0;
  WeightLayout weights = {};
  float scale = 1;

  template <class F> constexpr void members(const F &f) const {
    f("hidden", hidden), f("weights", weights), f("scale", scale);
  }
  RETORT_HOST_DEVICE constexpr TileSpace tiles() const { return {1, 1}; }
};

/// angles (embed.cuh): `half` cosines and as many sines a row.
struct AnglesShape {
  static constexpr char kType[] = "AnglesShape";
  int half = 0;
  float scale = 1;
  int every = 0; ///< positions of a step of the scale; 0: it has no steps

  template <class F> constexpr void members(const F &f) const {
    f("half", half), f("scale", scale), f("every", every);
  }
  RETORT_HOST_DEVICE constexpr TileSpace tiles() const { return elementTiles(half); }
};

/// norm (rows.cuh), over each of `groups` slices of the row: a tile is a slice, a warp's.
struct NormShape {
  static constexpr char kType[] = "NormShape";
  int features = 0, groups = 1;
  bool normOffset = false;
  float eps = 0;
  bool hasResidual = false;

  template <class F> constexpr void members(const F &f) const {
    f("features", features), f("groups", groups), f("normOffset", normOffset), f("eps", eps);
    f("hasResidual", hasResidual);
  }
  RETORT_HOST_DEVICE constexpr TileSpace tiles() const { return {1, 1, groups}; }
};

/// layerNorm (rows.cuh): a tile is a row, a warp's.
struct LayerNormShape {
  static constexpr char kType[] = "LayerNormShape";
  int features = 0;
  float eps = 0;

  template <class F> constexpr void members(const F &f) const {
    f("features", features), f("eps", eps);
  }
  RETORT_HOST_DEVICE constexpr TileSpace tiles() const { return {1, 1}; }
};

/// glu (rows.cuh).
struct GluShape {
  static constexpr char kType[] = "GluShape";
  int channels = 0;
  int gateStride = 0, gateAt = 0, upStride = 0, upAt = 0;
  Activation act = Activation::Silu;

  template <class F> constexpr void members(const F &f) const {
    f("channels", channels), f("gateStride", gateStride), f("gateAt", gateAt);
    f("upStride", upStride), f("upAt", upAt), f("act", act);
  }
  RETORT_HOST_DEVICE constexpr TileSpace tiles() const { return elementTiles(channels); }
};

/// residual and sum (rows.cuh); while decoding sum adds what the other device sends (exchange.cuh).
struct SumShape {
  static constexpr char kType[] = "SumShape";
  int features = 0;
  bool hasResidual = false; ///< of sum

  template <class F> constexpr void members(const F &f) const {
    f("features", features), f("hasResidual", hasResidual);
  }
  RETORT_HOST_DEVICE constexpr TileSpace tiles() const { return elementTiles(features); }
  /// Of a sum while decoding: a word has two columns.
  RETORT_HOST_DEVICE constexpr TileSpace wordTiles() const {
    return elementTiles(ceilDiv(features, 2));
  }
};

/// sample (sample.cuh): a tile is a wanted row.
struct SampleShape {
  static constexpr char kType[] = "SampleShape";
  int first = 0;  ///< logits that device 0 makes: columns of step.logits
  int second = 0; ///< logits that device 1 makes: columns of step.other_logits; 0: there is none

  template <class F> constexpr void members(const F &f) const {
    f("first", first), f("second", second);
  }
  RETORT_HOST_DEVICE constexpr int tokens() const { return first + second; }
  RETORT_HOST_DEVICE constexpr TileSpace tiles() const { return {1, 1}; }
};

} // namespace retort::cuda
