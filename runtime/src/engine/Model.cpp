//===- Model.cpp - An opened bundle ---------------------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/src/engine/Model.h"
#include "runtime/base/Error.h"
#include "runtime/base/Sha256.h"

namespace retort::engine {
namespace {

std::optional<Tokenizer> openTokenizer(const BundleReader &bundle) {
  const Manifest::Part *part = bundle.manifest().findPart("tokenizer.bin");
  if (!part)
    return std::nullopt;
  Tokenizer tokenizer = Tokenizer::open(bundle.bytes(*part), bundle.path() + ": tokenizer.bin");
  if (tokenizer.vocabSize() > bundle.manifest().vocab)
    fail(ExitCode::BadInput,
         bundle.path() + ": the tokenizer has " + std::to_string(tokenizer.vocabSize()) +
             " tokens but the model has logits for " + std::to_string(bundle.manifest().vocab) +
             ": compile the model again");
  return tokenizer;
}

} // namespace

std::shared_ptr<const Model> Model::open(const std::string &path, const std::string &isa,
                                         unsigned threads, Weights weights) {
  BundleReader bundle = BundleReader::open(path, weights);
  bundle.verify(threads);
  // Every part is as it was made: only now is anything but the manifest parsed or run.
  std::optional<Tokenizer> tokenizer = openTokenizer(bundle);
  const Manifest &manifest = bundle.manifest();
  std::optional<Program> program;
  if (hasCodeForCpu(manifest) || !isa.empty() || manifest.cudaEntries.empty()) {
    const Manifest::Part *part = manifest.findPart("program.so");
    program.emplace(part ? Program::load(bundle.bytes(*part), part->sha256, manifest, isa, path)
                         : Program::load({}, sha256Hex(std::string_view()), manifest, isa, path));
  }
  std::optional<chat::Program> chat;
  if (const Manifest::Part *part = manifest.findPart("chat.bin"))
    chat = chat::Program::open(bundle.bytes(*part), path + ": chat.bin");
  return std::shared_ptr<const Model>(
      new Model(std::move(bundle), std::move(program), std::move(tokenizer), std::move(chat)));
}

Model::Model(BundleReader bundle, std::optional<Program> program,
             std::optional<Tokenizer> tokenizer, std::optional<chat::Program> chat)
    : bundle_(std::move(bundle)), program_(std::move(program)), tokenizer_(std::move(tokenizer)),
      chat_(std::move(chat)) {
  if (hasChat())
    chatMarkers_ = chat::findMarkers(*chat_, *tokenizer_);
}

std::span<const uint8_t> Model::part(std::string_view name) const {
  const Manifest::Part *part = manifest().findPart(name);
  if (!part)
    fail(ExitCode::Usage, bundle_.path() + ": has no part '" + std::string(name) + "'");
  return bundle_.bytes(*part);
}

const Tokenizer &Model::tokenizer() const {
  if (!tokenizer_)
    fail(ExitCode::Unsupported,
         bundle_.path() + ": has no tokenizer: give it tokens, or compile the model with one");
  return *tokenizer_;
}

int32_t Model::pickable() const {
  return tokenizer_ ? tokenizer_->vocabSize() : int32_t(manifest().vocab);
}

std::shared_ptr<const grammar::Grammar> Model::compileGrammar(grammar::Kind kind,
                                                              std::string_view text) const {
  const Tokenizer &known = tokenizer(); // throws where there is none
  const auto vocabulary = shared<grammar::Vocabulary>("vocabulary", [&] {
    std::vector<grammar::Vocabulary::Token> tokens;
    for (int32_t id = 0; id < pickable(); ++id)
      if (known.isStop(id))
        tokens.push_back({{}, {}, true});
      else if (known.isSpecial(id))
        tokens.push_back({std::string(known.tokenBytes(id)), {}, false, true});
      else
        tokens.push_back({std::string(known.tokenBytes(id)), known.firstTokenBytes(id), false});
    return new grammar::Vocabulary(std::move(tokens));
  });
  return std::make_shared<const grammar::Grammar>(vocabulary, kind, text);
}

bool Model::isStop(int32_t token) const { return tokenizer_ && tokenizer_->isStop(token); }

chat::Rendered Model::renderChat(const chat::Conversation &conversation) const {
  if (!chat_)
    fail(ExitCode::Unsupported,
         bundle_.path() + ": the model has no chat template: give it a prompt, or compile it with "
                          "--chat-template");
  return chat::render(*chat_, conversation);
}

std::vector<int32_t> Model::encodeChat(const chat::Rendered &rendered) const {
  return chat::encode(tokenizer(), rendered, chatMarkers_);
}

} // namespace retort::engine
