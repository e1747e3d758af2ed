//===- ApiTest.cpp - The endpoints, without a network ---------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/server/Api.h"
#include "runtime/server/Fields.h"
#include "test/unit/Runtime/TestBundle.h"
#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/stat.h>

namespace retort::server {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::StartsWith;

/// A client that keeps what it gets.
class Client : public Exchange {
public:
  void reply(HttpReply given) override {
    std::lock_guard lock(mutex_);
    got = std::move(given);
    end();
  }
  void startStream() override {
    std::lock_guard lock(mutex_);
    got.contentType = "stream";
  }
  void write(std::string events) override {
    std::lock_guard lock(mutex_);
    EXPECT_EQ(got.contentType, "stream");
    got.body += events;
  }
  void endStream() override {
    std::lock_guard lock(mutex_);
    end();
  }
  void await() {
    std::unique_lock lock(mutex_);
    ASSERT_TRUE(ended_.wait_for(lock, 30s, [this] { return done_; }));
  }
  bool done() {
    std::lock_guard lock(mutex_);
    return done_;
  }
  HttpReply got;

private:
  void end() {
    EXPECT_FALSE(done_);
    done_ = true;
    ended_.notify_all();
  }
  std::mutex mutex_;
  std::condition_variable ended_;
  bool done_ = false;
};

struct Endpoints : testing::Test {
  explicit Endpoints(uint32_t slots = 2, size_t queue = 256, bool chat = true) {
    test::writeTestBundle(folder / "m.retort", test::testManifest(), 5000, true, chat);
    given.session = {1, slots, 0, 0, "cpu", true};
    given.queue = queue;
    serve("test");
    restart(true);
  }
  void serve(const std::string &name) {
    const auto served =
        std::make_shared<Served>(ServedFile{name, folder / "m.retort"}, given, metrics.of(name));
    served->scheduler.start();
    models.put(served);
  }
  void restart(bool ready) {
    api = std::make_unique<Api>(options, models, metrics, log);
    if (ready)
      api->begin();
  }
  HttpReply ask(HttpRequest request) {
    if (request.host.empty())
      request.host = "localhost:8080";
    if (std::optional<HttpReply> refusal = api->refuse(request))
      return *refusal;
    const auto client = std::make_shared<Client>();
    client->request = std::move(request);
    client->id = "id";
    api->serve(client);
    client->await();
    return client->got;
  }
  HttpReply get(const std::string &path) { return ask({"GET", path, "", "", "", "", "", "", ""}); }
  HttpReply post(const std::string &path, const std::string &body) {
    return ask({"POST", path, "", body, "", "", "", "", ""});
  }
  static std::string errorOf(const HttpReply &reply) {
    const Json error = Json::parse(reply.body)["error"];
    return std::to_string(reply.status) + " " + error["param"].dump() + " " +
           error["code"].get<std::string>() + ": " + error["message"].get<std::string>();
  }

  test::TempFolder folder;
  Metrics metrics;
  Log log{::open("/dev/null", O_WRONLY)};
  SchedulerOptions given;
  ServedModels models;
  ApiOptions options;
  std::unique_ptr<Api> api;
};

std::string textOf(const Json &choice) {
  return choice.contains("text") ? choice["text"] : choice["message"]["content"];
}

const char *kHello = R"("messages": [{"role": "user", "content": "hello"}])";
std::string chatBody(const std::string &fields) { return "{" + (kHello + (", " + fields)) + "}"; }

TEST_F(Endpoints, ChatWholeAndStreamedSayTheSame) {
  for (const char *path : {"/v1/chat/completions", "/v1/completions"}) {
    const bool chat = std::string(path).find("chat") != std::string::npos;
    const std::string fields = R"("n": 2, "seed": 3, "max_tokens": 20, "ignore_eos": true)",
                      input = chat ? kHello : R"("prompt": "hello")";
    const HttpReply whole = post(path, "{" + input + ", " + fields + "}");
    ASSERT_EQ(whole.status, 200) << whole.body;
    const Json object = Json::parse(whole.body);
    EXPECT_EQ(object["object"], chat ? "chat.completion" : "text_completion");
    EXPECT_EQ(object["model"], "test");
    EXPECT_EQ(object["usage"]["completion_tokens"], 40);
    const HttpReply streamed = post(path, "{" + input + ", " + fields +
                                              R"(, "stream": true,
                                                 "stream_options": {"include_usage": true}})");
    std::string texts[2], finish[2];
    Json usage;
    size_t begin = 0;
    for (size_t end; (end = streamed.body.find("\n\n", begin)) != std::string::npos;
         begin = end + 2) {
      const std::string event = streamed.body.substr(begin, end - begin);
      ASSERT_THAT(event, StartsWith("data: "));
      if (event == "data: [DONE]")
        break;
      const Json chunk = Json::parse(event.substr(6));
      EXPECT_EQ(chunk["object"], chat ? "chat.completion.chunk" : "text_completion");
      if (!chunk["usage"].is_null())
        usage = chunk["usage"];
      for (const Json &choice : chunk["choices"]) {
        const size_t index = choice["index"];
        texts[index] +=
            chat ? choice["delta"].value("content", "") : choice["text"].get<std::string>();
        if (!choice["finish_reason"].is_null())
          finish[index] = choice["finish_reason"];
      }
    }
    EXPECT_EQ(streamed.body.substr(begin), "data: [DONE]\n\n");
    EXPECT_EQ(usage, object["usage"]);
    for (size_t i = 0; i < 2; ++i) {
      const Json &choice = object["choices"][i];
      EXPECT_EQ(texts[i], textOf(choice));
      EXPECT_EQ(finish[i], "length");
      EXPECT_EQ(choice["finish_reason"], "length");
    }
    EXPECT_NE(texts[0], texts[1]);
    // The second choice is the first one of the next seed.
    const HttpReply next =
        post(path, "{" + input + R"(, "seed": 4, "max_tokens": 20, "ignore_eos": true})");
    const Json choice = Json::parse(next.body)["choices"][0];
    EXPECT_EQ(texts[1], textOf(choice));
  }
}

/// The objects of a stream.
std::vector<Json> eventsOf(const HttpReply &reply) {
  std::vector<Json> events;
  size_t begin = 0;
  for (size_t end; (end = reply.body.find("\n\n", begin)) != std::string::npos; begin = end + 2)
    if (const std::string event = reply.body.substr(begin, end - begin); event != "data: [DONE]")
      events.push_back(Json::parse(event.substr(6)));
  return events;
}

TEST_F(Endpoints, LogprobsOfChats) {
  const std::string fields = R"("max_tokens": 12, "seed": 1, "logprobs": true, "top_logprobs": 3)";
  const HttpReply whole = post("/v1/chat/completions", chatBody(fields));
  ASSERT_EQ(whole.status, 200) << whole.body;
  const Json choice = Json::parse(whole.body)["choices"][0];
  const Json &scores = choice["logprobs"]["content"];
  EXPECT_EQ(scores.size(), Json::parse(whole.body)["usage"]["completion_tokens"]);
  std::string bytes;
  for (const Json &score : scores) {
    EXPECT_LE(score["logprob"], 0);
    ASSERT_EQ(score["top_logprobs"].size(), 3u);
    EXPECT_GE(score["top_logprobs"][0]["logprob"], score["logprob"]);
    EXPECT_GE(score["top_logprobs"][0]["logprob"], score["top_logprobs"][2]["logprob"]);
    for (const Json &byte : score["bytes"])
      bytes += char(byte.get<int>());
  }
  EXPECT_EQ(Json::parse(dumped(Json(bytes))), textOf(choice)) << "bytes make the text";
  Json streamed = Json::array();
  for (const Json &event :
       eventsOf(post("/v1/chat/completions", chatBody(fields + R"(, "stream": true)"))))
    if (const Json &part = event["choices"][0]["logprobs"]; !part.is_null())
      for (const Json &score : part["content"])
        streamed.push_back(score);
  EXPECT_EQ(streamed, scores);
  EXPECT_TRUE(Json::parse(post("/v1/chat/completions", chatBody(R"("max_tokens": 2)"))
                              .body)["choices"][0]["logprobs"]
                  .is_null());
}

TEST_F(Endpoints, LogprobsOfCompletions) {
  const std::string prompt = R"("prompt": "héllo", "seed": 5)";
  const HttpReply alone = post("/v1/completions", "{" + prompt + R"(, "max_tokens": 6})");
  const HttpReply reply =
      post("/v1/completions", "{" + prompt + R"(, "max_tokens": 6, "echo": true, "logprobs": 2})");
  ASSERT_EQ(reply.status, 200) << reply.body;
  const Json choice = Json::parse(reply.body)["choices"][0], &scores = choice["logprobs"];
  EXPECT_EQ(textOf(choice), "héllo" + textOf(Json::parse(alone.body)["choices"][0]));
  const size_t count = scores["tokens"].size(); // a byte is a token here
  ASSERT_EQ(count, 6u + 6);
  for (const char *name : {"token_logprobs", "top_logprobs", "text_offset"})
    EXPECT_EQ(scores[name].size(), count) << name;
  EXPECT_TRUE(scores["token_logprobs"][0].is_null() && scores["top_logprobs"][0].is_null());
  for (size_t i = 1; i < count; ++i) {
    const float own = scores["token_logprobs"][i];
    EXPECT_LE(own, 0);
    float best = -1e9f;
    for (const auto &[name, value] : scores["top_logprobs"][i].items())
      best = std::max(best, value.get<float>());
    EXPECT_GE(best, own);
    EXPECT_TRUE(scores["top_logprobs"][i].contains(scores["tokens"][i]));
  }
  // h, half of é, the other half, l: offsets count characters.
  EXPECT_EQ(scores["text_offset"][1], 1);
  EXPECT_EQ(scores["text_offset"][2], 1);
  EXPECT_EQ(scores["text_offset"][3], 2);
  // The prompt alone.
  const Json only = Json::parse(
      post("/v1/completions", "{" + prompt + R"(, "max_tokens": 0, "echo": true, "logprobs": 2})")
          .body);
  EXPECT_EQ(textOf(only["choices"][0]), "héllo");
  EXPECT_EQ(only["choices"][0]["logprobs"]["tokens"].size(), 6u);
  EXPECT_EQ(only["usage"]["completion_tokens"], 0);
  for (size_t i = 1; i < 6; ++i)
    EXPECT_EQ(only["choices"][0]["logprobs"]["token_logprobs"][i], scores["token_logprobs"][i]);
}

TEST_F(Endpoints, BiasesAndWhatTheCacheHeld) {
  // A token of 'A' that is sure to come.
  const std::string body =
      R"({"prompt": "a text that is longer than a page of the cache", "max_tokens": 5,
          "logit_bias": {"65": 100}})";
  const HttpReply first = post("/v1/completions", body), second = post("/v1/completions", body);
  EXPECT_EQ(textOf(Json::parse(first.body)["choices"][0]), "AAAAA");
  EXPECT_EQ(first.body.substr(first.body.find("choices")).substr(0, 40),
            second.body.substr(second.body.find("choices")).substr(0, 40));
  EXPECT_EQ(Json::parse(first.body)["usage"]["prompt_tokens_details"]["cached_tokens"], 0);
  EXPECT_EQ(Json::parse(second.body)["usage"]["prompt_tokens_details"]["cached_tokens"], 32);
  EXPECT_THAT(errorOf(post("/v1/completions", R"({"prompt": "a", "logit_bias": {"260": 1}})")),
              HasSubstr("has token 260, and the vocabulary has 260"));
}

TEST_F(Endpoints, AnswersAreWhatWasAskedFor) {
  const auto answerOf = [&](const std::string &fields) {
    const HttpReply reply = post("/v1/chat/completions", chatBody(fields));
    EXPECT_EQ(reply.status, 200) << reply.body;
    return Json::parse(reply.body)["choices"][0];
  };
  const std::string object =
      R"("response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object",
         "properties": {"a": {"type": "integer", "maximum": 9, "minimum": 0}, "b": {"enum": ["x", "yy"]}}, "required": ["a", "b"]}}})";
  for (int seed = 0; seed < 5; ++seed) {
    const Json choice = answerOf(object + R"(, "seed": )" + std::to_string(seed));
    EXPECT_EQ(choice["finish_reason"], "stop");
    const Json value = Json::parse(textOf(choice));
    EXPECT_TRUE(value["a"].is_number_integer() && (value["b"] == "x" || value["b"] == "yy"));
  }
  const std::string choices = R"("structured_outputs": {"choice": ["left", "right"]})";
  for (const char *more : {R"(, "ignore_eos": true)", R"(, "logprobs": true)",
                           R"(, "temperature": 0)", R"(, "logit_bias": {"120": 100})"}) {
    const Json choice = answerOf(choices + more);
    EXPECT_TRUE(textOf(choice) == "left" || textOf(choice) == "right") << choice;
    EXPECT_EQ(choice["finish_reason"], "stop");
  }
  const Json three = answerOf(R"("structured_outputs": {"regex": "[ab]{3}[cd]"}, "max_tokens": 3)");
  EXPECT_EQ(textOf(three).size(), 3u);
  const Json cut = answerOf(R"("structured_outputs": {"regex": "a{9}"}, "max_tokens": 4)");
  EXPECT_EQ(textOf(cut), "aaaa");
  EXPECT_EQ(cut["finish_reason"], "length");
  const HttpReply many =
      post("/v1/completions",
           R"({"prompt": "p", "n": 3, "stream": true, "structured_outputs": {"regex": "xyz"}})");
  EXPECT_THAT(many.body, HasSubstr("[DONE]"));
  EXPECT_THAT(
      errorOf(post(
          "/v1/chat/completions",
          chatBody(
              R"("response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"not": {}}}})"))),
      StartsWith(
          R"(400 "response_format.json_schema.schema" invalid_value: response_format.json_schema.schema: /not is not supported)"));
  EXPECT_THAT(
      errorOf(post("/v1/chat/completions", chatBody(R"("structured_outputs": {"regex": "("})"))),
      StartsWith(R"(400 "structured_outputs.regex")"));
}

TEST_F(Endpoints, PromptsAreNeverCut) {
  EXPECT_THAT(errorOf(post("/v1/completions", R"({"prompt": ")" + std::string(200, 'a') + "\"}")),
              HasSubstr(R"(400 "prompt" context_length_exceeded: prompt has 200 tokens and the )"
                        "context holds 64"));
  EXPECT_THAT(
      errorOf(post("/v1/completions", R"({"prompt": "aaaa", "max_tokens": 61})")),
      HasSubstr("max_tokens is 61, and beside the prompt's 4 tokens the context of 64 holds "
                "60"));
  EXPECT_EQ(post("/v1/completions", R"({"prompt": "aaaa", "max_tokens": 60})").status, 200);
  EXPECT_THAT(errorOf(post("/v1/completions", R"({"prompt": ""})")), HasSubstr("has no tokens"));
  EXPECT_THAT(errorOf(post("/v1/completions", R"({"prompt": [260]})")),
              HasSubstr("prompt has token 260, and the vocabulary has 260"));
}

TEST_F(Endpoints, WhatATemplateRefusesIsTheClientsFault) {
  EXPECT_THAT(errorOf(post("/v1/chat/completions",
                           R"({"messages": [{"role": "wizard", "content": "a"}]})")),
              HasSubstr("400 \"messages\" invalid_value: messages: "));
  // The test's template reads tools.
  EXPECT_THAT(Json::parse(post("/apply-template", chatBody(R"("tools": [{"type": "function",
                                                      "function": {"name": "f"}}])"))
                              .body)["prompt"],
              HasSubstr(R"("name": "f")"));
}

TEST_F(Endpoints, ModelsAreNamed) {
  EXPECT_THAT(errorOf(post("/v1/chat/completions", chatBody(R"("model": "gpt-4")"))),
              HasSubstr("404 \"model\" model_not_found: model \"gpt-4\" is not served here"));
  EXPECT_EQ(post("/v1/chat/completions", chatBody(R"("model": "test", "max_tokens": 1)")).status,
            200);
  EXPECT_EQ(Json::parse(get("/v1/models").body)["data"][0]["id"], "test");
  EXPECT_EQ(Json::parse(get("/v1/models/test").body)["max_model_len"], 64);
  EXPECT_EQ(get("/v1/models/other").status, 404);
}

TEST_F(Endpoints, ModelsAreChosen) {
  serve("other");
  const Json list = Json::parse(get("/v1/models").body)["data"];
  ASSERT_EQ(list.size(), 2u);
  EXPECT_EQ(list[1]["id"], "other");
  EXPECT_EQ(get("/v1/models/other").status, 200);
  const HttpReply reply =
      post("/v1/completions", R"({"model": "other", "prompt": "a", "ignore_eos": true})");
  EXPECT_EQ(Json::parse(reply.body)["model"], "other");
  const std::string names = "'test', 'other'";
  EXPECT_THAT(
      errorOf(post("/v1/completions", R"({"prompt": "a"})")),
      HasSubstr("400 \"model\" missing_required_parameter: model is missing, and several are "
                "served here: " +
                names));
  EXPECT_THAT(
      errorOf(post("/tokenize", R"({"model": "x", "prompt": "a"})")),
      HasSubstr("404 \"model\" model_not_found: model \"x\" is not served here: these are " +
                names));
  const std::string text = get("/metrics").body;
  for (const char *line :
       {"retort:request_success_total{model_name=\"other\",finished_reason=\"length\"} 1\n",
        "retort:generation_tokens_total{model_name=\"test\"} 0\n"})
    EXPECT_THAT(text, HasSubstr(line));
}

TEST_F(Endpoints, TokensAndTexts) {
  const Json tokens =
      Json::parse(post("/tokenize", R"({"prompt": "ab", "return_token_strs": true})").body);
  EXPECT_EQ(tokens["tokens"].dump(), "[97,98]");
  EXPECT_EQ(tokens["token_strs"].dump(), R"(["a","b"])");
  EXPECT_EQ(Json::parse(post("/detokenize", R"({"tokens": [97, 98]})").body)["prompt"], "ab");
  EXPECT_THAT(errorOf(post("/detokenize", R"({"tokens": [999]})")), HasSubstr("400 \"tokens\""));
  const Json chat = Json::parse(post("/tokenize", std::string("{") + kHello + "}").body);
  EXPECT_EQ(chat["tokens"][0], test::kUser);
  EXPECT_EQ(Json::parse(post("/apply-template", std::string("{") + kHello + "}").body)["prompt"],
            "<|user|>hello\n<|answer|>");
  // What users write is text.
  const Json user = Json::parse(post("/tokenize", R"({"prompt": "<|end|>"})").body);
  EXPECT_EQ(user["count"], 7);
}

TEST_F(Endpoints, PathsAndMethods) {
  EXPECT_THAT(errorOf(get("/v1/nothing")), HasSubstr("404 null not_found"));
  EXPECT_THAT(errorOf(get("/v1/models/")), HasSubstr("404"));
  const HttpReply wrong = get("/v1/chat/completions");
  EXPECT_EQ(wrong.status, 405);
  EXPECT_EQ(wrong.headers[0].second, "POST");
  EXPECT_EQ(ask({"GET", "/health", "verbose=1", "", "", "", "", "", ""}).status, 400);
  EXPECT_EQ(get("/health").status, 200);
  EXPECT_EQ(get("/live").status, 200);
  EXPECT_EQ(Json::parse(get("/version").body)["version"], retort_version());
}

TEST_F(Endpoints, HealthFollowsTheModel) {
  restart(false);
  EXPECT_THAT(errorOf(get("/health")), HasSubstr("503 null loading"));
  EXPECT_EQ(get("/live").status, 200);
  EXPECT_THAT(errorOf(post("/v1/completions", R"({"prompt": "a"})")),
              HasSubstr("503 null loading"));
  restart(true);
  api->drain();
  EXPECT_THAT(errorOf(get("/health")), HasSubstr("503 null draining"));
  const HttpReply late = post("/v1/completions", R"({"prompt": "a"})");
  EXPECT_EQ(late.status, 503);
  EXPECT_EQ(late.headers[0].first, "Retry-After");
  EXPECT_EQ(get("/metrics").status, 200);
}

TEST_F(Endpoints, KeysOpenAllButTheProbes) {
  test::writeFile(folder / "keys", "secret\n");
  ::chmod((folder / "keys").c_str(), 0600);
  options.keys = Keys::read(folder / "keys");
  options.localNames = false;
  restart(true);
  const auto with = [&](const std::string &authorization) {
    return ask({"GET", "/v1/models", "", "", "any.name", "", authorization, "", ""}).status;
  };
  EXPECT_EQ(with("Bearer secret"), 200);
  for (const char *bad : {"", "secret", "Bearer", "Bearer ", "Bearer secre", "Bearer  secret"})
    EXPECT_EQ(with(bad), 401) << bad;
  EXPECT_EQ(get("/health").status, 200);
  EXPECT_EQ(get("/metrics").status, 401);
}

TEST_F(Endpoints, PagesOfOtherOriginsMayNotAsk) {
  const auto from = [&](const std::string &origin, const std::string &host,
                        const std::string &method = "GET") {
    return ask({method, "/v1/models", "", "", host, origin, "", "", ""}).status;
  };
  EXPECT_EQ(from("http://evil.test", "localhost:8080"), 403);
  EXPECT_EQ(from("null", "localhost:8080"), 403);
  EXPECT_EQ(from("http://localhost:8080", "localhost:8080"), 200);
  EXPECT_EQ(from("http://evil.test:8080", "evil.test:8080"), 403) << "DNS rebinding";
  EXPECT_EQ(from("", "evil.test"), 403);
  for (const char *local : {"localhost", "127.0.0.1:1", "[::1]:8080"})
    EXPECT_EQ(from("", local), 200) << local;
  EXPECT_EQ(from("http://good.test", "localhost", "OPTIONS"), 405);
  options.origins = {"http://good.test"};
  restart(true);
  EXPECT_EQ(from("http://good.test", "localhost"), 200);
  EXPECT_EQ(from("http://good.test", "localhost", "OPTIONS"), 204);
  EXPECT_EQ(from("http://evil.test", "localhost", "OPTIONS"), 405);
  EXPECT_EQ(from("http://evil.test", "localhost"), 403);
  HttpRequest request;
  request.origin = "http://good.test";
  EXPECT_EQ(api->headersFor(request).size(), 2u);
  request.origin = "http://evil.test";
  EXPECT_EQ(api->headersFor(request).size(), 1u);
}

TEST_F(Endpoints, ThePageAsksOnlyThisServer) {
  const HttpReply reply = get("/");
  ASSERT_EQ(reply.status, 200) << reply.body;
  EXPECT_EQ(reply.contentType, "text/html; charset=utf-8");
  std::string policy;
  for (const auto &[name, value] : reply.headers)
    if (name == "Content-Security-Policy")
      policy = value;
  EXPECT_THAT(policy, StartsWith("default-src 'none'; "));
  const size_t nonce = policy.find("'nonce-") + 7;
  EXPECT_THAT(reply.body, HasSubstr("<script nonce=\"" + policy.substr(nonce, 32) + "\">"));
  EXPECT_NE(get("/").body, reply.body) << "another nonce each time";
  EXPECT_THAT(reply.body, HasSubstr(R"("context":64,"chat":true,"report":false}],"keys":false})"));
  for (const char *outside : {"http://", "https://", "//cdn", "@import", "url("})
    EXPECT_EQ(reply.body.find(outside), std::string::npos) << outside;
  for (const char *path : {"/report", "/report/test"})
    EXPECT_EQ(errorOf(get(path)), "404 null not_found: this bundle has no report");
  serve("</script><b>");
  EXPECT_EQ(get("/").body.find("</script><b>"), std::string::npos);
  EXPECT_EQ(get("/nothing").status, 404);
  restart(false);
  EXPECT_EQ(get("/").status, 503);
}

TEST_F(Endpoints, MetricsCount) {
  post("/v1/completions", R"({"prompt": "abc", "max_tokens": 5, "ignore_eos": true})");
  const std::string text = get("/metrics").body;
  for (const char *line :
       {"prompt_tokens_total{MODEL} 3\n", "generation_tokens_total{MODEL} 5\n",
        "request_success_total{MODEL,finished_reason=\"length\"} 1\n",
        "time_to_first_token_seconds_count{MODEL} 1\n",
        "time_to_first_token_seconds_bucket{MODEL,le=\"+Inf\"} 1\n",
        "inter_token_latency_seconds_count{MODEL} 4\n", "num_requests_running{MODEL} 0\n",
        "kv_cache_usage_perc{MODEL} 0\n", "model_info{MODEL} 1\n"}) {
    std::string full = std::string("retort:") + line;
    if (const size_t at = full.find("MODEL"); at != full.npos)
      full.replace(at, 5, "model_name=\"test\"");
    EXPECT_THAT(text, HasSubstr(full));
  }
}

/// Asks for grammars that take long to be refused.
std::vector<std::shared_ptr<Client>> askSlowly(Api &api) {
  std::vector<std::shared_ptr<Client>> clients;
  for (int i = 0; i < 6; ++i) {
    clients.push_back(std::make_shared<Client>());
    clients.back()->request = {"POST", "/v1/chat/completions", "", "", "localhost", "", "", "", ""};
    // A field's name may be spelt with escapes.
    clients.back()->request.body = chatBody(
        R"("structured\u005foutputs": {"regex": "(a|b)*a(a|b){)" + std::to_string(20 + i) + "}\"}");
    api.serve(clients.back());
  }
  return clients;
}

/// Schemas that take long, also to be refused, keep nobody waiting who has none.
TEST_F(Endpoints, GrammarsAreCompiledAside) {
  const char *const known =
      R"({"prompt": "a", "max_tokens": 1, "structured_outputs": {"regex": "a+"}})";
  EXPECT_EQ(post("/v1/completions", known).status, 200);
  const std::vector<std::shared_ptr<Client>> slow = askSlowly(*api);
  EXPECT_EQ(post("/v1/completions", R"({"prompt": "a", "max_tokens": 1})").status, 200);
  EXPECT_EQ(post("/v1/completions", known).status, 200) << "one that is known is not behind others";
  EXPECT_FALSE(slow.back()->done());
  for (const auto &client : slow) {
    client->await();
    EXPECT_THAT(errorOf(client->got), HasSubstr("400 \"structured_outputs.regex\""));
  }
}

/// Whoever has gone, or is still there when the server ends, has no grammar compiled.
TEST_F(Endpoints, GrammarsNobodyWaitsForAreLeft) {
  const std::vector<std::shared_ptr<Client>> slow = askSlowly(*api);
  slow.back()->markGone();
  slow.front()->await();
  api.reset();
  EXPECT_FALSE(slow.back()->done());
}

struct FewPlaces : Endpoints {
  FewPlaces() : Endpoints(1, 0) {}
};

TEST_F(FewPlaces, SoManyWaitForAGrammar) {
  size_t refused = 0;
  for (const auto &client : askSlowly(*api)) {
    client->await();
    refused += client->got.status == 429;
    EXPECT_THAT(errorOf(client->got), AnyOf(HasSubstr("429 null queue_full: the server has"),
                                            HasSubstr("400 \"structured_outputs.regex\"")));
  }
  EXPECT_GE(refused, 1u);
  EXPECT_LE(refused, 5u);
}

TEST_F(FewPlaces, AFullQueueIsA429) {
  EXPECT_THAT(errorOf(post("/v1/completions", R"({"prompt": "a", "n": 2})")),
              HasSubstr("not a whole number from 1 to 1"));
  Job job;
  const auto stop =
      std::make_shared<std::atomic<bool>>(false); // the job may outlive the test's body
  job.prompt = {1};
  job.maxTokens = 60;
  job.ignoreEos = true;
  job.onUpdate = [stop](Update) {
    while (!*stop)
      std::this_thread::sleep_for(1ms);
  };
  std::vector<Job> jobs;
  jobs.push_back(std::move(job));
  ASSERT_TRUE(models.find("test")->scheduler.submit(std::move(jobs)));
  const HttpReply full = post("/v1/completions", R"({"prompt": "a"})");
  *stop = true;
  EXPECT_THAT(errorOf(full), HasSubstr("429 null queue_full: the server has as many requests as it "
                                       "takes (1)"));
  ASSERT_EQ(full.headers.size(), 1u);
  EXPECT_EQ(full.headers[0], (std::pair<std::string, std::string>("Retry-After", "1")));
}

struct WithoutChat : Endpoints {
  WithoutChat() : Endpoints(2, 256, false) {}
};

TEST_F(WithoutChat, SaysWhatToDo) {
  for (const char *path : {"/v1/chat/completions", "/tokenize", "/apply-template"})
    EXPECT_THAT(errorOf(post(path, std::string("{") + kHello + "}")),
                HasSubstr("400 \"messages\" unsupported_parameter: messages need a chat template, "
                          "which this bundle does not have: use /v1/completions"));
  EXPECT_EQ(post("/v1/completions", R"({"prompt": "a"})").status, 200);
}

} // namespace
} // namespace retort::server
