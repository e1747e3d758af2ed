//===- Reloader.cpp - Bundles that take the place of others ---------------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/server/Reloader.h"
#include "runtime/base/SystemError.h"
#include "runtime/server/Fields.h"

#include <algorithm>
#include <sys/stat.h>

namespace retort::server {
namespace {

/// How often is looked whether a model that was replaced has written its last answer.
constexpr std::chrono::milliseconds kLook{50};

} // namespace

FileState stateOf(const std::string &path) {
  struct stat info = {};
  std::string file = path;
  if (::stat(file.c_str(), &info) == 0 && S_ISDIR(info.st_mode))
    file += "/manifest.json";
  if (::stat(file.c_str(), &info) != 0)
    failSystem(file, "cannot be read");
  return {info.st_dev, info.st_ino, uint64_t(info.st_size), info.st_mtim.tv_sec,
          info.st_mtim.tv_nsec};
}

Reloader::Reloader(std::vector<ServedFile> files, const SchedulerOptions &options,
                   ServedModels &models, Metrics &metrics, Log &log)
    : files_(std::move(files)), options_(options), models_(models), metrics_(metrics), log_(log) {}

Reloader::~Reloader() {
  stop();
  if (thread_.joinable())
    thread_.join();
}

ServedModel Reloader::made(const ServedFile &file) {
  return std::make_shared<Served>(file, options_, metrics_.of(file.name));
}

void Reloader::open() {
  for (const ServedFile &file : files_) {
    states_.push_back(stateOf(file.path)); // before it is read: what comes later is seen later
    models_.put(made(file));
  }
}

void Reloader::start(std::function<void()> onLost) {
  onLost_ = std::move(onLost);
  for (const ServedModel &model : models_.all()) {
    model->scheduler.onLost = onLost_;
    model->scheduler.start();
  }
  thread_ = std::thread([this] { loop(); });
}

void Reloader::reload(std::function<void()> whenDone) {
  std::lock_guard lock(mutex_);
  asked_ = std::move(whenDone); // of several that come at once, one is enough
  wake_.notify_one();
}

void Reloader::loop() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    const auto isAsked = [this] { return stopping_ || asked_; };
    if (retired_.empty())
      wake_.wait(lock, isAsked);
    else
      wake_.wait_for(lock, kLook, isAsked);
    const std::function<void()> whenDone = std::exchange(asked_, nullptr);
    if (stopping_)
      return;
    lock.unlock();
    dropRetired();
    if (whenDone) {
      for (size_t i = 0; i < files_.size(); ++i)
        reload(files_[i], states_[i]);
      whenDone();
    }
    lock.lock();
  }
}

void Reloader::reload(const ServedFile &file, FileState &known) {
  try {
    const FileState now = stateOf(file.path);
    if (now == known)
      return;
    known = now; // one that is damaged is read again once it is another
    const Clock::time_point start = Clock::now();
    const ServedModel model = made(file);
    std::lock_guard lock(mutex_);
    if (stopping_)
      return;
    model->scheduler.onLost = onLost_;
    model->scheduler.start();
    retired_.push_back(models_.put(model));
    ++model->metrics.reloads;
    log_.write("reloaded",
               Json{{"model", file.name},
                    {"load_seconds", std::chrono::duration<double>(Clock::now() - start).count()}});
  } catch (...) {
    Error error;
    try {
      throw;
    } catch (const Failure &failure) {
      error.message = failure.what();
    } catch (...) {
      error = errorInFlight();
    }
    ++metrics_.of(file.name).failedReloads;
    log_.write("reload failed", Json{{"model", file.name}, {"message", error.message}});
  }
}

/// Those whose answers have ended, and that no request has in hand.
void Reloader::dropRetired() {
  std::vector<ServedModel> ended;
  std::lock_guard lock(mutex_);
  std::erase_if(retired_, [&](ServedModel &model) {
    const bool over = model.use_count() == 1 && model->scheduler.inFlight() == 0;
    if (over)
      ended.push_back(std::move(model));
    return over;
  });
}

size_t Reloader::stop() {
  std::vector<ServedModel> all = models_.all();
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    wake_.notify_one();
    all.insert(all.end(), retired_.begin(), retired_.end());
  }
  size_t answers = 0;
  for (const ServedModel &model : all)
    answers += model->scheduler.inFlight();
  for (const ServedModel &model : all)
    model->scheduler.stop();
  return answers;
}

std::string Reloader::lost() const {
  std::vector<ServedModel> all = models_.all();
  std::lock_guard lock(mutex_);
  all.insert(all.end(), retired_.begin(), retired_.end());
  for (const ServedModel &model : all)
    if (std::string lost = model->scheduler.lost(); !lost.empty())
      return lost;
  return {};
}

} // namespace retort::server
