//===- JsonWriter.cpp - Writing Hugging Face's tokenizer.json -------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Tokenizer/Internal.h"
#include "runtime/base/Error.h"
#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

namespace retort {
namespace {
using json = nlohmann::ordered_json;
using namespace tokspec;

json sequence(const char *key, std::vector<json> steps) {
  if (steps.empty())
    return nullptr;
  if (steps.size() == 1)
    return steps[0];
  return {{"type", "Sequence"}, {key, steps}};
}

json addedTokens(const TokenizerSpec &spec) {
  json list = json::array();
  for (const AddedToken &t : spec.added)
    list.push_back({{"id", t.id},
                    {"content", t.content},
                    {"single_word", t.singleWord},
                    {"lstrip", t.lstrip},
                    {"rstrip", t.rstrip},
                    {"normalized", t.normalized},
                    {"special", t.special}});
  return list;
}

json normalizers(const TokenizerSpec &spec) {
  std::vector<json> steps;
  for (const NormalizerStep &s : spec.normalizers) {
    if (s.kind == NormalizerStep::Nfc)
      steps.push_back({{"type", "NFC"}});
    else if (s.kind == NormalizerStep::Prepend)
      steps.push_back({{"type", "Prepend"}, {"prepend", s.content}});
    else
      steps.push_back(
          {{"type", "Replace"}, {"pattern", {{"String", s.pattern}}}, {"content", s.content}});
  }
  return sequence("normalizers", std::move(steps));
}

const char *schemeName(PrependScheme scheme) {
  return scheme == PrependScheme::Always  ? "always"
         : scheme == PrependScheme::First ? "first"
                                          : "never";
}

json metaspace(std::string_view replacement, PrependScheme scheme, bool split) {
  return {{"type", "Metaspace"},
          {"replacement", replacement},
          {"prepend_scheme", schemeName(scheme)},
          {"split", split}};
}

json byteLevel(bool addPrefixSpace, bool trimOffsets, bool useRegex) {
  return {{"type", "ByteLevel"},
          {"add_prefix_space", addPrefixSpace},
          {"trim_offsets", trimOffsets},
          {"use_regex", useRegex}};
}

json preTokenizers(const TokenizerSpec &spec) {
  static const char *const behaviors[] = {"Removed", "Isolated", "MergedWithPrevious",
                                          "MergedWithNext", "Contiguous"};
  std::vector<json> steps;
  for (const PreTokenizerStep &s : spec.preTokenizers) {
    switch (s.kind) {
    case PreTokenizerStep::Split:
      steps.push_back({{"type", "Split"},
                       {"pattern", {{s.isRegex ? "Regex" : "String", s.pattern}}},
                       {"behavior", behaviors[int(s.behavior)]},
                       {"invert", s.invert}});
      break;
    case PreTokenizerStep::ByteLevel:
      steps.push_back(byteLevel(s.addPrefixSpace, s.trimOffsets, s.useRegex));
      break;
    case PreTokenizerStep::Digits:
      steps.push_back({{"type", "Digits"}, {"individual_digits", s.individualDigits}});
      break;
    case PreTokenizerStep::Metaspace:
      steps.push_back(metaspace(s.replacement, s.prepend, s.split));
      break;
    }
  }
  return sequence("pretokenizers", std::move(steps));
}

json templateProcessing(const TokenizerSpec &spec) {
  json single = json::array(), specials = json::object();
  auto add = [&](const std::vector<int32_t> &ids) {
    for (int32_t id : ids) {
      const std::string &name = spec.tokens[id];
      single.push_back({{"SpecialToken", {{"id", name}, {"type_id", 0}}}});
      specials[name] = {{"id", name}, {"ids", json::array({id})}, {"tokens", json::array({name})}};
    }
  };
  add(spec.prefix);
  single.push_back({{"Sequence", {{"id", "A"}, {"type_id", 0}}}});
  add(spec.suffix);
  json pair = single;
  pair.push_back({{"Sequence", {{"id", "B"}, {"type_id", 1}}}});
  return {{"type", "TemplateProcessing"},
          {"single", single},
          {"pair", pair},
          {"special_tokens", specials}};
}

json postProcessor(const TokenizerSpec &spec) {
  std::vector<json> steps;
  if (spec.byteLevel())
    steps.push_back(byteLevel(true, false, true));
  if (!spec.prefix.empty() || !spec.suffix.empty())
    steps.push_back(templateProcessing(spec));
  return sequence("processors", std::move(steps));
}

json decoder(const TokenizerSpec &spec) {
  std::vector<json> steps;
  const DecoderSpec &d = spec.decoder;
  if (d.kind == DecoderSpec::ByteLevel)
    return byteLevel(true, true, true);
  json fallback = {{"type", "ByteFallback"}};
  if (d.kind == DecoderSpec::Metaspace) {
    if (d.byteFallback)
      steps.push_back(fallback);
    steps.push_back(metaspace(kMetaspace, d.prepend, true));
    return sequence("decoders", std::move(steps));
  }
  steps = {{{"type", "Replace"}, {"pattern", {{"String", kMetaspace}}}, {"content", " "}},
           fallback,
           {{"type", "Fuse"}}};
  if (d.stripSpaces)
    steps.push_back({{"type", "Strip"}, {"content", " "}, {"start", d.stripSpaces}, {"stop", 0}});
  return sequence("decoders", std::move(steps));
}

json bpe(const TokenizerSpec &spec) {
  json vocab = json::object();
  bool spaces = false;
  // ordered_json compares a new key with all earlier ones; appending to its vector does not.
  auto &entries = vocab.get_ref<json::object_t &>();
  for (size_t i = 0; i < spec.tokens.size(); ++i)
    if (spec.inModel[i]) {
      entries.emplace_back(spec.tokens[i], json(i));
      spaces |= spec.tokens[i].find(' ') != std::string::npos;
    }
  json merges = json::array();
  for (const auto &m : spec.merges) {
    const std::string &left = spec.tokens[m[0]], &right = spec.tokens[m[1]];
    merges.push_back(spaces ? json::array({left, right}) : json(left + " " + right));
  }
  return {{"type", "BPE"},
          {"dropout", nullptr},
          {"unk_token", spec.unknown < 0 ? json(nullptr) : json(spec.tokens[spec.unknown])},
          {"continuing_subword_prefix", nullptr},
          {"end_of_word_suffix", nullptr},
          {"fuse_unk", spec.fuseUnknown},
          {"byte_fallback", spec.byteFallback},
          {"ignore_merges", spec.ignoreMerges},
          {"vocab", std::move(vocab)},
          {"merges", std::move(merges)}};
}

/// The shortest decimal that reads back as the number. The JSON library's is not always the
/// shortest, and `tokenizers` may read a longer one as a neighbouring number, which would decide
/// differently between segmentations of equal score.
std::string shortest(double value) {
  char digits[32];
  const auto end = std::to_chars(digits, digits + sizeof digits, value).ptr;
  return std::string(digits, end);
}

/// `mark` stands for the vocabulary until vocabularyText() replaces it.
json unigram(const TokenizerSpec &spec, const std::string &mark) {
  return {{"type", "Unigram"},
          {"unk_id", spec.unknown},
          {"vocab", mark},
          {"byte_fallback", spec.byteFallback}};
}

std::string vocabularyText(const TokenizerSpec &spec) {
  std::string text = "[";
  for (size_t i = 0; i < spec.tokens.size() && spec.inModel[i]; ++i)
    text += (i ? ",\n   [" : "\n   [") + json(spec.tokens[i]).dump() + ", " +
            shortest(spec.scores[i]) + "]";
  return text + "\n  ]";
}

} // namespace

std::string writeTokenizerJson(const TokenizerSpec &spec) {
  tokspec::validate(spec);
  // tokenizers numbers the tokens outside the model after those in it.
  auto outside = std::find(spec.inModel.begin(), spec.inModel.end(), false);
  if (std::find(outside, spec.inModel.end(), true) != spec.inModel.end())
    fail(ExitCode::Unsupported, spec.source +
                                    ": tokenizer: an added token stands before the model's last "
                                    "token: tokenizer.json cannot say that");
  json root = {{"version", "1.0"},
               {"truncation", nullptr},
               {"padding", nullptr},
               {"added_tokens", addedTokens(spec)},
               {"normalizer", normalizers(spec)},
               {"pre_tokenizer", preTokenizers(spec)},
               {"post_processor", postProcessor(spec)},
               {"decoder", decoder(spec)},
               {"model", nullptr}};
  if (spec.model == TokenizerSpec::Model::Bpe) {
    root["model"] = bpe(spec);
    return root.dump(1);
  }
  std::string mark = "vocabulary";
  for (const std::string around = root.dump(); around.find('"' + mark + '"') != std::string::npos;)
    mark += '.';
  root["model"] = unigram(spec, mark);
  std::string text = root.dump(1);
  const std::string quoted = '"' + mark + '"';
  return text.replace(text.find(quoted), quoted.size(), vocabularyText(spec));
}

} // namespace retort
