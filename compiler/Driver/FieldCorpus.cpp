//===- FieldCorpus.cpp - The documents of a compile ----------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Driver/FieldCorpus.h"
#include "runtime/base/Error.h"

namespace retort {

const Corpus &FieldCorpus::get() {
  if (!corpus_) {
    if (paths_.empty())
      fail(ExitCode::Usage, "the recipe works on documents: name them with --corpus");
    progress_.begin("read the corpus");
    corpus_ = Corpus::read(paths_, {},
                           [&](uint64_t done, uint64_t total) { progress_.update(done, total); });
    progress_.end(corpus_->counts().summary());
  }
  return *corpus_;
}

} // namespace retort
