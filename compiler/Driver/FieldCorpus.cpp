//===- FieldCorpus.cpp - The documents of a compile ----------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Driver/FieldCorpus.h"
#include "runtime/base/Error.h"

namespace retort {
namespace {

/// With fewer, the figures on held-out documents say little: an interval over 50 documents is about
/// as wide as the gains that a specialist is made for.
constexpr uint64_t kLeastHeldOut = 50;

void checkHeldOut(const CorpusCounts &counts) {
  const uint64_t heldOut = counts.documents[static_cast<size_t>(Split::HeldOut)];
  if (heldOut < kLeastHeldOut)
    fail(ExitCode::BadInput,
         "the corpus has " + formatCount(counts.keptDocuments()) + " documents and holds out " +
             formatCount(heldOut) + " of them, but figures worth the name need " +
             formatCount(kLeastHeldOut) + ": give more documents, or go on with --small-corpus");
}

} // namespace

const Corpus &FieldCorpus::get() {
  if (!corpus_) {
    if (paths_.empty())
      fail(ExitCode::Usage, "the recipe works on documents: name them with --corpus");
    progress_.begin("read the corpus");
    Corpus corpus = Corpus::read(
        paths_, {}, [&](uint64_t done, uint64_t total) { progress_.update(done, total); });
    progress_.end(corpus.counts().summary());
    for (const std::string &note : corpus.counts().notes)
      progress_.note("left out: " + note);
    if (!small_)
      checkHeldOut(corpus.counts());
    corpus_ = std::move(corpus);
  }
  return *corpus_;
}

} // namespace retort
