//===- FieldCorpus.h - The documents of a compile --------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "compiler/Data/Corpus.h"
#include "compiler/Driver/Progress.h"
#include <optional>
#include <string>
#include <vector>

namespace retort {

/// The documents of a compile: read when first asked for, then lent to each plan and to the work.
class FieldCorpus {
public:
  /// `paths` are files and folders; `small` says that few held-out documents will do. `progress`
  /// must outlive the object.
  FieldCorpus(std::vector<std::string> paths, bool small, Progress &progress)
      : paths_(std::move(paths)), small_(small), progress_(progress) {}

  /// Throws Error: Usage if there are no paths, BadInput if too few documents are held out for a
  /// figure to mean much, else what Corpus::read() throws.
  const Corpus &get();
  /// The documents, if they were asked for.
  const Corpus *known() const { return corpus_ ? &*corpus_ : nullptr; }

private:
  std::vector<std::string> paths_;
  bool small_;
  Progress &progress_;
  std::optional<Corpus> corpus_;
};

} // namespace retort
