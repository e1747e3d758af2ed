//===- CApiSession.cpp - retort.h: sessions, sampling, generating ---------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/src/engine/CApi.h"
#include "runtime/src/engine/Drafter.h"
#include "runtime/src/engine/Generate.h"

using namespace retort;
using namespace retort::engine;
using namespace retort::engine::capi;

struct retort_sampler {
  Sampler sampler;
};
struct retort_drafter {
  Drafter drafter;
};

namespace {

SamplerOptions readSampling(const retort_sampling *options) {
  const retort_sampling given = optionsOr(options, "retort_sampling.struct_bytes is not set");
  SamplerOptions sampling = {given.temperature,
                             given.top_p,
                             given.top_k,
                             given.seed,
                             given.min_p,
                             given.repetition_penalty,
                             given.presence_penalty,
                             given.frequency_penalty};
  require(given.bias || given.num_bias == 0, "bias is NULL though num_bias is not 0");
  for (size_t i = 0; i < given.num_bias; ++i)
    sampling.bias.emplace_back(given.bias[i].token, given.bias[i].bias);
  return sampling;
}

std::vector<Sampler *> samplersOf(retort_sampler *const *samplers, size_t count) {
  std::vector<Sampler *> list;
  for (size_t i = 0; samplers && i < count; ++i)
    list.push_back(samplers[i] ? &samplers[i]->sampler : nullptr);
  return list;
}

GenerateOptions readGenerate(const retort_generate_options *given) {
  auto values = optionsOr(given, "retort_generate_options.struct_bytes is not set");
  GenerateOptions options;
  options.sampling = readSampling(values.sampling);
  options.maxTokens = values.max_tokens;
  require(values.stop || values.num_stop == 0, "stop is NULL though num_stop is not 0");
  for (size_t i = 0; i < values.num_stop; ++i) {
    require(values.stop[i], "a stop string is NULL");
    options.stops.emplace_back(values.stop[i]);
  }
  options.ignoreStopTokens = values.ignore_stop_tokens != 0;
  options.cancel = values.cancel;
  options.onText = values.on_text;
  options.onToken = values.on_token;
  options.user = values.user;
  options.speculate = values.speculate;
  if (values.grammar)
    options.grammar = values.grammar->grammar;
  return options;
}

} // namespace

retort_status retort_session_create(const retort_model *model,
                                    const retort_session_options *options, retort_session **session,
                                    retort_error *error) {
  if (session)
    *session = nullptr;
  return guard(error, [&] {
    require(model && session, "model or session is NULL");
    auto given = optionsOr(options, "retort_session_options.struct_bytes is not set");
    *session = new retort_session{
        Session(model->model, {given.threads, given.slots, given.max_context, given.cache_bytes,
                               given.device ? given.device : "", given.prefix_cache != 0})};
  });
}

void retort_session_destroy(retort_session *session) { delete session; }

const char *retort_session_error(const retort_session *session) {
  return session ? session->session.error.c_str() : "the session is NULL";
}

retort_status retort_session_get_info(const retort_session *session, retort_session_info *info) {
  return guard(static_cast<retort_error *>(nullptr), [&] {
    require(session && info, "a pointer is NULL");
    const Session &s = session->session;
    retort_session_info values = {};
    values.threads = s.device().threads();
    values.slots = s.cache().slots();
    values.max_context = s.cache().maxContext();
    values.max_rows = uint32_t(s.maxRows());
    values.pages = s.cache().pages();
    values.free_pages = s.cache().freePages();
    values.cache_bytes = s.cache().bytes();
    values.device = s.device().name().c_str();
    values.step_seconds = s.device().stepSeconds();
    values.page_rows = s.cache().pageRows();
    fillInfo(info, values, "retort_session_info.struct_bytes is not set");
  });
}

const char *retort_session_counters(retort_session *session) {
  retort_status status = guard(static_cast<retort_error *>(nullptr), [&] {
    require(session, "session is NULL");
    session->counters = session->session.device().takeCounters();
  });
  return status == RETORT_OK ? session->counters.c_str() : "";
}

retort_status retort_step(retort_session *session, const retort_row *rows, size_t num_rows,
                          const size_t *wanted, size_t num_wanted, float *logits) {
  return guard(session, [&] {
    require(session && (rows || num_rows == 0) && (wanted || num_wanted == 0), "a pointer is NULL");
    session->session.step({rows, num_rows}, {wanted, num_wanted}, {.logits = logits});
  });
}

retort_status retort_step_sample(retort_session *session, const retort_row *rows, size_t num_rows,
                                 const size_t *wanted, size_t num_wanted,
                                 retort_sampler *const *samplers, int32_t *tokens) {
  return guard(session, [&] {
    require(session && (rows || num_rows == 0) && (wanted || num_wanted == 0), "a pointer is NULL");
    const std::vector<Sampler *> list = samplersOf(samplers, num_wanted);
    session->session.step({rows, num_rows}, {wanted, num_wanted},
                          {.tokens = tokens, .samplers = list});
  });
}

retort_status retort_step_verify(retort_session *session, const retort_row *rows, size_t num_rows,
                                 const size_t *wanted, size_t num_wanted,
                                 retort_sampler *const *samplers, int32_t *tokens, float *logits) {
  return guard(session, [&] {
    require(session && (rows || num_rows == 0) && (num_wanted == 0 || (wanted && tokens)),
            "a pointer is NULL");
    const std::vector<Sampler *> list = samplersOf(samplers, num_wanted);
    session->session.step({rows, num_rows}, {wanted, num_wanted},
                          {.logits = logits, .tokens = tokens, .samplers = list, .verifies = true});
  });
}

double retort_session_expected_seconds(const retort_session *session, size_t rows) {
  return session && rows > 0 ? session->session.expectedSeconds(rows) : 0;
}

retort_status retort_drafter_create(retort_drafter **drafter, retort_error *error) {
  if (drafter)
    *drafter = nullptr;
  return guard(error, [&] {
    require(drafter, "drafter is NULL");
    *drafter = new retort_drafter{};
  });
}

void retort_drafter_destroy(retort_drafter *drafter) { delete drafter; }

retort_status retort_drafter_see(retort_drafter *drafter, const int32_t *tokens,
                                 size_t num_tokens) {
  return guard(static_cast<retort_error *>(nullptr), [&] {
    require(drafter && (tokens || num_tokens == 0), "a pointer is NULL");
    drafter->drafter.see({tokens, num_tokens});
  });
}

retort_status retort_drafter_guess(retort_drafter *drafter, const retort_sampler *sampler,
                                   double least, int32_t *tokens, size_t capacity,
                                   size_t *num_tokens) {
  return guard(static_cast<retort_error *>(nullptr), [&] {
    require(drafter && num_tokens && (tokens || capacity == 0), "a pointer is NULL");
    require(least >= 0 && least <= 1, "least is not 0 to 1");
    const std::span<const int32_t> guess =
        drafter->drafter.guess(least, capacity, sampler ? &sampler->sampler : nullptr);
    std::copy(guess.begin(), guess.end(), tokens);
    *num_tokens = guess.size();
  });
}

retort_status retort_prefill(retort_session *session, int32_t slot, const int32_t *tokens,
                             size_t num_tokens, float *logits) {
  return guard(session, [&] {
    require(session && tokens && num_tokens > 0, "session or tokens is NULL, or there are none");
    Session &s = session->session;
    s.requireTokens(slot, {tokens, num_tokens});
    s.requireRoom(slot, num_tokens, "there are");
    s.prefill(slot, {tokens, num_tokens}, {.logits = logits});
  });
}

size_t retort_slot_length(const retort_session *session, int32_t slot) {
  return session ? session->session.length(slot) : 0;
}

retort_status retort_slot_truncate(retort_session *session, int32_t slot, size_t length) {
  return guard(session, [&] {
    require(session, "session is NULL");
    session->session.truncate(slot, length);
  });
}

retort_status retort_slot_reuse(retort_session *session, int32_t slot, const int32_t *tokens,
                                size_t num_tokens, size_t *num_reused) {
  return guard(session, [&] {
    require(session && num_reused && (tokens || num_tokens == 0), "a pointer is NULL");
    *num_reused = session->session.reuse(slot, {tokens, num_tokens});
  });
}

retort_status retort_slot_reset(retort_session *session, int32_t slot) {
  return retort_slot_truncate(session, slot, 0);
}

retort_status retort_sampler_create(const retort_sampling *options, retort_sampler **sampler,
                                    retort_error *error) {
  if (sampler)
    *sampler = nullptr;
  return guard(error, [&] {
    require(sampler, "sampler is NULL");
    *sampler = new retort_sampler{Sampler(readSampling(options))};
  });
}

void retort_sampler_destroy(retort_sampler *sampler) { delete sampler; }

retort_status retort_sampler_see(retort_sampler *sampler, const int32_t *tokens,
                                 size_t num_tokens) {
  return guard(static_cast<retort_error *>(nullptr), [&] {
    require(sampler && (tokens || num_tokens == 0), "a pointer is NULL");
    sampler->sampler.see({tokens, num_tokens});
  });
}

retort_status retort_sampler_constrain(retort_sampler *sampler, const retort_grammar *grammar,
                                       const int32_t *before, size_t num_before) {
  return guard(static_cast<retort_error *>(nullptr), [&] {
    require(sampler && (before || num_before == 0), "a pointer is NULL");
    sampler->sampler.constrain(grammar ? grammar->grammar : nullptr, {before, num_before});
  });
}

int retort_sampler_done(const retort_sampler *sampler) {
  return sampler && sampler->sampler.done();
}

retort_status retort_sample(retort_sampler *sampler, const float *logits, size_t num_logits,
                            int32_t *token) {
  return guard(static_cast<retort_error *>(nullptr), [&] {
    require(sampler && logits && token && num_logits <= size_t(INT32_MAX), "a pointer is NULL");
    *token = sampler->sampler.pick({logits, num_logits});
  });
}

retort_status retort_logprobs(const float *logits, size_t num_logits, const int32_t *tokens,
                              size_t num_tokens, float *logprobs) {
  return guard(static_cast<retort_error *>(nullptr), [&] {
    require(logits && num_logits <= size_t(INT32_MAX) && (num_tokens == 0 || (tokens && logprobs)),
            "a pointer is NULL");
    for (size_t i = 0; i < num_tokens; ++i)
      require(tokens[i] >= 0 && size_t(tokens[i]) < num_logits, "a token has no logit");
    logProbabilities({logits, num_logits}, {tokens, num_tokens}, {logprobs, num_tokens});
  });
}

retort_status retort_top_tokens(const float *logits, size_t num_logits, int32_t *tokens,
                                size_t num_tokens) {
  return guard(static_cast<retort_error *>(nullptr), [&] {
    require(logits && num_logits <= size_t(INT32_MAX) && (tokens || num_tokens == 0),
            "a pointer is NULL");
    largestLogits({logits, num_logits}, {tokens, num_tokens});
  });
}

retort_status retort_generate(retort_session *session, int32_t slot, const int32_t *prompt,
                              size_t num_prompt, const retort_generate_options *options,
                              retort_generation *result) {
  return guard(session, [&] {
    require(session && (prompt || num_prompt == 0), "session or prompt is NULL");
    require(!result || (result->struct_bytes >= sizeof result->struct_bytes &&
                        result->struct_bytes <= 4096),
            "retort_generation.struct_bytes is not set");
    struct Filled { // also when a later step finds no free page
      retort_generation values = {};
      retort_generation *out;
      ~Filled() {
        if (out)
          fillInfo(out, values, "");
      }
    } filled{{}, result};
    GenerateOptions given = readGenerate(options);
    generate(session->session, slot, {prompt, num_prompt}, given, filled.values);
  });
}
