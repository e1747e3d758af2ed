//===- SchedulerTest.cpp - Many answers from one session ------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/server/Scheduler.h"
#include "runtime/base/Error.h"
#include "test/unit/Runtime/TestBundle.h"
#include <cmath>
#include <future>
#include <gmock/gmock.h>
#include <random>

namespace retort::server {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

/// What came of a job.
struct Outcome {
  std::string text;
  std::vector<TokenScore> scores;
  size_t cached = 0;
  Update last;
  bool operator==(const Outcome &other) const {
    return text == other.text && last.tokens == other.last.tokens &&
           last.length == other.last.length;
  }
};

void PrintTo(const Outcome &outcome, std::ostream *out) {
  *out << testing::PrintToString(outcome.text) << ", " << outcome.last.tokens << " tokens"
       << (outcome.last.length ? ", cut" : "");
}

/// Gathers the updates of jobs.
class Outcomes {
public:
  explicit Outcomes(size_t jobs) : outcomes_(jobs) {}
  std::function<void(Update)> of(size_t job) {
    return [this, job](Update update) {
      std::lock_guard lock(mutex_);
      Outcome &outcome = outcomes_[job];
      EXPECT_FALSE(outcome.last.finished) << "an update after the end";
      outcome.text += update.text;
      outcome.cached += update.cachedTokens;
      outcome.scores.insert(outcome.scores.end(), update.scores.begin(), update.scores.end());
      outcome.last = update;
      if (update.finished)
        order.push_back(job);
      changed_.notify_all();
    };
  }
  template <class Condition> void await(Condition condition) {
    std::unique_lock lock(mutex_);
    ASSERT_TRUE(changed_.wait_for(lock, 60s, condition));
  }
  Outcome finished(size_t job) {
    await([&] { return outcomes_[job].last.finished; });
    return outcomes_[job];
  }
  size_t tokens(size_t job) const { return outcomes_[job].last.tokens; }
  std::vector<size_t> order; ///< in which they ended

private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Outcome> outcomes_;
};

struct Scheduling : testing::Test {
  static void SetUpTestSuite() {
    folder = new test::TempFolder;
    test::writeTestBundle(*folder / "m.retort");
    model = new Model(*folder / "m.retort");
  }
  static void TearDownTestSuite() {
    delete model;
    delete folder;
  }
  SchedulerOptions options(uint32_t slots, uint64_t pages = 0, size_t queue = 256) {
    SchedulerOptions given;
    given.session = {2, slots, 0, pages * TEST_PAGE_BYTES, "cpu", true};
    given.queue = queue;
    return given;
  }
  void start(const SchedulerOptions &given) {
    scheduler = std::make_unique<Scheduler>(*model, given, metrics);
    scheduler->start();
  }
  bool submit(Job job) {
    std::vector<Job> jobs;
    jobs.push_back(std::move(job));
    return scheduler->submit(std::move(jobs));
  }
  static Job simple(std::vector<int32_t> prompt, size_t maxTokens) {
    Job job;
    job.prompt = std::move(prompt);
    job.maxTokens = maxTokens;
    job.ignoreEos = true;
    return job;
  }
  static test::TempFolder *folder;
  static Model *model;
  ModelMetrics metrics;
  std::unique_ptr<Scheduler> scheduler;
};
test::TempFolder *Scheduling::folder;
Model *Scheduling::model;

Job randomJob(std::mt19937 &random) {
  auto below = [&](uint32_t n) { return random() % n; };
  Job job;
  const size_t length = 1 + below(40), common = below(2) ? below(40) : 0;
  for (size_t i = 0; i < length; ++i) // many begin alike
    job.prompt.push_back(int32_t(i < common ? i : below(test::kTokens)));
  job.maxTokens = 1 + below(uint32_t(test::kContext - length));
  if (below(3))
    job.sampling = {.temperature = below(2) ? 1.0f : 0.3f,
                    .topP = below(2) ? 1.0f : 0.9f,
                    .topK = below(2) ? 0u : 20u,
                    .seed = random(),
                    .minP = below(3) ? 0.0f : 0.02f};
  if (below(4) == 0)
    job.sampling.repetitionPenalty = 1.3f;
  if (below(4) == 0)
    job.sampling.presencePenalty = 0.5f;
  if (below(4) == 0)
    job.sampling.bias = {{int32_t(below(test::kTokens)), 4}};
  if (below(3) == 0)
    job.top = int(below(4));
  job.scoresPrompt = below(2);
  for (uint32_t i = below(3); i > 0; --i)
    job.stops.push_back(std::string(1, char('a' + below(26))));
  if (below(4) == 0)
    job.stops.push_back("<|user|>");
  job.ignoreEos = below(2);
  return job;
}

// What retort_generate() says, which runs a job alone, is what the scheduler says, in any company,
// with cancelled neighbours and with too few pages for all.
TEST_F(Scheduling, AnswersDoNotDependOnOthers) {
  constexpr size_t kJobs = 60;
  std::mt19937 random(7);
  std::vector<Job> jobs;
  std::vector<Outcome> alone(kJobs);
  Session session(*model, {2, 1, 0, 0, "cpu"});
  const Grammar grammars[] = {
      Grammar(*model, RETORT_GRAMMAR_REGEX, "(abcde-){3,12}x"),
      Grammar(*model, RETORT_GRAMMAR_REGEX, "([a-m]{2}-){3,12}x"),
      Grammar(*model, RETORT_GRAMMAR_JSON_SCHEMA,
              R"({"type": "array", "items": {"type": "integer"}})"),
      Grammar(*model, RETORT_GRAMMAR_STRUCTURE, R"({"until": "a", "then": {"repeat": "bc"}})")};
  for (size_t i = 0; i < kJobs; ++i) {
    jobs.push_back(randomJob(random));
    GenerateOptions options;
    if (random() % 3 == 0) { // one that gives way is followed in its grammar all the same
      options.grammar = &grammars[random() % std::size(grammars)];
      jobs[i].grammar = *options.grammar;
    }
    options.sampling = jobs[i].sampling;
    options.maxTokens = jobs[i].maxTokens;
    options.stop = jobs[i].stops;
    options.ignoreStopTokens = jobs[i].ignoreEos;
    options.onText = [&](std::string_view text) { return alone[i].text += text, true; };
    session.reset(0);
    const retort_generation result = session.generate(0, jobs[i].prompt, options);
    alone[i].last.tokens = result.tokens;
    alone[i].last.length = result.finish == RETORT_FINISH_LENGTH;
  }
  for (const auto [pages, speculate] :
       {std::pair(0u, 0u), {9u, 0u}, {5u, 0u}, {0u, 5u}, {9u, 5u}, {5u, 5u}}) {
    SchedulerOptions given = options(8, pages);
    given.speculate = speculate;
    const uint64_t preempted = metrics.preemptions, right = metrics.rightTokens;
    start(given);
    Outcomes outcomes(2 * kJobs);
    std::vector<size_t> order(2 * kJobs); // the second half: to be cancelled
    for (size_t i = 0; i < order.size(); ++i)
      order[i] = i;
    std::shuffle(order.begin(), order.end(), random);
    std::vector<std::shared_ptr<std::atomic<bool>>> cancels;
    for (size_t i : order) {
      Job job = jobs[i % kJobs];
      job.onUpdate = outcomes.of(i);
      if (i >= kJobs) {
        cancels.push_back(std::make_shared<std::atomic<bool>>(random() % 4 == 0));
        job.cancelled = cancels.back();
      }
      ASSERT_TRUE(submit(std::move(job)));
      if (!cancels.empty() && random() % 2)
        *cancels[random() % cancels.size()] = true;
    }
    for (auto &cancel : cancels)
      *cancel = true;
    for (size_t i = 0; i < kJobs; ++i)
      EXPECT_EQ(outcomes.finished(i), alone[i])
          << "job " << i << ", pages " << pages << ", speculate " << speculate;
    while (scheduler->inFlight() > 0)
      std::this_thread::sleep_for(1ms);
    EXPECT_EQ(metrics.preemptions > preempted, pages != 0) << pages;
    EXPECT_EQ(metrics.rightTokens > right, speculate != 0) << pages;
    EXPECT_GE(metrics.guessedTokens, metrics.rightTokens);
    scheduler->stop();
    EXPECT_EQ(metrics.freePages, metrics.pages);
  }
}

// Scores are those of the logits that a session gives for the same tokens.
struct ScoringWith : Scheduling, testing::WithParamInterface<size_t> {};
INSTANTIATE_TEST_SUITE_P(Speculate, ScoringWith, testing::Values(0, 6));
TEST_P(ScoringWith, Scores) {
  std::mt19937 random(11);
  const size_t vocab = size_t(model->info().vocab);
  SchedulerOptions given = options(4, 7); // too few pages for all
  given.speculate = GetParam();
  start(given);
  constexpr size_t kJobs = 24;
  Outcomes outcomes(kJobs);
  std::vector<Job> jobs;
  for (size_t i = 0; i < kJobs; ++i) {
    Job job = randomJob(random);
    job.stops.clear(), job.ignoreEos = true;
    job.top = int(i % 5) - 1;
    job.scoresPrompt = i % 2;
    if (i % 4 == 0)
      job.sampling.bias = {{'x', 40}}; // a text that repeats itself
    if (i % 6 == 5)
      job.maxTokens = 0;
    jobs.push_back(job);
    job.onUpdate = outcomes.of(i);
    ASSERT_TRUE(submit(std::move(job)));
  }
  for (size_t i = 0; i < kJobs; ++i) {
    const Job &job = jobs[i];
    const Outcome outcome = outcomes.finished(i);
    EXPECT_FALSE(outcome.last.error);
    if (job.top < 0) {
      EXPECT_TRUE(outcome.scores.empty());
      continue;
    }
    const size_t echoed = job.scoresPrompt ? job.prompt.size() : 0;
    ASSERT_EQ(outcome.scores.size(), echoed + job.maxTokens) << "job " << i;
    std::vector<int32_t> text = job.prompt;
    for (size_t t = echoed; t < outcome.scores.size(); ++t)
      text.push_back(outcome.scores[t].token);
    for (size_t t = 0; t < outcome.scores.size(); ++t) {
      const size_t place = t + job.prompt.size() - echoed;
      const TokenScore &score = outcome.scores[t];
      EXPECT_EQ(score.token, text[place]);
      if (place == 0) {
        EXPECT_TRUE(std::isnan(score.logprob) && score.top.empty());
        continue;
      }
      const std::vector<float> logits = test::expectedLogits({text.data(), place});
      double sum = 0;
      for (float logit : logits)
        sum += std::exp(double(logit));
      EXPECT_NEAR(score.logprob, logits[size_t(score.token)] - std::log(sum), 1e-5);
      ASSERT_EQ(score.top.size(), std::min(size_t(job.top), vocab));
      for (const auto &[token, logprob] : score.top)
        EXPECT_NEAR(logprob, logits[size_t(token)] - std::log(sum), 1e-5);
      if (!score.top.empty())
        EXPECT_EQ(score.top[0].first,
                  std::max_element(logits.begin(), logits.end()) - logits.begin());
    }
  }
  scheduler->stop();
  EXPECT_EQ(metrics.freePages, metrics.pages);
  EXPECT_EQ(metrics.rightTokens > 0, GetParam() > 0) << metrics.rightTokens;
}

// Where nothing is accepted, few rows are spent on guesses: for each answer two, and then what a fiftieth of its
// time holds, of rows that are thought to take no less than a tenth of a token's.
TEST_F(Scheduling, WrongGuessesAreFew) {
  SchedulerOptions given = options(4);
  given.speculate = 7;
  start(given);
  constexpr size_t kJobs = 200;
  Outcomes outcomes(kJobs);
  std::mt19937 random(2);
  for (size_t i = 0; i < kJobs; ++i) {
    Job job = simple({}, 40);
    for (int k = 0; k < 20; ++k)
      job.prompt.push_back(int32_t(random() % 3));
    // Equally likely are three tokens that the prompt holds in every order: a guess is seldom right.
    job.sampling = {.temperature = 100, .topK = 3, .seed = i};
    for (int32_t token : {0, 1, 2})
      job.sampling.bias.push_back({token, 100});
    job.onUpdate = outcomes.of(i);
    ASSERT_TRUE(submit(std::move(job)));
  }
  size_t tokens = 0;
  for (size_t i = 0; i < kJobs; ++i)
    tokens += outcomes.finished(i).last.tokens;
  EXPECT_EQ(tokens, 40 * kJobs);
  scheduler->stop();
  const uint64_t wrong = metrics.guessedTokens - metrics.rightTokens;
  EXPECT_GT(wrong, 0u);
  // A third of the guesses is right by chance, and lets others be tried.
  EXPECT_LE(wrong, 2 * kJobs + tokens / 5 + 3 * metrics.rightTokens);
}

// A prompt that begins like an earlier one computes only what is new, with the same answer.
TEST_F(Scheduling, PromptsThatBeginAlike) {
  std::vector<int32_t> prompt;
  for (int32_t i = 0; i < 40; ++i)
    prompt.push_back(i);
  std::string texts[2];
  for (const bool shares : {false, true}) {
    SchedulerOptions given = options(2);
    given.session.prefixCache = shares;
    const uint64_t computed = metrics.promptTokens, hits = metrics.prefixHits;
    start(given);
    Outcomes outcomes(3);
    for (size_t i = 0; i < 3; ++i) {
      Job job = simple(prompt, 10);
      job.prompt.back() = int32_t(i);
      job.onUpdate = outcomes.of(i);
      ASSERT_TRUE(submit(std::move(job)));
      const Outcome outcome = outcomes.finished(i); // one after the other
      texts[shares] += outcome.text;
      EXPECT_EQ(outcome.cached, shares && i > 0 ? 32u : 0u);
    }
    EXPECT_EQ(metrics.promptTokens - computed, shares ? 40u + 8 + 8 : 120u);
    EXPECT_EQ(metrics.prefixHits - hits, shares ? 64u : 0u);
    scheduler->stop();
    EXPECT_EQ(metrics.freePages, metrics.pages);
  }
  EXPECT_EQ(texts[0], texts[1]);
}

TEST_F(Scheduling, TakesNoMoreThanItsQueue) {
  start(options(1, 0, 2));
  EXPECT_EQ(scheduler->capacity(), 3u);
  Outcomes outcomes(4);
  std::vector<Job> jobs;
  for (size_t i = 0; i < 4; ++i) {
    jobs.push_back(simple({1}, 50));
    jobs.back().onUpdate = outcomes.of(i);
  }
  std::vector<Job> four = jobs;
  EXPECT_FALSE(scheduler->submit(std::move(four))) << "all or none";
  EXPECT_EQ(scheduler->inFlight(), 0u);
  jobs.pop_back();
  EXPECT_TRUE(scheduler->submit(std::move(jobs)));
  for (size_t i = 0; i < 3; ++i)
    outcomes.finished(i);
}

TEST_F(Scheduling, ServesByArrival) {
  start(options(1));
  Outcomes outcomes(10);
  std::vector<Job> jobs;
  for (size_t i = 0; i < 10; ++i) {
    jobs.push_back(simple({int32_t(i)}, 1 + (i * 7) % 10));
    jobs.back().onUpdate = outcomes.of(i);
  }
  ASSERT_TRUE(scheduler->submit(std::move(jobs)));
  for (size_t i = 0; i < 10; ++i)
    outcomes.finished(i);
  EXPECT_THAT(outcomes.order, testing::ElementsAre(0, 1, 2, 3, 4, 5, 6, 7, 8, 9));
}

// The oldest keeps its pages: with room for one full answer only, it ends first.
TEST_F(Scheduling, TheYoungestGivesItsPages) {
  start(options(2, 4));
  Outcomes outcomes(2);
  std::vector<Job> jobs;
  for (size_t i = 0; i < 2; ++i) {
    jobs.push_back(simple({int32_t(i)}, 60));
    jobs.back().onUpdate = outcomes.of(i);
  }
  ASSERT_TRUE(scheduler->submit(std::move(jobs)));
  EXPECT_EQ(outcomes.finished(0).last.tokens, 60u);
  EXPECT_EQ(outcomes.finished(1).last.tokens, 60u);
  EXPECT_THAT(outcomes.order, testing::ElementsAre(0, 1));
  EXPECT_GT(metrics.preemptions, 0u);
}

TEST_F(Scheduling, LongPromptsDoNotStallAnswers) {
  for (size_t bound : {0, 1}) {
    SchedulerOptions given = options(2);
    given.prefillRows = bound;
    start(given);
    Outcomes outcomes(2);
    std::atomic<size_t> written{0}, writtenThen{0};
    Job writing = simple({1, 2}, 60), reading = simple(std::vector<int32_t>(50, 3), 1);
    auto first = outcomes.of(0), second = outcomes.of(1);
    std::promise<void> begun;
    writing.onUpdate = [&, told = false](Update update) mutable {
      written = update.tokens;
      if (!std::exchange(told, true)) {
        begun.set_value();
        std::this_thread::sleep_for(50ms); // until the other is there
      }
      first(std::move(update));
    };
    reading.onUpdate = [&](Update update) {
      writtenThen = written.load();
      second(std::move(update));
    };
    ASSERT_TRUE(submit(std::move(writing)));
    begun.get_future().wait();
    ASSERT_TRUE(submit(std::move(reading)));
    outcomes.finished(0);
    outcomes.finished(1);
    // 50 rows by 7 a step, or by 1.
    EXPECT_EQ(writtenThen > 30, bound == 1) << writtenThen;
    scheduler->stop();
  }
}

TEST_F(Scheduling, EndsWhatTakesTooLong) {
  start(options(1));
  Outcomes outcomes(1);
  Job job = simple({1}, 50);
  job.deadline = Clock::now() - 1s;
  job.onUpdate = outcomes.of(0);
  ASSERT_TRUE(submit(std::move(job)));
  EXPECT_EQ(outcomes.finished(0).last.error->status, 504);
  EXPECT_EQ(scheduler->inFlight(), 0u);
}

TEST_F(Scheduling, StoppingEndsEveryJobWithAnError) {
  start(options(1));
  Outcomes outcomes(8);
  std::vector<Job> jobs;
  for (size_t i = 0; i < 8; ++i) {
    jobs.push_back(simple({int32_t(i)}, 60));
    jobs.back().onUpdate = outcomes.of(i);
  }
  ASSERT_TRUE(scheduler->submit(std::move(jobs)));
  scheduler->stop();
  EXPECT_EQ(scheduler->inFlight(), 0u);
  EXPECT_EQ(outcomes.finished(7).last.error->status, 503);
  EXPECT_FALSE(submit(simple({1}, 1)));
}

TEST_F(Scheduling, MoreSlotsThanRowsAreRefused) {
  try {
    Scheduler(*model, options(9), metrics);
    FAIL();
  } catch (const Error &error) {
    EXPECT_THAT(error.message, HasSubstr("--slots is 9, but a step of this model holds 8 rows"));
  }
}

TEST_F(Scheduling, TheContextIsWhatTheCacheHolds) {
  start(options(1, 2));
  EXPECT_EQ(scheduler->context(), 2u * TEST_PAGE_ROWS);
  scheduler->stop();
  start(options(1));
  EXPECT_EQ(scheduler->context(), size_t(test::kContext));
}

} // namespace
} // namespace retort::server
