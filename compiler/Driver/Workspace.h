//===- Workspace.h - The content-addressed store of data work --*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <functional>
#include <optional>
#include <set>
#include <string>

namespace retort {

/// A folder of results of data work. Each is a file named by the SHA-256 of everything that it
/// depends on (its key), so a compile that was killed finds what it had finished, and recipes that
/// share a prefix share its work. Objects appear by an atomic rename and are never changed, so any
/// number of processes may share a workspace. Each has its own SHA-256 beside it, compared before it
/// is first used: one that does not match or is gone is said on stderr, once, and made again.
///
///     <dir>/objects/<key>.<kind>       a finished result
///     <dir>/sums/<key>.<kind>          its SHA-256
///     <dir>/partial/<key>              a training checkpoint with a sum of its own, removed when its
///                                      result is there
///     <dir>/locks/<key>                held while one process makes the object
class Workspace {
public:
  /// Touches nothing: what only reads needs no folder.
  explicit Workspace(std::string dir) : dir_(std::move(dir)) {}
  /// Makes the folders, before the first object is written. Throws Error (failSystem) if it cannot.
  void create() const;

  const std::string &dir() const { return dir_; }
  /// $RETORT_WORKSPACE, else $XDG_CACHE_HOME/retort, else ~/.cache/retort, where ~ is $HOME or the
  /// user's entry in the password file; without any a folder below /tmp that is this user's alone.
  static std::string defaultDir();

  /// Where the object of this key and kind ("json", "safetensors") is or would be.
  std::string objectPath(const std::string &key, const std::string &kind) const;
  std::string partialPath(const std::string &key) const;
  /// Whether the object is there and whole.
  bool has(const std::string &key, const std::string &kind) const;

  /// Returns the object's path, calling `make` first if it is not there yet. `make` writes the file
  /// whose path it is given (a temporary beside the object) or throws; another process that makes
  /// the same object is waited for, `waiting` being called once if it must. What partialPath(key)
  /// names is removed once the object is there, not before: a kill in between costs nothing.
  std::string getOrMake(const std::string &key, const std::string &kind,
                        const std::function<void(const std::string &temporary)> &make,
                        const std::function<void()> &waiting = {});

  /// Writes `text` as the object's content (atomically).
  void put(const std::string &key, const std::string &kind, const std::string &text) const;
  /// The object's content; nothing if it is not there or not whole.
  std::optional<std::string> read(const std::string &key, const std::string &kind) const;

private:
  std::string sumPath(const std::string &key, const std::string &kind) const;
  bool lost(const std::string &path, const char *what) const;

  std::string dir_;
  mutable std::set<std::string> whole_; ///< paths of objects that were compared with their sums
  mutable std::set<std::string> lost_;  ///< paths of objects that were said to be made again
};

/// Writes a whole file that appears only when it is durable (OutputFile). Throws Error (Io or
/// Resources, the latter if the disk is full), leaving nothing behind.
void writeFileAtomically(const std::string &path, const std::string &content);

/// Bytes free for this user on the file system of `path` (an existing folder or its nearest
/// parent).
uint64_t freeDiskBytes(const std::string &path);

} // namespace retort
