//===- Teacher.cpp - The checkpoint a compile starts from -------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Driver/Teacher.h"
#include "compiler/Import/Config.h"
#include "compiler/Import/Import.h"
#include "compiler/Weights/ParamStream.h"
#include "runtime/base/Sha256.h"

namespace retort {

LoadedTokenizer::LoadedTokenizer(TokenizerSpec given)
    : spec(std::move(given)), tables(compileTokenizer(spec)),
      tokenizer(Tokenizer::open(tables, spec.source)) {}

TokenizeFn LoadedTokenizer::tokenizeDocument() const {
  return [this](std::string_view text) {
    return tokenizer.encode(text, /*addSpecial=*/false, /*parseSpecial=*/false);
  };
}

int32_t LoadedTokenizer::startToken() const {
  const int32_t start = spec.bos >= 0 ? spec.bos : spec.eos;
  if (start < 0)
    fail(ExitCode::Unsupported, spec.source + ": the vocabulary has neither a beginning nor an end "
                                              "token, so no text can be scored with it");
  return start;
}

Teacher::Teacher(const std::string &path, const Workspace &workspace, const ChatSource &chat,
                 const std::string &adapter)
    : path_(path), workspace_(workspace),
      checkpoint_(std::make_shared<const Checkpoint>(Checkpoint::open(path, adapter))),
      fingerprint_(checkpoint_->fingerprint()), notes_(leftOut(*checkpoint_)),
      spec_(fitVocabulary(checkpoint_->gguf() ? readTokenizer(*checkpoint_->gguf(), chat)
                                              : readTokenizer(path, chat),
                          readModelConfig(*checkpoint_).vocab, notes_)) {}

const std::string &Teacher::sha256() {
  if (sha256_.empty()) {
    // Hashing gigabytes again for every command would take longer than the command.
    const std::string fingerprint = sha256Hex(std::string_view(fingerprint_));
    if (auto known = workspace_.read(fingerprint, "sha256"))
      sha256_ = *known;
    else
      workspace_.put(fingerprint, "sha256", sha256_ = checkpoint_->identity());
  }
  return sha256_;
}

void Teacher::checkUnchanged() const {
  if (checkpoint_->fingerprint() != fingerprint_)
    fail(ExitCode::BadInput, path_ + ": changed while it was read: run the command again");
}

const LoadedTokenizer &Teacher::tokenizerOf(lm::ModelOp model) {
  std::vector<int32_t> kept;
  if (auto ids = model.getVocabKept())
    kept.assign(ids->begin(), ids->end());
  std::unique_ptr<LoadedTokenizer> &entry = tokenizers_[kept];
  if (!entry)
    entry = std::make_unique<LoadedTokenizer>(kept.empty() ? spec_ : pruneVocabulary(spec_, kept));
  return *entry;
}

const LoadedTokenizer &Teacher::tokenizer() {
  std::unique_ptr<LoadedTokenizer> &entry = tokenizers_[{}];
  if (!entry)
    entry = std::make_unique<LoadedTokenizer>(spec_);
  return *entry;
}

exec::ReadRows Teacher::readRows(lm::ModelOp model, const exec::Graph &graph) {
  struct State {
    std::shared_ptr<const Checkpoint> checkpoint;
    WeightSources sources;
    std::vector<lm::ParamOp> params;
    int32_t open = exec::kNone;
    std::optional<ParamStream> stream;
    State(std::shared_ptr<const Checkpoint> file, const Workspace &workspace)
        : checkpoint(std::move(file)),
          sources(checkpoint.get(), [&workspace](const std::string &hash) {
            return workspace.objectPath(hash, "safetensors");
          }) {}
  };
  auto state = std::make_shared<State>(checkpoint_, workspace_);
  for (const exec::Param &param : graph.params)
    state->params.push_back(model.lookupParam(param.name));
  return [state](exec::ParamId param, int64_t begin, int64_t end, float *out) {
    return exec::guarded([&] {
      if (state->open != param || begin == 0) {
        state->stream.emplace(state->params.at(param), state->sources);
        state->open = param;
      }
      state->stream->readRows(begin, end, out);
    });
  };
}

} // namespace retort
