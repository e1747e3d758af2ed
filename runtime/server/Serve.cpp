//===- Serve.cpp - `retort serve` -----------------------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/server/Serve.h"
#include "runtime/base/SystemError.h"
#include "runtime/server/Notify.h"
#include "runtime/server/Reloader.h"

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

/// What a service manager is told; it wants to know since when.
std::string reloadingState() {
  timespec now = {};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return "RELOADING=1\nMONOTONIC_USEC=" +
         std::to_string(uint64_t(now.tv_sec) * 1'000'000 + uint64_t(now.tv_nsec) / 1000);
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
      : options_(options), models_(options.models, options.scheduler, served_, metrics_, log_),
        api_(options.api, served_, metrics_, log_), http_(options.http, api_) {
    http_.onSignal([this] { onSignal(); });
    http_.onHangup([this] { onHangup(); });
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
    models_.stop();
    if (const std::string lost = models_.lost(); !lost.empty())
      fail(ExitCode::Device, lost);
    log_.write("stopped", Json::object());
  }

private:
  using Json = nlohmann::ordered_json;

  void load() {
    const Clock::time_point start = Clock::now();
    models_.open();
    models_.start([this] { http_.after(kFarewell, [this] { http_.stop(); }); });
    api_.begin();
    announce(std::chrono::duration<double>(Clock::now() - start).count());
    loaded_ = true;
  }

  /// The line of each model that says where it listens, with what.
  void announce(double seconds) {
    const HttpOptions &http = options_.http;
    const bool v6 = http.address.find(':') != http.address.npos;
    url_ = std::string(http.certificate.empty() ? "http" : "https") + "://" +
           (v6 ? "[" + http.address + "]" : http.address) + ":" + std::to_string(http_.port());
    Json names = Json::array();
    for (const ServedModel &model : served_.all()) {
      const retort_session_info info = model->scheduler.sessionInfo();
      std::printf("retort serve: %s at %s (%s, %u threads, %u slots of %zu tokens, %s of cache)\n",
                  model->name.c_str(), url_.c_str(), info.device, info.threads, info.slots,
                  model->scheduler.context(), megabytes(info.cache_bytes).c_str());
      names.push_back(model->name);
    }
    std::fflush(stdout);
    notifyManager("READY=1\nSTATUS=" + url_);
    log_.write("listening", Json{{"url", url_}, {"models", names}, {"load_seconds", seconds}});
  }

  void onHangup() {
    if (!loaded_ || signalled_)
      return;
    notifyManager(reloadingState());
    models_.reload([this] { notifyManager("READY=1\nSTATUS=" + url_); });
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
    log_.write("cut", Json{{"answers", loaded_ ? models_.stop() : 0}});
    http_.after(kFarewell, [this] { http_.stop(); });
  }

  const ServeOptions &options_;
  Metrics metrics_;
  Log log_{STDERR_FILENO};
  ServedModels served_;
  Reloader models_;
  std::atomic<bool> loaded_{false};
  std::string url_; ///< once it is loaded
  Api api_;
  HttpServer http_;
  bool signalled_ = false; ///< of the network's thread
};

} // namespace

std::vector<ServedFile> namedFiles(const std::vector<std::string> &bundles,
                                   const std::string &name) {
  if (!name.empty() && bundles.size() > 1)
    fail(ExitCode::Usage, "--name names one model, and there are " +
                              std::to_string(bundles.size()) + ": give each as NAME=FILE");
  std::vector<ServedFile> files;
  for (const std::string &bundle : bundles) {
    const size_t equals = bundle.find('=');
    const bool named = equals != bundle.npos && bundle.find('/') > equals; // else a folder has it
    ServedFile file = {name, named ? bundle.substr(equals + 1) : bundle};
    std::filesystem::path path = file.path;
    if (!path.has_filename()) // "man.retort/", the directory form
      path = path.parent_path();
    if (name.empty())
      file.name = named ? bundle.substr(0, equals) : path.stem().string();
    if (file.name.empty() || file.path.empty())
      fail(ExitCode::Usage, "'" + bundle + "' is not FILE or NAME=FILE");
    for (const ServedFile &other : files)
      if (other.name == file.name)
        fail(ExitCode::Usage, "'" + other.path + "' and '" + file.path +
                                  "' would both be called '" + file.name + "': give NAME=FILE");
    files.push_back(std::move(file));
  }
  return files;
}

void serve(ServeOptions options) {
  check(options);
  if (!options.keyFile.empty())
    options.api.keys = Keys::read(options.keyFile);
  options.api.localNames = isLoopback(options.http.address) && options.api.keys.empty();
  requireDescriptors(options.http.connections);
  std::signal(SIGPIPE, SIG_IGN); // clients that go away are met by the calls that fail
  Service(options).run();
}

} // namespace retort::server
