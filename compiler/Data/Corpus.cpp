//===- Corpus.cpp - The documents of a field --------------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Data/Corpus.h"
#include "compiler/Data/CorpusFiles.h"
#include "compiler/Data/Hash.h"
#include "compiler/Data/NearDuplicates.h"
#include "compiler/Data/Numbers.h"
#include "runtime/base/Error.h"
#include "runtime/base/Sha256.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <unordered_map>

namespace retort {
namespace {

void checkOptions(const CorpusOptions &options) {
  if (!(options.heldOutShare >= 0 && options.heldOutShare < 1))
    fail(ExitCode::Usage, "the held-out share of the corpus must be at least 0 and below 1");
  if (!(options.nearDuplicateJaccard > 0 && options.nearDuplicateJaccard <= 1))
    fail(ExitCode::Usage, "the near-duplicate threshold must be above 0 and at most 1");
  if (!(options.containment > 0))
    fail(ExitCode::Usage, "the share of contained shingles must be above 0");
}

/// Every reason to drop something: its JSON key, its name in a sentence, its count.
struct Reason {
  const char *key, *words;
  uint64_t CorpusCounts::*count;
};
constexpr Reason fileReasons[] = {
    {"unknown_type", "of another type", &CorpusCounts::unknownTypeFiles},
    {"binary", "binary", &CorpusCounts::binaryFiles},
    {"invalid_utf8", "not UTF-8", &CorpusCounts::invalidUtf8Files},
    {"too_large", "too large", &CorpusCounts::tooLargeFiles},
    {"unreadable", "unreadable", &CorpusCounts::unreadableFiles},
    {"hidden", "hidden", &CorpusCounts::hiddenFiles}};
constexpr Reason documentReasons[] = {
    {"bad_json_line", "JSON lines without text", &CorpusCounts::badLines},
    {"empty", "empty", &CorpusCounts::emptyDocuments},
    {"exact_duplicate", "exact duplicates", &CorpusCounts::exactDuplicates},
    {"near_duplicate", "near-duplicates", &CorpusCounts::nearDuplicates},
    {"contained_in_train", "held-out but mostly in train", &CorpusCounts::contained}};

/// "3 binary, 1 empty", or an empty string.
template <size_t N>
std::string listReasons(const CorpusCounts &counts, const Reason (&reasons)[N]) {
  std::string list;
  for (const Reason &reason : reasons)
    if (const uint64_t count = counts.*reason.count)
      list += (list.empty() ? "" : ", ") + withCommas(count) + " " + reason.words;
  return list;
}

[[noreturn]] void failEmpty(const std::vector<std::string> &paths, const CorpusCounts &counts) {
  std::string message = (paths.empty() ? std::string("the corpus") : paths[0]) +
                        (paths.size() > 1 ? " and the other corpus paths" : "") +
                        ": the corpus has no text: " + withCommas(counts.files) +
                        (counts.files == 1 ? " file" : " files");
  const std::string files = listReasons(counts, fileReasons);
  const std::string documents = listReasons(counts, documentReasons);
  if (!files.empty())
    message += " (" + files + ")";
  if (!documents.empty())
    message += ", documents dropped: " + documents;
  if (!counts.notes.empty())
    message += ", the first: " + counts.notes.front();
  fail(ExitCode::BadInput,
       message + ": give UTF-8 files of type .txt .md .rst .html or .jsonl, or folders of them");
}

std::string identityOf(const std::vector<Document> &documents, const CorpusOptions &options) {
  const nlohmann::json settings = {{"format", "retort-corpus-3"},
                                   {"held_out_share", options.heldOutShare},
                                   {"near_duplicate_jaccard", options.nearDuplicateJaccard},
                                   {"containment", options.containment},
                                   {"shingle_words", options.shingleWords},
                                   {"max_document_bytes", options.maxDocumentBytes}};
  Sha256 hash;
  hash.add(settings.dump() + "\n");
  for (const Document &document : documents)
    hash.add(document.sha256 + " " + std::string(splitName(document.split)) + "\n");
  return hash.hex();
}

void removeMarked(std::vector<Document> &documents, const std::vector<char> &marked) {
  size_t out = 0;
  for (size_t i = 0; i < documents.size(); ++i)
    if (!marked[i]) {
      if (out != i)
        documents[out] = std::move(documents[i]);
      ++out;
    }
  documents.erase(documents.begin() + static_cast<std::ptrdiff_t>(out), documents.end());
}

/// Drops each document that is almost the same as one of smaller hash that was kept. Going by hash
/// makes the choice a function of the set of documents.
void dropNearDuplicates(std::vector<Document> &documents, const CorpusOptions &options,
                        CorpusCounts &counts) {
  NearDuplicateIndex index(options.nearDuplicateJaccard, options.shingleWords);
  // The index keeps views of the texts, so nothing moves until all have been judged.
  std::vector<char> dropped(documents.size());
  for (size_t i = 0; i < documents.size(); ++i)
    if (index.findOrAdd(documents[i].text) >= 0) {
      dropped[i] = 1;
      ++counts.nearDuplicates;
      counts.droppedBytes += documents[i].text.size();
    }
  removeMarked(documents, dropped);
}

/// Drops each held-out document that training would give away: near-duplicates are alike as wholes,
/// this finds an excerpt, or a text that several others hold in parts.
void dropContained(std::vector<Document> &documents, const CorpusOptions &options,
                   CorpusCounts &counts) {
  std::vector<std::string_view> heldOut;
  for (const Document &document : documents)
    if (document.split == Split::HeldOut)
      heldOut.push_back(document.text);
  ShingleSet shingles(heldOut, options.shingleWords);
  for (const Document &document : documents)
    if (document.split == Split::Train)
      shingles.mark(document.text);
  std::vector<char> dropped(documents.size());
  for (size_t i = 0; i < documents.size(); ++i)
    if (documents[i].split == Split::HeldOut &&
        shingles.markedShare(documents[i].text) >= options.containment) {
      dropped[i] = 1;
      ++counts.contained;
      counts.droppedBytes += documents[i].text.size();
    }
  removeMarked(documents, dropped);
}
} // namespace

std::string_view splitName(Split split) {
  switch (split) {
  case Split::Train:
    return "train";
  case Split::HeldOut:
    return "held-out";
  }
  return "train";
}

Split splitOf(std::string_view source, const CorpusOptions &options) {
  // Uniform in [0, 1): 53 bits of the mixed hash. Mixed, since documents are also sorted by it.
  const double u = static_cast<double>(mix64(leadingBits(source)) >> 11) * 0x1p-53;
  return u < options.heldOutShare ? Split::HeldOut : Split::Train;
}

nlohmann::json CorpusCounts::toJson() const {
  nlohmann::json json = {{"files", files},
                         {"read_files", readFiles},
                         {"dropped_bytes", droppedBytes},
                         {"notes", notes}};
  for (const Reason &reason : fileReasons)
    json["dropped_files"][reason.key] = this->*reason.count;
  for (const Reason &reason : documentReasons)
    json["dropped_documents"][reason.key] = this->*reason.count;
  for (Split split : {Split::Train, Split::HeldOut}) {
    const auto i = static_cast<size_t>(split);
    const char *key = split == Split::HeldOut ? "held_out" : splitName(split).data();
    json["documents"][key] = documents[i];
    json["text_bytes"][key] = textBytes[i];
  }
  return json;
}

std::string CorpusCounts::summary() const {
  std::string text = withCommas(keptDocuments()) + " documents, " +
                     humanBytes(textBytes[0] + textBytes[1]) + ": " + withCommas(documents[0]) +
                     " train, " + withCommas(documents[1]) + " held-out";
  const std::string droppedFiles = listReasons(*this, fileReasons);
  const std::string droppedDocuments = listReasons(*this, documentReasons);
  if (!droppedFiles.empty())
    text += "; files left out: " + droppedFiles;
  if (!droppedDocuments.empty())
    text += "; documents dropped: " + droppedDocuments;
  return text;
}

Corpus Corpus::read(const std::vector<std::string> &paths, const CorpusOptions &options,
                    const std::function<void(uint64_t, uint64_t)> &progress) {
  checkOptions(options);
  Corpus corpus;
  CorpusCounts &counts = corpus.counts_;
  std::unordered_map<std::string, size_t> known; // hash of a text -> its document
  uint64_t total = 0;
  const auto add = [&](std::string name, std::string text, const std::string &source) {
    std::string sha256 = sha256Hex(std::string_view(text));
    const auto [same, isNew] = known.emplace(sha256, corpus.documents_.size());
    if (!isNew) {
      ++counts.exactDuplicates;
      counts.droppedBytes += text.size();
      // A piece that two sources share is of the one whose hash is least: not of the one that was
      // read first, which depends on the order of the paths.
      if (Document &kept = corpus.documents_[same->second]; source < kept.source) {
        kept.name = std::move(name);
        kept.source = source;
        kept.split = splitOf(source, options);
      }
      return;
    }
    total += text.size();
    if (total > options.maxTextBytes)
      fail(ExitCode::Resources, name + ": with this document the corpus exceeds " +
                                    humanBytes(options.maxTextBytes) +
                                    " of text, the most that is held in memory: give a part of it");
    corpus.documents_.push_back(
        {std::move(name), std::move(text), std::move(sha256), source, splitOf(source, options)});
  };

  const std::vector<CorpusFile> files = findCorpusFiles(paths, counts);
  for (size_t i = 0; i < files.size(); ++i) {
    readCorpusFile(files[i], options, counts, add);
    if (progress)
      progress(i + 1, files.size());
  }
  std::sort(corpus.documents_.begin(), corpus.documents_.end(),
            [](const Document &a, const Document &b) { return a.sha256 < b.sha256; });
  dropNearDuplicates(corpus.documents_, options, counts);
  dropContained(corpus.documents_, options, counts);
  if (corpus.documents_.empty())
    failEmpty(paths, counts);
  for (const Document &document : corpus.documents_) {
    ++counts.documents[static_cast<size_t>(document.split)];
    counts.textBytes[static_cast<size_t>(document.split)] += document.text.size();
  }
  corpus.identity_ = identityOf(corpus.documents_, options);
  return corpus;
}

std::vector<const Document *> Corpus::of(Split split) const {
  std::vector<const Document *> result;
  for (const Document &document : documents_)
    if (document.split == split)
      result.push_back(&document);
  return result;
}

std::vector<const Document *> Corpus::require(Split split) const {
  std::vector<const Document *> result = of(split);
  if (result.empty())
    fail(ExitCode::BadInput, "the corpus has " + withCommas(documents_.size()) +
                                 (documents_.size() == 1 ? " document" : " documents") +
                                 " and none of them falls into its " +
                                 std::string(splitName(split)) +
                                 " part: give more documents, at least about 30");
  return result;
}

} // namespace retort
