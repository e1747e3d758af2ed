//===- Teacher.h - The checkpoint a compile starts from -------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "compiler/Checkpoint/Checkpoint.h"
#include "compiler/Data/Packing.h"
#include "compiler/Driver/Workspace.h"
#include "compiler/Tokenizer/Spec.h"
#include "compiler/Torch/Executor.h"
#include "dialects/LM/LMOps.h"
#include "runtime/src/tokenizer/Tokenizer.h"
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace retort {

/// A tokenizer with the tables that it walks.
struct LoadedTokenizer {
  TokenizerSpec spec;
  std::vector<uint8_t> tables;
  Tokenizer tokenizer;

  explicit LoadedTokenizer(TokenizerSpec spec);
  /// Ids of a document's text: nothing is added, and special tokens written in it are text.
  TokenizeFn tokenizeDocument() const;
  /// The id that stands before a text that is scored or trained on: the beginning token, else the
  /// end token. Throws Error (Unsupported) if the vocabulary has neither.
  int32_t startToken() const;
};

/// A checkpoint with its tokenizers. Weights stay in the file.
class Teacher {
public:
  /// Maps the checkpoint at `path`, a .gguf file or a Hugging Face folder, and the LoRA adapter that is
  /// merged into it (empty: none), and reads the tokenizer.
  /// `workspace` keeps the file's SHA-256 between runs. Throws Error.
  Teacher(const std::string &path, const Workspace &workspace, const ChatSource &chat = {},
          const std::string &adapter = "");

  const Checkpoint &checkpoint() const { return *checkpoint_; }
  /// Why a model made from this checkpoint cannot chat, if its template is the reason; else empty.
  const std::string &chatNote() const { return spec_.chatNote; }
  /// SHA-256 of everything in the checkpoint; computed once, then remembered by the files' names,
  /// sizes and times.
  const std::string &sha256();
  /// Throws Error (BadInput) if the files' sizes or times are others than when they were opened: what
  /// was planned and made of them would be of two models.
  void checkUnchanged() const;

  /// The tokenizer of a model made from this checkpoint: its own, or with a pruned vocabulary.
  const LoadedTokenizer &tokenizerOf(lm::ModelOp model);
  const LoadedTokenizer &tokenizer();

  /// Feeds the executor the values of `model`'s parameters in graph order. `model` must outlive the
  /// callback.
  exec::ReadRows readRows(lm::ModelOp model, const exec::Graph &graph);

  const Workspace &workspace() const { return workspace_; }
  /// What of the checkpoint is left out, a line for each kind of thing.
  const std::vector<std::string> &notes() const { return notes_; }

private:
  std::string path_, sha256_;
  const Workspace &workspace_;
  std::shared_ptr<const Checkpoint> checkpoint_;
  std::string fingerprint_; ///< of the files as they were opened
  std::vector<std::string> notes_;
  TokenizerSpec spec_;
  std::map<std::vector<int32_t>, std::unique_ptr<LoadedTokenizer>> tokenizers_;
};

} // namespace retort
