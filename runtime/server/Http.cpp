//===- Http.cpp - The network ---------------------------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/server/Http.h"
#include "runtime/base/SystemError.h"
#include "runtime/server/Channel.h"

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <csignal>
#include <set>
#include <string_view>
#include <sys/random.h>

namespace retort::server {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using boost::system::error_code;
using Clock = std::chrono::steady_clock;

namespace {

constexpr size_t kReadBytes = 16 << 10;    // at a time
constexpr size_t kAheadBytes = 64 << 10;   // of later requests that are read while one is served
constexpr std::chrono::seconds kLinger{2}; // for the client to read a reply that ends a connection

const char *reasonPhrase(int status) {
  const auto text = http::obsolete_reason(http::int_to_status(unsigned(status)));
  return text.data(); // a literal
}

std::string randomId() {
  uint8_t bytes[12] = {};
  if (::getrandom(bytes, sizeof bytes, 0) != ssize_t(sizeof bytes))
    failSystem("getrandom", "gives nothing");
  std::string id;
  for (uint8_t byte : bytes) {
    id += "0123456789abcdef"[byte >> 4];
    id += "0123456789abcdef"[byte & 15];
  }
  return id;
}

bool sameWord(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](char x, char y) { return (x | 32) == (y | 32); });
}

} // namespace

class Connection;

struct HttpServer::Impl : std::enable_shared_from_this<HttpServer::Impl> {
  Impl(const HttpOptions &given, HttpService &service) : options(given), service(service) {}
  void listen();
  void accept();
  void onAccept(error_code error, tcp::socket socket);
  void add(const std::shared_ptr<Connection> &connection);
  void remove(const std::shared_ptr<Connection> &connection);
  void noteIdle();
  void closeAll();

  const HttpOptions options;
  HttpService &service;
  asio::io_context io{1};
  tcp::acceptor acceptor{io};
  asio::signal_set signals{io}, hangups{io};
  asio::steady_timer retry{io};
  std::unique_ptr<asio::ssl::context> tls;
  std::set<std::shared_ptr<Connection>> connections;
  size_t busy = 0; ///< requests under way
  bool draining = false;
  std::function<void()> whenIdle;
};
using Impl = HttpServer::Impl;

/// A client. Reads all the time, so that it knows at once when the client goes.
class Connection : public std::enable_shared_from_this<Connection> {
public:
  Connection(std::shared_ptr<Impl> server, tcp::socket socket);
  void start();
  void close();
  void endIfIdle();

  // For the exchange, on the network's thread. `serial`: the request it belongs to.
  void reply(uint64_t serial, HttpReply reply);
  void startStream(uint64_t serial);
  void write(uint64_t serial, std::string events);
  void endStream(uint64_t serial);

private:
  /// Waits for a request, reads one, has one answered; says goodbye; is gone.
  enum class State { Idle, Reading, Serving, Lingering, Closed };
  void read();
  void onRead(error_code error, size_t bytes);
  void parse();
  bool checkHead();
  bool checkFraming();
  void dispatch();
  void refuseBytes(int status, const std::string &what);
  void refuse(HttpReply reply);
  void beginExchange();
  std::string head(int status, const Headers &headers);
  void send(std::string bytes);
  void flush();
  void finish();
  void linger();
  void enter(State state);
  void setDeadline(std::chrono::seconds time);
  void arm();
  void onTimer();
  bool serves(uint64_t serial) const { return state_ == State::Serving && serial == serial_; }

  std::shared_ptr<Impl> server_;
  std::unique_ptr<Channel> channel_;
  std::string remote_;
  State state_ = State::Idle;
  char incoming_[kReadBytes];
  std::string in_, out_, writing_; ///< read and not parsed; to be written; being written
  bool reading_ = false, writePending_ = false;
  std::optional<http::request_parser<http::string_body>> parser_;
  HttpRequest head_;
  bool headSeen_ = false, keepAlive_ = false, chunked_ = false, bodyless_ = false;
  uint64_t serial_ = 0;
  std::shared_ptr<Exchange> exchange_;
  int status_ = 0;
  bool streaming_ = false, replied_ = false;
  Clock::time_point began_, deadline_ = Clock::time_point::max(),
                            pingAt_ = Clock::time_point::max(), armed_ = Clock::time_point::max();
  asio::steady_timer timer_;
};

namespace {

/// What a service holds of a connection: calls go to the network's thread.
class ConnectionExchange : public Exchange {
public:
  ConnectionExchange(std::shared_ptr<Impl> server, std::weak_ptr<Connection> connection,
                     uint64_t serial)
      : server_(std::move(server)), connection_(std::move(connection)), serial_(serial) {}
  void reply(HttpReply reply) override {
    post([reply = std::move(reply)](Connection &connection, uint64_t serial) mutable {
      connection.reply(serial, std::move(reply));
    });
  }
  void startStream() override {
    post([](Connection &connection, uint64_t serial) { connection.startStream(serial); });
  }
  void write(std::string events) override {
    post([events = std::move(events)](Connection &connection, uint64_t serial) mutable {
      connection.write(serial, std::move(events));
    });
  }
  void endStream() override {
    post([](Connection &connection, uint64_t serial) { connection.endStream(serial); });
  }

private:
  template <class Call> void post(Call call) {
    asio::post(server_->io,
               [weak = connection_, serial = serial_, call = std::move(call)]() mutable {
                 if (const std::shared_ptr<Connection> connection = weak.lock())
                   call(*connection, serial);
               });
  }
  std::shared_ptr<Impl> server_;
  std::weak_ptr<Connection> connection_;
  uint64_t serial_;
};

} // namespace

//===----------------------------------------------------------------------===//
// Connection
//===----------------------------------------------------------------------===//

Connection::Connection(std::shared_ptr<Impl> server, tcp::socket socket)
    : server_(std::move(server)), channel_(makeChannel(std::move(socket), server_->tls.get())),
      timer_(server_->io) {
  error_code ignored;
  const auto endpoint = channel_->socket().remote_endpoint(ignored);
  if (!ignored)
    remote_ = endpoint.address().to_string();
  channel_->socket().set_option(tcp::no_delay(true), ignored);
}

void Connection::start() {
  setDeadline(server_->options.readTime);
  channel_->handshake([self = shared_from_this()](error_code error, size_t) {
    if (self->state_ == State::Closed)
      return;
    if (error)
      return self->close();
    self->setDeadline(self->server_->options.idleTime);
    self->read();
  });
}

void Connection::read() {
  if (reading_ || state_ == State::Closed ||
      (state_ == State::Serving && in_.size() >= kAheadBytes))
    return;
  reading_ = true;
  channel_->read(incoming_, sizeof incoming_,
                 [self = shared_from_this()](error_code error, size_t bytes) {
                   self->reading_ = false;
                   self->onRead(error, bytes);
                 });
}

void Connection::onRead(error_code error, size_t bytes) {
  if (state_ == State::Closed)
    return;
  if (error) // the end too: a client that sends no more is taken as gone
    return close();
  if (state_ != State::Lingering)
    in_.append(incoming_, bytes);
  if (state_ == State::Idle || state_ == State::Reading)
    parse();
  read();
}

void Connection::enter(State state) {
  const auto busy = [](State s) { return s != State::Idle && s != State::Closed; };
  const bool was = busy(state_);
  state_ = state;
  if (busy(state) && !was)
    ++server_->busy;
  if (!busy(state) && was) {
    --server_->busy;
    server_->noteIdle();
  }
}

void Connection::parse() {
  if (state_ == State::Idle) {
    if (in_.empty())
      return;
    enter(State::Reading);
    began_ = Clock::now();
    setDeadline(server_->options.readTime);
    parser_.emplace();
    parser_->header_limit(uint32_t(server_->options.headerBytes));
    parser_->body_limit(server_->options.bodyBytes);
    headSeen_ = false;
  }
  size_t used = 0;
  while (state_ == State::Reading && used < in_.size()) {
    error_code error;
    const size_t taken = parser_->put(asio::const_buffer(&in_[used], in_.size() - used), error);
    used += taken;
    if (error && error != http::error::need_more) {
      in_.clear();
      if (error == http::error::header_limit)
        return refuseBytes(431, "the headers have more than " +
                                    std::to_string(server_->options.headerBytes) + " bytes");
      if (error == http::error::body_limit)
        return refuseBytes(413, "the body has more than " +
                                    std::to_string(server_->options.bodyBytes) + " bytes");
      return refuseBytes(400, "the request is malformed: " + error.message());
    }
    if (!headSeen_ && parser_->is_header_done()) {
      headSeen_ = true;
      if (!checkHead()) {
        in_.erase(0, keepAlive_ ? used : in_.size());
        return;
      }
      parser_->eager(true);
    }
    if (parser_->is_done()) {
      in_.erase(0, used);
      return dispatch();
    }
    if (error || taken == 0) // the rest of it is still to come
      break;
  }
  in_.erase(0, used);
  if (in_.size() > server_->options.headerBytes + kReadBytes) // of a chunk's own header
    refuseBytes(400, "the request is malformed: a chunk's header is too long");
}

/// What makes two servers see two different requests in the same bytes.
bool Connection::checkFraming() {
  const auto &message = parser_->get();
  const auto one = [&](http::field name) { return message.count(name) <= 1; };
  if (!one(http::field::host) || !one(http::field::content_length) ||
      !one(http::field::transfer_encoding) || !one(http::field::authorization))
    refuseBytes(400, "the request is malformed: a header that may be there once is there twice");
  else if (std::string_view(message[http::field::content_length]).find_first_not_of("0123456789") !=
           std::string_view::npos)
    refuseBytes(400, "the request is malformed: its Content-Length is no number");
  else if (message.version() >= 11 && message.count(http::field::host) == 0)
    refuseBytes(400, "the request is malformed: it has no Host");
  else if (message.count(http::field::transfer_encoding) &&
           (message.count(http::field::content_length) || message.version() < 11 ||
            !sameWord(message[http::field::transfer_encoding], "chunked")))
    refuseBytes(400, "the request is malformed: its Transfer-Encoding is not chunked alone");
  else if (message.count(http::field::upgrade) &&
           sameWord(message[http::field::connection], "upgrade"))
    refuseBytes(400, "there is nothing to upgrade to here: leave Upgrade out");
  return state_ == State::Reading;
}

/// False if the request is refused by its head.
bool Connection::checkHead() {
  const auto &message = parser_->get();
  keepAlive_ = parser_->keep_alive() && !server_->draining;
  chunked_ = message.version() >= 11;
  bodyless_ = message.method() == http::verb::head;
  head_ = {};
  head_.method = bodyless_ ? "GET" : std::string(message.method_string());
  const std::string_view target = message.target();
  head_.path = target.substr(0, target.find('?'));
  if (head_.path.size() < target.size())
    head_.query = target.substr(head_.path.size() + 1);
  head_.host = message[http::field::host];
  head_.origin = message[http::field::origin];
  head_.authorization = message[http::field::authorization];
  head_.traceparent = message["traceparent"];
  head_.remote = remote_;
  if (!checkFraming())
    return false;
  if (std::optional<HttpReply> refusal = server_->service.refuse(head_)) {
    // A body that is not read must not be taken for the next request.
    keepAlive_ = keepAlive_ && parser_->is_done();
    refuse(std::move(*refusal));
    return false;
  }
  if (sameWord(message[http::field::expect], "100-continue") && !parser_->is_done()) {
    out_ += "HTTP/1.1 100 Continue\r\n\r\n";
    flush();
  }
  return true;
}

void Connection::beginExchange() {
  enter(State::Serving);
  deadline_ = Clock::time_point::max();
  streaming_ = replied_ = false;
  exchange_ = std::make_shared<ConnectionExchange>(server_, weak_from_this(), ++serial_);
  exchange_->id = randomId();
  exchange_->request = std::move(head_);
}

void Connection::dispatch() {
  beginExchange();
  exchange_->request.body = std::move(parser_->get().body());
  parser_.reset();
  server_->service.serve(exchange_);
}

void Connection::refuse(HttpReply given) {
  beginExchange();
  parser_.reset();
  reply(serial_, std::move(given));
}

/// Bytes that are no request end the connection: what follows cannot be told apart.
void Connection::refuseBytes(int status, const std::string &what) {
  keepAlive_ = false;
  refuse({status, server_->service.errorBody(status, what)});
}

std::string Connection::head(int status, const Headers &headers) {
  status_ = status;
  if (server_->draining)
    keepAlive_ = false;
  std::string text = "HTTP/1.1 " + std::to_string(status) + " " + reasonPhrase(status) + "\r\n";
  auto add = [&](const std::string &name, const std::string &value) {
    text += name + ": " + value + "\r\n";
  };
  add("X-Request-Id", exchange_->id);
  add("Connection", keepAlive_ ? "keep-alive" : "close");
  for (const auto &[name, value] : headers)
    add(name, value);
  for (const auto &[name, value] : server_->service.headersFor(exchange_->request))
    add(name, value);
  return text;
}

void Connection::reply(uint64_t serial, HttpReply reply) {
  if (!serves(serial))
    return;
  std::string text = head(reply.status, reply.headers);
  if (reply.status != 204)
    text += "Content-Type: " + reply.contentType +
            "\r\nContent-Length: " + std::to_string(reply.body.size()) + "\r\n";
  text += "\r\n";
  if (!bodyless_ && reply.status != 204)
    text += reply.body;
  replied_ = true;
  send(std::move(text));
}

void Connection::startStream(uint64_t serial) {
  if (!serves(serial))
    return;
  keepAlive_ = keepAlive_ && chunked_; // else the end of the stream is that of the connection
  std::string text = head(200, {{"Content-Type", "text/event-stream; charset=utf-8"},
                                {"Cache-Control", "no-store"},
                                {"X-Accel-Buffering", "no"}});
  if (chunked_)
    text += "Transfer-Encoding: chunked\r\n";
  streaming_ = true;
  send(text + "\r\n");
}

void Connection::write(uint64_t serial, std::string events) {
  if (!serves(serial) || events.empty())
    return;
  if (!chunked_)
    return send(std::move(events));
  char size[24];
  std::snprintf(size, sizeof size, "%zx\r\n", events.size());
  send(size + events + "\r\n");
}

void Connection::endStream(uint64_t serial) {
  if (!serves(serial))
    return;
  streaming_ = false;
  pingAt_ = Clock::time_point::max();
  replied_ = true;
  send(chunked_ ? "0\r\n\r\n" : "");
}

void Connection::send(std::string bytes) {
  out_ += bytes;
  if (streaming_)
    pingAt_ = Clock::now() + server_->options.pingTime;
  flush();
}

void Connection::flush() {
  if (writePending_ || state_ == State::Closed)
    return;
  if (out_.empty()) {
    deadline_ = state_ == State::Serving ? Clock::time_point::max() : deadline_;
    if (replied_ && state_ == State::Serving)
      finish();
    return arm();
  }
  writePending_ = true;
  writing_.clear();
  writing_.swap(out_);
  if (state_ == State::Serving)
    setDeadline(server_->options.writeTime);
  channel_->write(writing_.data(), writing_.size(),
                  [self = shared_from_this()](error_code error, size_t) {
                    self->writePending_ = false;
                    if (self->state_ == State::Closed)
                      return;
                    if (error)
                      return self->close();
                    self->flush();
                  });
}

/// The reply is with the client.
void Connection::finish() {
  const std::shared_ptr<Exchange> done = std::exchange(exchange_, nullptr);
  server_->service.finished(*done, status_, true,
                            std::chrono::duration<double>(Clock::now() - began_).count());
  if (!keepAlive_ || server_->draining)
    return linger();
  enter(State::Idle);
  setDeadline(server_->options.idleTime);
  // From the loop, so that a client that sends many requests at once does not nest calls.
  asio::post(server_->io, [self = shared_from_this()] {
    if (self->state_ == State::Idle)
      self->parse();
    self->read();
  });
}

/// Says goodbye and waits for the client's, so that it gets to read the reply.
void Connection::linger() {
  enter(State::Lingering);
  in_.clear();
  setDeadline(kLinger);
  channel_->shutdown([self = shared_from_this()](error_code error, size_t) {
    if (error)
      self->close();
  });
  read();
}

void Connection::endIfIdle() {
  if (state_ == State::Idle)
    close();
}

void Connection::close() {
  if (state_ == State::Closed)
    return;
  const std::shared_ptr<Connection> self = shared_from_this();
  enter(State::Closed);
  channel_->close();
  timer_.cancel();
  if (const std::shared_ptr<Exchange> cut = std::exchange(exchange_, nullptr)) {
    cut->markGone();
    server_->service.finished(*cut, status_, false,
                              std::chrono::duration<double>(Clock::now() - began_).count());
  }
  server_->remove(self);
}

void Connection::setDeadline(std::chrono::seconds time) {
  deadline_ = Clock::now() + time;
  arm();
}

/// Has the timer go off at the next time of interest; one that is set earlier looks again then.
void Connection::arm() {
  const Clock::time_point next = std::min(deadline_, pingAt_);
  if (state_ == State::Closed || next >= armed_)
    return;
  armed_ = next;
  timer_.expires_at(next);
  timer_.async_wait([weak = weak_from_this()](error_code error) {
    const std::shared_ptr<Connection> self = weak.lock();
    if (!error && self)
      self->onTimer();
  });
}

void Connection::onTimer() {
  armed_ = Clock::time_point::max();
  if (state_ == State::Closed)
    return;
  const Clock::time_point now = Clock::now();
  if (now >= deadline_) {
    if (state_ != State::Reading)
      return close();
    in_.clear();
    return refuseBytes(408, "the request did not come within " +
                                std::to_string(server_->options.readTime.count()) + " s");
  }
  if (now >= pingAt_)
    write(serial_, ": still at work\n\n");
  arm();
}

//===----------------------------------------------------------------------===//
// HttpServer
//===----------------------------------------------------------------------===//

void Impl::listen() {
  const std::string where = options.address + ":" + std::to_string(options.port);
  error_code error;
  const auto address = asio::ip::make_address(options.address, error);
  if (error)
    fail(ExitCode::Usage, "--host " + options.address +
                              " is no address: write for example 127.0.0.1, ::1 or 0.0.0.0");
  const tcp::endpoint endpoint(address, options.port);
  const auto check = [&](const char *what) {
    if (!error)
      return;
    if (error == asio::error::address_in_use)
      fail(ExitCode::Io, where + ": another program listens there: stop it, or choose another "
                                 "--port");
    failSystem(where, what, error.value());
  };
  acceptor.open(endpoint.protocol(), error);
  check("cannot make a socket");
  acceptor.set_option(tcp::acceptor::reuse_address(true), error); // in spite of closed connections
  check("cannot make a socket");
  acceptor.bind(endpoint, error);
  check("cannot listen");
  acceptor.listen(asio::socket_base::max_listen_connections, error);
  check("cannot listen");
}

void Impl::accept() {
  acceptor.async_accept([self = shared_from_this()](error_code error, tcp::socket socket) {
    self->onAccept(error, std::move(socket));
  });
}

void Impl::onAccept(error_code error, tcp::socket socket) {
  if (error == asio::error::operation_aborted || !acceptor.is_open())
    return;
  if (error) { // no descriptor is free: some will be
    retry.expires_after(std::chrono::milliseconds(100));
    retry.async_wait([self = shared_from_this()](error_code stopped) {
      if (!stopped)
        self->accept();
    });
    return;
  }
  if (connections.size() < options.connections) {
    add(std::make_shared<Connection>(shared_from_this(), std::move(socket)));
  } else if (!tls) {
    const std::string body = service.errorBody(503, "the server has as many connections as it may");
    const std::string text = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: "
                             "close\r\nContent-Type: application/json\r\nContent-Length: " +
                             std::to_string(body.size()) + "\r\n\r\n" + body;
    error_code ignored;
    socket.non_blocking(true, ignored);
    socket.write_some(asio::buffer(text), ignored);
    socket.shutdown(tcp::socket::shutdown_send, ignored);
  }
  accept();
}

void Impl::add(const std::shared_ptr<Connection> &connection) {
  connections.insert(connection);
  service.connections(connections.size());
  connection->start();
}

void Impl::remove(const std::shared_ptr<Connection> &connection) {
  connections.erase(connection);
  service.connections(connections.size());
}

void Impl::noteIdle() {
  if (draining && busy == 0 && whenIdle)
    asio::post(io, std::exchange(whenIdle, nullptr));
}

void Impl::closeAll() {
  for (const std::shared_ptr<Connection> &connection : std::set(connections))
    connection->close();
}

HttpServer::HttpServer(const HttpOptions &options, HttpService &service)
    : impl_(std::make_shared<Impl>(options, service)) {
  if (!options.certificate.empty())
    impl_->tls = makeTls(options.certificate, options.key);
  impl_->listen();
  impl_->accept();
}

HttpServer::~HttpServer() = default;

uint16_t HttpServer::port() const { return impl_->acceptor.local_endpoint().port(); }

void HttpServer::onSignal(std::function<void()> callback) {
  for (int number : {SIGTERM, SIGINT}) {
    error_code ignored; // it is there already
    impl_->signals.add(number, ignored);
  }
  impl_->signals.async_wait([this, callback](error_code error, int) {
    if (error)
      return;
    callback();
    onSignal(callback);
  });
}

void HttpServer::onHangup(std::function<void()> callback) {
  error_code ignored; // it is there already
  impl_->hangups.add(SIGHUP, ignored);
  impl_->hangups.async_wait([this, callback](error_code error, int) {
    if (error)
      return;
    callback();
    onHangup(callback);
  });
}

void HttpServer::run() {
  impl_->io.run();
  impl_->io.restart();
  impl_->io.poll(); // what was cancelled lets go of its connections
}

void HttpServer::drain(std::function<void()> whenIdle) {
  asio::post(impl_->io, [impl = impl_, whenIdle = std::move(whenIdle)]() mutable {
    impl->draining = true;
    impl->whenIdle = std::move(whenIdle);
    for (const std::shared_ptr<Connection> &connection : std::set(impl->connections))
      connection->endIfIdle();
    impl->noteIdle();
  });
}

void HttpServer::after(std::chrono::milliseconds time, std::function<void()> callback) {
  const auto timer = std::make_shared<asio::steady_timer>(impl_->io, time);
  timer->async_wait([timer, callback = std::move(callback)](error_code error) {
    if (!error)
      callback();
  });
}

void HttpServer::stop() {
  asio::post(impl_->io, [impl = impl_] {
    error_code ignored;
    impl->acceptor.close(ignored);
    impl->retry.cancel();
    impl->signals.cancel(ignored);
    impl->hangups.cancel(ignored);
    impl->closeAll();
    impl->io.stop();
  });
}

} // namespace retort::server
