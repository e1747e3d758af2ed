//===- Exchange.cpp - A request and the reply to it -----------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/server/Http.h"

namespace retort::server {

void Exchange::whenGone(std::function<void()> callback) {
  std::unique_lock lock(mutex_);
  if (!gone_) {
    callback_ = std::move(callback);
    return;
  }
  lock.unlock();
  callback();
}

void Exchange::markGone() {
  std::unique_lock lock(mutex_);
  gone_ = true;
  std::function<void()> callback = std::exchange(callback_, nullptr);
  lock.unlock();
  if (callback)
    callback();
}

bool Exchange::gone() const {
  std::lock_guard lock(mutex_);
  return gone_;
}

} // namespace retort::server
