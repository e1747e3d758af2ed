//===- CorpusTest.cpp - Reading, dropping and splitting documents -----------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Data/Corpus.h"
#include "compiler/Data/CorpusFiles.h"
#include "compiler/Data/NearDuplicates.h"
#include "runtime/base/Error.h"
#include "runtime/base/Sha256.h"
#include "test/unit/Data/TestText.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <map>
#include <nlohmann/json.hpp>
#include <sys/stat.h>
#include <unistd.h>

using namespace retort;
using namespace retort::test;
namespace fs = std::filesystem;
using testing::HasSubstr;

namespace {
class CorpusTest : public testing::Test {
protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "retort-corpus.XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    dir_ = pattern;
  }
  void TearDown() override { fs::remove_all(dir_); }

  std::string write(const std::string &name, const std::string &content) {
    const fs::path path = dir_ / name;
    fs::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary) << content;
    return path.string();
  }
  Corpus read(const CorpusOptions &options = {}) const {
    return Corpus::read({dir_.string()}, options);
  }
  static std::map<std::string, std::string> texts(const Corpus &corpus) {
    std::map<std::string, std::string> result;
    for (const Document &document : corpus.documents())
      result[document.name] = document.text;
    return result;
  }

  fs::path dir_;
};

Error errorOf(const std::function<void()> &body) {
  try {
    body();
  } catch (const Error &error) {
    return error;
  }
  return {ExitCode::Ok, ""};
}
} // namespace

TEST_F(CorpusTest, ReadsEachFormat) {
  write("a.txt", "\xEF\xBB\xBFone\r\ntwo\rthree");
  write("sub/b.MD", "# four");
  write("c.rst", "five");
  write("d.html", "<p>six</p>");
  write("e.jsonl", "{\"text\":\"seven\"}\n\n{\"content\":\"eight\"}\nbroken\n{\"text\":\" \"}\n"
                   "{\"text\":\"nul\\u0000\"}\r\n{\"text\":\"last\"}\r{\"text\":\"of all\"}");
  const Corpus corpus = read();
  const std::map<std::string, std::string> expected = {
      {"a.txt", "one\ntwo\nthree"}, {"sub/b.MD", "# four"}, {"c.rst", "five"},
      {"d.html", "six\n"},          {"e.jsonl:1", "seven"}, {"e.jsonl:3", "eight"},
      {"e.jsonl:6", "nul\uFFFD"},   {"e.jsonl:7", "last"},  {"e.jsonl:8", "of all"}};
  EXPECT_EQ(texts(corpus), expected);
  EXPECT_EQ(corpus.counts().badLines, 1u);
  EXPECT_THAT(corpus.counts().notes, testing::ElementsAre("e.jsonl:4: is no JSON object"));
  EXPECT_EQ(corpus.counts().emptyDocuments, 1u);
}

TEST_F(CorpusTest, CountsEachFileOnceWithItsReason) {
  write("good.txt", "text");
  write("binary.txt", std::string("a\0b", 3));
  write("latin1.txt", "caf\xE9");
  write("program.bin", "x");
  write(".hidden.txt", "x");
  write(".git/config.txt", "not even met");
  write("empty.txt", " \n\t");
  write("copy.md", "text");
  write("large.txt", std::string(5000, 'x'));
  fs::create_symlink("nowhere", dir_ / "dangling.txt");
  ASSERT_EQ(mkfifo((dir_ / "pipe.txt").c_str(), 0600), 0);
  CorpusOptions options;
  options.maxFileBytes = 4096;
  const Corpus corpus = read(options);
  const CorpusCounts &counts = corpus.counts();
  EXPECT_EQ(counts.files, 9u);
  EXPECT_EQ(counts.readFiles, 3u);
  EXPECT_EQ(counts.binaryFiles, 1u);
  EXPECT_EQ(counts.invalidUtf8Files, 1u);
  EXPECT_EQ(counts.unknownTypeFiles, 1u);
  EXPECT_EQ(counts.hiddenFiles, 1u);
  EXPECT_EQ(counts.tooLargeFiles, 1u);
  EXPECT_EQ(counts.unreadableFiles, 1u);
  EXPECT_EQ(counts.emptyDocuments, 1u);
  EXPECT_EQ(counts.exactDuplicates, 1u);
  EXPECT_EQ(counts.keptDocuments(), 1u);
  EXPECT_EQ(counts.files, counts.readFiles + counts.binaryFiles + counts.invalidUtf8Files +
                              counts.unknownTypeFiles + counts.hiddenFiles + counts.tooLargeFiles +
                              counts.unreadableFiles);
  EXPECT_EQ(counts.toJson()["dropped_files"]["binary"], 1);
  EXPECT_THAT(counts.summary(), HasSubstr("1 exact duplicates"));
}

/// A folder that may not be read is counted and named; names that are no UTF-8 are read and shown.
TEST_F(CorpusTest, NothingIsLostInSilence) {
  write("good.txt", "text");
  write("caf\xE9.txt", "a Latin-1 name");
  write("latin1.txt", "caf\xE9");
  write("utf16.txt", std::string("\xFF\xFEt\0", 4));
  fs::create_symlink("self", dir_ / "self");
  write("closed/a.txt", "behind a door");
  fs::permissions(dir_ / "closed", fs::perms::none);
  const bool closed = !fs::exists(dir_ / "closed/a.txt") || ::geteuid() != 0;
  const Corpus corpus = read();
  fs::permissions(dir_ / "closed", fs::perms::owner_all);
  EXPECT_EQ(texts(corpus).count("caf\uFFFD.txt"), 1u);
  const std::vector<std::string> &notes = corpus.counts().notes;
  EXPECT_THAT(notes, testing::Contains("latin1.txt: is not UTF-8 from byte 3 on"));
  EXPECT_THAT(notes, testing::Contains(HasSubstr("utf16.txt: has a NUL byte: it is UTF-16")));
  EXPECT_THAT(notes, testing::Contains(HasSubstr("self: Too many levels of symbolic links")));
  if (closed) { // to root no folder is
    EXPECT_THAT(notes, testing::Contains("closed/: Permission denied"));
    EXPECT_EQ(corpus.counts().unreadableFiles, 2u);
  }
}

TEST_F(CorpusTest, FollowsLinksButNoLoops) {
  write("a/one.txt", "one");
  fs::create_directory_symlink("..", dir_ / "a/up");
  fs::create_directory_symlink(dir_ / "a", dir_ / "again");
  EXPECT_EQ(texts(read()), (std::map<std::string, std::string>{{"a/one.txt", "one"}}));
}

TEST_F(CorpusTest, ANamedFileNeedsNoExtension) {
  const std::string path = write("notes", "text");
  EXPECT_EQ(Corpus::read({path}).documents().size(), 1u);
  EXPECT_EQ(errorOf([&] { read(); }).code, ExitCode::BadInput);
}

TEST_F(CorpusTest, CutsLongDocumentsAtLines) {
  std::mt19937_64 random(5);
  const std::string text =
      joined(randomWords(random, 4000)) + std::string(3000, 'y') + "\u4e2d\u6587";
  write("book.txt", text);
  CorpusOptions options;
  options.maxDocumentBytes = 1000;
  const Corpus corpus = read(options);
  std::map<unsigned, std::string> pieces;
  for (const Document &document : corpus.documents()) {
    EXPECT_LE(document.text.size(), 1000u);
    EXPECT_EQ(findInvalidUtf8(document.text), std::string::npos);
    pieces[static_cast<unsigned>(std::stoul(document.name.substr(sizeof("book.txt@") - 1)))] =
        document.text;
  }
  std::string whole;
  for (const auto &[number, piece] : pieces)
    whole += piece;
  EXPECT_EQ(whole.size() + corpus.counts().droppedBytes, text.size());
  EXPECT_EQ(pieces.at(1).back(), '\n');
}

TEST_F(CorpusTest, NamesWhatAnEmptyCorpusHeld) {
  Error error = errorOf([&] { read(); });
  EXPECT_EQ(error.code, ExitCode::BadInput);
  EXPECT_THAT(error.message, HasSubstr("0 files"));
  write("a.txt", std::string("\0\1", 2));
  write("b.txt", std::string("\0\2", 2));
  write("c.txt", "\xff\xfe");
  error = errorOf([&] { read(); });
  EXPECT_EQ(error.code, ExitCode::BadInput);
  EXPECT_THAT(error.message, HasSubstr("3 files (2 binary, 1 not UTF-8)"));
  EXPECT_THAT(error.message, HasSubstr(dir_.string()));
  EXPECT_EQ(error.message.find('\n'), std::string::npos);
  EXPECT_EQ(errorOf([&] { Corpus::read({(dir_ / "missing").string()}); }).code, ExitCode::Io);
  EXPECT_EQ(errorOf([&] { Corpus::read({"/dev/null"}); }).code, ExitCode::Io);
}

TEST_F(CorpusTest, RefusesMoreTextThanItMayHold) {
  write("a.txt", std::string(600, 'a'));
  write("b.txt", std::string(600, 'b'));
  CorpusOptions options;
  options.maxTextBytes = 1000;
  const Error error = errorOf([&] { read(options); });
  EXPECT_EQ(error.code, ExitCode::Resources);
  EXPECT_THAT(error.message, HasSubstr("with this document the corpus exceeds"));
  options.containment = 0;
  EXPECT_EQ(errorOf([&] { read(options); }).message,
            "the share of contained shingles must be above 0");
  for (double threshold : {0.0, 1.5}) {
    options.nearDuplicateJaccard = threshold;
    EXPECT_EQ(errorOf([&] { read(options); }).message,
              "the near-duplicate threshold must be above 0 and at most 1");
  }
  options.heldOutShare = 1;
  EXPECT_EQ(errorOf([&] { read(options); }).code, ExitCode::Usage);
}

TEST_F(CorpusTest, SplitDependsOnTheDocumentOnly) {
  std::mt19937_64 random(11);
  std::vector<std::string> documents;
  for (int i = 0; i < 400; ++i)
    documents.push_back(joined(randomWords(random, 40)));
  for (int i = 0; i < 400; ++i)
    write("all/" + std::to_string(i) + ".txt", documents[i]);
  for (int i = 0; i < 400; i += 2) // half of them, elsewhere, in another order, as lines of JSON
    write("half/" + std::to_string(999 - i) + ".jsonl",
          nlohmann::json({{"text", documents[i]}}).dump() + "\n");
  const Corpus all = Corpus::read({(dir_ / "all").string()});
  const Corpus half = Corpus::read({(dir_ / "half").string()});
  std::map<std::string, Split> splits;
  for (const Document &document : all.documents())
    splits[document.sha256] = document.split;
  ASSERT_EQ(half.documents().size(), 200u);
  for (const Document &document : half.documents())
    EXPECT_EQ(document.split, splits.at(document.sha256));
  // 10 % of 400 is 40, standard deviation 6.
  EXPECT_NEAR(static_cast<double>(all.counts().documents[1]), 40, 24);
}

TEST_F(CorpusTest, IdentityIsOfTheDocumentsAndTheOptions) {
  write("x/a.txt", "alpha");
  write("x/b.txt", "beta");
  write("y/b.md", "beta");
  write("y/deep/a.rst", "alpha\r");
  write("z/a.txt", "alpha");
  const auto identity = [&](const char *folder, const CorpusOptions &options = {}) {
    return Corpus::read({(dir_ / folder).string()}, options).identity();
  };
  write("y/deep/a.rst", "alpha");
  EXPECT_EQ(identity("x"), identity("y"));
  EXPECT_NE(identity("x"), identity("z"));
  CorpusOptions options;
  options.heldOutShare = 0.2;
  EXPECT_NE(identity("x"), identity("x", options));
}

TEST_F(CorpusTest, NoNearDuplicateLeaksFromHeldOutToTrain) {
  std::mt19937_64 random(13);
  for (int i = 0; i < 60; ++i) {
    std::vector<std::string> words = randomWords(random, 150);
    for (int copy = 0; copy < 6; ++copy) { // versions of one page, each a word further on
      write(std::to_string(i) + "-" + std::to_string(copy) + ".txt", joined(words));
      words[random() % words.size()] = "new" + std::to_string(copy);
    }
  }
  CorpusOptions options;
  options.heldOutShare = 0.5;
  const Corpus corpus = read(options);
  EXPECT_GE(corpus.counts().nearDuplicates, 60u * 3);
  std::vector<std::vector<uint64_t>> shingles;
  for (const Document &document : corpus.documents())
    shingles.push_back(shinglesOf(document.text, 5));
  for (size_t a = 0; a < shingles.size(); ++a)
    for (size_t b = a + 1; b < shingles.size(); ++b)
      EXPECT_LT(jaccard(shingles[a], shingles[b]), 0.8);
}

TEST_F(CorpusTest, PiecesOfASourceAreOnOneSide) {
  std::mt19937_64 random(19);
  std::vector<std::string> paths;
  const std::string shared = std::string(990, 'z') + "\n"; // the last piece of every third book
  for (int i = 0; i < 60; ++i) {
    std::string book;
    for (int page = 0; page < 4; ++page)
      book += joined(randomWords(random, 300)).substr(0, 999) + "\n";
    paths.push_back(write(std::to_string(i) + ".txt", book + (i % 3 ? "" : shared)));
  }
  CorpusOptions options;
  options.maxDocumentBytes = 1000;
  options.heldOutShare = 0.5;
  const Corpus corpus = Corpus::read(paths, options);
  std::map<std::string, Split> splits; // of a source, by its name
  for (const Document &document : corpus.documents()) {
    const std::string book = document.name.substr(0, document.name.find('@'));
    EXPECT_EQ(document.split, splitOf(document.source, options));
    EXPECT_EQ(splits.emplace(book, document.split).first->second, document.split) << document.name;
  }
  EXPECT_EQ(splits.size(), 60u);
  EXPECT_EQ(corpus.counts().exactDuplicates, 19u);
  EXPECT_GT(corpus.counts().documents[1], 60u);
  EXPECT_GT(corpus.counts().documents[0], 60u);
  // What several sources share belongs to the same one of them in whatever order they are read.
  std::reverse(paths.begin(), paths.end());
  const Corpus again = Corpus::read(paths, options);
  EXPECT_EQ(corpus.identity(), again.identity());
  EXPECT_EQ(texts(corpus), texts(again));
}

TEST_F(CorpusTest, HeldOutTextThatTrainHoldsIsDropped) {
  std::mt19937_64 random(23);
  CorpusOptions options;
  options.heldOutShare = 0.5;
  const auto isHeldOut = [&](const std::string &text) {
    return splitOf(sha256Hex(std::string_view(text)), options) == Split::HeldOut;
  };
  // Each excerpt is a share of a page and new words; near-duplicates of none.
  std::vector<std::string> excerpts; // by name
  for (int i = 0; i < 200; ++i) {
    const std::vector<std::string> page = randomWords(random, 400);
    const size_t taken = random() % 100;
    std::vector<std::string> excerpt(page.begin(),
                                     page.begin() + static_cast<std::ptrdiff_t>(taken));
    const std::vector<std::string> rest = randomWords(random, 100 - taken);
    excerpt.insert(excerpt.end(), rest.begin(), rest.end());
    write("page" + std::to_string(i) + ".txt", joined(page));
    write("part" + std::to_string(i) + ".txt", joined(excerpt));
  }
  const Corpus corpus = read(options);
  std::vector<uint64_t> train; // all shingles of training text
  for (const Document *document : corpus.of(Split::Train)) {
    const std::vector<uint64_t> shingles = shinglesOf(document->text, 5);
    train.insert(train.end(), shingles.begin(), shingles.end());
  }
  std::sort(train.begin(), train.end());
  const std::map<std::string, std::string> kept = texts(corpus);
  uint64_t dropped = 0;
  for (const auto &entry : fs::directory_iterator(dir_)) {
    std::ifstream file(entry.path());
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    const std::vector<uint64_t> shingles = shinglesOf(text, 5);
    const auto in = std::count_if(shingles.begin(), shingles.end(), [&](uint64_t shingle) {
      return std::binary_search(train.begin(), train.end(), shingle);
    });
    const bool isMostlyIn = 2 * static_cast<size_t>(in) >= shingles.size();
    EXPECT_EQ(kept.contains(entry.path().filename()), !(isHeldOut(text) && isMostlyIn));
    dropped += isHeldOut(text) && isMostlyIn;
  }
  EXPECT_GT(dropped, 10u);
  EXPECT_EQ(corpus.counts().contained, dropped);
  EXPECT_EQ(corpus.counts().toJson()["dropped_documents"]["contained_in_train"], dropped);
  EXPECT_THAT(corpus.counts().summary(), HasSubstr("held-out but mostly in train"));
}

TEST_F(CorpusTest, OrderOfPathsDoesNotMatter) {
  std::mt19937_64 random(17);
  std::vector<std::string> paths;
  for (int i = 0; i < 30; ++i) {
    std::vector<std::string> words = randomWords(random, 100);
    for (int copy = 0; copy < 2; ++copy) {
      paths.push_back(
          write(std::to_string(i) + "-" + std::to_string(copy) + ".txt", joined(words)));
      words[50] = "changed";
    }
  }
  const Corpus first = Corpus::read(paths);
  std::shuffle(paths.begin(), paths.end(), random);
  const Corpus second = Corpus::read(paths);
  EXPECT_EQ(first.identity(), second.identity());
  EXPECT_EQ(texts(first), texts(second));
}

TEST_F(CorpusTest, SaysWhenASplitIsEmpty) {
  write("a.txt", "one document");
  const Corpus corpus = read();
  unsigned empty = 0;
  for (Split split : {Split::Train, Split::HeldOut}) {
    const Error error = errorOf([&] { corpus.require(split); });
    empty += error.code == ExitCode::BadInput;
    EXPECT_EQ(error.code == ExitCode::BadInput, corpus.of(split).empty());
  }
  EXPECT_EQ(empty, 1u);
}
