//===- Engine.cpp - Streams and what runs in them ------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "kernels/sim/Driver.h"
#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstring>

namespace retort::sim {

Device devices[kMaxDevices];
bool initialised = false;
thread_local CUcontext current = nullptr;
Clock *hostClock = nullptr;

namespace {
std::mutex mutex;
std::condition_variable enqueued;
uint64_t numEnqueued = 0;

double now() {
  return std::chrono::duration<double, std::milli>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

/// Whether an earlier operation of the default stream, or of the streams that it is ordered with,
/// is unfinished.
bool heldByDefaultStream(CUstream stream, uint64_t sequence) {
  const Device &device = *stream->device;
  const auto before = [&](CUstream other) {
    return other && !other->operations.empty() && other->operations.front().sequence < sequence;
  };
  if (stream == device.defaultStream)
    return std::any_of(device.streams.begin(), device.streams.end(), [&](CUstream other) {
      return other != stream && other->blocking && before(other);
    });
  return stream->blocking && before(device.defaultStream);
}

bool startLaunch(CUstream stream, Operation &op, Launch *before) {
  Device &device = *stream->device;
  if (settings.loseDevice >= 0 && device.index == settings.lostDevice &&
      device.error == CUDA_SUCCESS)
    if (settings.loseDevice-- == 0)
      device.error = CUDA_ERROR_ECC_UNCORRECTABLE;
  if (device.error != CUDA_SUCCESS) {
    op.done = true;
    return false;
  }
  op.launch->before = before;
  if (settings.instrumented()) {
    // What a dependent launch follows it has not seen before pdlWait, even if that had ended.
    const bool unseen = op.launch->dependent && !before && stream->beforeLast;
    launchBegins(op.launch, unseen ? stream->beforeLast : stream->clock);
    if (unseen)
      joinInto(op.launch->prior, stream->clock);
  }
  beginLaunch(op.launch);
  op.started = true;
  return true;
}

/// The default stream and the streams that are not non-blocking wait for each other.
void seeDefaultStream(CUstream stream) {
  Device &device = *stream->device;
  if (stream == device.defaultStream) {
    for (CUstream other : device.streams)
      if (other != stream && other->blocking)
        joinInto(stream->clock, other->clock);
  } else if (stream->blocking && device.defaultStream) {
    joinInto(stream->clock, device.defaultStream->clock);
  }
}

/// Checks a copy's accesses to memory that kernels see.
void watch(CUstream stream, const Operation &op) {
  if (!settings.check || op.bytes == 0)
    return;
  const uint64_t stamp = streamStamp(stream);
  if (stamp && allocated(op.to, op.bytes))
    copied(op.to, op.bytes, true, stream->clock, stamp);
  if (stamp && op.from && allocated(op.from, op.bytes))
    copied(op.from, op.bytes, false, stream->clock, stamp);
}

void runNow(CUstream stream, Operation &op) {
  watch(stream, op);
  op.done = true;
  freeClock(stream->beforeLast);
  const bool works = stream->device->error == CUDA_SUCCESS;
  switch (op.kind) {
  case Operation::Launch:
    break;
  case Operation::ToDevice:
    if (works)
      memcpy(op.to, op.from ? op.from : op.staged.data(), op.bytes);
    break;
  case Operation::ToHost:
  case Operation::OnDevice:
    if (works)
      memcpy(op.to, op.from, op.bytes);
    break;
  case Operation::Set:
    if (works)
      memset(op.to, op.value, op.bytes);
    break;
  case Operation::Record:
    op.event->happened = std::max(op.event->happened, op.version);
    op.event->time = now();
    joinInto(op.event->clock, stream->clock);
    break;
  case Operation::Wait:
    joinInto(stream->clock, op.event->clock);
    break;
  }
}

/// Starts the operations whose turn it is. True if there was one.
bool pump() {
  bool any = false;
  forEachStream([&](CUstream stream) {
    auto &operations = stream->operations;
    while (!operations.empty()) {
      Operation &op = operations.front();
      if (op.done) {
        freeClock(op.host);
        delete op.launch;
        operations.pop_front();
        any = true;
        continue;
      }
      if (op.started) {
        // A dependent launch starts when all CTAs of the one before it have ended or said so.
        if (operations.size() > 1 && op.launch->triggered == op.launch->grid)
          if (Operation &next = operations[1]; next.kind == Operation::Launch &&
                                               next.launch->dependent && !next.started &&
                                               !next.done)
            any |= startLaunch(stream, next, op.launch);
        break;
      }
      if (heldByDefaultStream(stream, op.sequence) ||
          (op.kind == Operation::Wait && op.event->happened < op.version))
        break;
      joinInto(stream->clock, op.host);
      seeDefaultStream(stream);
      any = true;
      if (op.kind == Operation::Launch)
        startLaunch(stream, op, nullptr);
      else
        runNow(stream, op);
    }
  });
  return any;
}

void finishEnded() {
  for (Launch *launch : takeEnded()) {
    forEachStream([&](CUstream stream) {
      for (Operation &op : stream->operations)
        if (op.launch == launch) {
          op.done = true;
          if (launch->end) {
            freeClock(stream->beforeLast);
            joinInto(stream->beforeLast, launch->begin);
            joinInto(stream->beforeLast, stream->clock);
            joinInto(stream->clock, launch->end);
          }
        }
    });
    if (launch->device->error != CUDA_SUCCESS)
      abandon(launch->device);
    freeClock(launch->begin);
    freeClock(launch->end);
    freeClock(launch->prior);
  }
}
} // namespace

void forEachStream(const std::function<void(CUstream)> &visit) {
  for (unsigned d = 0; d < settings.devices; ++d)
    for (CUstream stream : devices[d].streams)
      visit(stream);
}

void joinInto(Clock *&into, const Clock *from) {
  if (!from)
    return;
  if (!into)
    into = newClock();
  join(into, from);
}

bool runUntil(Call &call, const std::function<bool()> &done) {
  const FaultGuard guard;
  for (;;) {
    bool any = pump();
    if (done())
      return true;
    // Some turns between looks at the streams.
    Outcome outcome = Outcome::Progress;
    for (int i = 0; i < 64 && outcome == Outcome::Progress; ++i) {
      const uint64_t before = progress;
      outcome = step();
      if (auto ended = progress; ended != before && i % 8 == 7)
        break;
    }
    const size_t launches = runCounters.launches;
    finishEnded();
    any |= pump() || launches != runCounters.launches;
    if (outcome == Outcome::Progress || any || done())
      continue;
    // Another thread may be about to give the device what it waits for.
    const uint64_t seen = numEnqueued;
    if (enqueued.wait_for(call.lock, std::chrono::milliseconds(settings.hostWaitMs),
                          [&] { return numEnqueued != seen; }))
      continue;
    if (outcome == Outcome::Idle)
      return false;
    reportDeadlock();
    finishEnded();
  }
}

void runSome(const std::function<bool()> &done) {
  const FaultGuard guard;
  pump();
  for (int i = 0; i < 256 && !done() && step() == Outcome::Progress; ++i) {
    finishEnded();
    pump();
  }
  finishEnded();
  pump();
}

Call::Call() : lock(mutex) {}

Device *currentDevice() { return current ? current->device : nullptr; }

CUresult usable() {
  if (!initialised)
    return CUDA_ERROR_NOT_INITIALIZED;
  if (!current)
    return CUDA_ERROR_INVALID_CONTEXT;
  return currentDevice()->error;
}

CUstream streamOf(CUstream stream) {
  Device *device = currentDevice();
  if (stream)
    return stream;
  if (!device->defaultStream) {
    device->defaultStream = new CUstream_st{device, true, {}};
    device->streams.push_back(device->defaultStream);
  }
  return device->defaultStream;
}

CUresult enqueue(CUstream stream, Operation op) {
  stream = streamOf(stream);
  if (stream->capture) {
    stream->capture->nodes.push_back(std::move(op));
    return CUDA_SUCCESS;
  }
  op.sequence = ++numEnqueued;
  joinInto(op.host, hostClock);
  stream->operations.push_back(std::move(op));
  enqueued.notify_all();
  return CUDA_SUCCESS;
}

CUresult synchronize(Call &call, CUstream stream) {
  if (stream->capture)
    return CUDA_ERROR_NOT_PERMITTED;
  runUntil(call, [&] { return stream->operations.empty(); });
  joinInto(hostClock, stream->clock);
  return stream->device->error;
}

CUresult synchronizeDevice(Call &call, Device *device) {
  runUntil(call, [&] {
    return std::all_of(device->streams.begin(), device->streams.end(),
                       [](CUstream s) { return s->operations.empty(); });
  });
  for (CUstream stream : device->streams)
    joinInto(hostClock, stream->clock);
  return device->error;
}

} // namespace retort::sim
