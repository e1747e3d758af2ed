//===- ConfigReader.h - What the readers of both worlds share ---*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "compiler/Import/ConfigKeys.h"
#include "compiler/Import/Family.h"
#include "compiler/Import/ModelConfig.h"
#include <optional>
#include <string>
#include <vector>

namespace retort {

/// Fills a ModelConfig from a family's row and the keys that both worlds have. The reader of a
/// world refuses what no row can say, looks keys up and adds what only its files say.
class ConfigReader {
public:
  virtual ~ConfigReader() = default;
  ModelConfig read();

protected:
  ConfigReader(const Family &family, const FamilyDefaults &defaults, const std::string &path);

  // The value of a key; nothing if the file has no such key. Throws Error (BadInput) if the value
  // is of another kind.
  virtual std::optional<int64_t> integer(const ConfigKey &key) const = 0;
  virtual std::optional<double> number(const ConfigKey &key) const = 0;
  /// A number for each layer (a file may have one for all); empty if the file has no such key.
  virtual std::vector<int64_t> perLayer(const ConfigKey &key) const = 0;
  /// Whether the file has the key and says by it that there is none (a null, or a 0 in GGUF).
  virtual bool isNone(const ConfigKey &key) const = 0;
  /// The key as the file writes it, for messages.
  virtual std::string name(const ConfigKey &key) const = 0;
  [[noreturn]] virtual void missing(const ConfigKey &key) const = 0;

  /// The rotated features of a head and the scaling of positions; both bases are there.
  virtual void readRopes() = 0;
  /// Which layers attend only to the latest `window` rows.
  virtual std::vector<bool> slidingLayers(int64_t window) const = 0;
  /// Which layers of a family that lists them rotate query and key.
  virtual std::vector<bool> rotatingLayers() const = 0;
  /// Scale of attention, activation, biases, tied embeddings, and how tensors are stored.
  virtual void readStructure() = 0;

  /// Heads of layers without a window, of a family that may have others there; windows are there.
  virtual void readWideHeads() = 0;

  /// The rotary base of each layer of a family that says it layer by layer; 0: it does not rotate.
  virtual std::vector<double> layerBases() const = 0;

  /// All layers but `wide` ones, by the file's n or the family's.
  std::vector<bool> patternLayers(WideLayers wide) const;
  /// All layers but every nth.
  std::vector<bool> allButEvery(int64_t nth) const;
  [[noreturn]] void unsupported(const std::string &what) const;
  [[noreturn]] void unsupportedScaling(const std::string &what) const;
  void refuseParallelResidual(bool isParallel) const;
  void refusePerLayerInputs(int64_t features) const;
  void refuseSharedCaches(int64_t layers) const;
  /// The size of the heads that the rope turns, `config_.rope` or `config_.ropeLocal`.
  int64_t headDimOf(const RopeConfig &rope) const;

  const Family &family_;
  const FamilyDefaults defaults_;
  const std::string &path_;
  ModelConfig config_;

private:
  void readSizes();
  void readWindows();
  void readRotation();
  void readMultipliers();
  int64_t integerOr(const ConfigKey &key, int64_t otherwise) const;
  std::optional<double> softCap(const ConfigKey &key, double otherwise) const;
  [[noreturn]] void refuse(const ConfigKey &key, int64_t value, const std::string &wanted) const;
};

} // namespace retort
