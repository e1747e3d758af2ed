//===- CApiGrammar.cpp - retort.h: grammars and matchers ------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/src/engine/CApi.h"

using namespace retort;
using namespace retort::engine;
using namespace retort::engine::capi;

struct retort_matcher {
  grammar::Matcher matcher;
  grammar::TokenSet allowed = {};
};

static grammar::Kind kindOf(int32_t kind) {
  switch (kind) {
  case RETORT_GRAMMAR_JSON_SCHEMA:
    return grammar::Kind::JsonSchema;
  case RETORT_GRAMMAR_REGEX:
    return grammar::Kind::Pattern;
  case RETORT_GRAMMAR_CHOICE:
    return grammar::Kind::Choice;
  case RETORT_GRAMMAR_STRUCTURE:
    return grammar::Kind::Structure;
  default:
    fail(ExitCode::Usage, "there is no such kind of grammar");
  }
}

retort_status retort_grammar_create(const retort_model *model, int32_t kind, const char *text,
                                    size_t text_bytes, retort_grammar **grammar,
                                    retort_error *error) {
  if (grammar)
    *grammar = nullptr;
  return guard(error, [&] {
    require(model && grammar && (text || text_bytes == 0), "a pointer is NULL");
    *grammar = new retort_grammar{
        model->model->compileGrammar(kindOf(kind), std::string_view(text ? text : "", text_bytes))};
  });
}

void retort_grammar_destroy(retort_grammar *grammar) { delete grammar; }

retort_status retort_matcher_create(const retort_grammar *grammar, const int32_t *before,
                                    size_t num_before, retort_matcher **matcher,
                                    retort_error *error) {
  if (matcher)
    *matcher = nullptr;
  return guard(error, [&] {
    require(grammar && matcher && (before || num_before == 0), "a pointer is NULL");
    *matcher = new retort_matcher{grammar::Matcher(grammar->grammar, {before, num_before})};
  });
}

void retort_matcher_destroy(retort_matcher *matcher) { delete matcher; }

retort_status retort_matcher_accept(retort_matcher *matcher, int32_t token) {
  return guard(static_cast<retort_error *>(nullptr), [&] {
    require(matcher, "matcher is NULL");
    require(matcher->matcher.accept(token), "the token may not follow");
  });
}

retort_status retort_matcher_mask(retort_matcher *matcher, uint64_t *bits, size_t num_words) {
  return guard(static_cast<retort_error *>(nullptr), [&] {
    require(matcher && bits, "a pointer is NULL");
    matcher->matcher.mask(matcher->allowed);
    require(num_words >= matcher->allowed.size(), "bits has no room for the vocabulary");
    std::fill(std::copy(matcher->allowed.begin(), matcher->allowed.end(), bits), bits + num_words,
              0);
  });
}

int retort_matcher_complete(const retort_matcher *matcher) {
  return matcher && matcher->matcher.complete();
}

int retort_matcher_done(const retort_matcher *matcher) {
  return matcher && matcher->matcher.done();
}
