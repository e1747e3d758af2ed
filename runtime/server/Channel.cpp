//===- Channel.cpp - A connection's bytes, plain or through TLS -----------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/server/Channel.h"
#include "runtime/base/Error.h"
#include "runtime/server/Keys.h"

#include <boost/asio/buffer.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/write.hpp>
#include <openssl/err.h>

namespace retort::server {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;

class PlainChannel : public Channel {
public:
  explicit PlainChannel(tcp::socket socket) : socket_(std::move(socket)) {}
  void handshake(Done done) override {
    asio::post(socket_.get_executor(), [done = std::move(done)] { done({}, 0); });
  }
  void read(char *bytes, size_t size, Done done) override {
    socket_.async_read_some(asio::buffer(bytes, size), std::move(done));
  }
  void write(const char *bytes, size_t size, Done done) override {
    asio::async_write(socket_, asio::buffer(bytes, size), std::move(done));
  }
  void shutdown(Done done) override {
    error_code error;
    socket_.shutdown(tcp::socket::shutdown_send, error);
    asio::post(socket_.get_executor(), [done = std::move(done), error] { done(error, 0); });
  }
  tcp::socket &socket() override { return socket_; }

private:
  tcp::socket socket_;
};

class TlsChannel : public Channel {
public:
  TlsChannel(tcp::socket socket, asio::ssl::context &context)
      : stream_(std::move(socket), context) {}
  void handshake(Done done) override {
    stream_.async_handshake(asio::ssl::stream_base::server,
                            [done = std::move(done)](error_code error) { done(error, 0); });
  }
  void read(char *bytes, size_t size, Done done) override {
    stream_.async_read_some(asio::buffer(bytes, size), std::move(done));
  }
  void write(const char *bytes, size_t size, Done done) override {
    asio::async_write(stream_, asio::buffer(bytes, size), std::move(done));
  }
  void shutdown(Done done) override {
    stream_.async_shutdown([done = std::move(done)](error_code error) { done(error, 0); });
  }
  tcp::socket &socket() override { return stream_.next_layer(); }

private:
  asio::ssl::stream<tcp::socket> stream_;
};

/// OpenSSL's reason for the last failure.
std::string tlsReason() {
  char text[256];
  ::ERR_error_string_n(::ERR_peek_last_error(), text, sizeof text);
  ::ERR_clear_error();
  return text;
}

[[noreturn]] void refuseFile(const std::string &path, const std::string &what) {
  fail(ExitCode::BadInput, path + ": " + what);
}

} // namespace

void Channel::close() {
  error_code ignored;
  socket().close(ignored);
}

std::unique_ptr<Channel> makeChannel(tcp::socket socket, asio::ssl::context *tls) {
  if (tls)
    return std::make_unique<TlsChannel>(std::move(socket), *tls);
  return std::make_unique<PlainChannel>(std::move(socket));
}

std::unique_ptr<asio::ssl::context> makeTls(const std::string &certificate,
                                            const std::string &key) {
  auto context = std::make_unique<asio::ssl::context>(asio::ssl::context::tls_server);
  SSL_CTX *handle = context->native_handle();
  ::SSL_CTX_set_min_proto_version(handle, TLS1_2_VERSION);
  ::SSL_CTX_set_options(handle, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                    SSL_OP_CIPHER_SERVER_PREFERENCE);
  requirePrivate(key);
  if (::SSL_CTX_use_certificate_chain_file(handle, certificate.c_str()) != 1)
    refuseFile(certificate, "is no certificate in PEM: " + tlsReason());
  if (::SSL_CTX_use_PrivateKey_file(handle, key.c_str(), SSL_FILETYPE_PEM) != 1)
    refuseFile(key, "is no private key in PEM of the certificate in " + certificate + ": " +
                        tlsReason());
  if (::SSL_CTX_check_private_key(handle) != 1)
    refuseFile(key, "is not the key of the certificate in " + certificate + ": " + tlsReason());
  const X509 *leaf = ::SSL_CTX_get0_certificate(handle);
  if (::X509_cmp_current_time(::X509_get0_notAfter(leaf)) < 0)
    refuseFile(certificate, "the certificate has expired: renew it");
  if (::X509_cmp_current_time(::X509_get0_notBefore(leaf)) > 0)
    refuseFile(certificate, "the certificate is not valid yet: look at this machine's clock");
  return context;
}

} // namespace retort::server
