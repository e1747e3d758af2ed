//===- Tokenizer.cpp - From ids to text -----------------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/src/tokenizer/Tokenizer.h"
#include "runtime/base/Utf8.h"
#include "runtime/src/tokenizer/Tables.h"
#include <algorithm>

namespace retort {
using namespace tok;

Tokenizer::Tokenizer(std::unique_ptr<Tables> tables) : tables_(std::move(tables)) {}
Tokenizer::Tokenizer(Tokenizer &&) noexcept = default;
Tokenizer &Tokenizer::operator=(Tokenizer &&) noexcept = default;
Tokenizer::~Tokenizer() = default;

int32_t Tokenizer::vocabSize() const { return int32_t(tables_->config.vocab); }
int32_t Tokenizer::bos() const { return tables_->config.bos; }
int32_t Tokenizer::eos() const { return tables_->config.eos; }
bool Tokenizer::addsBos() const { return tables_->has(kAddsBos); }
std::span<const int32_t> Tokenizer::stopIds() const { return tables_->stop; }
bool Tokenizer::isStop(int32_t id) const {
  return std::find(tables_->stop.begin(), tables_->stop.end(), id) != tables_->stop.end();
}
std::string_view Tokenizer::tokenBytes(int32_t id) const {
  return tables_->inRange(id) ? tables_->bytesOf(id) : std::string_view();
}
bool Tokenizer::isSpecial(int32_t id) const {
  return tables_->inRange(id) && (tables_->flags[size_t(id)] & kSpecial);
}
int32_t Tokenizer::specialId(std::string_view content) const {
  for (uint32_t id = 0; id < tables_->config.vocab; ++id)
    if ((tables_->flags[id] & (kSpecial | kAdded)) && tables_->pieceOf(id) == content)
      return int32_t(id);
  return -1;
}

namespace {

constexpr std::string_view kMetaspace = "\xE2\x96\x81"; // U+2581

/// The first token of a text under a Metaspace decoder: its spaces are not written.
void appendBare(std::string &out, std::string_view piece) {
  while (!piece.empty()) {
    size_t hit = piece.find(kMetaspace);
    out.append(piece.substr(0, hit));
    piece.remove_prefix(hit == std::string_view::npos ? piece.size() : hit + kMetaspace.size());
  }
}

/// A run of byte tokens: the text if it is UTF-8, else U+FFFD for every byte, as ByteFallback has
/// it.
void flushBytes(std::string &out, std::string &run) {
  if (validPrefix(run) == run.size())
    out += run;
  else
    for (size_t i = 0; i < run.size(); ++i)
      out += kReplacement;
  run.clear();
}

} // namespace

std::string Tokenizer::decode(std::span<const int32_t> ids, bool skipSpecial) const {
  const Tables &t = *tables_;
  std::string text, run;
  bool first = true;
  for (int32_t id : ids) {
    if (!t.inRange(id) || (skipSpecial && (t.flags[id] & kSpecial)))
      continue;
    if (t.has(kDecodeBytes) && (t.flags[id] & kByte)) {
      run += t.bytesOf(id);
    } else {
      flushBytes(text, run);
      if (first && t.has(kDecodeFirstBare))
        appendBare(text, t.pieceOf(id));
      else
        text += t.bytesOf(id);
    }
    first = false;
  }
  flushBytes(text, run);
  if (t.config.stripSpaces && text.starts_with(' '))
    text.erase(0, 1);
  return validPrefix(text) == text.size() ? text : repaired(text);
}

std::string Tokenizer::firstTokenBytes(int32_t id) const {
  const Tables &t = *tables_;
  std::string bytes;
  if (!t.inRange(id))
    return bytes;
  if (t.has(kDecodeFirstBare) && !(t.flags[size_t(id)] & kByte))
    appendBare(bytes, t.pieceOf(uint32_t(id)));
  else
    bytes += t.bytesOf(uint32_t(id));
  if (t.config.stripSpaces && bytes.starts_with(' '))
    bytes.erase(0, 1);
  return bytes;
}

void StreamDecoder::follow(std::span<const int32_t> ids) {
  const Tables &t = tokenizer_->tables();
  first_ = ids.empty() || !t.inRange(ids.back()) || (t.flags[ids.back()] & kSpecial) != 0;
}

std::string StreamDecoder::push(int32_t id) {
  const Tables &t = tokenizer_->tables();
  if (!t.inRange(id) || (skipSpecial_ && (t.flags[id] & kSpecial) &&
                         std::find(shown_.begin(), shown_.end(), id) == shown_.end()))
    return {};
  if (first_)
    pending_ = tokenizer_->firstTokenBytes(id);
  else
    pending_ += t.bytesOf(id);
  first_ = false;

  std::string out;
  std::string_view rest = pending_;
  while (!rest.empty()) {
    size_t good = validPrefix(rest);
    out.append(rest.substr(0, good));
    rest.remove_prefix(good);
    if (rest.empty())
      break;
    Utf8Char c = readUtf8(rest.data(), rest.size());
    if (c.truncated)
      break;
    out += kReplacement;
    rest.remove_prefix(c.bytes);
  }
  pending_ = std::string(rest);
  return out;
}

std::string StreamDecoder::finish() {
  std::string out;
  appendRepaired(out, pending_);
  pending_.clear();
  first_ = true;
  return out;
}

} // namespace retort
