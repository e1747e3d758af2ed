//===- Documents.cpp - `retort corpus` ------------------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Data/Corpus.h"
#include "compiler/Data/Tsv.h"
#include "compiler/Driver/Commands.h"
#include "compiler/Driver/Inputs.h"
#include "compiler/Driver/Workspace.h"
#include "runtime/base/Output.h"

#include <algorithm>
#include <cstdio>

namespace retort {

void corpusCommand(const DocumentsOptions &options) {
  checkNotInput(options.documents, options.corpus);
  const Corpus corpus = Corpus::read(options.corpus);
  if (!options.documents.empty()) {
    std::vector<std::string> lines;
    for (const Document &document : corpus.documents())
      lines.push_back(tsvField(document.name) + "\t" + document.sha256 + "\t" +
                      std::string(splitName(document.split)) + "\t" +
                      std::to_string(document.text.size()) + "\n");
    std::sort(lines.begin(), lines.end());
    std::string text = "document\tsha256\tsplit\ttext_bytes\n";
    for (const std::string &line : lines)
      text += line;
    writeFileAtomically(options.documents, text);
  }
  output::print("%s\n", corpus.counts().summary().c_str());
  for (const std::string &note : corpus.counts().notes)
    output::print("  left out: %s\n", note.c_str());
}

} // namespace retort
