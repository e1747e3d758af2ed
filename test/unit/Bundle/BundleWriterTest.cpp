//===- BundleWriterTest.cpp - What the writer leaves behind ----------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Bundle/BundleWriter.h"
#include "retort.hpp"
#include "runtime/base/Error.h"
#include "runtime/base/Sha256.h"
#include "runtime/src/engine/Manifest.h"
#include "test/unit/Runtime/TestBundle.h"

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <map>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

namespace retort::test {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

template <class Call> Error errorOf(Call call) {
  try {
    call();
  } catch (const Error &error) {
    return error;
  }
  return {ExitCode::Ok, "no error"};
}

size_t filesIn(const std::string &folder) {
  return size_t(std::distance(fs::directory_iterator(folder), {}));
}

/// Bytes of every file of a bundle, by name.
std::map<std::string, std::string> contents(const std::string &path) {
  std::map<std::string, std::string> files;
  if (!fs::is_directory(path))
    return {{"", readFile(path)}};
  for (const auto &entry : fs::directory_iterator(path))
    files[entry.path().filename()] = readFile(entry.path());
  return files;
}

void expectAnswers(const std::string &path) {
  Model model(path);
  Session session(model, {.threads = 1});
  const std::vector<int32_t> prompt = {1, 2, 3};
  std::vector<float> logits(kVocab);
  session.prefill(0, prompt, logits);
  EXPECT_EQ(logits, expectedLogits(prompt));
}

class BundleWriterTest : public testing::TestWithParam<const char *> {
protected:
  std::string path() const { return folder / GetParam(); }
  TempFolder folder;
};

TEST_P(BundleWriterTest, OpensAndHasItsParts) {
  writeTestBundle(path());
  expectAnswers(path());
  EXPECT_TRUE(isBundle(path()));
  EXPECT_EQ(filesIn(folder.path()), 1u);
  EXPECT_EQ(fs::is_directory(path()), path().ends_with('/'));
  auto manifest = manifestJson(path());
  EXPECT_EQ(manifest["format"].get<int>(), ::retort::engine::kManifestFormat);
  for (const auto &[name, part] : manifest["parts"].items())
    EXPECT_EQ(sha256Hex(readBundlePart(path(), name)), part["sha256"].get<std::string>()) << name;
  EXPECT_EQ(errorOf([&] { readBundlePart(path(), "none"); }).code, ExitCode::Usage);
}

TEST_P(BundleWriterTest, SameInputsSameBytes) {
  writeTestBundle(path());
  const auto first = contents(path());
  fs::remove_all(path());
  writeTestBundle(path());
  EXPECT_EQ(contents(path()), first);
}

/// A large part, in pieces that do not fit its chunks of 4 MiB, is what was appended.
TEST_P(BundleWriterTest, StreamsInPieces) {
  std::string weights(9'000'001, '\0');
  for (size_t i = 0; i < weights.size(); ++i)
    weights[i] = char(testMix(5, i / 8) >> 8 * (i % 8));
  BundleWriter writer(path());
  writer.beginPart("weights.bin");
  for (size_t at = 0, step = 1; at < weights.size(); at += step, step = step * 3 + 1)
    writer.append(std::string_view(weights).substr(at, step));
  EXPECT_EQ(writer.partBytes(), weights.size());
  writer.alignTo(64);
  EXPECT_EQ(writer.partBytes(), 9'000'064u);
  writer.addPart("program.so", readFile(TEST_PROGRAM));
  auto manifest = testManifest();
  const uint64_t bytes = writer.commit(manifest);
  EXPECT_GT(bytes, 9'000'064u);
  EXPECT_EQ(readBundlePart(path(), "weights.bin"), weights + std::string(63, '\0'));
  EXPECT_EQ(manifestJson(path())["parts"]["weights.bin"]["chunks"].size(), 3u);
  EXPECT_EQ(Model(path()).part("weights.bin").size(), 9'000'064u);
}

TEST_P(BundleWriterTest, NothingIsLeftWithoutCommit) {
  {
    BundleWriter writer(path());
    writer.addPart("weights.bin", std::string(100'000, 'w'));
  }
  EXPECT_EQ(filesIn(folder.path()), 0u);
}

TEST_P(BundleWriterTest, ReplacesABundleInOneStep) {
  writeTestBundle(path());
  const auto before = contents(path());
  {
    BundleWriter writer(path());
    writer.addPart("weights.bin", std::string(100, 'w'));
    EXPECT_EQ(contents(path()), before);
  }
  EXPECT_EQ(contents(path()), before);
  writeTestBundle(path(), testManifest(), 6000);
  EXPECT_EQ(Model(path()).info().weight_bytes, 6000u);
  EXPECT_EQ(filesIn(folder.path()), 1u);
}

/// A manifest that the runtime would refuse is never written.
TEST_P(BundleWriterTest, ChecksTheManifest) {
  auto manifest = testManifest();
  manifest["model"]["vocab"] = 0;
  Error error = errorOf([&] { writeTestBundle(path(), manifest); });
  EXPECT_EQ(error.code, ExitCode::Internal);
  EXPECT_THAT(error.message, HasSubstr("model.vocab is 0"));
  EXPECT_EQ(filesIn(folder.path()), 0u);
}

/// A file-size limit stands for the full disk: the same code path, without root.
TEST_P(BundleWriterTest, FullDiskLeavesNothing) {
  ::fflush(nullptr);
  const pid_t child = ::fork();
  if (child == 0) {
    ::signal(SIGXFSZ, SIG_IGN);
    rlimit limit = {1 << 20, 1 << 20};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    Error error = errorOf([&] { writeTestBundle(path(), testManifest(), 5 << 20); });
    bool good = error.code == ExitCode::Resources &&
                error.message.find("the disk is full: 10") != std::string::npos &&
                error.message.find(" are free") != std::string::npos;
    if (!good)
      ::fprintf(stderr, "%s\n", error.message.c_str());
    ::_exit(good ? 0 : 1);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(filesIn(folder.path()), 0u);
}

INSTANTIATE_TEST_SUITE_P(Forms, BundleWriterTest, testing::Values("m.retort", "m/"),
                         [](const auto &info) { return info.index ? "Directory" : "File"; });

/// kill -9 while the file form is written leaves nothing at all (where the file system has
/// O_TMPFILE).
TEST(BundleWriter, KilledLeavesNoOutput) {
  TempFolder folder;
  ::fflush(nullptr);
  const pid_t child = ::fork();
  if (child == 0) {
    BundleWriter writer(folder / "m.retort");
    writer.beginPart("weights.bin");
    writer.append(std::string(1 << 20, 'w'));
    ::kill(::getpid(), SIGKILL);
  }
  ::waitpid(child, nullptr, 0);
  EXPECT_FALSE(fs::exists(folder / "m.retort"));
}

TEST(BundleWriter, FlippedBytesOfADirectoryAreRefused) {
  TempFolder folder;
  writeTestBundle(folder / "m/");
  for (const auto &[name, bytes] : contents(folder / "m")) {
    for (size_t i = 0; i < bytes.size(); i += std::max<size_t>(1, bytes.size() / 40)) {
      std::string changed = bytes;
      changed[i] = char(changed[i] ^ 1);
      writeFile(folder / ("m/" + name), changed);
      EXPECT_THROW(Model(folder / "m"), Failure) << name << " byte " << i;
    }
    writeFile(folder / ("m/" + name), bytes.substr(0, bytes.size() - 1));
    EXPECT_THROW(Model(folder / "m"), Failure) << name << " cut";
    fs::remove(folder / ("m/" + name));
    EXPECT_THROW(Model(folder / "m"), Failure) << name << " removed";
    writeFile(folder / ("m/" + name), bytes);
  }
  expectAnswers(folder / "m");
}

TEST(BundleWriter, OutputsThatCannotBe) {
  TempFolder folder;
  auto check = [&](const std::string &path, bool force) {
    return errorOf([&] { BundleWriter::checkOutput(path, force); });
  };
  EXPECT_EQ(check(folder / "new.retort", false).code, ExitCode::Ok);
  EXPECT_EQ(check(folder / "none/new.retort", false).code, ExitCode::Io);
  EXPECT_EQ(check("", false).code, ExitCode::Usage);
  writeTestBundle(folder / "m.retort");
  EXPECT_THAT(check(folder / "m.retort", false).message, HasSubstr("exists: add --force"));
  EXPECT_EQ(check(folder / "m.retort", true).code, ExitCode::Ok);
  // A folder of the user's is never replaced, whatever is said.
  EXPECT_THAT(check(folder.path(), true).message, HasSubstr("holds something else than a bundle"));
  EXPECT_EQ(errorOf([&] { BundleWriter writer(folder.path()); }).code, ExitCode::Usage);
  EXPECT_EQ(check("/dev/null", true).code, ExitCode::Usage);
}

TEST(BundleWriter, PartsThatCannotBe) {
  TempFolder folder;
  BundleWriter writer(folder / "m.retort");
  writer.addPart("a", std::string_view("x"));
  for (const char *name : {"a", "", "../b", ".b", "b/c"})
    EXPECT_EQ(errorOf([&] { writer.beginPart(name); }).code, ExitCode::Internal) << name;
  EXPECT_EQ(errorOf([&] { writer.append("x"); }).code, ExitCode::Internal);
}

} // namespace
} // namespace retort::test
