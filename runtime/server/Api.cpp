//===- Api.cpp - The endpoints --------------------------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/server/Api.h"
#include "runtime/base/SystemError.h"
#include "runtime/server/Page.h"
#include "runtime/server/ResponseAnswer.h"
#include "runtime/server/ToolCalls.h"

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
    {"GET", "/report/", &Api::report, false, false},
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

Api::Api(const ApiOptions &options, const ServedModels &models, Metrics &metrics, Log &log)
    : options_(options), models_(models), metrics_(metrics), log_(log) {}

void Api::begin() {
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
  for (const ServedModel &model : models_.all())
    if (const std::string lost = model->scheduler.lost(); !lost.empty())
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
  attempt(exchange, [&] { (this->*route.handler)(exchange); });
}

static ApiError queueFull(const Served &model) {
  return {429,
          "queue_full",
          "the server has as many requests as it takes (" +
              std::to_string(model.scheduler.capacity()) + "): try again later",
          {}};
}

void Api::aside(const Served &model, const std::shared_ptr<Exchange> &exchange,
                std::function<void()> rest) {
  if (compilers_.waiting() >= model.scheduler.capacity())
    throw queueFull(model);
  compilers_.post([this, exchange, rest = std::move(rest)] {
    if (!exchange->gone())
      attempt(exchange, rest);
  });
}

void Api::attempt(const std::shared_ptr<Exchange> &exchange, const std::function<void()> &work) {
  try {
    work();
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
  exchange->reply({200, metrics_.text(log_.dropped()), {}, "text/plain; version=0.0.4"});
}

void Api::version(const std::shared_ptr<Exchange> &exchange) {
  exchange->reply(replyOf(Json{{"version", retort_version()}}));
}

void Api::page(const std::shared_ptr<Exchange> &exchange) {
  requireReady();
  Json models = Json::array();
  for (const ServedModel &model : models_.all())
    models.push_back(
        {{"name", model->name},
         {"device", model->scheduler.sessionInfo().device},
         {"context", model->scheduler.context()},
         {"chat", model->info.has_chat != 0},
         {"report", reportOf(model->model) && options_.keys.empty()}}); // a link sends no key
  exchange->reply(chatPage({{"models", models}, {"keys", !options_.keys.empty()}}));
}

/// What follows a path that names a model; empty: none does.
static std::string modelOf(const HttpRequest &request, const std::string &prefix) {
  return request.path.starts_with(prefix) ? request.path.substr(prefix.size()) : std::string();
}

void Api::report(const std::shared_ptr<Exchange> &exchange) {
  requireReady();
  const ServedModel model = models_.find(modelOf(exchange->request, "/report/"));
  const std::optional<std::string_view> html = reportOf(model->model);
  if (!html)
    throw ApiError{404, "not_found", "this bundle has no report", {}};
  exchange->reply(reportPage(std::string(*html)));
}

static Json describe(const Served &model) {
  return {{"id", model.name},
          {"object", "model"},
          {"created", model.created},
          {"owned_by", "retort"},
          {"max_model_len", model.scheduler.context()}};
}

void Api::models(const std::shared_ptr<Exchange> &exchange) {
  if (const std::string name = modelOf(exchange->request, "/v1/models/"); !name.empty())
    return exchange->reply(replyOf(describe(*models_.find(name))));
  Json list = Json::array();
  for (const ServedModel &model : models_.all())
    list.push_back(describe(*model));
  exchange->reply(replyOf(Json{{"object", "list"}, {"data", list}}));
}

/// Answers to one request at most: no more than any model takes at a time.
static RequestLimits limitsOf(const ServedModels &models) {
  size_t most = 128;
  for (const ServedModel &model : models.all())
    most = std::min(most, model->scheduler.capacity());
  return {uint32_t(most)};
}

static void requireChat(const Served &model, const Conversation &conversation) {
  if (!model.info.has_chat)
    refuseField("messages",
                "need a chat template, which this bundle does not have: use /v1/completions, or "
                "compile it with --chat-template",
                "unsupported_parameter");
  if (conversation.tools.empty())
    return;
  Conversation without = conversation;
  without.tools.clear();
  if (model.model.chatText(conversation) == model.model.chatText(without))
    refuseField("tools",
                "are given, but this model's chat template does not read them: leave them "
                "out",
                "unsupported_parameter");
}

/// `field` is what the conversation was made from.
static std::vector<int32_t> chatTokens(const Served &model, const char *field,
                                       const Conversation &conversation) {
  return asClientsFault(field, [&] {
    requireChat(model, conversation);
    return model.model.chatTokens(conversation);
  });
}

/// Lets an answer call functions, if the request has some: its grammar then allows that. Null: it has
/// none.
static std::shared_ptr<const ToolSyntax> useTools(Served &model, ToolUse &tools,
                                                  Generation &generation) {
  if (tools.functions.empty())
    return nullptr;
  std::shared_ptr<const ToolSyntax> syntax = model.toolSyntax();
  if (!syntax)
    refuseField("tools",
                "are given, but this model's chat template does not write calls in a way that is "
                "known here: leave them out, or give tool_choice \"none\"",
                "unsupported_parameter");
  for (ToolFunction &function : tools.functions)
    try {
      model.grammars.find(model.model, {RETORT_GRAMMAR_JSON_SCHEMA, function.schema, {}});
    } catch (const Failure &failure) {
      if (function.strict)
        throw errorOf(failure, function.field.c_str());
      function.schema = R"({"type": "object"})";
    }
  generation.constraint = callsGrammar(*syntax, tools, generation.constraint);
  generation.shown = syntax->tokens;
  return syntax;
}

/// Whether grammars have to be compiled for a request, which takes up to seconds. Those of the last requests
/// are at hand.
static bool mustCompile(Served &model, const Generation &generation, const ToolUse &tools) {
  const auto isKnown = [&](const Constraint &constraint) {
    return model.grammars.knows(constraint);
  };
  if (tools.functions.empty())
    return generation.constraint && !isKnown(*generation.constraint);
  const std::shared_ptr<const ToolSyntax> syntax = model.knownToolSyntax();
  return !syntax ||
         !std::all_of(tools.functions.begin(), tools.functions.end(),
                      [&](const ToolFunction &function) {
                        return isKnown({RETORT_GRAMMAR_JSON_SCHEMA, function.schema, {}});
                      }) ||
         !isKnown(callsGrammar(*syntax, tools, generation.constraint));
}

void Api::chat(const std::shared_ptr<Exchange> &exchange) {
  ChatRequest request = parseChat(exchange->request.body, limitsOf(models_));
  const ServedModel model = models_.find(request.generation.model);
  std::vector<int32_t> tokens = chatTokens(*model, "messages", request.conversation);
  const bool compiles = mustCompile(*model, request.generation, request.tools);
  auto rest = [this, exchange, model, request = std::move(request),
               tokens = std::move(tokens)]() mutable {
    std::shared_ptr<const ToolSyntax> syntax = useTools(*model, request.tools, request.generation);
    answer(model, exchange, request.generation, true, std::move(syntax), {std::move(tokens)});
  };
  compiles ? aside(*model, exchange, std::move(rest)) : rest();
}

void Api::responses(const std::shared_ptr<Exchange> &exchange) {
  ResponseRequest request = parseResponse(exchange->request.body);
  const ServedModel model = models_.find(request.generation.model);
  std::vector<int32_t> tokens = chatTokens(*model, "input", request.conversation);
  const bool compiles = mustCompile(*model, request.generation, request.tools);
  auto rest = [this, exchange, model, request = std::move(request),
               tokens = std::move(tokens)]() mutable {
    std::shared_ptr<const ToolSyntax> syntax = useTools(*model, request.tools, request.generation);
    const auto sink = std::make_shared<ResponseAnswer>(exchange, request, model->name,
                                                       std::move(syntax), tokens.size());
    submit(model, sink, request.generation, "input", {std::move(tokens)});
  };
  compiles ? aside(*model, exchange, std::move(rest)) : rest();
}

static std::vector<int32_t> promptTokens(const Served &model, const Prompt &prompt) {
  if (const std::string *text = std::get_if<std::string>(&prompt))
    return asClientsFault("prompt", [&] { return model.model.tokenize(*text); });
  const std::vector<int32_t> &tokens = std::get<std::vector<int32_t>>(prompt);
  for (int32_t token : tokens)
    if (token >= model.info.vocab)
      refuseField("prompt", "has token " + std::to_string(token) + ", and the vocabulary has " +
                                std::to_string(model.info.vocab));
  return tokens;
}

void Api::completions(const std::shared_ptr<Exchange> &exchange) {
  CompletionRequest request = parseCompletion(exchange->request.body, limitsOf(models_));
  const ServedModel model = models_.find(request.generation.model);
  std::vector<std::vector<int32_t>> prompts;
  for (const Prompt &prompt : request.prompts)
    prompts.push_back(promptTokens(*model, prompt));
  const bool compiles = mustCompile(*model, request.generation, {});
  auto rest = [this, exchange, model, generation = std::move(request.generation),
               prompts = std::move(prompts)]() mutable {
    answer(model, exchange, generation, false, nullptr, std::move(prompts));
  };
  compiles ? aside(*model, exchange, std::move(rest)) : rest();
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

void Api::answer(const ServedModel &model, const std::shared_ptr<Exchange> &exchange,
                 const Generation &generation, bool chat, std::shared_ptr<const ToolSyntax> tools,
                 std::vector<std::vector<int32_t>> prompts) {
  Answer::Options options;
  options.tools = std::move(tools);
  options.chat = chat;
  options.stream = generation.stream;
  options.includeUsage = generation.includeUsage;
  options.model = model->name;
  options.created = std::time(nullptr);
  options.choices = prompts.size() * generation.choices;
  options.choicesOfPrompt = generation.choices;
  options.scores = generation.top >= 0;
  for (const std::vector<int32_t> &prompt : prompts) {
    options.promptTokens += prompt.size();
    if (generation.echo)
      options.echoes.push_back(model->model.detokenize(prompt));
  }
  submit(model, std::make_shared<Answer>(exchange, model->model, options), generation,
         chat ? "messages" : "prompt", prompts);
}

void Api::submit(const ServedModel &model, const std::shared_ptr<AnswerSink> &sink,
                 const Generation &generation, const char *field,
                 const std::vector<std::vector<int32_t>> &prompts) {
  const int64_t vocab = model->info.vocab;
  for (const retort_logit_bias &bias : generation.bias)
    if (bias.token >= vocab)
      refuseField("logit_bias", "has token " + std::to_string(bias.token) +
                                    ", and the vocabulary has " + std::to_string(vocab));
  std::optional<Grammar> grammar;
  if (generation.constraint)
    grammar = asClientsFault(generation.constraint->field.c_str(), [&] {
      return model->grammars.find(model->model, *generation.constraint);
    });
  std::vector<Job> jobs;
  for (const std::vector<int32_t> &prompt : prompts)
    for (uint32_t i = 0; i < generation.choices; ++i) {
      Job job;
      job.maxTokens = roomFor(generation, prompt.size(), model->scheduler.context(), field);
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
      job.shown = generation.shown;
      if (options_.requestTime.count() > 0)
        job.deadline = Clock::now() + options_.requestTime;
      job.cancelled = sink->cancelled();
      job.onUpdate = [sink, index = jobs.size()](Update update) {
        sink->update(index, std::move(update));
      };
      jobs.push_back(std::move(job));
    }
  if (!sink->begin([&] { return model->scheduler.submit(std::move(jobs)); })) {
    requireReady();
    throw queueFull(*model);
  }
}

/// Seconds after which a place may be free: a guess from how many there are and how long one takes.
std::string Api::retryAfter() const {
  double seconds = 1;
  for (const ServedModel &model : models_.all()) {
    const Scheduler &scheduler = model->scheduler;
    const double waves = double(scheduler.inFlight()) / double(scheduler.slots());
    seconds = std::max(seconds, waves * model->metrics.latency.mean());
  }
  return std::to_string(int(std::min(seconds, 60.0)));
}

void Api::tokenize(const std::shared_ptr<Exchange> &exchange) {
  const TokenizeRequest request = parseTokenize(exchange->request.body);
  const ServedModel model = models_.find(request.model);
  const std::vector<int32_t> tokens =
      request.conversation ? chatTokens(*model, "messages", *request.conversation)
                           : asClientsFault("prompt", [&] {
                               return model->model.tokenize(
                                   request.text, request.addSpecial ? 0 : RETORT_NO_SPECIAL);
                             });
  Json reply = {
      {"count", tokens.size()}, {"max_model_len", model->scheduler.context()}, {"tokens", tokens}};
  if (request.withPieces) {
    Json pieces = Json::array();
    for (int32_t token : tokens)
      pieces.push_back(model->model.detokenize({&token, 1}, true));
    reply["token_strs"] = pieces;
  }
  exchange->reply(replyOf(reply));
}

void Api::detokenize(const std::shared_ptr<Exchange> &exchange) {
  const DetokenizeRequest request = parseDetokenize(exchange->request.body);
  const ServedModel model = models_.find(request.model);
  exchange->reply(replyOf(Json{{"prompt", asClientsFault("tokens", [&] {
                                  return model->model.detokenize(request.tokens, true);
                                })}}));
}

void Api::applyTemplate(const std::shared_ptr<Exchange> &exchange) {
  const TemplateRequest request = parseTemplate(exchange->request.body);
  const ServedModel model = models_.find(request.model);
  exchange->reply(replyOf(Json{{"prompt", asClientsFault("messages", [&] {
                                  requireChat(*model, request.conversation);
                                  return model->model.chatText(request.conversation);
                                })}}));
}

} // namespace retort::server
