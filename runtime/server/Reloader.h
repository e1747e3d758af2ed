//===- Reloader.h - Bundles that take the place of others -------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "runtime/server/Log.h"
#include "runtime/server/Served.h"

namespace retort::server {

/// The state of a file: another one after it was replaced by rename, or written.
struct FileState {
  uint64_t device = 0, inode = 0, size = 0;
  int64_t seconds = 0, nanoseconds = 0;
  bool operator==(const FileState &) const = default;
};
/// Of a bundle, or of the manifest of one that is a folder. Throws Error (Io).
FileState stateOf(const std::string &path);

/// Opens bundles, and, when told to, those again that were replaced: answers that are being written end on
/// the old one, which goes when they have. One that cannot be opened changes nothing. A thread of its own.
class Reloader {
public:
  Reloader(std::vector<ServedFile> files, const SchedulerOptions &options, ServedModels &models,
           Metrics &metrics, Log &log);
  ~Reloader();

  /// Opens all. Throws as Served, or Error (Io).
  void open();
  /// The thread begins. `onLost` is called on a scheduler's thread when its device has failed.
  void start(std::function<void()> onLost);
  /// Looks for bundles that were replaced, soon. `whenDone` is called on this object's thread.
  void reload(std::function<void()> whenDone);
  /// Stops all schedulers, also of models that were replaced, and reloads nothing more. Returns how many
  /// answers there were.
  size_t stop();
  /// The message with which a device failed; empty: all work.
  std::string lost() const;

private:
  void loop();
  void reload(const ServedFile &file, FileState &known);
  ServedModel made(const ServedFile &file);
  void dropRetired();

  const std::vector<ServedFile> files_;
  const SchedulerOptions options_;
  ServedModels &models_;
  Metrics &metrics_;
  Log &log_;
  std::function<void()> onLost_;
  std::vector<FileState> states_; ///< of files_
  mutable std::mutex mutex_;      ///< of what follows
  std::condition_variable wake_;
  std::vector<ServedModel> retired_; ///< until their answers have ended
  std::function<void()> asked_;      ///< a reload that is yet to be done
  bool stopping_ = false;
  std::thread thread_;
};

} // namespace retort::server
