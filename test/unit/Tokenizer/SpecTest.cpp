//===- SpecTest.cpp - Reading, refusing, writing and pruning --------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Tokenizer/GgufTokenizer.h"
#include "runtime/src/chat/Chat.h"
#include "test/unit/Tokenizer/Tiny.h"
#include <cmath>
#include <functional>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace retort {
namespace {
using namespace test;
using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

TokenizerSpec parse(const json &root) {
  return parseTokenizerJson(root.dump(), "", "", {}, "t.json");
}
json tinyJson() { return json::parse(writeTokenizerJson(tinyByteLevel())); }

TEST(TokenizerJson, WritesWhatItReads) {
  std::string text = writeTokenizerJson(tinyByteLevel());
  TokenizerSpec again = parseTokenizerJson(text, "", "", {}, "t.json");
  EXPECT_EQ(writeTokenizerJson(again), text);
  EXPECT_EQ(Compiled(again).tokenizer.encode("in the<end> x"),
            Compiled(tinyByteLevel()).tokenizer.encode("in the<end> x"));
}

TEST(TokenizerJson, SameSpecSameBytes) {
  EXPECT_EQ(compileTokenizer(tinyByteLevel()), compileTokenizer(tinyByteLevel()));
}

/// A TemplateProcessing of these tokens; "" is the text.
json processor(std::initializer_list<const char *> pieces) {
  json single = json::array();
  for (const std::string piece : pieces)
    single.push_back(piece.empty() ? json{{"Sequence", {{"id", "A"}, {"type_id", 0}}}}
                                   : json{{"SpecialToken", {{"id", piece}, {"type_id", 0}}}});
  return {{"type", "TemplateProcessing"},
          {"single", single},
          {"special_tokens", {{"<s>", {{"id", "<s>"}, {"ids", {260}}, {"tokens", {"<s>"}}}}}}};
}

// One change each, and what the message must hold; the first digit is the exit code.
TEST(TokenizerJson, RefusesByName) {
  struct Case {
    const char *at;
    json value;
    const char *says;
  };
  const Case cases[] = {
      {"/model/type", "WordPiece", "4 t.json: model: the model 'WordPiece' is not known to Retort"},
      {"/model/merges/0", "t",
       "3 t.json: model.merges[0] is 't', not two tokens with a space between"},
      {"/model/merges/0", {"t", "h", "e"}, "3 t.json: model.merges[0] does not have two parts"},
      {"/model/merges/0", "t q", "names 'tq', which is not in the vocabulary"},
      {"/model/merges/1", "t h", "merge 1 of token"},
      {"/model/vocab/th", 255, "gives the id 255 to"},
      {"/model/vocab/th", 70000, "but there are only 262 tokens"},
      {"/model/vocab/th", -1, "is not a token id"},
      {"/model/vocab/th", 1.5, "is not a token id"},
      {"/model/dropout", 0.1, "4 t.json: model: dropout"},
      {"/model/byte_fallback", true, "byte fallback in a byte-level vocabulary"},
      {"/model/end_of_word_suffix", "</w>", "4 t.json: model: end_of_word_suffix '</w>'"},
      {"/model/unk_token", "<unk>", "names '<unk>', which is not in the vocabulary"},
      {"/added_tokens/0/id", 300, "but tokenizers would make it 260"},
      {"/added_tokens/0/content", "", "is empty"},
      {"/added_tokens/1/content", "<s>", "<s>"},
      {"/normalizer", json{{"type", "NFKC"}}, "4 t.json: normalizer: the normaliser 'NFKC'"},
      {"/normalizer", json{{"type", "Precompiled"}}, "the normaliser 'Precompiled'"},
      {"/pre_tokenizer", json{{"type", "Whitespace"}},
       "4 t.json: pre_tokenizer: the pre-tokeniser 'Whitespace'"},
      {"/pre_tokenizer", nullptr, "ByteLevel without its decoder"},
      {"/post_processor", json{{"type", "BertProcessing"}}, "the post-processor 'BertProcessing'"},
      {"/decoder", json{{"type", "WordPiece"}}, "the decoder [WordPiece]"},
      {"/decoder", nullptr, "a tokenizer without a decoder"},
      {"/normalizer",
       {{"type", "Replace"}, {"pattern", {{"Regex", "a"}}}, {"content", ""}},
       "4 t.json: normalizer: the normaliser Replace with a regular expression"},
      {"/pre_tokenizer",
       {{"type", "Split"}, {"pattern", {{"String", "a"}}}, {"behavior", "Odd"}},
       "4 t.json: pre_tokenizer.behavior: the behaviour 'Odd'"},
      {"/pre_tokenizer",
       {{"type", "Metaspace"}, {"replacement", "_"}, {"add_prefix_space", false}},
       "3 t.json: pre_tokenizer has add_prefix_space false, but its prepend_scheme is 'always'"},
      {"/pre_tokenizer",
       {{"type", "Metaspace"}, {"replacement", "_"}, {"prepend_scheme", "odd"}},
       "4 t.json: pre_tokenizer: the prepend_scheme 'odd'"},
      {"/post_processor",
       {{"type", "Sequence"}, {"processors", {processor({"<s>", ""}), processor({"<s>", ""})}}},
       "4 t.json: post_processor.processors[1]: more than one TemplateProcessing"},
      {"/post_processor", processor({"", ""}),
       "4 t.json: post_processor.single[1]: this sequence in 'single'"},
      {"/post_processor", processor({"<s>"}),
       "4 t.json: post_processor: a template without the text"},
      {"/decoder",
       {{"type", "Replace"}, {"pattern", {{"String", "a"}}}, {"content", " "}},
       "4 t.json: decoder: a decoder that replaces anything but U+2581 by a space"},
      {"/decoder",
       {{"type", "Strip"}, {"content", "a"}, {"start", 1}, {"stop", 0}},
       "4 t.json: decoder: a decoder that strips anything but one leading space"},
      {"/decoder",
       {{"type", "Metaspace"}, {"replacement", "_"}},
       "4 t.json: decoder: the decoder Metaspace with another replacement"},
  };
  for (const Case &c : cases) {
    json root = tinyJson();
    root[json::json_pointer(c.at)] = c.value;
    std::string error = errorOf([&] { compileTokenizer(parse(root)); });
    EXPECT_THAT(error, HasSubstr(c.says)) << c.at;
    EXPECT_EQ(error.find('\n'), std::string::npos);
  }
}

TEST(TokenizerJson, RefusesUnknownPatterns) {
  for (const char *pattern :
       {"(?<=a)b", "a++", "(?>a)", "\\bword", "a*", "[[:alpha:]]", "\\p{Greek}", "^a", "(a",
        "a{2,1}", "(?!ab)c", "(a?)*b", "[b-a]", "\\1", "a|", ""}) {
    json root = tinyJson();
    root["pre_tokenizer"] = {{"type", "Sequence"},
                             {"pretokenizers",
                              {{{"type", "Split"},
                                {"pattern", {{"Regex", pattern}}},
                                {"behavior", "Isolated"},
                                {"invert", false}},
                               tinyJson()["pre_tokenizer"]}}};
    EXPECT_THAT(errorOf([&] { compileTokenizer(parse(root)); }), StartsWith("4 ")) << pattern;
  }
}

// What no reader lets through, one change each to a tokenizer that is whole.
TEST(TokenizerSpec, RefusesByName) {
  const auto unigram = [](TokenizerSpec &s) {
    s.model = TokenizerSpec::Model::Unigram;
    s.scores.assign(s.tokens.size(), 0);
    s.unknown = 0;
  };
  const auto before = [](TokenizerSpec &s, PreTokenizerStep::Kind kind, const char *replacement) {
    PreTokenizerStep step{};
    step.kind = kind;
    step.replacement = replacement;
    s.preTokenizers.insert(s.preTokenizers.begin(), step);
  };
  const std::pair<const char *, std::function<void(TokenizerSpec &)>> cases[] = {
      {"3 tiny: tokenizer: the vocabulary is empty", [](auto &s) { s.tokens.clear(); }},
      {"3 tiny: tokenizer: the vocabulary's lists have different lengths",
       [](auto &s) { s.inModel.pop_back(); }},
      {" stands twice in the vocabulary: also as 7", [](auto &s) { s.tokens[8] = s.tokens[7]; }},
      {"3 tiny: tokenizer: a listed token is -1", [](auto &s) { s.stop = {-1}; }},
      {"3 tiny: tokenizer: added token '<end>' is out of order or repeats an id",
       [](auto &s) { s.added[1].id = 260; }},
      {"3 tiny: tokenizer: added token '<s>' has the id 300, but there are 262 tokens",
       [](auto &s) { s.added[0].id = 300; }},
      {" do not make token 257", [](auto &s) { s.merges[0][2] = 257; }},
      {"3 tiny: tokenizer: 0 scores for 262 tokens",
       [&](auto &s) { unigram(s), s.scores.clear(); }},
      {"3 tiny: tokenizer: the score of token 3 ('\u0103') is no finite number",
       [&](auto &s) { unigram(s), s.scores[3] = INFINITY; }},
      {"3 tiny: tokenizer: a unigram model without an unknown token",
       [&](auto &s) { unigram(s), s.unknown = -1; }},
      {"4 tiny: tokenizer: a byte-level unigram model is", unigram},
      {"4 tiny: tokenizer: a sequence of more than 32 steps is",
       [](auto &s) { s.normalizers.resize(33, {NormalizerStep::Nfc, "", ""}); }},
      {"4 tiny: tokenizer: the normaliser Replace of the empty text is",
       [](auto &s) { s.normalizers.push_back({NormalizerStep::Replace, "", "x"}); }},
      {"4 tiny: tokenizer: a pre-tokeniser after ByteLevel is",
       [](auto &s) { s.preTokenizers.push_back(s.preTokenizers[0]); }},
      {"4 tiny: tokenizer: the pre-tokeniser Split at the empty text is",
       [&](auto &s) { before(s, PreTokenizerStep::Split, ""); }},
      {"4 tiny: tokenizer: the pre-tokeniser Metaspace with the replacement 'x' is",
       [&](auto &s) { before(s, PreTokenizerStep::Metaspace, "x"); }},
      {"4 tiny: tokenizer: a decoder that strips 2 spaces is",
       [](auto &s) { s.decoder.stripSpaces = 2; }},
  };
  for (const auto &[says, change] : cases) {
    TokenizerSpec spec = tinyByteLevel();
    change(spec);
    EXPECT_THAT(errorOf([&] { compileTokenizer(spec); }), HasSubstr(says));
  }
}

TEST(TokenizerJson, RefusesBrokenJson) {
  auto error = [](const std::string &text) {
    return errorOf([&] { parseTokenizerJson(text, "", "", {}, "t.json"); });
  };
  EXPECT_THAT(error("{"), StartsWith("3 t.json: "));
  EXPECT_THAT(error("{\"a\":1,\"a\":2}"), HasSubstr("is there twice"));
  EXPECT_THAT(error(std::string(100, '[') + std::string(100, ']')),
              HasSubstr("nested deeper than 64"));
  EXPECT_THAT(error("[]"), HasSubstr("has no 'model'"));
  EXPECT_EQ(error(R"({"model": {"type": "Unigram", "vocab": [["a"]]}})"),
            "3 t.json: model.vocab[0] is not a piece and its score");
}

GgufTokenizer tinyGguf() {
  static const TokenizerSpec spec = tinyByteLevel();
  GgufTokenizer g;
  g.model = "gpt2";
  g.pre = "smollm";
  g.tokens.assign(spec.tokens.begin(), spec.tokens.end());
  g.types.assign(260, 1);
  g.types.insert(g.types.end(), {3, 3});
  static const std::vector<std::string> merges = [] {
    std::vector<std::string> lines;
    for (const auto &[left, right, result] : spec.merges)
      lines.push_back(spec.tokens[left] + " " + spec.tokens[right]);
    return lines;
  }();
  g.merges.assign(merges.begin(), merges.end());
  g.bos = 260;
  g.eos = 261;
  return g;
}

TEST(FitVocabulary, LeavesOutAddedTokensAndRefusesOthers) {
  TokenizerSpec spec = tinyByteLevel();
  const int32_t size = spec.vocabSize();
  spec.tokens.push_back("<image>");
  spec.inModel.push_back(false);
  spec.added.push_back({size, "<image>", false, false, false, false, true});
  std::vector<std::string> notes;
  EXPECT_EQ(fitVocabulary(spec, size + 10, notes).vocabSize(), size + 1);
  EXPECT_TRUE(notes.empty());
  TokenizerSpec fitted = fitVocabulary(spec, size, notes);
  EXPECT_EQ(fitted.vocabSize(), size);
  EXPECT_EQ(fitted.added.size(), spec.added.size() - 1);
  EXPECT_THAT(notes,
              ElementsAre(HasSubstr("left out 1 added token that the model has no row for")));
  spec.eos = size;
  EXPECT_THAT(errorOf([&] { fitVocabulary(spec, size, notes); }),
              HasSubstr("tokens, but the model has rows for " + std::to_string(size)));
}

TEST(TokenizerGguf, ReadsAndRefuses) {
  EXPECT_EQ(errorOf([] { compileTokenizer(tokenizerFromGguf(tinyGguf(), "m.gguf")); }), "");
  auto error = [](auto change) {
    GgufTokenizer g = tinyGguf();
    change(g);
    return errorOf([&] { compileTokenizer(tokenizerFromGguf(g, "m.gguf")); });
  };
  EXPECT_THAT(error([](auto &g) { g.pre = "deepseek-v9"; }),
              HasSubstr("4 m.gguf: the pre-tokeniser 'deepseek-v9'"));
  EXPECT_THAT(
      error([](auto &g) { g.merges.clear(); }),
      HasSubstr("3 m.gguf: tokenizer: a byte-level vocabulary without tokenizer.ggml.merges"));
  for (const char *pre : {"", "default", "tekken", "gpt-4o", "qwen35", "smaug-bpe", "deepseek-llm",
                          "deepseek-coder", "hunyuan-dense", "seed-coder", "glm4"})
    EXPECT_EQ(error([&](auto &g) { g.pre = pre; }), "") << pre;
  EXPECT_THAT(error([](auto &g) { g.model = "bert"; }),
              HasSubstr("4 m.gguf: tokenizer.ggml.model 'bert'"));
  EXPECT_THAT(error([](auto &g) { g.types.pop_back(); }),
              HasSubstr("261 token types for 262 tokens"));
  EXPECT_THAT(error([](auto &g) { g.types[3] = -1; }), HasSubstr("token 3 has the type -1"));
  EXPECT_THAT(error([](auto &g) { g.eos = 262; }),
              HasSubstr("eos_token_id is 262, but there are 262 tokens"));
  EXPECT_THAT(error([](auto &g) { g.tokens[7] = g.tokens[8]; }), HasSubstr("stands twice"));
  EXPECT_THAT(error([](auto &g) { g.tokens[7] = "\xFF"; }), HasSubstr("is not UTF-8"));
  EXPECT_THAT(error([](auto &g) { g.merges = {"a zz"}; }), HasSubstr("merge 0 names 'zz'"));
  EXPECT_THAT(error([](auto &g) { g.merges = {"ab"}; }),
              HasSubstr("merge 0 is 'ab', not two tokens with a space between"));
  EXPECT_THAT(error([](auto &g) { g.tokens.clear(), g.types.clear(); }), HasSubstr("3 m.gguf"));
  // Those that SentencePiece made
  for (const char *model : {"llama", "t5"}) {
    auto pieces = [&](auto change) {
      return error([&](auto &g) {
        g.model = model;
        g.pre = "";
        g.scores.assign(g.tokens.size(), 0);
        change(g);
      });
    };
    EXPECT_THAT(pieces([](auto &g) { g.charsMap = true; }),
                StartsWith("4 m.gguf: a precompiled normaliser is not known"));
    EXPECT_EQ(pieces([](auto &g) { g.scores.clear(); }),
              "3 m.gguf: tokenizer: 0 scores for 262 tokens");
  }
  auto pieces = [&](auto change) {
    return error([&](auto &g) {
      g.model = "llama";
      g.scores.assign(g.tokens.size(), 0);
      g.pre = "";
      change(g);
    });
  };
  EXPECT_THAT(pieces([](auto &g) { g.pre = "odd"; }),
              StartsWith("4 m.gguf: the pre-tokeniser 'odd' of a SentencePiece tokenizer is"));
  const std::string piece(1025, 'a');
  EXPECT_EQ(pieces([&](auto &g) { g.tokens[7] = piece; }),
            "3 m.gguf: tokenizer: token 7 has 1025 bytes: at most 1024 are allowed");
  EXPECT_EQ(pieces([](auto &g) { g.scores[7] = INFINITY; }),
            "3 m.gguf: tokenizer: a score that is no finite number");
}

/// A conversation of one message, with tools or without.
std::string conversation(const TokenizerSpec &spec, const std::string &tools = "") {
  chat::Conversation conversation;
  conversation.messages = {{"user", "hi"}};
  conversation.toolsJson = tools;
  return chat::render(*spec.chat, conversation).text;
}

// llama.cpp puts a beginning token where the template writes none, and never a second one.
TEST(TokenizerGguf, ConversationsBeginWithOneBeginningToken) {
  auto begins = [](const char *jinja, std::optional<bool> addBos) {
    GgufTokenizer g = tinyGguf();
    g.addBos = addBos;
    g.chatTemplate = jinja;
    return conversation(tokenizerFromGguf(g, "m.gguf"));
  };
  const std::string bos(tinyGguf().tokens[260]);
  const char *const without = "{{ messages[0].content }}\n",
                    *const with = "{{ bos_token }}{{ messages[0].content }}";
  EXPECT_EQ(begins(without, true), bos + "hi");
  EXPECT_EQ(begins(with, true), bos + "hi");
  EXPECT_EQ(begins(without, false), "hi");
  EXPECT_EQ(begins(with, false), bos + "hi");
  EXPECT_EQ(begins(without, std::nullopt), "hi"); // SmolLM's pre-tokeniser adds none
}

TEST(TokenizerGguf, ToolUseIsForConversationsWithTools) {
  GgufTokenizer g = tinyGguf();
  g.chatTemplate = " usual {{ messages[0].content }} \n\n";
  g.toolUseTemplate = "\n{{ tools | length }} tools\n";
  TokenizerSpec spec = tokenizerFromGguf(g, "m.gguf");
  EXPECT_EQ(conversation(spec), " usual hi \n");
  EXPECT_EQ(conversation(spec, R"([{"name": "f"}])"), "\n1 tools");
  EXPECT_EQ(conversation(spec, "[]"), "\n0 tools");
  // No template reaches out of its branch.
  g.toolUseTemplate = "{% endif %}";
  spec = tokenizerFromGguf(g, "m.gguf");
  EXPECT_FALSE(spec.chat);
  EXPECT_THAT(spec.chatNote, HasSubstr("endif"));
}

TEST(TokenizerJson, ToolUseIsForConversationsWithTools) {
  const std::string text = writeTokenizerJson(tinyByteLevel());
  const char *const config = R"({"chat_template": [{"name": "default", "template": "usual"},
                                 {"name": "tool_use", "template": "tools"}]})";
  TokenizerSpec spec = parseTokenizerJson(text, config, "", {}, "t.json");
  EXPECT_EQ(conversation(spec), "usual");
  EXPECT_EQ(conversation(spec, "[{}]"), "tools");
  spec = parseTokenizerJson(text, config, "", {"file", ""}, "t.json");
  EXPECT_EQ(conversation(spec, "[{}]"), "file");
}

// llama.cpp's PLaMo-2 loader read <0x-1> as the byte -1 and wrote before its table.
TEST(TokenizerGguf, ByteTokensAreTwoDigits) {
  GgufTokenizer g;
  g.model = "llama";
  std::vector<std::string> names = {"<unk>"};
  for (int b = 0; b < 256; ++b)
    names.push_back(tokspec::byteTokenName(uint8_t(b)));
  auto error = [&] {
    g.tokens.assign(names.begin(), names.end());
    g.types.assign(257, 6);
    g.types[0] = 2;
    g.scores.assign(257, 0);
    return errorOf([&] { Compiled(tokenizerFromGguf(g, "m.gguf")).tokenizer.encode("\xC3\xA9"); });
  };
  EXPECT_EQ(error(), "");
  for (const char *name : {"<0x-1>", "<0x+1>", "<0x1>", "<0x100>", "<0x  >"}) {
    names[256] = name;
    EXPECT_THAT(error(), HasSubstr("byte fallback, but the token <0xFF> is missing")) << name;
  }
}

TEST(Prune, KeepsMergesClosed) {
  TokenizerSpec spec = tinyByteLevel();
  std::vector<int32_t> keep = keepAlways(spec);
  EXPECT_EQ(keep.size(), 258u); // bytes and specials
  TokenizerSpec bare = pruneVocabulary(spec, keep);
  EXPECT_EQ(bare.merges.size(), 0u);
  EXPECT_EQ(bare.bos, 256);
  Compiled c(bare);
  EXPECT_EQ(c.tokenizer.decode(c.tokenizer.encode("in the\xE2\x82\xAC", false)),
            "in the\xE2\x82\xAC");

  auto with = [&](std::vector<int32_t> more) {
    more.insert(more.end(), keep.begin(), keep.end());
    std::sort(more.begin(), more.end());
    return errorOf([&] { pruneVocabulary(spec, more); });
  };
  EXPECT_EQ(with({256, 257}), "");
  EXPECT_THAT(with({257}), HasSubstr("none of the merges that make it has both its parts"));
  EXPECT_THAT(errorOf([&] { pruneVocabulary(spec, std::vector<int32_t>{0, 1}); }),
              HasSubstr("cannot go: keep what keepAlways lists"));
  EXPECT_THAT(errorOf([&] { pruneVocabulary(spec, std::vector<int32_t>{0, 9999}); }),
              HasSubstr("is out of range or out of order"));
}

TEST(Prune, ChatWordsStay) {
  TokenizerSpec spec = tinyByteLevel();
  spec.chat.emplace().texts = {" the"};
  std::vector<int32_t> keep = keepAlways(spec);
  for (int32_t id : {256, 257, 258})
    EXPECT_TRUE(std::binary_search(keep.begin(), keep.end(), id)) << id;
  EXPECT_FALSE(std::binary_search(keep.begin(), keep.end(), 259));
}

} // namespace
} // namespace retort
