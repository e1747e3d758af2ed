//===- Serve.cpp - `retort serve` -----------------------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/server/Serve.h"
#include "runtime/base/SystemError.h"
#include "runtime/server/Notify.h"

#include <csignal>
#include <cstdio>
#include <filesystem>
#include <sys/resource.h>
#include <unistd.h>

namespace retort::server {
namespace {

constexpr std::chrono::milliseconds kFarewell{1000}; // for replies to reach clients before the end

bool isLoopback(const std::string &address) {
  return address.starts_with("127.") || address == "::1";
}

/// Throws Error (Usage) for options that do not go together.
void check(const ServeOptions &options) {
  const HttpOptions &http = options.http;
  if (http.certificate.empty() != http.key.empty())
    fail(ExitCode::Usage, "--tls-cert and --tls-key go together: give both");
  if (!isLoopback(http.address) && options.keyFile.empty() && !options.insecure)
    fail(ExitCode::Usage, "--host " + http.address +
                              " lets other machines ask: give --api-key-file, or --insecure if a "
                              "proxy before it asks for keys");
}

/// A connection is a descriptor: the soft limit of many systems is 1024.
void requireDescriptors(size_t connections) {
  const rlim_t needed = connections + 64; // and the bundle's, the device's, the log's
  rlimit limit = {};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0)
    failSystem("RLIMIT_NOFILE", "cannot be read");
  if (limit.rlim_cur >= needed)
    return;
  if (limit.rlim_max < needed)
    fail(ExitCode::Resources, std::to_string(connections) + " connections need " +
                                  std::to_string(needed) + " open files, and the limit is " +
                                  std::to_string(limit.rlim_max) +
                                  ": raise it (`ulimit -n`), or ask for fewer --connections");
  limit.rlim_cur = needed;
  if (::setrlimit(RLIMIT_NOFILE, &limit) != 0)
    failSystem("RLIMIT_NOFILE", "cannot be raised");
}

std::string megabytes(uint64_t bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f MB", double(bytes) / 1e6);
  return text;
}

/// The parts of a running server, in the order in which they need each other.
class Service {
public:
  explicit Service(const ServeOptions &options)
      : options_(options), api_(options.api, metrics_, log_), http_(options.http, api_) {
    http_.onSignal([this] { onSignal(); });
  }

  void run() {
    std::thread network([this] { http_.run(); });
    try {
      load();
    } catch (...) {
      http_.stop();
      network.join();
      throw;
    }
    network.join();
    scheduler_->stop();
    if (const std::string lost = scheduler_->lost(); !lost.empty())
      fail(ExitCode::Device, lost);
    log_.write("stopped", Json::object());
  }

private:
  using Json = nlohmann::ordered_json;

  void load() {
    const Clock::time_point start = Clock::now();
    const Model model(options_.bundle, {}, 0, options_.weights);
    if (model.info().tokenizer_vocab == 0)
      fail(ExitCode::Unsupported, options_.bundle + ": has no tokenizer, and a server reads text: "
                                                    "compile it from a checkpoint with one");
    scheduler_ = std::make_unique<Scheduler>(model, options_.scheduler, metrics_);
    scheduler_->onLost = [this] { http_.after(kFarewell, [this] { http_.stop(); }); };
    api_.begin(model, *scheduler_);
    scheduler_->start();
    running_ = scheduler_.get();
    announce(std::chrono::duration<double>(Clock::now() - start).count());
  }

  /// The line that says where it listens, with what.
  void announce(double seconds) {
    const retort_session_info info = scheduler_->sessionInfo();
    const HttpOptions &http = options_.http;
    const bool v6 = http.address.find(':') != http.address.npos;
    const std::string url = std::string(http.certificate.empty() ? "http" : "https") + "://" +
                            (v6 ? "[" + http.address + "]" : http.address) + ":" +
                            std::to_string(http_.port());
    std::printf("retort serve: %s at %s (%s, %u threads, %u slots of %zu tokens, %s of cache)\n",
                options_.api.name.c_str(), url.c_str(), info.device, info.threads, info.slots,
                scheduler_->context(), megabytes(info.cache_bytes).c_str());
    std::fflush(stdout);
    notifyManager("READY=1\nSTATUS=" + url);
    log_.write("listening",
               Json{{"url", url}, {"model", options_.api.name}, {"load_seconds", seconds}});
  }

  void onSignal() {
    if (signalled_) // somebody does not want to wait
      ::_exit(int(ExitCode::Interrupted));
    signalled_ = true;
    notifyManager("STOPPING=1");
    log_.write("draining", Json{{"seconds", options_.drainTime.count()}});
    api_.drain();
    http_.drain([this] { http_.stop(); });
    http_.after(options_.drainTime, [this] { cut(); });
  }

  /// What is not done by now is told so.
  void cut() {
    Scheduler *scheduler = running_;
    log_.write("cut", Json{{"answers", scheduler ? scheduler->inFlight() : 0}});
    if (scheduler)
      scheduler->stop();
    http_.after(kFarewell, [this] { http_.stop(); });
  }

  const ServeOptions &options_;
  Metrics metrics_;
  Log log_{STDERR_FILENO};
  std::unique_ptr<Scheduler> scheduler_;
  std::atomic<Scheduler *> running_{nullptr}; ///< once it has started
  Api api_;
  HttpServer http_;
  bool signalled_ = false; ///< of the network's thread
};

} // namespace

void serve(ServeOptions options) {
  check(options);
  if (!options.keyFile.empty())
    options.api.keys = Keys::read(options.keyFile);
  options.api.localNames = isLoopback(options.http.address) && options.api.keys.empty();
  if (options.api.name.empty()) {
    std::filesystem::path path = options.bundle;
    if (!path.has_filename()) // "man.retort/", the directory form
      path = path.parent_path();
    options.api.name = path.stem().string();
  }
  requireDescriptors(options.http.connections);
  std::signal(SIGPIPE, SIG_IGN); // clients that go away are met by the calls that fail
  Service(options).run();
}

} // namespace retort::server
