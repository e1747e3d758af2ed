//===- CorpusFiles.h - From files to texts --------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "compiler/Data/Corpus.h"

#include <functional>
#include <string>
#include <vector>

namespace retort {

/// A file to read. `named` if the user named it and not a folder above it.
struct CorpusFile {
  std::string path; ///< to open it
  std::string name; ///< to call it: the path below the folder that the user named
  bool named = false;
};

/// The files under `paths`, folders walked by name, each folder once; what is hidden is counted and
/// left out. Throws Error (Io) if one of `paths` is not there.
std::vector<CorpusFile> findCorpusFiles(const std::vector<std::string> &paths,
                                        CorpusCounts &counts);

/// Takes a document's name, its text, and the SHA-256 of the whole text that it is a piece of.
using AddDocument =
    std::function<void(std::string name, std::string text, const std::string &source)>;

/// Reads a file's documents and gives each to `add`; counts what it drops. Texts are normalised: no
/// byte-order mark, '\n' ends lines, at most maxDocumentBytes (cut at an end of line). Throws Error
/// (Io) only for a file that the user named.
void readCorpusFile(const CorpusFile &file, const CorpusOptions &options, CorpusCounts &counts,
                    const AddDocument &add);

/// Where to cut `text`, longer than `maxBytes` (at least 4), so that at most `maxBytes` come
/// before: behind a newline or a space in the second half if there is one, else between two code
/// points.
size_t cutPoint(std::string_view text, size_t maxBytes);

/// The first byte of `text` that is not part of valid UTF-8, or npos.
size_t findInvalidUtf8(std::string_view text);

} // namespace retort
