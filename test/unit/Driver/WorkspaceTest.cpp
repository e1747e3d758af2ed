//===- WorkspaceTest.cpp - Objects and their hashes -------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Driver/Workspace.h"
#include "runtime/base/Error.h"

#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <unistd.h>

namespace fs = std::filesystem;
using namespace retort;

namespace {
class WorkspaceTest : public testing::Test {
protected:
  WorkspaceTest() : dir_(testing::TempDir() + "retort-workspace-" + std::to_string(::getpid())) {
    fs::remove_all(dir_);
  }
  ~WorkspaceTest() override { fs::remove_all(dir_); }

  /// As a process of its own, which remembers nothing, has the object "key.json" from "content".
  std::string get() {
    Workspace workspace(dir_);
    const std::string path = workspace.getOrMake("key", "json", [&](const std::string &temporary) {
      ++made_;
      std::ofstream(temporary) << "content";
    });
    EXPECT_TRUE(workspace.has("key", "json"));
    return workspace.read("key", "json").value_or("nothing");
  }
  void write(const std::string &path, const std::string &content) {
    std::ofstream(dir_ + "/" + path, std::ios::binary) << content;
  }

  std::string dir_;
  int made_ = 0;
};

TEST_F(WorkspaceTest, WhatIsThereIsNotMadeAgain) {
  EXPECT_EQ(get(), "content");
  EXPECT_EQ(get(), "content");
  EXPECT_EQ(made_, 1);
}

/// Whatever has happened to the object or to its sum, its content is what was made.
TEST_F(WorkspaceTest, DamageIsMadeAgain) {
  EXPECT_EQ(get(), "content");
  int expected = 1;
  for (const std::string &damage : {std::string(), std::string("conte"), std::string("cOntent"),
                                    std::string("content\n"), std::string(7, '\0')}) {
    write("objects/key.json", damage);
    EXPECT_EQ(Workspace(dir_).read("key", "json"), std::nullopt);
    EXPECT_EQ(get(), "content");
    EXPECT_EQ(made_, ++expected);
  }
  for (const std::string &damage : {std::string(), std::string(64, '\0'), std::string(64, '0')}) {
    write("sums/key.json", damage);
    EXPECT_EQ(get(), "content");
    EXPECT_EQ(made_, ++expected);
  }
  fs::remove(dir_ + "/sums/key.json");
  EXPECT_EQ(get(), "content");
  EXPECT_EQ(made_, ++expected);
}

TEST_F(WorkspaceTest, PutObjectsHaveSumsToo) {
  Workspace(dir_).put("hash", "sha256", "0123");
  EXPECT_EQ(Workspace(dir_).read("hash", "sha256"), "0123");
  write("objects/hash.sha256", std::string(4, '\0'));
  EXPECT_EQ(Workspace(dir_).read("hash", "sha256"), std::nullopt);
}

TEST_F(WorkspaceTest, ReadingMakesNoFolder) {
  const Workspace workspace(dir_);
  EXPECT_FALSE(workspace.has("key", "json"));
  EXPECT_EQ(workspace.read("key", "json"), std::nullopt);
  EXPECT_FALSE(fs::exists(dir_));
}

TEST_F(WorkspaceTest, AFailureLeavesNothing) {
  Workspace workspace(dir_);
  EXPECT_THROW(workspace.getOrMake("key", "json",
                                   [](const std::string &path) {
                                     std::ofstream(path) << "half";
                                     fail(ExitCode::BadInput, "no more");
                                   }),
               Error);
  EXPECT_TRUE(fs::is_empty(dir_ + "/objects"));
}
} // namespace
