//===- Api.cpp - The endpoints --------------------------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/server/Api.h"
#include "runtime/base/SystemError.h"
#include "runtime/server/Page.h"
#include "runtime/server/ResponseAnswer.h"

#include <algorithm>
#include <ctime>
#include <random>

namespace retort::server {
namespace {

HttpReply replyOf(const ApiError &error) {
  HttpReply reply = {error.status, error.toJson()};
  if (error.status == 401)
    reply.headers.push_back({"WWW-Authenticate", "Bearer"});
  return reply;
}

HttpReply replyOf(const Json &value) { return {200, dumped(value)}; }

/// What a call of libretort that failed means to a client. `field` is what it was made from.
ApiError errorOf(const Failure &failure, const char *field) {
  switch (failure.status()) {
  case RETORT_E_ARGUMENT:
  case RETORT_E_BAD_INPUT:
  case RETORT_E_UNSUPPORTED:
  case RETORT_E_RESOURCES: // a template that does not end
    return {400, "invalid_value", std::string(field) + ": " + failure.what(), field};
  default:
    return {500, "server_error", failure.what(), {}};
  }
}

template <class Call> auto asClientsFault(const char *field, Call call) {
  try {
    return call();
  } catch (const Failure &failure) {
    throw errorOf(failure, field);
  }
}

bool isLocalName(std::string host) {
  if (host.empty() || host.front() == '[')
    return true; // no browser's request; an address of IPv6
  host = host.substr(0, host.find(':'));
  return host == "localhost" || host.find_first_not_of("0123456789.") == host.npos;
}

/// The trace of W3C's traceparent header, "" if it is not well-formed.
std::string traceOf(const std::string &header) {
  const bool good = header.size() >= 55 && header[2] == '-' && header[35] == '-' &&
                    header.find_first_not_of("0123456789abcdef-") == header.npos;
  return good ? header.substr(3, 32) : std::string();
}

std::optional<std::string_view> reportOf(const Model &model) {
  try {
    return model.part("report.html");
  } catch (const Failure &) {
    return std::nullopt;
  }
}

uint64_t randomSeed() {
  std::random_device device;
  return uint64_t(device()) << 32 | device();
}

} // namespace

const Api::Route Api::kRoutes[] = {
    {"GET", "/", &Api::page, true, false},
    {"GET", "/report", &Api::report, false, false},
    {"GET", "/health", &Api::health, true, false},
    {"GET", "/live", &Api::live, true, false},
    {"GET", "/metrics", &Api::metrics, false, false},
    {"GET", "/version", &Api::version, false, false},
    {"GET", "/v1/models", &Api::models, false, false},
    {"GET", "/v1/models/", &Api::models, false, false},
    {"POST", "/v1/chat/completions", &Api::chat, false, true},
    {"POST", "/v1/completions", &Api::completions, false, true},
    {"POST", "/v1/responses", &Api::responses, false, true},
    {"POST", "/tokenize", &Api::tokenize, false, true},
    {"POST", "/detokenize", &Api::detokenize, false, true},
    {"POST", "/apply-template", &Api::applyTemplate, false, true},
};

Api::Api(const ApiOptions &options, Metrics &metrics, Log &log)
    : options_(options), metrics_(metrics), log_(log), created_(std::time(nullptr)) {}

void Api::begin(const Model &model, Scheduler &scheduler) {
  model_ = model;
  info_ = model.info();
  scheduler_ = &scheduler;
  State loading = State::Loading; // or it drains already
  state_.compare_exchange_strong(loading, State::Ready);
}

void Api::drain() { state_ = State::Draining; }

//===----------------------------------------------------------------------===//
// Who may ask for what
//===----------------------------------------------------------------------===//

const Api::Route *Api::find(const std::string &method, const std::string &path) {
  for (const Route &route : kRoutes) {
    const std::string_view known = route.path;
    const bool same = known.size() > 1 && known.back() == '/'
                          ? path.size() > known.size() && path.starts_with(known)
                          : path == known;
    if (same && (method.empty() || method == route.method))
      return &route;
  }
  return nullptr;
}

bool Api::originMayAsk(const HttpRequest &request) const {
  return std::any_of(options_.origins.begin(), options_.origins.end(),
                     [&](const std::string &one) { return one == "*" || one == request.origin; });
}

/// Throws ApiError unless the request may use the route.
void Api::checkAccess(const HttpRequest &head, const Route &route) const {
  if (options_.localNames && !isLocalName(head.host))
    throw ApiError{403,
                   "host_not_allowed",
                   "the request names this machine by a name other than localhost or an address: "
                   "use one of these, or start the server with --api-key-file",
                   {}};
  const size_t scheme = head.origin.find("://");
  const bool same = scheme != head.origin.npos && head.origin.substr(scheme + 3) == head.host;
  if (!head.origin.empty() && !same && !originMayAsk(head))
    throw ApiError{403,
                   "origin_not_allowed",
                   "pages of this origin may not ask: start the server with --cors-origin",
                   {}};
  if (route.open || options_.keys.empty())
    return;
  const std::string prefix = "Bearer ";
  const bool bearer = head.authorization.starts_with(prefix);
  if (!bearer || !options_.keys.holds(std::string_view(head.authorization).substr(prefix.size())))
    throw ApiError{401,
                   "invalid_api_key",
                   bearer ? "the API key is not one of this server's"
                          : "an API key is needed: send it as \"Authorization: Bearer KEY\"",
                   {}};
}

void Api::requireReady() const {
  if (state_ == State::Loading)
    throw ApiError{503, "loading", "the model is being loaded: try again in a moment", {}};
  if (state_ == State::Draining)
    throw ApiError{503, "draining", "the server stops: ask another, or try again later", {}};
  if (const std::string lost = scheduler_.load()->lost(); !lost.empty())
    throw ApiError{503, "device_lost", lost, {}};
}

std::optional<HttpReply> Api::refuse(const HttpRequest &head) {
  try {
    const Route *known = find({}, head.path);
    if (!known)
      throw ApiError{404, "not_found", "there is no " + shown(head.path) + " here", {}};
    if (head.method == "OPTIONS" && originMayAsk(head))
      return HttpReply{204,
                       {},
                       {{"Access-Control-Allow-Methods", known->method},
                        {"Access-Control-Allow-Headers", "Authorization, Content-Type, *"},
                        {"Access-Control-Max-Age", "600"}}};
    const Route *route = find(head.method, head.path);
    if (!route) {
      HttpReply reply = replyOf(
          ApiError{405, "method_not_allowed", head.path + " takes " + known->method + " only", {}});
      reply.headers.push_back({"Allow", known->method});
      return reply;
    }
    checkAccess(head, *route);
    if (!head.query.empty())
      refuseField("the query", "after '?' is not known: leave it out", "unknown_parameter");
    if (route->model)
      requireReady();
    return std::nullopt;
  } catch (const ApiError &error) {
    HttpReply reply = replyOf(error);
    if (error.status == 503)
      reply.headers.push_back({"Retry-After", "1"});
    return reply;
  }
}

Headers Api::headersFor(const HttpRequest &request) const {
  if (options_.origins.empty())
    return {};
  Headers headers = {{"Vary", "Origin"}};
  if (!request.origin.empty() && originMayAsk(request))
    headers.push_back({"Access-Control-Allow-Origin", request.origin});
  return headers;
}

std::string Api::errorBody(int status, const std::string &message) const {
  return ApiError{status, "bad_request", message, {}}.toJson();
}

//===----------------------------------------------------------------------===//
// Serving
//===----------------------------------------------------------------------===//

void Api::serve(std::shared_ptr<Exchange> exchange) {
  const Route &route = *find(exchange->request.method, exchange->request.path);
  if (!route.model)
    return run(route, exchange);
  workers_.post([this, &route, exchange = std::move(exchange)] { run(route, exchange); });
}

void Api::run(const Route &route, const std::shared_ptr<Exchange> &exchange) {
  try {
    (this->*route.handler)(exchange);
  } catch (const ApiError &error) {
    HttpReply reply = replyOf(error);
    if (error.status == 429 || error.status == 503)
      reply.headers.push_back({"Retry-After", retryAfter()});
    exchange->reply(std::move(reply));
  } catch (...) {
    const Error error = errorInFlight();
    log_.write("error", {{"id", exchange->id}, {"message", error.message}});
    exchange->reply(replyOf(ApiError{
        500, "server_error", "the server failed: its log says why, under the request's id", {}}));
  }
}

void Api::finished(const Exchange &exchange, int status, bool complete, double seconds) {
  const HttpRequest &request = exchange.request;
  const Route *route = find({}, request.path);
  if (complete)
    metrics_.countReply(route ? route->path : "other", status);
  Json line = {{"id", exchange.id},
               {"remote", request.remote},
               {"method", request.method.substr(0, 16)},
               {"path", request.path.substr(0, 200)},
               {"status", complete ? Json(status) : Json("client gone")},
               {"seconds", seconds}};
  if (const std::string trace = traceOf(request.traceparent); !trace.empty())
    line["trace"] = trace;
  if (exchange.promptTokens > 0) {
    line["prompt_tokens"] = exchange.promptTokens.load();
    line["completion_tokens"] = exchange.answerTokens.load();
  }
  log_.write("request", line);
}

void Api::health(const std::shared_ptr<Exchange> &exchange) {
  requireReady();
  exchange->reply(replyOf(Json{{"status", "ok"}}));
}

void Api::live(const std::shared_ptr<Exchange> &exchange) {
  exchange->reply(replyOf(Json{{"status", "ok"}}));
}

void Api::metrics(const std::shared_ptr<Exchange> &exchange) {
  exchange->reply(
      {200, metrics_.text(options_.name, log_.dropped()), {}, "text/plain; version=0.0.4"});
}

void Api::version(const std::shared_ptr<Exchange> &exchange) {
  exchange->reply(replyOf(Json{{"version", retort_version()}}));
}

void Api::page(const std::shared_ptr<Exchange> &exchange) {
  requireReady();
  const Scheduler &scheduler = *scheduler_;
  exchange->reply(
      chatPage({{"name", options_.name},
                {"device", scheduler.sessionInfo().device},
                {"context", scheduler.context()},
                {"chat", info_.has_chat != 0},
                {"report", reportOf(*model_) && options_.keys.empty()}, // a link sends no key
                {"keys", !options_.keys.empty()}}));
}

void Api::report(const std::shared_ptr<Exchange> &exchange) {
  requireReady();
  const std::optional<std::string_view> html = reportOf(*model_);
  if (!html)
    throw ApiError{404, "not_found", "this bundle has no report", {}};
  exchange->reply(reportPage(std::string(*html)));
}

void Api::models(const std::shared_ptr<Exchange> &exchange) {
  Json model = {
      {"id", options_.name}, {"object", "model"}, {"created", created_}, {"owned_by", "retort"}};
  if (const Scheduler *scheduler = scheduler_)
    model["max_model_len"] = scheduler->context();
  const std::string path = exchange->request.path, prefix = "/v1/models/";
  if (!path.starts_with(prefix))
    return exchange->reply(replyOf(Json{{"object", "list"}, {"data", Json::array({model})}}));
  requireModel(path.substr(prefix.size()));
  exchange->reply(replyOf(model));
}

RequestLimits Api::limits() const {
  return {uint32_t(std::min<size_t>(128, scheduler_.load()->capacity()))};
}

void Api::requireModel(const std::string &name) const {
  if (!name.empty() && name != options_.name)
    throw ApiError{404, "model_not_found",
                   "model " + shown(name) + " is not served here: this is '" + options_.name + "'",
                   "model"};
}

void Api::requireChat(const Conversation &conversation) const {
  if (!info_.has_chat)
    refuseField("messages",
                "need a chat template, which this bundle does not have: use /v1/completions, or "
                "compile it with --chat-template",
                "unsupported_parameter");
  if (conversation.tools.empty())
    return;
  Conversation without = conversation;
  without.tools.clear();
  if (model_->chatText(conversation) == model_->chatText(without))
    refuseField("tools",
                "are given, but this model's chat template does not read them: leave them "
                "out",
                "unsupported_parameter");
}

std::vector<int32_t> Api::chatTokens(const char *field, const Conversation &conversation) const {
  return asClientsFault(field, [&] {
    requireChat(conversation);
    return model_->chatTokens(conversation);
  });
}

void Api::chat(const std::shared_ptr<Exchange> &exchange) {
  const ChatRequest request = parseChat(exchange->request.body, limits());
  requireModel(request.generation.model);
  std::vector<int32_t> tokens = chatTokens("messages", request.conversation);
  answer(exchange, request.generation, true, {std::move(tokens)});
}

void Api::responses(const std::shared_ptr<Exchange> &exchange) {
  const ResponseRequest request = parseResponse(exchange->request.body);
  requireModel(request.generation.model);
  std::vector<int32_t> tokens = chatTokens("input", request.conversation);
  const auto sink =
      std::make_shared<ResponseAnswer>(exchange, request, options_.name, tokens.size());
  submit(sink, request.generation, "input", {std::move(tokens)});
}

std::vector<int32_t> Api::promptTokens(const Prompt &prompt) const {
  if (const std::string *text = std::get_if<std::string>(&prompt))
    return asClientsFault("prompt", [&] { return model_->tokenize(*text); });
  const std::vector<int32_t> &tokens = std::get<std::vector<int32_t>>(prompt);
  for (int32_t token : tokens)
    if (token >= info_.vocab)
      refuseField("prompt", "has token " + std::to_string(token) + ", and the vocabulary has " +
                                std::to_string(info_.vocab));
  return tokens;
}

void Api::completions(const std::shared_ptr<Exchange> &exchange) {
  const CompletionRequest request = parseCompletion(exchange->request.body, limits());
  requireModel(request.generation.model);
  std::vector<std::vector<int32_t>> prompts;
  for (const Prompt &prompt : request.prompts)
    prompts.push_back(promptTokens(prompt));
  answer(exchange, request.generation, false, std::move(prompts));
}

/// Throws ApiError unless the prompt and its answer fit. Returns the most tokens of the answer.
static size_t roomFor(const Generation &generation, size_t prompt, size_t context,
                      const char *field) {
  if (prompt == 0)
    refuseField(field, "has no tokens: give it a text");
  if (prompt >= context)
    refuseField(field,
                "has " + std::to_string(prompt) + " tokens and the context holds " +
                    std::to_string(context) + ", the answer among them: shorten it",
                "context_length_exceeded");
  const size_t room = context - prompt, most = generation.maxTokens.value_or(room);
  if (most > room)
    refuseField("max_tokens",
                "is " + std::to_string(most) + ", and beside the prompt's " +
                    std::to_string(prompt) + " tokens the context of " + std::to_string(context) +
                    " holds " + std::to_string(room) + ": ask for at most so many",
                "context_length_exceeded");
  return most;
}

void Api::answer(const std::shared_ptr<Exchange> &exchange, const Generation &generation, bool chat,
                 std::vector<std::vector<int32_t>> prompts) {
  Answer::Options options;
  options.chat = chat;
  options.stream = generation.stream;
  options.includeUsage = generation.includeUsage;
  options.model = options_.name;
  options.created = std::time(nullptr);
  options.choices = prompts.size() * generation.choices;
  options.choicesOfPrompt = generation.choices;
  options.scores = generation.top >= 0;
  for (const std::vector<int32_t> &prompt : prompts) {
    options.promptTokens += prompt.size();
    if (generation.echo)
      options.echoes.push_back(model_->detokenize(prompt));
  }
  submit(std::make_shared<Answer>(exchange, *model_, options), generation,
         chat ? "messages" : "prompt", prompts);
}

void Api::submit(const std::shared_ptr<AnswerSink> &sink, const Generation &generation,
                 const char *field, const std::vector<std::vector<int32_t>> &prompts) {
  for (const retort_logit_bias &bias : generation.bias)
    if (bias.token >= info_.vocab)
      refuseField("logit_bias", "has token " + std::to_string(bias.token) +
                                    ", and the vocabulary has " + std::to_string(info_.vocab));
  std::optional<Grammar> grammar;
  if (generation.constraint)
    grammar = asClientsFault(generation.constraint->field.c_str(),
                             [&] { return grammars_.find(*model_, *generation.constraint); });
  std::vector<Job> jobs;
  for (const std::vector<int32_t> &prompt : prompts)
    for (uint32_t i = 0; i < generation.choices; ++i) {
      Job job;
      job.maxTokens = roomFor(generation, prompt.size(), scheduler_.load()->context(), field);
      job.prompt = prompt;
      job.sampling = {.temperature = generation.temperature,
                      .topP = generation.topP,
                      .topK = generation.topK,
                      .seed = generation.seed ? *generation.seed + i : randomSeed(),
                      .minP = generation.minP,
                      .repetitionPenalty = generation.repetitionPenalty,
                      .presencePenalty = generation.presencePenalty,
                      .frequencyPenalty = generation.frequencyPenalty,
                      .bias = generation.bias};
      job.top = generation.top;
      job.scoresPrompt = generation.echo;
      job.goesOn = std::string_view(field) == "prompt";
      job.stops = generation.stops;
      job.ignoreEos = generation.ignoreEos;
      job.grammar = grammar;
      if (options_.requestTime.count() > 0)
        job.deadline = Clock::now() + options_.requestTime;
      job.cancelled = sink->cancelled();
      job.onUpdate = [sink, index = jobs.size()](Update update) {
        sink->update(index, std::move(update));
      };
      jobs.push_back(std::move(job));
    }
  if (!sink->begin([&] { return scheduler_.load()->submit(std::move(jobs)); })) {
    requireReady();
    throw ApiError{429,
                   "queue_full",
                   "the server has as many requests as it takes (" +
                       std::to_string(scheduler_.load()->capacity()) + "): try again later",
                   {}};
  }
}

/// Seconds after which a place may be free: a guess from how many there are and how long one takes.
std::string Api::retryAfter() const {
  const Scheduler *scheduler = scheduler_;
  const double waves = scheduler ? double(scheduler->inFlight()) / double(scheduler->slots()) : 1;
  return std::to_string(int(std::clamp(waves * metrics_.latency.mean(), 1.0, 60.0)));
}

void Api::tokenize(const std::shared_ptr<Exchange> &exchange) {
  const TokenizeRequest request = parseTokenize(exchange->request.body);
  requireModel(request.model);
  const std::vector<int32_t> tokens =
      request.conversation
          ? chatTokens("messages", *request.conversation)
          : asClientsFault("prompt", [&] {
              return model_->tokenize(request.text, request.addSpecial ? 0 : RETORT_NO_SPECIAL);
            });
  Json reply = {{"count", tokens.size()},
                {"max_model_len", scheduler_.load()->context()},
                {"tokens", tokens}};
  if (request.withPieces) {
    Json pieces = Json::array();
    for (int32_t token : tokens)
      pieces.push_back(model_->detokenize({&token, 1}, true));
    reply["token_strs"] = pieces;
  }
  exchange->reply(replyOf(reply));
}

void Api::detokenize(const std::shared_ptr<Exchange> &exchange) {
  const DetokenizeRequest request = parseDetokenize(exchange->request.body);
  requireModel(request.model);
  exchange->reply(replyOf(Json{{"prompt", asClientsFault("tokens", [&] {
                                  return model_->detokenize(request.tokens, true);
                                })}}));
}

void Api::applyTemplate(const std::shared_ptr<Exchange> &exchange) {
  const TemplateRequest request = parseTemplate(exchange->request.body);
  requireModel(request.model);
  exchange->reply(replyOf(Json{{"prompt", asClientsFault("messages", [&] {
                                  requireChat(request.conversation);
                                  return model_->chatText(request.conversation);
                                })}}));
}

} // namespace retort::server
