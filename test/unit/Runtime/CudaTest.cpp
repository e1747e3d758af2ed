//===- CudaTest.cpp - Sessions on simulated GPUs --------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "kernels/sim/sim.h"
#include "retort.hpp"
#include "test/unit/Runtime/TestBundle.h"

#include <algorithm>
#include <cstdlib>
#include <dlfcn.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <numeric>
#include <thread>

namespace retort::test {
namespace {

using testing::HasSubstr;

/// The simulated machine of this process, as the runtime sees it.
class Machine {
public:
  Machine() {
    ::setenv("RETORT_SIM_LIBRARY", TEST_SIM_LIBRARY, 1);
    library_ = ::dlopen(TEST_SIM_LIBRARY, RTLD_NOW | RTLD_LOCAL);
    set_ = reinterpret_cast<decltype(&retort_sim_set)>(::dlsym(library_, "retort_sim_set"));
    findings_ = reinterpret_cast<decltype(&retort_sim_num_findings)>(
        ::dlsym(library_, "retort_sim_num_findings"));
    clear_ = reinterpret_cast<decltype(&retort_sim_clear)>(::dlsym(library_, "retort_sim_clear"));
    set("check", 1);
    reset();
  }
  /// Races, accesses out of bounds and the like, since clear().
  size_t findings() const { return findings_(); }
  void clear() { clear_(); }
  void set(const char *name, long long value) { ASSERT_EQ(set_(name, value), 1) << name; }
  void reset() {
    for (auto [name, value] : {std::pair("peers", 1ll),
                               {"fail_allocation", -1},
                               {"lose_device", -1},
                               {"lost_device", 0},
                               {"memory", 1ll << 30},
                               {"seed", 1}})
      set(name, value);
  }

private:
  void *library_;
  decltype(&retort_sim_set) set_;
  decltype(&retort_sim_num_findings) findings_;
  decltype(&retort_sim_clear) clear_;
};

Machine &machine() {
  static Machine machine;
  return machine;
}

struct Form {
  const char *form;
  int devices;
  bool peers;
};

std::vector<int32_t> someTokens(size_t count, int32_t seed = 1) {
  std::vector<int32_t> tokens;
  for (size_t i = 0; i < count; ++i)
    tokens.push_back(int32_t(testMix(uint64_t(seed), i) % kVocab));
  return tokens;
}

/// What making a session says.
std::string create(const std::string &path, const SessionOptions &options) {
  return failureOf([&] { Session session(Model(path), options); });
}

std::vector<float> rowOf(const std::vector<float> &logits, size_t row) {
  return {&logits[row * kVocab], &logits[row * kVocab] + kVocab};
}

class CudaForms : public testing::TestWithParam<Form> {
protected:
  CudaForms() {
    machine().clear();
    machine().reset();
    machine().set("peers", GetParam().peers);
    writeCudaBundle(path, {.form = GetParam().form, .devices = {GetParam().devices}});
  }
  ~CudaForms() override {
    EXPECT_EQ(machine().findings(), 0u);
    machine().reset();
  }
  TempFolder folder;
  std::string path = folder / "m.retort";
};

/// A step of tokens begin to end - 1, of which one in `period` is not wanted.
std::pair<std::vector<retort_row>, std::vector<size_t>>
chunkOf(std::span<const int32_t> tokens, size_t begin, size_t end, size_t period) {
  std::vector<retort_row> rows;
  std::vector<size_t> wanted;
  for (size_t i = begin; i < end; ++i) {
    rows.push_back({tokens[i], 0, int32_t(i)});
    if (i % period != 1)
      wanted.push_back(i - begin);
  }
  return {rows, wanted};
}

/// Steps of decode's rows and of prefill's, wanted rows anywhere: logits are those of the tokens.
TEST_P(CudaForms, LogitsOfAnyChunks) {
  Model model(path);
  const auto tokens = someTokens(40);
  for (size_t chunk : {1, 2, 7, 8}) {
    Session session(model, {.device = "sim"});
    for (size_t begin = 0; begin < tokens.size(); begin += chunk) {
      const size_t end = std::min(begin + chunk, tokens.size());
      const auto [rows, wanted] = chunkOf(tokens, begin, end, 3);
      std::vector<float> logits(wanted.size() * kVocab);
      session.step(rows, wanted, logits);
      for (size_t w = 0; w < wanted.size(); ++w)
        ASSERT_EQ(rowOf(logits, w), expectedLogits({tokens.data(), begin + wanted[w] + 1}))
            << "chunk " << chunk << ", row " << begin + wanted[w];
    }
    EXPECT_EQ(session.length(0), tokens.size());
  }
}

/// The largest of the logits of the tokenizer's tokens.
int32_t bestOf(std::span<const int32_t> tokens) {
  const auto logits = expectedLogits(tokens);
  return int32_t(std::max_element(logits.begin(), logits.begin() + kTokens) - logits.begin());
}

/// The GPUs find the largest logits themselves, or the host does: the same tokens.
TEST_P(CudaForms, GreedyTokensOfAnyChunks) {
  const std::string sampling = folder / "s.retort";
  writeCudaBundle(sampling, {.form = GetParam().form,
                             .devices = {GetParam().devices},
                             .tokenizer = true,
                             .argmax = true});
  writeCudaBundle(path,
                  {.form = GetParam().form, .devices = {GetParam().devices}, .tokenizer = true});
  const auto tokens = someTokens(24);
  for (const std::string &bundle : {sampling, path})
    for (size_t chunk : {1, 3, 8}) {
      Session session(Model(bundle), {.device = "sim"});
      for (size_t begin = 0; begin < tokens.size(); begin += chunk) {
        const size_t end = std::min(begin + chunk, tokens.size());
        const auto [rows, wanted] = chunkOf(tokens, begin, end, 4);
        std::vector<int32_t> got(wanted.size());
        session.stepSample(rows, wanted, got);
        for (size_t w = 0; w < wanted.size(); ++w)
          ASSERT_EQ(got[w], bestOf({tokens.data(), begin + wanted[w] + 1}))
              << "chunk " << chunk << ", row " << begin + wanted[w];
      }
      std::vector<float> logits(kVocab); // steps of both kinds may take turns
      const std::vector<retort_row> row = {{tokens[0], 0, int32_t(tokens.size())}};
      session.step(row, std::vector<size_t>{0}, logits);
      auto all = tokens;
      all.push_back(tokens[0]);
      EXPECT_EQ(logits, expectedLogits(all));
    }
}

/// Rows with samplers and without, in decode's steps and prefill's: the GPUs draw, or the host
/// does from their logits, what a sampler picks from the logits. What GPUs send is 8 bytes a row.
TEST_P(CudaForms, DrawnTokensOfAnyChunks) {
  const int devices = GetParam().devices;
  const auto tokens = someTokens(24);
  for (bool draws : {true, false}) {
    writeCudaBundle(path, {.form = GetParam().form,
                           .devices = {devices},
                           .tokenizer = true,
                           .argmax = true,
                           .draws = draws});
    for (size_t chunk : {1, 3, 8}) {
      Session session(Model(path), {.device = "sim"});
      Sampler first({.temperature = 0.8f, .topP = 0.9f, .topK = 30, .seed = 1}), greedy,
          second({.temperature = 3, .seed = 2}), firstTwin({0.8f, 0.9f, 30, 1}),
          secondTwin({3, 1, 0, 2});
      for (size_t begin = 0; begin < tokens.size(); begin += chunk) {
        const size_t end = std::min(begin + chunk, tokens.size());
        std::vector<retort_row> rows;
        std::vector<size_t> wanted;
        std::vector<Sampler *> samplers;
        for (size_t i = begin; i < end; ++i) {
          rows.push_back({tokens[i], 0, int32_t(i)});
          if (i % 5 == 4)
            continue;
          wanted.push_back(i - begin);
          samplers.push_back(i % 5 == 0   ? &first
                             : i % 5 == 1 ? &second
                             : i % 5 == 2 ? nullptr
                                          : &greedy);
        }
        std::vector<int32_t> got(wanted.size());
        session.counters();
        session.stepSample(rows, wanted, got, samplers);
        for (size_t w = 0; w < wanted.size(); ++w) {
          auto logits = expectedLogits({tokens.data(), begin + wanted[w] + 1});
          logits.resize(kTokens);
          Sampler &twin = samplers[w] == &first    ? firstTwin
                          : samplers[w] == &second ? secondTwin
                                                   : greedy;
          ASSERT_EQ(got[w], twin.sample(logits)) << "chunk " << chunk << ", row " << wanted[w];
        }
        const bool drawn = std::any_of(samplers.begin(), samplers.end(), [&](const Sampler *s) {
          return s == &first || s == &second;
        });
        const auto sent = nlohmann::json::parse(session.counters())["to_host_bytes"];
        if (draws && drawn)
          EXPECT_EQ(sent, 8 * wanted.size());
        else if (!drawn)
          EXPECT_EQ(sent, 8 * wanted.size() * size_t(devices));
        else
          EXPECT_EQ(sent, 4 * wanted.size() * kVocab);
      }
    }
  }
}

/// Guesses, right and wrong, are verified as on a CPU: whoever draws, a wrong one costs no draw.
TEST_P(CudaForms, GuessesAreVerified) {
  for (bool draws : {true, false}) {
    writeCudaBundle(path, {.form = GetParam().form,
                           .devices = {GetParam().devices},
                           .tokenizer = true,
                           .argmax = true,
                           .draws = draws});
    Session session(Model(path), {.device = "sim", .prefixCache = true});
    Sampler sampler({.temperature = 2, .topP = 0.95f, .seed = 6}), twin({2, 0.95f, 0, 6});
    std::vector<int32_t> text = {1, 2, 3};
    for (size_t held = 0, round = 0; text.size() < 40; ++round) {
      std::vector<int32_t> expected = text;
      for (int i = 0; i < 4; ++i) {
        auto logits = expectedLogits(expected);
        logits.resize(kTokens);
        expected.push_back(twin.sample(logits));
      }
      // One right guess in the first round, two in the second, ...: then a wrong one.
      std::vector<retort_row> rows;
      for (size_t i = held; i < text.size(); ++i)
        rows.push_back({text[i], 0, int32_t(i)});
      std::vector<size_t> wanted = {rows.size() - 1};
      const size_t right = round % 3 + 1;
      for (size_t i = 0; i <= right; ++i) {
        wanted.push_back(rows.size());
        rows.push_back(
            {expected[text.size() + i] ^ int32_t(i == right), 0, int32_t(text.size() + i)});
      }
      std::vector<int32_t> got(wanted.size());
      std::vector<Sampler *> samplers(wanted.size(), &sampler);
      session.stepVerify(rows, wanted, got, samplers);
      EXPECT_EQ(got.back(), RETORT_TOKEN_UNPICKED);
      got.pop_back();
      EXPECT_THAT(got, testing::ElementsAreArray(&expected[text.size()], right + 1)) << round;
      held = text.size() + right;
      EXPECT_EQ(session.length(0), held);
      text.insert(text.end(), got.begin(), got.end());
      // The twin draws anew what was not picked.
      twin = Sampler({2, 0.95f, 0, 6});
      for (size_t i = 3; i < text.size(); ++i) {
        auto logits = expectedLogits({text.data(), i});
        logits.resize(kTokens);
        ASSERT_EQ(twin.sample(logits), text[i]);
      }
    }
    session.reset(0);
    EXPECT_EQ(session.info().free_pages, session.info().pages);
  }
}

/// The same text from a GPU and from the CPU: both have the test program's logits.
TEST_P(CudaForms, GeneratesAsTheCpuDoes) {
  writeCudaBundle(path, {.form = GetParam().form,
                         .devices = {GetParam().devices},
                         .cpu = true,
                         .tokenizer = true,
                         .argmax = true,
                         .draws = true});
  Model model(path);
  const auto prompt = model.tokenize("a prompt of more than one step");
  std::vector<std::string> texts;
  for (const char *device : {"cpu", "sim"}) {
    Session session(model, {.threads = 1, .device = device});
    std::string &text = texts.emplace_back();
    session.generate(0, prompt,
                     {.sampling = {.temperature = 1.5f, .topP = 0.95f, .seed = 4},
                      .maxTokens = 12,
                      .ignoreStopTokens = true,
                      .onText = [&](std::string_view piece) {
                        text += piece;
                        return true;
                      }});
  }
  EXPECT_EQ(texts[0], texts[1]);
  EXPECT_FALSE(texts[0].empty());
}

TEST_P(CudaForms, RowsOfManySlotsAndPages) {
  Model model(path);
  const uint64_t pageBytes = uint64_t(TEST_PAGE_BYTES * GetParam().devices);
  Session session(model, {.slots = 3, .cacheBytes = 6 * pageBytes, .device = "sim"});
  EXPECT_EQ(session.info().pages, 6u);
  std::vector<std::vector<int32_t>> texts;
  for (int32_t slot : {0, 1, 2}) {
    texts.push_back(someTokens(30, slot + 4));
    session.prefill(slot, std::span(texts.back()).first(20));
  }
  session.reset(1); // its pages go to others
  session.prefill(1, std::span(texts[1]).first(20));
  for (size_t i = 20; i < 30; ++i) {
    std::vector<retort_row> rows;
    for (int32_t slot : {2, 0, 1})
      rows.push_back({texts[size_t(slot)][i], slot, int32_t(i)});
    std::vector<float> logits(3 * kVocab);
    const size_t wanted[] = {0, 1, 2};
    session.step(rows, wanted, logits);
    for (size_t r = 0; r < 3; ++r)
      ASSERT_EQ(rowOf(logits, r),
                expectedLogits({texts[size_t(rows[r].slot)].data(), size_t(i) + 1}));
  }
}

TEST_P(CudaForms, PrefixesAreShared) {
  Model model(path);
  Session session(model, {.slots = 2, .device = "sim", .prefixCache = true});
  const auto tokens = someTokens(40, 3);
  std::vector<float> logits(kVocab);
  session.prefill(0, tokens);
  EXPECT_EQ(session.reuse(1, tokens), 32u);
  session.prefill(1, std::span(tokens).subspan(32), logits);
  EXPECT_EQ(logits, expectedLogits(tokens));
  session.truncate(1, 20); // within a page of both: it is copied
  std::vector<int32_t> other(tokens.begin(), tokens.begin() + 20);
  other.push_back(7);
  session.prefill(1, std::span(other).subspan(20), logits);
  EXPECT_EQ(logits, expectedLogits(other));
  std::vector<int32_t> more = tokens;
  more.push_back(5);
  session.prefill(0, std::span(more).subspan(40), logits);
  EXPECT_EQ(logits, expectedLogits(more));
}

TEST_P(CudaForms, SeveralSessionsShareTheWeights) {
  Model model(path);
  const auto tokens = someTokens(12);
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t)
    threads.emplace_back([&] {
      Session session(model, {.device = "sim"});
      std::vector<float> logits(kVocab);
      session.prefill(0, tokens, logits);
      EXPECT_EQ(logits, expectedLogits(tokens));
    });
  for (std::thread &thread : threads)
    thread.join();
}

/// Loses the last GPU at work and says what came of it.
std::string loseAGpu(const std::string &path, const Form &form) {
  machine().set("peers", form.peers);
  Model model(path);
  auto session = std::make_unique<Session>(model, SessionOptions{.device = "sim"});
  session->prefill(0, someTokens(3));
  machine().set("lost_device", form.devices - 1);
  machine().set("lose_device", 0);
  const std::string said = failureOf([&] { session->prefill(0, someTokens(1)); });
  const retort_row row = {1, 0, 0};
  if (failureOf([&] { session->prefill(0, someTokens(1)); }) != said ||
      failureOf([&] { session->step({&row, 1}, {}, {}); }) != said)
    return "later steps say something else";
  session.reset();
  return said;
}

/// In a process of its own: two GPUs of which one is lost are of no use afterwards.
TEST_P(CudaForms, ALostGpuEndsTheSession) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        std::fprintf(stderr, "%s", loseAGpu(path, GetParam()).c_str());
        std::exit(0);
      },
      testing::ExitedWithCode(0),
      testing::AllOf(HasSubstr("RETORT_E_DEVICE: "), HasSubstr(": sim:"),
                     HasSubstr("CUDA_ERROR_ECC_UNCORRECTABLE"),
                     HasSubstr(GetParam().devices == 1 ? "close all sessions" : "restart")));
}

TEST_P(CudaForms, AGpuLostAndFound) {
  if (GetParam().devices > 1)
    return;
  loseAGpu(path, GetParam());
  machine().reset();
  Session session(Model(path), {.device = "sim"});
  std::vector<float> logits(kVocab);
  session.prefill(0, someTokens(5), logits);
  EXPECT_EQ(logits, expectedLogits(someTokens(5)));
}

INSTANTIATE_TEST_SUITE_P(Forms, CudaForms,
                         testing::Values(Form{"persistent", 1, true}, Form{"graph", 1, true},
                                         Form{"persistent", 2, true}, Form{"graph", 2, true},
                                         Form{"persistent", 2, false}, Form{"graph", 2, false}),
                         [](const auto &info) {
                           return std::string(info.param.form) +
                                  std::to_string(info.param.devices) +
                                  (info.param.peers ? "" : "NoPeers");
                         });

class Cuda : public testing::Test {
protected:
  Cuda() { machine().reset(); }
  ~Cuda() override { machine().reset(); }
  TempFolder folder;
  std::string path = folder / "m.retort";
};

TEST_F(Cuda, InfoOfAModelAndASession) {
  writeCudaBundle(path, {.devices = {1, 2}, .tokenizer = true});
  Model model(path);
  EXPECT_STREQ(model.info().isa, "");
  EXPECT_EQ(model.info().weight_bytes, 5000u);
  Session session(model, {.slots = 2, .device = "sim"});
  EXPECT_THAT(session.info().device, HasSubstr("sim:0 "));
  EXPECT_EQ(session.info().threads, 1u);
  EXPECT_EQ(session.info().max_rows, uint32_t(TEST_MAX_ROWS));
  EXPECT_EQ(session.info().cache_bytes, 2u * kContext / TEST_PAGE_ROWS * TEST_PAGE_BYTES);
  EXPECT_EQ(session.info().step_seconds, 0);
  session.prefill(0, someTokens(3));
  EXPECT_GT(session.info().step_seconds, 0);
  EXPECT_TRUE(nlohmann::json::parse(session.counters()).is_object());
  Session two(model, {.device = "sim:2"});
  EXPECT_THAT(two.info().device, HasSubstr(" + sim:1 "));
  EXPECT_EQ(two.info().cache_bytes, 2u * kContext / TEST_PAGE_ROWS * TEST_PAGE_BYTES);
  std::string text;
  auto result = session.generate(1, model.tokenize("a prompt of more than one step"),
                                 {.maxTokens = 5, .ignoreStopTokens = true});
  EXPECT_EQ(result.tokens, 5u);
}

TEST_F(Cuda, OneBundleForTheCpuAndAGpu) {
  writeCudaBundle(path, {.cpu = true});
  Model model(path);
  EXPECT_STREQ(model.info().isa, "x86-64-v3");
  const auto tokens = someTokens(9);
  for (const char *device : {"cpu", "sim"}) {
    Session session(model, {.threads = 2, .device = device});
    EXPECT_THAT(session.info().device, HasSubstr(device));
    std::vector<float> logits(kVocab);
    session.prefill(0, tokens, logits);
    EXPECT_EQ(logits, expectedLogits(tokens));
  }
}

TEST_F(Cuda, DevicesThatAreNone) {
  writeCudaBundle(path);
  for (const char *device : {"gpu", "cpu:1", "cuda:", "cuda:x", "cuda:-1", "cuda:1,", "cuda:1,1",
                             "cuda:0x1", "sim:", "sim:0", "sim:17", "sim:1,2", " cpu", "CUDA"})
    EXPECT_EQ(create(path, {.device = device}),
              "RETORT_E_ARGUMENT: '" + std::string(device) +
                  "' is no device: write cpu, cuda, cuda:1, cuda:0,1, sim or sim:2");
}

TEST_F(Cuda, DevicesThatTheBundleHasNoCodeFor) {
  writeCudaBundle(path);
  EXPECT_EQ(create(path, {.device = "cpu"}),
            "RETORT_E_UNSUPPORTED: " + path +
                ": has no code for this CPU: compile the model with --target cpu, or run it on a "
                "GPU (device cuda)");
  EXPECT_THAT(failureOf([&] { Model(path, "x86-64-v3"); }),
              HasSubstr("RETORT_E_UNSUPPORTED: " + path + ": has code for no CPU"));
  writeCudaBundle(path, {.devices = {2}});
  EXPECT_EQ(create(path, {.device = "sim:1"}),
            "RETORT_E_UNSUPPORTED: " + path +
                ": the bundle is for 2 GPUs and there is 1: compile the model without --devices, "
                "or use a machine with more GPUs");
  writeTestBundle(path);
  EXPECT_THAT(create(path, {.device = "sim"}), HasSubstr("has no code for NVIDIA GPUs"));
}

TEST_F(Cuda, TooLittleMemory) {
  writeCudaBundle(path, {.weightBytes = 3'000'000});
  machine().set("memory", 2'000'000);
  EXPECT_THAT(
      create(path, {.device = "sim"}),
      testing::AllOf(HasSubstr("RETORT_E_RESOURCES: " + path + ": sim:0 "),
                     HasSubstr(" has 2.0 MB free and the session needs 3.0 MB: 3.0 MB for "
                               "weights, 512 bytes for the cache of 1 slot of 64 positions"),
                     HasSubstr("use a GPU with more memory")));
  // The cache alone is too large: the message has what fits.
  machine().set("memory", 3'100'000);
  EXPECT_EQ(create(path, {.device = "sim"}), "no failure");
  const std::string said = create(path, {.slots = 4096, .device = "sim"});
  EXPECT_THAT(said, HasSubstr("2.1 MB for the cache of 4096 slots of 64 positions"));
  const size_t at = said.find("cache_bytes ");
  ASSERT_NE(at, std::string::npos) << said;
  const uint64_t fits = std::strtoull(said.c_str() + at + 12, nullptr, 10);
  EXPECT_GT(fits, 10'000u);
  EXPECT_EQ(create(path, {.slots = 4096, .cacheBytes = fits, .device = "sim"}), "no failure");
}

/// Each of the driver's refusals, wherever it comes, is a message and leaves the model usable.
TEST_F(Cuda, AllocationsThatFail) {
  writeCudaBundle(path, {.devices = {2}});
  Model model(path);
  int failures = 0;
  for (int n = 0; n < 40; ++n) {
    machine().set("fail_allocation", n);
    const std::string said = failureOf([&] { Session session(model, {.device = "sim"}); });
    failures += said != "no failure";
    if (said != "no failure")
      EXPECT_THAT(said, testing::StartsWith("RETORT_E_RESOURCES: ")) << n;
  }
  EXPECT_GT(failures, 10);
  EXPECT_LT(failures, 40);
  machine().reset();
  Session session(model, {.device = "sim"});
  std::vector<float> logits(kVocab);
  session.prefill(0, someTokens(5), logits);
  EXPECT_EQ(logits, expectedLogits(someTokens(5)));
}

class CudaWrong : public Cuda {};

TEST_F(CudaWrong, Programs) {
  using nlohmann::json;
  auto with = [&](const char *pointer, const json &value) {
    writeCudaBundle(path, {.patch = {{{"op", "add"}, {"path", pointer}, {"value", value}}}});
    return create(path, {.device = "sim"});
  };
  EXPECT_THAT(with("/entries/0/kernels/0/symbol", "test_nothing"),
              HasSubstr("RETORT_E_BAD_INPUT: " + path));
  EXPECT_THAT(with("/entries/0/kernels/0/symbol", "test_nothing"),
              HasSubstr("kernel test_nothing, which the manifest names, is not in"));
  EXPECT_THAT(with("/entries/0/shared_bytes", 1 << 19), HasSubstr("needs 524288"));
  EXPECT_THAT(
      with("/entries/0/shared_bytes_on", json::array({{{"arch", "sm_80"}, {"bytes", 1 << 18}}, //
                                                      {{"arch", "sm_90"}, {"bytes", 1 << 18}}})),
      HasSubstr("needs 262144"));
  EXPECT_THAT(with("/entries/0/grid", 1 << 18), HasSubstr("CTAs that must run at once"));
  EXPECT_THAT(with("/entries/0/threads", 128), HasSubstr("does not fit a multiprocessor"));
  writeCudaBundle(path, {.patch = {{{"op", "replace"},
                                    {"path", "/entries/0/kernels/0/symbol"},
                                    {"value", "test_trap"}}}});
  Model model(path);
  Session session(model, {.device = "sim"});
  EXPECT_THAT(failureOf([&] { session.prefill(0, someTokens(1)); }), HasSubstr("RETORT_E_DEVICE"));
}

} // namespace
} // namespace retort::test
