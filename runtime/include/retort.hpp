//===- retort.hpp - Running a specialist: C++20 over retort.h ---*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
//
// A thin layer, all inline: handles become movable objects, statuses become retort::Failure,
// buffers become vectors and strings. What a call means, its shapes and errors, stands in retort.h.
//
//===----------------------------------------------------------------------===//
#ifndef RETORT_HPP
#define RETORT_HPP
#include "retort.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace retort {
inline namespace v0 { // the library's own C++ classes are others

/// A call that failed: what() is its one-line message.
class Failure : public std::runtime_error {
public:
  Failure(retort_status status, const std::string &message)
      : std::runtime_error(message.empty() ? retort_status_name(status) : message),
        status_(status) {}
  retort_status status() const noexcept { return status_; }

private:
  retort_status status_;
};

struct Message {
  std::string role, content; ///< "system", "user" or "assistant"
};

/// A conversation with all that a chat template may read, as retort_conversation: JSON texts, of which
/// all but `messages` may be empty.
struct Conversation {
  std::string messages, tools = {}, documents = {}, variables = {};
  std::string date = {}; ///< "2026-11-30"; empty: now
};

namespace detail {
template <auto Destroy> struct Deleter {
  template <class T> void operator()(T *handle) const noexcept { Destroy(handle); }
};
inline void check(retort_status status, const retort_error &error) {
  if (status != RETORT_OK)
    throw Failure(status, error.message);
}
/// Calls `call(buffer, capacity, &count)`, again with a larger buffer if the first is too small.
template <class Buffer, class Call>
Buffer fill(size_t guess, const retort_error &error, Call call) {
  Buffer buffer;
  buffer.resize(guess);
  size_t count = 0;
  retort_status status = call(buffer.data(), buffer.size(), &count);
  if (status == RETORT_E_CAPACITY) {
    buffer.resize(count);
    status = call(buffer.data(), buffer.size(), &count);
  }
  check(status, error);
  buffer.resize(count);
  return buffer;
}
} // namespace detail

/// A bundle, opened. Copies share it; any number of threads may use it.
class Model {
public:
  /// `isa`: empty for the best that the CPU has. `threads` check hashes; 0: one a core. `weights`:
  /// RETORT_WEIGHTS_MAPPED, _COPIED or _LOCKED.
  explicit Model(const std::string &path, const std::string &isa = {}, uint32_t threads = 0,
                 int32_t weights = RETORT_WEIGHTS_MAPPED) {
    retort_model_options options = {sizeof options, isa.empty() ? nullptr : isa.c_str(), threads,
                                    weights};
    retort_model *model = nullptr;
    retort_error error;
    detail::check(retort_model_open(path.c_str(), &options, &model, &error), error);
    handle_.reset(model, retort_model_destroy);
  }

  retort_model_info info() const {
    retort_model_info info = {};
    info.struct_bytes = sizeof info;
    retort_model_get_info(get(), &info);
    return info;
  }
  std::string_view manifest() const { return retort_model_manifest(get()); }
  std::string_view part(const std::string &name) const {
    const void *data = nullptr;
    size_t bytes = 0;
    retort_error error;
    detail::check(retort_model_part(get(), name.c_str(), &data, &bytes, &error), error);
    return {static_cast<const char *>(data), bytes};
  }

  /// `flags`: RETORT_NO_SPECIAL, RETORT_PARSE_SPECIAL.
  std::vector<int32_t> tokenize(std::string_view text, uint32_t flags = 0) const {
    retort_error error;
    auto call = [&](int32_t *out, size_t capacity, size_t *count) {
      return retort_tokenize(get(), text.data(), text.size(), flags, out, capacity, count, &error);
    };
    return detail::fill<std::vector<int32_t>>(text.size() + 16, error, call);
  }
  std::string detokenize(std::span<const int32_t> tokens, bool keepSpecial = false) const {
    retort_error error;
    auto call = [&](char *out, size_t capacity, size_t *count) {
      return retort_detokenize(get(), tokens.data(), tokens.size(), keepSpecial, out, capacity,
                               count, &error);
    };
    return detail::fill<std::string>(tokens.size() * 8, error, call);
  }
  std::string_view tokenBytes(int32_t token) const {
    const char *bytes = nullptr;
    size_t size = 0;
    retort_status status = retort_token_bytes(get(), token, &bytes, &size);
    if (status != RETORT_OK)
      throw Failure(status, "token " + std::to_string(token) + " has no bytes");
    return {bytes, size};
  }
  bool isStop(int32_t token) const { return retort_token_is_stop(get(), token) != 0; }

  std::vector<int32_t> chatTokens(std::span<const Message> messages, uint32_t flags = 0) const {
    auto list = view(messages);
    retort_error error;
    auto call = [&](int32_t *out, size_t capacity, size_t *count) {
      return retort_chat_tokens(get(), list.data(), list.size(), flags, out, capacity, count,
                                &error);
    };
    return detail::fill<std::vector<int32_t>>(1024, error, call);
  }
  std::string chatText(std::span<const Message> messages, uint32_t flags = 0) const {
    auto list = view(messages);
    retort_error error;
    auto call = [&](char *out, size_t capacity, size_t *count) {
      return retort_chat_text(get(), list.data(), list.size(), flags, out, capacity, count, &error);
    };
    return detail::fill<std::string>(4096, error, call);
  }

  std::vector<int32_t> chatTokens(const Conversation &conversation, uint32_t flags = 0) const {
    const retort_conversation given = view(conversation);
    retort_error error;
    auto call = [&](int32_t *out, size_t capacity, size_t *count) {
      return retort_conversation_tokens(get(), &given, flags, out, capacity, count, &error);
    };
    return detail::fill<std::vector<int32_t>>(1024, error, call);
  }
  std::string chatText(const Conversation &conversation, uint32_t flags = 0) const {
    const retort_conversation given = view(conversation);
    retort_error error;
    auto call = [&](char *out, size_t capacity, size_t *count) {
      return retort_conversation_text(get(), &given, flags, out, capacity, count, &error);
    };
    return detail::fill<std::string>(4096, error, call);
  }

  const retort_model *get() const { return handle_.get(); }

private:
  static retort_conversation view(const Conversation &c) {
    return {sizeof(retort_conversation),
            c.messages.data(),
            c.messages.size(),
            c.tools.data(),
            c.tools.size(),
            c.documents.data(),
            c.documents.size(),
            c.variables.data(),
            c.variables.size(),
            c.date.empty() ? nullptr : c.date.c_str()};
  }
  static std::vector<retort_message> view(std::span<const Message> messages) {
    std::vector<retort_message> list;
    for (const Message &message : messages)
      list.push_back({message.role.c_str(), message.content.data(), message.content.size()});
    return list;
  }
  std::shared_ptr<retort_model> handle_;
};

/// Turns tokens into text as they come.
class Decoder {
public:
  explicit Decoder(const Model &model) {
    retort_decoder *decoder = nullptr;
    retort_error error;
    detail::check(retort_decoder_create(model.get(), &decoder, &error), error);
    handle_.reset(decoder);
  }
  /// The text that is complete with this token; valid until the next call.
  std::string_view push(int32_t token) {
    const char *text = "";
    size_t bytes = 0;
    retort_status status = retort_decoder_push(handle_.get(), token, &text, &bytes);
    if (status != RETORT_OK)
      throw Failure(status, "no token " + std::to_string(token));
    return {text, bytes};
  }
  /// Texts to end before, as retort_decoder_set_stops().
  void setStops(const std::vector<std::string> &stops) {
    std::vector<const char *> texts;
    for (const std::string &stop : stops)
      texts.push_back(stop.c_str());
    retort_error error;
    detail::check(retort_decoder_set_stops(handle_.get(), texts.data(), texts.size(), &error),
                  error);
  }
  /// What stands before the text, as retort_decoder_follow().
  void follow(std::span<const int32_t> tokens) {
    retort_decoder_follow(handle_.get(), tokens.data(), tokens.size());
  }
  /// Special tokens whose names the text holds, as retort_decoder_show().
  void show(std::span<const int32_t> tokens) {
    retort_decoder_show(handle_.get(), tokens.data(), tokens.size());
  }
  bool stopped() const { return retort_decoder_stopped(handle_.get()) != 0; }
  std::string_view finish() {
    const char *text = "";
    size_t bytes = 0;
    retort_decoder_finish(handle_.get(), &text, &bytes);
    return {text, bytes};
  }

private:
  std::unique_ptr<retort_decoder, detail::Deleter<retort_decoder_destroy>> handle_;
};

/// What an answer may be. Copies share it; any number of threads may use it.
class Grammar {
public:
  Grammar(const Model &model, int32_t kind, std::string_view text) {
    retort_grammar *grammar = nullptr;
    retort_error error;
    detail::check(
        retort_grammar_create(model.get(), kind, text.data(), text.size(), &grammar, &error),
        error);
    handle_.reset(grammar, retort_grammar_destroy);
  }
  const retort_grammar *get() const { return handle_.get(); }

private:
  std::shared_ptr<retort_grammar> handle_;
};

/// Follows an answer in its grammar.
class Matcher {
public:
  /// `before`: as in retort_sampler_constrain().
  explicit Matcher(const Grammar &grammar, std::span<const int32_t> before = {}) {
    retort_matcher *matcher = nullptr;
    retort_error error;
    detail::check(
        retort_matcher_create(grammar.get(), before.data(), before.size(), &matcher, &error),
        error);
    handle_.reset(matcher);
  }
  /// False: the token may not follow.
  bool accept(int32_t token) { return retort_matcher_accept(handle_.get(), token) == RETORT_OK; }
  /// As retort_matcher_mask().
  void mask(std::span<uint64_t> bits) {
    const retort_status status = retort_matcher_mask(handle_.get(), bits.data(), bits.size());
    if (status != RETORT_OK)
      throw Failure(status, "bits has no room for the vocabulary");
  }
  bool complete() const { return retort_matcher_complete(handle_.get()) != 0; }
  bool done() const { return retort_matcher_done(handle_.get()) != 0; }

private:
  std::unique_ptr<retort_matcher, detail::Deleter<retort_matcher_destroy>> handle_;
};

/// retort_sampling with its defaults.
struct Sampling {
  float temperature = 0, topP = 1;
  uint32_t topK = 0;
  uint64_t seed = 0;
  float minP = 0, repetitionPenalty = 1, presencePenalty = 0, frequencyPenalty = 0;
  std::vector<retort_logit_bias> bias = {};
  /// For a call, during which this must live.
  retort_sampling c() const {
    return {sizeof(retort_sampling),
            temperature,
            topP,
            topK,
            seed,
            minP,
            repetitionPenalty,
            presencePenalty,
            frequencyPenalty,
            bias.data(),
            bias.size()};
  }
};

class Sampler {
public:
  explicit Sampler(const Sampling &sampling = {}) {
    retort_sampling options = sampling.c();
    retort_sampler *sampler = nullptr;
    retort_error error;
    detail::check(retort_sampler_create(&options, &sampler, &error), error);
    handle_.reset(sampler);
  }
  int32_t sample(std::span<const float> logits) {
    int32_t token = -1;
    retort_status status = retort_sample(handle_.get(), logits.data(), logits.size(), &token);
    if (status != RETORT_OK)
      throw Failure(status, "no logit is a number");
    return token;
  }
  /// Tokens before the answer, which a repetition penalty counts.
  void see(std::span<const int32_t> tokens) {
    if (retort_sampler_see(handle_.get(), tokens.data(), tokens.size()) != RETORT_OK)
      throw Failure(RETORT_E_RESOURCES, "no memory");
  }
  /// From now on it picks what an answer may hold, as retort_sampler_constrain().
  void constrain(const Grammar &grammar, std::span<const int32_t> before = {}) {
    if (retort_sampler_constrain(handle_.get(), grammar.get(), before.data(), before.size()) !=
        RETORT_OK)
      throw Failure(RETORT_E_RESOURCES, "no memory");
  }
  bool done() const { return retort_sampler_done(handle_.get()) != 0; }
  retort_sampler *get() const { return handle_.get(); }

private:
  std::unique_ptr<retort_sampler, detail::Deleter<retort_sampler_destroy>> handle_;
};

/// Guesses how an answer goes on, for Session::stepVerify().
class Drafter {
public:
  Drafter() {
    retort_drafter *drafter = nullptr;
    retort_error error;
    detail::check(retort_drafter_create(&drafter, &error), error);
    handle_.reset(drafter);
  }
  /// As retort_drafter_see().
  void see(std::span<const int32_t> tokens) {
    if (retort_drafter_see(handle_.get(), tokens.data(), tokens.size()) != RETORT_OK)
      throw Failure(RETORT_E_RESOURCES, "no memory");
  }
  /// As retort_drafter_guess(): how many of `tokens` are guessed.
  size_t guess(const Sampler &sampler, double least, std::span<int32_t> tokens) {
    size_t count = 0;
    const retort_status status = retort_drafter_guess(handle_.get(), sampler.get(), least,
                                                      tokens.data(), tokens.size(), &count);
    if (status != RETORT_OK)
      throw Failure(status, "least is not 0 to 1");
    return count;
  }

private:
  std::unique_ptr<retort_drafter, detail::Deleter<retort_drafter_destroy>> handle_;
};

/// The natural log-probability of each of `tokens`, by logits as a step gives them.
inline std::vector<float> logprobs(std::span<const float> logits, std::span<const int32_t> tokens) {
  std::vector<float> result(tokens.size());
  if (retort_logprobs(logits.data(), logits.size(), tokens.data(), tokens.size(), result.data()) !=
      RETORT_OK)
    throw Failure(RETORT_E_ARGUMENT, "there are no logits, or a token has none");
  return result;
}
/// The tokens of the `count` largest logits, the largest first; fewer where no more are numbers.
inline std::vector<int32_t> topTokens(std::span<const float> logits, size_t count) {
  std::vector<int32_t> tokens(std::min(count, logits.size()));
  if (retort_top_tokens(logits.data(), logits.size(), tokens.data(), tokens.size()) != RETORT_OK)
    throw Failure(RETORT_E_ARGUMENT, "there are no logits");
  while (!tokens.empty() && tokens.back() < 0)
    tokens.pop_back();
  return tokens;
}

/// Options of Session, as retort_session_options.
struct SessionOptions {
  uint32_t threads = 0, slots = 0, maxContext = 0;
  uint64_t cacheBytes = 0;
  std::string device = {}; ///< "cpu", "cuda", "cuda:1", "sim"; empty: the best there is
  bool prefixCache = false;
};

/// Options of Session::generate, as retort_generate_options.
struct GenerateOptions {
  Sampling sampling = {};
  size_t maxTokens = 0;
  std::vector<std::string> stop = {};
  bool ignoreStopTokens = false;
  const std::atomic<int> *cancel = nullptr;
  /// Returns whether to go on. What it throws comes out of generate().
  std::function<bool(std::string_view)> onText = {};
  std::function<bool(int32_t)> onToken = {};
  const Grammar *grammar = nullptr; ///< of the answer
  uint32_t speculate = 0;           ///< most tokens guessed at a time
};

/// A model at work. One thread at a time.
class Session {
public:
  explicit Session(const Model &model, const SessionOptions &options = {}) : model_(model) {
    retort_session_options given = {
        sizeof given,       options.threads,
        options.slots,      options.maxContext,
        options.cacheBytes, options.device.empty() ? nullptr : options.device.c_str(),
        options.prefixCache};
    retort_session *session = nullptr;
    retort_error error;
    detail::check(retort_session_create(model.get(), &given, &session, &error), error);
    handle_.reset(session);
  }
  const Model &model() const { return model_; }
  retort_session_info info() const {
    retort_session_info info = {};
    info.struct_bytes = sizeof info;
    retort_session_get_info(get(), &info);
    return info;
  }
  /// JSON; empty on devices that count nothing.
  std::string counters() { return retort_session_counters(get()); }

  /// `logits` holds wanted.size() * vocab floats.
  void step(std::span<const retort_row> rows, std::span<const size_t> wanted,
            std::span<float> logits) {
    if (logits.size() < wanted.size() * size_t(model_.info().vocab))
      throw Failure(RETORT_E_ARGUMENT, "logits has no room for the rows wanted");
    check(
        retort_step(get(), rows.data(), rows.size(), wanted.data(), wanted.size(), logits.data()));
  }
  /// `tokens` holds a token for each row wanted, which the row's sampler picks, or, where that is
  /// null or `samplers` empty, the one with the largest logit.
  void stepSample(std::span<const retort_row> rows, std::span<const size_t> wanted,
                  std::span<int32_t> tokens, std::span<Sampler *const> samplers = {}) {
    const std::vector<retort_sampler *> handles = handlesOf(wanted, tokens, samplers);
    check(retort_step_sample(get(), rows.data(), rows.size(), wanted.data(), wanted.size(),
                             handles.empty() ? nullptr : handles.data(), tokens.data()));
  }
  /// As stepSample(), where rows may be guesses: retort_step_verify(). `logits` is empty, or holds
  /// wanted.size() * vocab floats.
  void stepVerify(std::span<const retort_row> rows, std::span<const size_t> wanted,
                  std::span<int32_t> tokens, std::span<Sampler *const> samplers,
                  std::span<float> logits = {}) {
    if (!logits.empty() && logits.size() < wanted.size() * size_t(model_.info().vocab))
      throw Failure(RETORT_E_ARGUMENT, "logits has no room for the rows wanted");
    const std::vector<retort_sampler *> handles = handlesOf(wanted, tokens, samplers);
    check(retort_step_verify(get(), rows.data(), rows.size(), wanted.data(), wanted.size(),
                             handles.empty() ? nullptr : handles.data(), tokens.data(),
                             logits.empty() ? nullptr : logits.data()));
  }
  /// Seconds that a step of so many rows is expected to take; 0: none has run.
  double expectedSeconds(size_t rows) const { return retort_session_expected_seconds(get(), rows); }
  /// `logits` is empty, or holds vocab floats for the last token.
  void prefill(int32_t slot, std::span<const int32_t> tokens, std::span<float> logits = {}) {
    if (!logits.empty() && logits.size() < size_t(model_.info().vocab))
      throw Failure(RETORT_E_ARGUMENT, "logits has no room for a row");
    check(retort_prefill(get(), slot, tokens.data(), tokens.size(),
                         logits.empty() ? nullptr : logits.data()));
  }
  size_t length(int32_t slot) const { return retort_slot_length(get(), slot); }
  void truncate(int32_t slot, size_t length) { check(retort_slot_truncate(get(), slot, length)); }
  void reset(int32_t slot) { check(retort_slot_reset(get(), slot)); }
  /// Positions that an empty slot begins with, which the prefix cache holds.
  size_t reuse(int32_t slot, std::span<const int32_t> tokens) {
    size_t reused = 0;
    check(retort_slot_reuse(get(), slot, tokens.data(), tokens.size(), &reused));
    return reused;
  }

  retort_generation generate(int32_t slot, std::span<const int32_t> prompt,
                             const GenerateOptions &options = {}) {
    static_assert(sizeof(std::atomic<int>) == sizeof(int));
    std::vector<const char *> stop;
    for (const std::string &text : options.stop)
      stop.push_back(text.c_str());
    struct Call {
      const GenerateOptions &options;
      std::exception_ptr thrown = nullptr;
    } call{options};
    retort_generate_options given = {};
    given.struct_bytes = sizeof given;
    const retort_sampling sampling = options.sampling.c();
    given.sampling = &sampling;
    given.max_tokens = options.maxTokens;
    given.stop = stop.data();
    given.num_stop = stop.size();
    given.ignore_stop_tokens = options.ignoreStopTokens;
    given.cancel = reinterpret_cast<const int *>(options.cancel);
    given.on_text = options.onText ? onText<Call> : nullptr;
    given.on_token = options.onToken ? onToken<Call> : nullptr;
    given.user = &call;
    given.grammar = options.grammar ? options.grammar->get() : nullptr;
    given.speculate = options.speculate;
    retort_generation result = {};
    result.struct_bytes = sizeof result;
    retort_status status =
        retort_generate(get(), slot, prompt.data(), prompt.size(), &given, &result);
    if (call.thrown)
      std::rethrow_exception(call.thrown);
    check(status);
    return result;
  }

  retort_session *get() const { return handle_.get(); }

private:
  static std::vector<retort_sampler *> handlesOf(std::span<const size_t> wanted,
                                                 std::span<int32_t> tokens,
                                                 std::span<Sampler *const> samplers) {
    if (tokens.size() < wanted.size() || (!samplers.empty() && samplers.size() < wanted.size()))
      throw Failure(RETORT_E_ARGUMENT, "tokens or samplers has no room for the rows wanted");
    std::vector<retort_sampler *> handles;
    for (Sampler *sampler : samplers)
      handles.push_back(sampler ? sampler->get() : nullptr);
    return handles;
  }
  template <class Call> static int onText(void *user, const char *text, size_t bytes) {
    return kept<Call>(user, [&](Call &call) { return call.options.onText({text, bytes}); });
  }
  template <class Call> static int onToken(void *user, int32_t token) {
    return kept<Call>(user, [&](Call &call) { return call.options.onToken(token); });
  }
  /// Exceptions must not pass through C.
  template <class Call, class Body> static int kept(void *user, Body body) {
    Call &call = *static_cast<Call *>(user);
    try {
      return body(call) ? 0 : 1;
    } catch (...) {
      call.thrown = std::current_exception();
      return 1;
    }
  }
  void check(retort_status status) const {
    if (status != RETORT_OK)
      throw Failure(status, retort_session_error(get()));
  }
  Model model_;
  std::unique_ptr<retort_session, detail::Deleter<retort_session_destroy>> handle_;
};

} // namespace v0
} // namespace retort
#endif
