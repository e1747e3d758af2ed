//===- Api.h - The endpoints ------------------------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
//
// From HTTP requests to jobs of the scheduler and back: OpenAI's endpoints, those of the tokenizer, and
// those that operate a service. docs/serve.md is their manual.
//
//===----------------------------------------------------------------------===//
#pragma once
#include "runtime/server/Answer.h"
#include "runtime/server/Http.h"
#include "runtime/server/Keys.h"
#include "runtime/server/Log.h"
#include "runtime/server/Metrics.h"
#include "runtime/server/Request.h"
#include "runtime/server/Served.h"
#include "runtime/server/Workers.h"

namespace retort::server {

struct ApiOptions {
  Keys keys;                        ///< none: whoever reaches the server may ask
  std::vector<std::string> origins; ///< of web pages that may ask; "*": all
  bool localNames = true; ///< requests must name this machine: a page elsewhere may not, by a name
                          ///< of its own that it points here (DNS rebinding)
  std::chrono::seconds requestTime{0}; ///< that an answer may take; 0: any
};

class Api : public HttpService {
public:
  Api(const ApiOptions &options, const ServedModels &models, Metrics &metrics, Log &log);

  /// Until now requests get 503.
  void begin();
  /// From now on new requests get 503.
  void drain();

  std::optional<HttpReply> refuse(const HttpRequest &head) override;
  void serve(std::shared_ptr<Exchange> exchange) override;
  Headers headersFor(const HttpRequest &request) const override;
  std::string errorBody(int status, const std::string &message) const override;
  void finished(const Exchange &exchange, int status, bool complete, double seconds) override;
  void connections(size_t count) override { metrics_.connections = count; }

private:
  using Handler = void (Api::*)(const std::shared_ptr<Exchange> &);
  struct Route {
    const char *method, *path;
    Handler handler;
    bool open;  ///< needs no key
    bool model; ///< needs the model, and perhaps a moment: a worker's task
  };
  static const Route kRoutes[];
  static const Route *find(const std::string &method, const std::string &path);
  void checkAccess(const HttpRequest &head, const Route &route) const;
  bool originMayAsk(const HttpRequest &request) const;
  void requireReady() const;
  void run(const Route &route, const std::shared_ptr<Exchange> &exchange);
  /// Does `work`; replies with the error that it throws.
  void attempt(const std::shared_ptr<Exchange> &exchange, const std::function<void()> &work);
  /// Does the rest of a request that may have grammars compiled in turn with others of its kind, so
  /// that all others need not wait. Throws ApiError if too many wait already.
  void aside(const Served &model, const std::shared_ptr<Exchange> &exchange,
             std::function<void()> rest);

  void health(const std::shared_ptr<Exchange> &exchange);
  void live(const std::shared_ptr<Exchange> &exchange);
  void metrics(const std::shared_ptr<Exchange> &exchange);
  void version(const std::shared_ptr<Exchange> &exchange);
  void page(const std::shared_ptr<Exchange> &exchange);
  void report(const std::shared_ptr<Exchange> &exchange);
  void models(const std::shared_ptr<Exchange> &exchange);
  void chat(const std::shared_ptr<Exchange> &exchange);
  void responses(const std::shared_ptr<Exchange> &exchange);
  void completions(const std::shared_ptr<Exchange> &exchange);
  void tokenize(const std::shared_ptr<Exchange> &exchange);
  void detokenize(const std::shared_ptr<Exchange> &exchange);
  void applyTemplate(const std::shared_ptr<Exchange> &exchange);

  void answer(const ServedModel &model, const std::shared_ptr<Exchange> &exchange,
              const Generation &generation, bool chat, std::shared_ptr<const ToolSyntax> tools,
              std::vector<std::vector<int32_t>> prompts);
  /// Gives the scheduler a job for each choice of each prompt, which `field` of the request made.
  void submit(const ServedModel &model, const std::shared_ptr<AnswerSink> &sink,
              const Generation &generation, const char *field,
              const std::vector<std::vector<int32_t>> &prompts);
  std::string retryAfter() const;

  enum class State { Loading, Ready, Draining };
  const ApiOptions options_;
  const ServedModels &models_;
  Metrics &metrics_;
  Log &log_;
  std::atomic<State> state_{State::Loading};
  // Last, so that they end before what their tasks use.
  Workers compilers_{2}; ///< for requests that may have grammars compiled, which may take seconds
  Workers workers_{2};   ///< for what takes milliseconds; they give compilers_ tasks
};

} // namespace retort::server
