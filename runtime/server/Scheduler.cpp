//===- Scheduler.cpp - Many answers from one session ----------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/server/Scheduler.h"
#include "runtime/base/Error.h"

#include <algorithm>
#include <limits>
#include <utility>

namespace retort::server {
namespace {

double seconds(Clock::duration duration) { return std::chrono::duration<double>(duration).count(); }
uint64_t nanoseconds(Clock::duration duration) {
  return uint64_t(std::chrono::nanoseconds(duration).count());
}

/// Rows of a prompt whose scores are wanted, in a step: a row of logits is 4 bytes a token of the
/// vocabulary.
constexpr size_t kScoredRows = 64;

ApiError serverError(const std::string &message, int status = 503) {
  return {status, "server_error", message, {}};
}

} // namespace

/// A job at work. tokens[0, ran) are in the slot's cache; what is left is run next, a prompt in
/// chunks, an answer token by token, and both after a preemption.
struct Scheduler::Task {
  Task(const Model &model, Job given, uint64_t arrival)
      : job(std::move(given)), arrival(arrival), tokens(job.prompt), sampler(job.sampling),
        decoder(model) {
    decoder.setStops(job.stops);
    decoder.show(job.shown);
    if (job.goesOn)
      decoder.follow(job.prompt);
    sampler.see(job.prompt);
    drafter.see(job.prompt);
    if (job.grammar)
      sampler.constrain(*job.grammar, job.goesOn ? std::span<const int32_t>(job.prompt)
                                                 : std::span<const int32_t>());
    if (scoresPrompt())
      news.scores.push_back({job.prompt[0], std::numeric_limits<float>::quiet_NaN(), {}});
  }
  size_t pending() const { return tokens.size() - ran; }
  bool scoresPrompt() const { return job.top >= 0 && job.scoresPrompt; }

  Job job;
  uint64_t arrival;
  Clock::time_point arrived = Clock::now(), lastToken = {};
  std::vector<int32_t> tokens;            ///< the prompt and the answer so far
  size_t answered = 0, ran = 0, rows = 0; ///< rows: of the step that is planned, without guesses
  std::vector<int32_t> guess;             ///< rows of the step behind those
  int32_t slot = -1;
  size_t scored = 1; ///< tokens of the prompt whose score is known, if they are wanted
  bool started = false, ended = false;
  Update news; ///< that nobody was told yet
  Sampler sampler;
  Drafter drafter;
  Decoder decoder;
};

Scheduler::Scheduler(const Model &model, const SchedulerOptions &options, ModelMetrics &metrics)
    : model_(model), metrics_(metrics), session_(model, options.session), info_(session_.info()),
      slots_(info_.slots), capacity_(slots_ + options.queue), maxRows_(info_.max_rows),
      prefillRows_(options.prefillRows ? std::min(options.prefillRows, maxRows_) : maxRows_),
      speculate_(options.speculate), pageRows_(info_.page_rows),
      context_(size_t(std::min<uint64_t>(info_.max_context, info_.pages * info_.page_rows))),
      freePages_(info_.free_pages) {
  if (slots_ > maxRows_) // then prompts might wait for ever for a row
    fail(ExitCode::Usage, "--slots is " + std::to_string(slots_) +
                              ", but a step of this model holds " + std::to_string(maxRows_) +
                              " rows: ask for at most so many");
  for (size_t slot = slots_; slot-- > 0;)
    freeSlots_.push_back(int32_t(slot));
  report();
}

Scheduler::~Scheduler() {
  stop();
  report(metrics_.pages, ours_.pages, 0);
  report(metrics_.freePages, ours_.freePages, 0);
}

void Scheduler::start() {
  thread_ = std::thread([this] { loop(); });
}

bool Scheduler::submit(std::vector<Job> jobs) {
  Tasks tasks;
  for (Job &job : jobs)
    tasks.push_back(std::make_unique<Task>(model_, std::move(job), 0));
  std::lock_guard lock(mutex_);
  if (stopping_ || inFlight_ + tasks.size() > capacity_)
    return false;
  inFlight_ += tasks.size();
  for (std::unique_ptr<Task> &task : tasks) {
    task->arrival = nextArrival_++;
    arrived_.push_back(std::move(task));
  }
  wake_.notify_one();
  return true;
}

size_t Scheduler::inFlight() const {
  std::lock_guard lock(mutex_);
  return inFlight_;
}

std::string Scheduler::lost() const {
  std::lock_guard lock(mutex_);
  return lost_;
}

void Scheduler::stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    wake_.notify_one();
  }
  if (thread_.joinable())
    thread_.join();
}

void Scheduler::loop() {
  while (await()) {
    const Clock::time_point begin = Clock::now();
    const uint64_t steps = metrics_.stepTime;
    report();
    dropEnded(running_);
    dropEnded(waiting_);
    admit();
    report();
    if (!running_.empty())
      runStep();
    dropEnded(running_);
    report();
    // A model that takes another's place counts there too, so this may be a little off then.
    const uint64_t all = nanoseconds(Clock::now() - begin);
    metrics_.schedulerTime += all - std::min(all, metrics_.stepTime - steps);
  }
  report();
  const ApiError stopped = serverError("the server stops: ask another");
  failRunning(stopped);
  for (std::unique_ptr<Task> &task : waiting_)
    end(*task, stopped);
  waiting_.clear();
  report();
}

/// Sleeps until there is work. False: the server stops.
bool Scheduler::await() {
  std::unique_lock lock(mutex_);
  wake_.wait(lock, [&] {
    return stopping_ || !arrived_.empty() || !waiting_.empty() || !running_.empty();
  });
  for (std::unique_ptr<Task> &task : arrived_)
    waiting_.push_back(std::move(task));
  arrived_.clear();
  return !stopping_;
}

/// Takes out tasks that have ended, whose client has gone or whose time is up.
void Scheduler::dropEnded(Tasks &tasks) {
  const Clock::time_point now = Clock::now();
  for (std::unique_ptr<Task> &task : tasks) {
    if (task->ended)
      continue;
    if (task->job.cancelled && *task->job.cancelled) {
      ++metrics_.cancelled;
      task->job.onUpdate = nullptr;
      end(*task);
    } else if (now >= task->job.deadline) {
      end(*task, {504,
                  "timeout",
                  "the answer is not complete within the time that the server allows: ask for "
                  "fewer max_tokens, or later",
                  {}});
    }
  }
  std::erase_if(tasks, [&](const std::unique_ptr<Task> &task) { return task->ended; });
}

/// Gives slots to those that wait, in order, as long as there are pages for all that they and those
/// before them have to read. What the prefix cache holds of them need not be read.
void Scheduler::admit() {
  uint64_t promised = 0;
  for (const std::unique_ptr<Task> &task : running_)
    promised += missingPages(*task, task->pending());
  while (!waiting_.empty() && !freeSlots_.empty()) {
    Task &task = *waiting_.front();
    const int32_t slot = freeSlots_.back();
    task.ran = task.scoresPrompt() ? 0 : session_.reuse(slot, task.tokens);
    countPages();
    const uint64_t need = missingPages(task, task.pending() + 1);
    // With nothing else at work every page is free, and one answer always fits.
    if (!running_.empty() && promised + need > freePages_) {
      session_.reset(slot);
      task.ran = 0;
      return countPages();
    }
    promised += need;
    task.slot = slot;
    freeSlots_.pop_back();
    if (!task.started) {
      metrics_.queueTime.observe(seconds(Clock::now() - task.arrived));
      metrics_.prefixQueries += task.job.prompt.size();
      metrics_.prefixHits += task.ran;
      task.news.cachedTokens = task.ran;
    }
    task.started = true;
    const auto place = std::upper_bound(running_.begin(), running_.end(), task.arrival,
                                        [](uint64_t arrival, const std::unique_ptr<Task> &other) {
                                          return arrival < other->arrival;
                                        });
    running_.insert(place, std::move(waiting_.front()));
    waiting_.erase(waiting_.begin());
  }
}

uint64_t Scheduler::missingPages(const Task &task, size_t positions) const {
  return pagesFor(task.ran + positions) - pagesFor(task.ran);
}

/// Takes the youngest answer's pages and slot; it waits and is computed again.
void Scheduler::preemptYoungest() {
  std::unique_ptr<Task> task = std::move(running_.back());
  running_.pop_back();
  const uint64_t before = session_.info().free_pages; // some are planned for others
  session_.reset(task->slot);
  freePages_ += session_.info().free_pages - before;
  freeSlots_.push_back(task->slot);
  task->slot = -1;
  task->ran = 0;
  ++metrics_.preemptions;
  const auto place = std::upper_bound(waiting_.begin(), waiting_.end(), task->arrival,
                                      [](uint64_t arrival, const std::unique_ptr<Task> &other) {
                                        return arrival < other->arrival;
                                      });
  waiting_.insert(place, std::move(task));
}

/// How many rows the index-th running answer gets: those wanted, for which younger ones give their
/// pages, or what the free pages hold.
size_t Scheduler::rowsFor(size_t index, size_t wanted) {
  Task &task = *running_[index];
  while (missingPages(task, wanted) > freePages_ && index + 1 < running_.size())
    preemptYoungest();
  const size_t room = size_t((pagesFor(task.ran) + freePages_) * pageRows_) - task.ran;
  const size_t rows = std::min(wanted, room);
  freePages_ -= missingPages(task, rows);
  return rows;
}

/// Rows of the next step: one for each answer that is being written, then prompts by arrival.
void Scheduler::planRows() {
  rows_.clear(), wanted_.clear(), planned_.clear(), wantedTasks_.clear(), samplers_.clear();
  wantsLogits_ = scoresPrompts_ = false;
  const size_t writing = size_t(std::count_if(
      running_.begin(), running_.end(), [](const auto &task) { return task->pending() == 1; }));
  size_t reading = maxRows_ - writing;
  if (writing > 0)
    reading = std::min(reading, prefillRows_);
  for (size_t i = 0; i < running_.size(); ++i) { // shrinks where the youngest are preempted
    Task &task = *running_[i];
    const size_t pending = task.pending();
    const size_t most = task.scored < task.job.prompt.size() && task.scoresPrompt()
                            ? std::min(reading, kScoredRows)
                            : reading;
    const size_t rows = rowsFor(i, pending == 1 ? 1 : std::min(pending, most));
    if (pending > 1)
      reading -= rows;
    if (rows == 0)
      continue;
    task.rows = rows;
    task.guess.clear();
    planned_.push_back(&task);
    scoresPrompts_ |= task.scoresPrompt() && task.scored < task.job.prompt.size();
  }
  // Rows of a prompt whose scores are wanted look like guesses to the session: they go without.
  if (speculate_ > 0 && !scoresPrompts_)
    planGuesses();
  for (Task *task : planned_)
    planTask(*task);
}

/// Guesses fill rows and pages that nobody else needs, those of the oldest answers first.
void Scheduler::planGuesses() {
  size_t rows = 0, writing = 0;
  for (const Task *task : planned_) {
    rows += task->rows;
    writing += task->pending() == 1;
  }
  for (Task *task : planned_) {
    if (task->pending() != 1 || task->job.maxTokens == 0)
      continue;
    // The last token that is wanted is never guessed, so the context holds what is.
    const size_t pages = size_t((pagesFor(task->ran + 1) + freePages_) * pageRows_);
    const size_t most =
        std::min({speculate_, maxRows_ - rows, task->job.maxTokens - task->answered - 1,
                  pages - (task->ran + 1)});
    if (most == 0)
      continue;
    // A row more makes this step longer; a token more spares its share of a step without guesses.
    const double now = session_.expectedSeconds(rows), then = session_.expectedSeconds(rows + most);
    const double share = session_.expectedSeconds(writing) / double(writing);
    const double least = share > 0 ? (then - now) / double(most) / share : 1;
    task->guess.resize(most);
    task->guess.resize(
        task->drafter.guess(task->sampler, std::clamp(least, 0.0, 1.0), task->guess));
    rows += task->guess.size();
    freePages_ -= pagesFor(task->ran + 1 + task->guess.size()) - pagesFor(task->ran + 1);
    metrics_.guessedTokens += task->guess.size();
  }
}

void Scheduler::planTask(Task &task) {
  const size_t pending = task.pending(), rows = task.rows;
  const auto want = [&] {
    wanted_.push_back(rows_.size() - 1);
    wantedTasks_.push_back(&task);
    samplers_.push_back(&task.sampler);
  };
  for (size_t j = task.ran; j < task.ran + rows; ++j) {
    rows_.push_back({task.tokens[j], task.slot, int32_t(j)});
    const bool last = j + 1 == task.tokens.size();
    const bool scores =
        task.scoresPrompt() && j + 1 < task.job.prompt.size() && j + 1 >= task.scored;
    if (last || scores)
      want();
  }
  for (size_t i = 0; i < task.guess.size(); ++i) {
    rows_.push_back({task.guess[i], task.slot, int32_t(task.ran + rows + i)});
    want();
  }
  wantsLogits_ |= task.job.top >= 0 && (rows == pending || task.scoresPrompt());
}

/// Runs the planned step, and picks from its logits where a task wants to see them.
void Scheduler::sampleRows() {
  tokens_.assign(wanted_.size(), RETORT_TOKEN_NONE);
  if (scoresPrompts_)
    return scoreRows();
  const size_t vocab = size_t(model_.info().vocab);
  logits_.resize(wantsLogits_ ? wanted_.size() * vocab : 0);
  session_.stepVerify(rows_, wanted_, tokens_, samplers_, logits_);
  for (size_t i = 0; wantsLogits_ && i < wanted_.size(); ++i) {
    Task &task = *wantedTasks_[i];
    if (task.job.top >= 0 && tokens_[i] >= 0)
      task.news.scores.push_back(scoreOf(task, tokens_[i], {&logits_[i * vocab], vocab}));
  }
}

/// The same where rows score tokens of prompts, for which nothing is picked.
void Scheduler::scoreRows() {
  const size_t vocab = size_t(model_.info().vocab);
  const size_t text = size_t(model_.info().tokenizer_vocab);
  logits_.resize(wanted_.size() * vocab);
  session_.step(rows_, wanted_, logits_);
  for (size_t i = 0; i < wanted_.size(); ++i) {
    Task &task = *wantedTasks_[i];
    const std::span<const float> row(&logits_[i * vocab], vocab);
    const size_t next = size_t(rows_[wanted_[i]].position) + 1;
    if (next < task.tokens.size()) {
      task.news.scores.push_back(scoreOf(task, task.tokens[next], row));
      task.scored = next + 1;
      continue;
    }
    try {
      tokens_[i] = task.sampler.sample(row.first(text ? text : vocab));
    } catch (const Failure &) {
      continue; // no logit is a number: RETORT_TOKEN_NONE, as stepVerify() has it
    }
    if (task.job.top >= 0)
      task.news.scores.push_back(scoreOf(task, tokens_[i], row));
  }
}

TokenScore Scheduler::scoreOf(const Task &task, int32_t token,
                              std::span<const float> logits) const {
  std::vector<int32_t> tokens = topTokens(logits, size_t(task.job.top));
  const size_t top = tokens.size();
  tokens.push_back(token); // all at once: the sum over the vocabulary is what takes time
  const std::vector<float> likely = logprobs(logits, tokens);
  TokenScore score = {token, likely[top], {}};
  for (size_t i = 0; i < top; ++i)
    score.top.emplace_back(tokens[i], likely[i]);
  return score;
}

void Scheduler::runStep() {
  planRows();
  const Clock::time_point begin = Clock::now();
  try {
    sampleRows();
  } catch (const Failure &failure) {
    const bool lost = failure.status() == RETORT_E_DEVICE;
    if (lost) {
      std::lock_guard lock(mutex_);
      lost_ = failure.what();
      stopping_ = true;
    }
    deviceLost_ = lost;
    failRunning(serverError(failure.what(), failure.status() == RETORT_E_INTERNAL ? 500 : 503));
    if (lost && onLost)
      onLost();
    return;
  }
  metrics_.stepTime += nanoseconds(Clock::now() - begin);
  countPages();
  ++metrics_.steps;
  metrics_.stepRows.observe(double(rows_.size()));
  for (Task *task : planned_) {
    const size_t unread = task->job.prompt.size() - std::min(task->job.prompt.size(), task->ran);
    if (task->answered == 0)
      metrics_.promptTokens += std::min(unread, task->rows);
    task->ran += task->rows;
  }
  takePicked();
}

/// Gives the step's tokens to their answers: several to one whose guesses were right.
void Scheduler::takePicked() {
  for (size_t i = 0; i < wantedTasks_.size(); ++i) {
    Task &task = *wantedTasks_[i];
    const size_t position = size_t(rows_[wanted_[i]].position);
    if (task.ended || tokens_[i] == RETORT_TOKEN_UNPICKED)
      continue;
    if (position == task.ran && position + 1 == task.tokens.size()) { // a right guess's row
      ++task.ran;
      ++metrics_.rightTokens;
    }
    if (task.pending() > 0 || position + 1 != task.ran)
      continue; // of the prompt
    const bool last = i + 1 == wantedTasks_.size() || wantedTasks_[i + 1] != &task ||
                      tokens_[i + 1] == RETORT_TOKEN_UNPICKED;
    if (tokens_[i] >= 0)
      task.drafter.see({&tokens_[i], 1});
    take(task, tokens_[i], last);
  }
}

/// The next token of an answer has come, the last of this step's or not.
void Scheduler::take(Task &task, int32_t token, bool last) {
  if (token < 0)
    return end(task, serverError("the model gives no token a finite probability: its weights are "
                                 "damaged, or its arithmetic overflows",
                                 500));
  const Clock::time_point now = Clock::now();
  if (task.lastToken == Clock::time_point{})
    metrics_.firstToken.observe(seconds(now - task.arrived));
  else
    metrics_.tokenGap.observe(seconds(now - task.lastToken));
  task.lastToken = now;
  if (task.job.maxTokens == 0) {
    if (task.job.top >= 0)
      task.news.scores.pop_back(); // of the token that is not wanted
    task.news.length = true;
    return end(task);
  }
  Update &news = task.news;
  if (!task.job.ignoreEos && model_.isStop(token)) {
    news.finished = true;
  } else {
    news.text += task.decoder.push(token);
    news.finished = task.decoder.stopped();
    // A special token that is a stop by its name is no part of the answer.
    if (!news.finished || !model_.detokenize({&token, 1}).empty()) {
      task.tokens.push_back(token);
      ++task.answered;
      ++metrics_.answerTokens;
    }
    news.finished |= last && task.sampler.done();
    if (!news.finished && task.answered == task.job.maxTokens)
      news.finished = news.length = true;
  }
  if (news.finished) {
    if (task.job.top >= 0 && task.tokens.size() == task.ran)
      news.scores.pop_back(); // of the token that ended the answer
    news.text += task.decoder.finish();
    if (task.decoder.stopped())
      news.length = false;
    return end(task);
  }
  if (news.text.empty() || !task.job.onUpdate)
    return;
  news.tokens = task.answered;
  task.job.onUpdate(std::exchange(news, {}));
}

/// Ends a task: its slot and pages are free, and its owner knows.
void Scheduler::end(Task &task) {
  if (task.slot >= 0) {
    if (!deviceLost_) {
      session_.reset(task.slot);
      countPages();
    }
    freeSlots_.push_back(task.slot);
    task.slot = -1;
    report(metrics_.running, ours_.running, ours_.running - 1);
    report(metrics_.freePages, ours_.freePages, freePages_);
  } else {
    report(metrics_.waiting, ours_.waiting, ours_.waiting - 1);
  }
  task.ended = true;
  Update &news = task.news;
  news.tokens = task.answered;
  news.finished = true;
  if (news.error)
    ++metrics_.failed;
  else if (task.job.onUpdate)
    ++(news.length ? metrics_.finishedLength : metrics_.finishedStop);
  metrics_.latency.observe(seconds(Clock::now() - task.arrived));
  {
    std::lock_guard lock(mutex_);
    --inFlight_;
  }
  if (task.job.onUpdate)
    task.job.onUpdate(std::move(news));
}

void Scheduler::end(Task &task, const ApiError &error) {
  task.news = {};
  task.news.error = error;
  end(task);
}

void Scheduler::failRunning(const ApiError &error) {
  for (std::unique_ptr<Task> &task : running_)
    if (!task->ended)
      end(*task, error);
  running_.clear();
  freePages_ = info_.pages;
}

/// The gauges.
void Scheduler::report() {
  report(metrics_.running, ours_.running, running_.size());
  report(metrics_.waiting, ours_.waiting, waiting_.size());
  report(metrics_.pages, ours_.pages, info_.pages);
  report(metrics_.freePages, ours_.freePages, freePages_);
}

void Scheduler::report(std::atomic<uint64_t> &gauge, uint64_t &ours, uint64_t now) {
  gauge += now - ours; // also where it is less: they count modulo 2^64
  ours = now;
}

} // namespace retort::server
