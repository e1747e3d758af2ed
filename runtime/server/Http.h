//===- Http.h - The network -------------------------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
//
// HTTP/1.1 over TCP or TLS: what comes in is bounded in size and time before a service sees it, and
// what goes out waits for slow readers without blocking anybody. One thread does all of it.
//
//===----------------------------------------------------------------------===//
#pragma once
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace retort::server {

using Headers = std::vector<std::pair<std::string, std::string>>;

struct HttpRequest {
  std::string method, path, query, body;
  std::string host, origin, authorization, traceparent; ///< headers; empty: not there
  std::string remote;                                   ///< the client's address
};

struct HttpReply {
  int status = 200;
  std::string body;
  Headers headers = {};
  std::string contentType = "application/json";
};

/// A request and the reply to it. Any thread may use it; one at a time. What is sent after the client
/// has gone is dropped.
class Exchange {
public:
  virtual ~Exchange() = default;
  HttpRequest request;
  std::string id;                                         ///< of the log, unique
  std::atomic<uint64_t> promptTokens{0}, answerTokens{0}; ///< for the log

  /// The whole reply; or
  virtual void reply(HttpReply reply) = 0;
  /// a stream of server-sent events: their beginning, text of events, the end.
  virtual void startStream() = 0;
  virtual void write(std::string events) = 0;
  virtual void endStream() = 0;

  /// Calls `callback` once when the client goes before the reply is complete, at once if it has. On
  /// any thread.
  void whenGone(std::function<void()> callback);
  void markGone();
  bool gone() const;

private:
  mutable std::mutex mutex_;
  bool gone_ = false;
  std::function<void()> callback_;
};

/// What answers requests. All calls come on the network's thread and must not block.
class HttpService {
public:
  virtual ~HttpService() = default;
  /// Looks at a request before its body is read; a reply refuses it.
  virtual std::optional<HttpReply> refuse(const HttpRequest &head) = 0;
  virtual void serve(std::shared_ptr<Exchange> exchange) = 0;
  /// Headers that every reply to the request carries.
  virtual Headers headersFor(const HttpRequest &request) const = 0;
  /// The body of a reply to what is no request.
  virtual std::string errorBody(int status, const std::string &message) const = 0;
  /// A reply is sent, or the client has gone before (`complete` is false).
  virtual void finished(const Exchange &exchange, int status, bool complete, double seconds) = 0;
  /// The number of connections has changed.
  virtual void connections(size_t count) = 0;
};

struct HttpOptions {
  std::string address = "127.0.0.1"; ///< of an interface; "::" for all
  uint16_t port = 8080;              ///< 0: any that is free
  std::string certificate, key;      ///< PEM files; empty: no TLS
  size_t headerBytes = 16 << 10, bodyBytes = 2 << 20, connections = 1024;
  /// Of a whole request from its first byte on; of writing what a reader does not take; between two
  /// requests; between two signs of life in a stream.
  std::chrono::seconds readTime{30}, writeTime{30}, idleTime{60}, pingTime{15};
};

class HttpServer {
public:
  /// Listens. Throws Error: Io if the address cannot be had, Usage or BadInput for bad certificates.
  HttpServer(const HttpOptions &options, HttpService &service);
  ~HttpServer();
  uint16_t port() const;
  /// Calls `callback` on the network's thread for each SIGTERM and SIGINT from now on.
  void onSignal(std::function<void()> callback);
  /// Calls `callback` there for each SIGHUP.
  void onHangup(std::function<void()> callback);
  /// Serves until stop().
  void run();
  /// Connections end with their replies; `whenIdle` is called once no request is under way.
  void drain(std::function<void()> whenIdle);
  /// Calls back on the network's thread.
  void after(std::chrono::milliseconds time, std::function<void()> callback);
  void stop();

  struct Impl; ///< Http.cpp's own

private:
  std::shared_ptr<Impl> impl_;
};

} // namespace retort::server
