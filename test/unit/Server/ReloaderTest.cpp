//===- ReloaderTest.cpp - Bundles that take the place of others -----------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/server/Reloader.h"
#include "runtime/base/Error.h"
#include "test/unit/Runtime/TestBundle.h"
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <future>
#include <gmock/gmock.h>

namespace retort::server {
namespace {

using namespace std::chrono_literals;

struct Reloading : testing::Test {
  Reloading() {
    options.session = {1, 2, 0, 0, "cpu", true};
    write(64);
    reloader.emplace(std::vector<ServedFile>{{"a", path}}, options, models, metrics, log);
    reloader->open();
    reloader->start({});
  }
  /// Replaces the bundle by one with that context.
  void write(int context) {
    nlohmann::json manifest = test::testManifest();
    manifest["model"]["context"] = context;
    test::writeTestBundle(folder / "new", manifest);
    std::filesystem::rename(folder / "new", path);
  }
  void reload() {
    std::promise<void> done;
    reloader->reload([&] { done.set_value(); });
    ASSERT_EQ(done.get_future().wait_for(30s), std::future_status::ready);
  }
  size_t context() const { return models.find("a")->scheduler.context(); }
  /// An answer that is written until `go` is set. Its tokens are counted when it has ended.
  std::future<size_t> answer(const std::shared_ptr<std::atomic<bool>> &go) {
    const auto tokens = std::make_shared<std::promise<size_t>>();
    Job job;
    job.prompt = {1};
    job.maxTokens = 40;
    job.ignoreEos = true;
    job.onUpdate = [go, tokens](Update update) {
      while (!*go)
        std::this_thread::sleep_for(1ms);
      if (update.finished)
        tokens->set_value(update.error ? 0 : update.tokens);
    };
    std::vector<Job> jobs;
    jobs.push_back(std::move(job));
    EXPECT_TRUE(models.find("a")->scheduler.submit(std::move(jobs)));
    return tokens->get_future();
  }

  test::TempFolder folder;
  const std::string path = folder / "a.retort";
  SchedulerOptions options;
  Metrics metrics; // outlives the models, which count there to their end
  ServedModels models;
  Log log{::open("/dev/null", O_WRONLY)};
  std::optional<Reloader> reloader;
};

TEST_F(Reloading, AnswersEndOnTheOldBundle) {
  const auto go = std::make_shared<std::atomic<bool>>(false);
  std::future<size_t> answered = answer(go);
  std::weak_ptr<Served> old = models.find("a");
  write(32);
  EXPECT_EQ(context(), 64u);
  reload();
  EXPECT_EQ(context(), 32u);
  EXPECT_FALSE(old.expired());
  EXPECT_EQ(metrics.of("a").reloads, 1u);
  *go = true;
  EXPECT_EQ(answered.get(), 40u);
  const uint64_t pages = models.find("a")->scheduler.sessionInfo().pages;
  for (int i = 0; i < 3000 && (!old.expired() || metrics.of("a").pages != pages); ++i)
    std::this_thread::sleep_for(10ms);
  EXPECT_TRUE(old.expired()) << "the old bundle is closed";
  EXPECT_EQ(metrics.of("a").pages, pages);
  EXPECT_EQ(metrics.of("a").running, 0u);
}

TEST_F(Reloading, WhatIsTheSameIsLeft) {
  const ServedModel before = models.find("a");
  reload();
  EXPECT_EQ(models.find("a"), before);
  EXPECT_EQ(metrics.of("a").reloads, 0u);
}

TEST_F(Reloading, DamagedBundlesAreRefused) {
  const ServedModel before = models.find("a");
  write(32);
  std::filesystem::resize_file(path, 3000);
  reload();
  EXPECT_EQ(models.find("a"), before);
  EXPECT_EQ(metrics.of("a").failedReloads, 1u);
  std::filesystem::remove(path);
  reload();
  EXPECT_EQ(metrics.of("a").failedReloads, 2u);
  write(32);
  reload();
  EXPECT_EQ(context(), 32u);
}

TEST_F(Reloading, StopEndsAnswersOfOldBundlesToo) {
  const auto go = std::make_shared<std::atomic<bool>>(false);
  std::future<size_t> answered = answer(go);
  write(32);
  reload();
  std::thread later([go] {
    std::this_thread::sleep_for(20ms);
    *go = true;
  });
  EXPECT_EQ(reloader->stop(), 1u);
  answered.get();
  later.join();
}

TEST(Served, NeedsATokenizer) {
  test::TempFolder folder;
  test::writeTestBundle(folder / "m", test::testManifest(), 5000, false);
  ModelMetrics metrics;
  EXPECT_THROW(Served({"m", folder / "m"}, {}, metrics), Error);
}

} // namespace
} // namespace retort::server
