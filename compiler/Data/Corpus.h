//===- Corpus.h - The documents of a field --------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
// Reads files and folders into documents, drops what is not text and what is there twice, and
// splits what remains by source document. docs/corpus.md is the manual.
#pragma once
#include <cstdint>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace retort {

/// What a document is for. Figures are reported on HeldOut, which nothing else ever reads.
enum class Split : uint8_t { Train, HeldOut };
/// "train", "held-out".
std::string_view splitName(Split split);

/// One text of the corpus.
struct Document {
  std::string name; ///< path below its folder; "a.jsonl:7" is line 7, "book.txt@2" its second piece
  std::string text; ///< UTF-8 without a byte-order mark, lines ended by '\n', never empty
  std::string sha256; ///< of `text`: 64 lower-case hexadecimal digits
  std::string source; ///< SHA-256 of the text that it is a piece of; `sha256` if it is whole
  Split split;
};

struct CorpusOptions {
  double heldOutShare = 0.1;         ///< expected share of the sources; the rest is for training
  double nearDuplicateJaccard = 0.8; ///< shingle sets at least this alike are one document
  double containment = 0.5;          ///< held-out documents with this share of shingles in train go
  unsigned shingleWords = 5;         ///< words in a shingle
  uint64_t maxFileBytes = 1ull << 30; ///< larger files are dropped (a .jsonl file may be any size)
  uint64_t maxDocumentBytes = 1u << 20; ///< longer texts are cut into pieces at ends of lines
  uint64_t maxTextBytes = 2ull << 30; ///< more text than this is refused: documents stay in memory
};

/// What was read, and what was dropped and why. Every file that was met and every document that was
/// found is counted exactly once: files = readFiles + the first six reasons.
struct CorpusCounts {
  uint64_t files = 0;     ///< regular files met
  uint64_t readFiles = 0; ///< files that were opened as text, whatever became of their documents
  // Reasons to drop a file.
  uint64_t hiddenFiles = 0;      ///< the name, or a folder on the way, begins with '.'
  uint64_t unknownTypeFiles = 0; ///< an extension that Retort does not read
  uint64_t binaryFiles = 0;      ///< it holds a NUL byte
  uint64_t invalidUtf8Files = 0;
  uint64_t tooLargeFiles = 0;
  uint64_t unreadableFiles = 0; ///< and folders, a file each
  // Reasons to drop a document.
  uint64_t badLines = 0;       ///< lines of .jsonl without text; `notes` has why
  uint64_t emptyDocuments = 0; ///< nothing but white space
  uint64_t exactDuplicates = 0;
  uint64_t nearDuplicates = 0;
  uint64_t contained = 0;    ///< held-out documents whose text is mostly in train
  uint64_t droppedBytes = 0; ///< text of the last three
  // What remains, by Split.
  uint64_t documents[2] = {0, 0};
  uint64_t textBytes[2] = {0, 0};

  /// "a.jsonl:7: is no JSON": what was dropped that somebody may have meant to be read, the first
  /// kMostNotes of it.
  std::vector<std::string> notes;
  static constexpr size_t kMostNotes = 5;
  void note(std::string what) {
    if (notes.size() < kMostNotes)
      notes.push_back(std::move(what));
  }

  uint64_t keptDocuments() const { return documents[0] + documents[1]; }
  nlohmann::json toJson() const;
  /// "1,032 documents, 7.4 MB: 981 train, 51 held-out; dropped 68: ...".
  std::string summary() const;
};

/// A corpus in memory. Documents are in the order of their hashes, so nothing downstream depends on
/// where files lie or in which order they were named.
class Corpus {
public:
  /// Reads `paths`, files or folders (recursively, by name; links are followed, loops are not).
  /// Folders give .txt .text .md .markdown .rst .html .htm .jsonl; a file named in `paths` is read
  /// as plain text if it has another extension. `progress(done, total)` counts files if it is set.
  /// Throws Error: Io (a path does not exist or may not be read), BadInput (no document remains;
  /// the message has the counts), Resources (more text than maxTextBytes), Usage (an
  /// impossible share).
  static Corpus read(const std::vector<std::string> &paths, const CorpusOptions &options = {},
                     const std::function<void(uint64_t, uint64_t)> &progress = {});

  const std::vector<Document> &documents() const { return documents_; }
  /// The documents of one split. They live as long as the corpus.
  std::vector<const Document *> of(Split split) const;
  /// Likewise, but throws Error (BadInput) that says how many documents are needed if there is
  /// none.
  std::vector<const Document *> require(Split split) const;
  const CorpusCounts &counts() const { return counts_; }
  /// SHA-256 of the options and of the sorted hashes of the kept documents: two corpora with the
  /// same identity give the same documents in the same splits. For the workspace's keys.
  const std::string &identity() const { return identity_; }

private:
  std::vector<Document> documents_;
  CorpusCounts counts_;
  std::string identity_;
};

/// The split of all pieces of the text with this SHA-256: a function of the hash and the share only.
Split splitOf(std::string_view source, const CorpusOptions &options);

} // namespace retort
