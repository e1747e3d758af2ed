//===- Channel.h - A connection's bytes, plain or through TLS ---*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <functional>
#include <memory>
#include <string>

namespace retort::server {

using boost::asio::ip::tcp;

/// Of one thread. A read and a write may be under way at a time. Callbacks get the error and the
/// number of bytes; close() makes them come with an error.
class Channel {
public:
  using Done = std::function<void(boost::system::error_code, size_t)>;
  virtual ~Channel() = default;
  virtual void handshake(Done done) = 0;
  virtual void read(char *bytes, size_t size, Done done) = 0;
  /// Writes all of it.
  virtual void write(const char *bytes, size_t size, Done done) = 0;
  /// Says that nothing more comes.
  virtual void shutdown(Done done) = 0;
  void close();
  virtual tcp::socket &socket() = 0;
};

/// `tls` null: plain.
std::unique_ptr<Channel> makeChannel(tcp::socket socket, boost::asio::ssl::context *tls);

/// Throws Error: Io, Usage as requirePrivate(), BadInput for files that are no pair, or out of date.
std::unique_ptr<boost::asio::ssl::context> makeTls(const std::string &certificate,
                                                   const std::string &key);

} // namespace retort::server
