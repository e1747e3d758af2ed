//===- GgufTokenizer.cpp - The tokenizer in GGUF's metadata ---------------===//
// SPDX-License-Identifier: Apache-2.0
//
// GGUF names a pre-tokeniser instead of describing it; the ones known here are written out as the
// tokenizer.json of the model that GGUF's name stands for.
//
//===----------------------------------------------------------------------===//
#include "compiler/Tokenizer/GgufTokenizer.h"
#include "compiler/Tokenizer/Internal.h"
#include "runtime/base/Error.h"
#include <algorithm>
#include <optional>
#include <unordered_map>

namespace retort {
namespace {
using namespace tokspec;

enum Type { Normal = 1, Unknown, Control, UserDefined, Unused, Byte };

constexpr const char *kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr const char *kLlama3Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char *kQwen2Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

constexpr const char *kTekkenPattern =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char *kGpt4oPattern =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char *kQwen35Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char *kSeedPattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char *kDeepSeek3Pattern =
    R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
/// Letters with cases, as of an older Unicode and without most of Georgian's.
constexpr const char *kDeepSeekLetters =
    "\\s?["
    "A-Za-z\u00b5\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u01ba\u01bc-\u01bf\u01c4-\u0293"
    "\u0295-\u02af\u0370-\u0373\u0376\u0377\u037b-\u037d\u037f\u0386\u0388-\u038a\u038c"
    "\u038e-\u03a1\u03a3-\u03f5\u03f7-\u0481\u048a-\u052f\u0531-\u0556\u10a0-\u10c5"
    "\u13a0-\u13f5\u13f8-\u13fd\u1c90-\u1cba\u1cbd-\u1cbf\u1d00-\u1d2b\u1d6b-\u1d77"
    "\u1d79-\u1d9a\u1e00-\u1f15\u1f18-\u1f1d\u1f20-\u1f45\u1f48-\u1f4d\u1f50-\u1f57\u1f59"
    "\u1f5b\u1f5d\u1f5f-\u1f7d\u1f80-\u1fb4\u1fb6-\u1fbc\u1fbe\u1fc2-\u1fc4\u1fc6-\u1fcc"
    "\u1fd0-\u1fd3\u1fd6-\u1fdb\u1fe0-\u1fec\u1ff2-\u1ff4\u1ff6-\u1ffc\u2102\u2107"
    "\u210a-\u2113\u2115\u2119-\u211d\u2124\u2126\u2128\u212a-\u212d\u212f-\u2134\u2139"
    "\u213c-\u213f\u2145-\u2149\u214e\u2183\u2184\u2c00-\u2c7b\u2c7e-\u2ce4\u2ceb-\u2cee"
    "\u2cf2\u2cf3\ua640-\ua66d\ua680-\ua69b\ua722-\ua76f\ua771-\ua787\ua78b-\ua78e"
    "\uab70-\uabbf\ufb00-\ufb06\ufb13-\ufb17\uff21-\uff3a\uff41-\uff5a\U00010400-\U0001044f"
    "\U000104b0-\U000104d3\U000104d8-\U000104fb\U00010c80-\U00010cb2\U00010cc0-\U00010cf2"
    "\U000118a0-\U000118df\U0001e900-\U0001e943"
    "]+";
constexpr const char *kDeepSeekMarks =
    "\\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+";
constexpr const char *kHanPattern = "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+";

/// What names in "tokenizer.ggml.pre" stand for: splits, one after another, as llama.cpp has them
/// (src/llama-vocab.cpp), written as the tokenizer.json of the models that use them.
struct PreTokeniser {
  std::initializer_list<std::string_view> names;
  std::initializer_list<const char *> splits;
  bool addBos = false, ignoreMerges = false, nfc = false;
};
const PreTokeniser kPreTokenisers[] = {
    {{"gpt-2", "phi-2", "mpt", "olmo", "jais", "exaone4", "gigachat", "a.x-4.0", "mellum",
      "modern-bert", "jina-es", "jina-de", "jina-v2-es", "jina-v2-de", "trillion",
      "granite-docling"},
     {kGpt2Pattern}},
    {{"smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"},
     {R"(\p{N})", kGpt2Pattern}},
    {{"default", ""}, {R"([\p{P}$+<=>^~|]+)", kGpt2Pattern, R"(\p{N}+)", "[0-9][0-9][0-9]"}},
    {{"llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2"},
     {kLlama3Pattern},
     true,
     true},
    {{"smaug-bpe", "dbrx", "chatglm-bpe"}, {kLlama3Pattern}},
    {{"glm4"}, {kLlama3Pattern}, false, true},
    {{"qwen2", "deepseek-r1-qwen", "kormo", "megrez"}, {kQwen2Pattern}, false, false, true},
    {{"stablelm2", "hunyuan", "solar-open"}, {kQwen2Pattern}},
    {{"qwen35"}, {kQwen35Pattern}, false, false, true},
    {{"tekken"}, {kTekkenPattern}, true, true},
    {{"gpt-4o", "llama4", "kanana2"}, {kGpt4oPattern}},
    {{"seed-coder"}, {kSeedPattern}},
    {{"deepseek-coder"}, {R"([\r\n])", R"(\s?\p{L}+)", R"(\s?\p{P}+)", kHanPattern, R"(\p{N})"}},
    {{"deepseek-llm"},
     {R"([\r\n])", kDeepSeekLetters, kDeepSeekMarks, R"(\s+(?![\s\S]))", kHanPattern, R"(\p{N}+)"}},
    {{"deepseek-v3", "hunyuan-dense"},
     {R"(\p{N}{1,3})", "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+", kDeepSeek3Pattern}},
};

class GgufReader {
public:
  GgufReader(const GgufTokenizer &gguf, const std::string &source) : g_(gguf), source_(source) {
    spec_.source = source;
  }

  TokenizerSpec run() {
    if (g_.types.size() != g_.tokens.size() && !g_.types.empty())
      bad(std::to_string(g_.types.size()) + " token types for " + std::to_string(g_.tokens.size()) +
          " tokens");
    tokens();
    specials();
    if (g_.model == "gpt2")
      byteLevel();
    else if (g_.model == "llama")
      sentencePiece();
    else if (g_.model == "t5")
      unigram();
    else
      unsupported("tokenizer.ggml.model " + inQuotes(g_.model));
    // As llama.cpp begins conversations.
    setChat(spec_, {g_.chatTemplate, g_.toolUseTemplate, !spec_.prefix.empty()}, g_.chat);
    finishStops(spec_);
    validate(spec_);
    return std::move(spec_);
  }

private:
  [[noreturn]] void bad(const std::string &what) const {
    fail(ExitCode::BadInput, source_ + ": tokenizer: " + what);
  }
  [[noreturn]] void unsupported(const std::string &what) const {
    fail(ExitCode::Unsupported, source_ + ": " + what + " is not known to Retort");
  }
  int type(size_t id) const { return g_.types.empty() ? Normal : g_.types[id]; }
  bool isAdded(size_t id) const {
    return type(id) == Control || type(id) == UserDefined || type(id) == Unknown;
  }

  void tokens() {
    for (size_t i = 0; i < g_.tokens.size(); ++i) {
      if (type(i) < Normal || type(i) > Byte)
        bad("token " + std::to_string(i) + " has the type " + std::to_string(type(i)));
      spec_.tokens.emplace_back(g_.tokens[i]);
      spec_.inModel.push_back(true);
      if (isAdded(i))
        spec_.added.push_back(
            {int32_t(i), spec_.tokens[i], false, false, false, false, type(i) != UserDefined});
    }
  }

  int32_t id(std::optional<uint64_t> value, const char *key) const {
    if (!value)
      return -1;
    if (*value == UINT32_MAX)
      return -1; // how some converters say "none"
    if (*value >= spec_.tokens.size())
      bad(std::string("tokenizer.ggml.") + key + " is " + std::to_string(*value) +
          ", but there are " + std::to_string(spec_.tokens.size()) + " tokens");
    return int32_t(*value);
  }

  void specials() {
    spec_.bos = id(g_.bos, "bos_token_id");
    spec_.eos = id(g_.eos, "eos_token_id");
    spec_.pad = id(g_.pad, "padding_token_id");
    spec_.unknown = id(g_.unknown, "unknown_token_id");
    if (int32_t eot = id(g_.eot, "eot_token_id"); eot >= 0)
      spec_.stop.push_back(eot);
  }

  void surround(bool addBosByDefault) {
    if (g_.addBos.value_or(addBosByDefault) && spec_.bos >= 0)
      spec_.prefix.push_back(spec_.bos);
    if (g_.addEos.value_or(false) && spec_.eos >= 0)
      spec_.suffix.push_back(spec_.eos);
  }

  void split(const char *pattern) {
    PreTokenizerStep step{};
    step.kind = PreTokenizerStep::Split;
    step.pattern = pattern;
    step.isRegex = true;
    spec_.preTokenizers.push_back(step);
  }

  void byteLevel() {
    spec_.model = TokenizerSpec::Model::Bpe;
    spec_.decoder.kind = DecoderSpec::ByteLevel;
    spec_.unknown = -1; // byte-level models have none, whatever the key says
    PreTokenizerStep bytes{};
    bytes.kind = PreTokenizerStep::ByteLevel;
    const PreTokeniser *pre = std::ranges::find_if(kPreTokenisers, [&](const PreTokeniser &known) {
      return std::ranges::find(known.names, g_.pre) != known.names.end();
    });
    if (pre == std::end(kPreTokenisers))
      unsupported("the pre-tokeniser " + inQuotes(g_.pre));
    if (g_.merges.empty())
      bad("a byte-level vocabulary without tokenizer.ggml.merges: the file was converted wrongly");
    if (pre->nfc)
      spec_.normalizers.push_back({NormalizerStep::Nfc, "", ""});
    for (const char *pattern : pre->splits)
      split(pattern);
    bytes.useRegex = false;
    spec_.ignoreMerges = pre->ignoreMerges;
    spec_.preTokenizers.push_back(bytes);
    // tokenizer.json holds added tokens behind the model's; those in front stay in the model.
    for (size_t i = spec_.tokens.size(); i-- > 0 && isAdded(i);)
      spec_.inModel[i] = false;
    surround(pre->addBos);
    mergesFromText();
  }

  void mergesFromText() {
    std::unordered_map<std::string_view, int32_t> ids;
    for (size_t i = 0; i < spec_.tokens.size(); ++i)
      if (spec_.inModel[i])
        ids.try_emplace(spec_.tokens[i], int32_t(i));
    auto find = [&](std::string_view token, size_t merge) {
      auto it = ids.find(token);
      if (it == ids.end())
        bad("merge " + std::to_string(merge) + " names " + inQuotes(token) +
            ", which is not in the vocabulary");
      return it->second;
    };
    for (size_t i = 0; i < g_.merges.size(); ++i) {
      std::string_view text = g_.merges[i];
      size_t space = text.find(' ', 1);
      if (space == std::string_view::npos || space + 1 == text.size())
        bad("merge " + std::to_string(i) + " is " + inQuotes(text) +
            ", not two tokens with a space between");
      std::string left(text.substr(0, space)), right(text.substr(space + 1));
      int32_t l = find(left, i), r = find(right, i);
      spec_.merges.push_back({l, r, find(left + right, i)});
    }
  }

  /// The normalisers and decoder of Llama 2's tokenizer.json; without a prefix space, Gemma's.
  void spaces(bool prefix) {
    if (prefix)
      spec_.normalizers.push_back({NormalizerStep::Prepend, "", std::string(kMetaspace)});
    spec_.normalizers.push_back({NormalizerStep::Replace, " ", std::string(kMetaspace)});
    spec_.decoder = {DecoderSpec::SentencePiece, prefix ? 1 : 0, false, PrependScheme::Always};
    spec_.byteFallback = true;
    spec_.fuseUnknown = true;
  }

  void sentencePiece() {
    spec_.model = TokenizerSpec::Model::Bpe;
    if (g_.charsMap)
      unsupported("a precompiled normaliser");
    if (!g_.pre.empty() && g_.pre != "default")
      unsupported("the pre-tokeniser " + inQuotes(g_.pre) + " of a SentencePiece tokenizer");
    spaces(g_.addSpacePrefix.value_or(true));
    surround(true);
    mergesFromScores();
  }

  /// SentencePiece merges whatever makes the piece with the best score: every way to cut a piece in
  /// two is a merge. The order is transformers' (generate_merges): by score, then the longer left
  /// part.
  void mergesFromScores() {
    if (g_.scores.size() != g_.tokens.size())
      bad(std::to_string(g_.scores.size()) + " scores for " + std::to_string(g_.tokens.size()) +
          " tokens");
    std::unordered_map<std::string_view, int32_t> ids;
    auto usable = [&](size_t i) { return type(i) == Normal || type(i) == UserDefined; };
    for (size_t i = 0; i < spec_.tokens.size(); ++i)
      if (usable(i))
        ids.try_emplace(spec_.tokens[i], int32_t(i));
    struct Candidate {
      float score;
      uint32_t leftChars, rightChars;
      int32_t left, right, result;
      size_t order = 0;
    };
    std::vector<Candidate> found, local;
    auto chars = [](std::string_view text) {
      return uint32_t(
          std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
    };
    for (size_t i = 0; i < spec_.tokens.size(); ++i) {
      std::string_view piece = spec_.tokens[i];
      if (!usable(i))
        continue;
      if (piece.size() > 1024)
        bad("token " + std::to_string(i) + " has " + std::to_string(piece.size()) +
            " bytes: at most 1024 are allowed");
      local.clear();
      for (size_t cut = 1; cut < piece.size(); ++cut) {
        if ((piece[cut] & 0xC0) == 0x80)
          continue;
        auto left = ids.find(piece.substr(0, cut)), right = ids.find(piece.substr(cut));
        if (left != ids.end() && right != ids.end())
          local.push_back({g_.scores[i], chars(left->first), chars(right->first), left->second,
                           right->second, int32_t(i)});
      }
      std::sort(local.begin(), local.end(), [](const Candidate &a, const Candidate &b) {
        return std::pair(a.left, a.right) < std::pair(b.left, b.right);
      });
      found.insert(found.end(), local.begin(), local.end());
    }
    for (float score : g_.scores)
      if (!(score > -1e30f && score < 1e30f))
        bad("a score that is no finite number");
    for (size_t i = 0; i < found.size(); ++i)
      found[i].order = i;
    std::sort(found.begin(), found.end(), [](const Candidate &a, const Candidate &b) {
      return std::tuple(b.score, b.leftChars, b.rightChars, a.order) <
             std::tuple(a.score, a.leftChars, a.rightChars, b.order);
    });
    for (const Candidate &c : found)
      spec_.merges.push_back({c.left, c.right, c.result});
  }

  void unigram() {
    spec_.model = TokenizerSpec::Model::Unigram;
    if (g_.charsMap)
      unsupported("a precompiled normaliser");
    if (g_.scores.size() != g_.tokens.size())
      bad(std::to_string(g_.scores.size()) + " scores for " + std::to_string(g_.tokens.size()) +
          " tokens");
    spec_.scores.assign(g_.scores.begin(), g_.scores.end());
    bool prefix = g_.addSpacePrefix.value_or(true);
    PreTokenizerStep words{};
    words.kind = PreTokenizerStep::Metaspace;
    words.replacement = kMetaspace;
    words.prepend = prefix ? PrependScheme::Always : PrependScheme::Never;
    spec_.preTokenizers.push_back(words);
    spec_.fuseUnknown = true;
    spec_.byteFallback = std::find(g_.types.begin(), g_.types.end(), int(Byte)) != g_.types.end();
    spec_.decoder = {DecoderSpec::Metaspace, 0, spec_.byteFallback, words.prepend};
    surround(false);
  }

  const GgufTokenizer &g_;
  const std::string &source_;
  TokenizerSpec spec_;
};

} // namespace

TokenizerSpec tokenizerFromGguf(const GgufTokenizer &gguf, const std::string &source) {
  return GgufReader(gguf, source).run();
}

namespace {

/// The splits that a tokenizer's steps come to, if they are those of a byte-level one; nothing if not.
std::optional<std::vector<std::string>> splitsOf(const TokenizerSpec &spec) {
  std::vector<std::string> splits;
  bool isByteLevel = false;
  for (const PreTokenizerStep &step : spec.preTokenizers) {
    if (isByteLevel)
      return std::nullopt;
    if (step.kind == PreTokenizerStep::Split && step.isRegex && !step.invert &&
        step.behavior == SplitBehavior::Isolated) {
      splits.push_back(step.pattern);
    } else if (step.kind == PreTokenizerStep::Digits && step.individualDigits) {
      splits.push_back(R"(\p{N})");
    } else if (step.kind == PreTokenizerStep::ByteLevel && !step.addPrefixSpace) {
      isByteLevel = true;
      if (step.useRegex)
        splits.push_back(kGpt2Pattern);
    } else {
      return std::nullopt;
    }
  }
  return isByteLevel ? std::optional(splits) : std::nullopt;
}

std::string preTokeniserOf(const TokenizerSpec &spec) {
  const auto splits = splitsOf(spec);
  const bool nfc = spec.normalizers.size() == 1 && spec.normalizers[0].kind == NormalizerStep::Nfc;
  if (splits && (nfc || spec.normalizers.empty()))
    for (const PreTokeniser &known : kPreTokenisers)
      if (std::ranges::equal(known.splits, *splits, {},
                             [](const char *text) { return std::string_view(text); }) &&
          known.ignoreMerges == spec.ignoreMerges && known.nfc == nfc)
        return std::string(*known.names.begin());
  fail(ExitCode::Unsupported, spec.source +
                                  ": GGUF has no name for how its tokenizer splits text: export to "
                                  "safetensors, which has tokenizer.json");
}

} // namespace

WrittenGgufTokenizer ggufTokenizerOf(const TokenizerSpec &spec, int64_t rows) {
  if (spec.model != TokenizerSpec::Model::Bpe || !spec.byteLevel())
    fail(ExitCode::Unsupported,
         spec.source + ": export to GGUF writes byte-level tokenizers, and this one is "
                       "not: export to safetensors, which has tokenizer.json");
  WrittenGgufTokenizer out{"gpt2", preTokeniserOf(spec), spec.tokens, {}, {}};
  out.types.assign(spec.tokens.size(), Normal);
  for (const AddedToken &token : spec.added)
    out.types.at(static_cast<size_t>(token.id)) = token.special ? Control : UserDefined;
  for (int64_t id = spec.vocabSize(); id < rows; ++id) {
    out.tokens.push_back("[PAD" + std::to_string(id) + "]");
    out.types.push_back(Unused);
  }
  for (const auto &[left, right, result] : spec.merges)
    out.merges.push_back(spec.tokens[static_cast<size_t>(left)] + " " +
                         spec.tokens[static_cast<size_t>(right)]);
  return out;
}

} // namespace retort
