//===- TokenizerTest.cpp - Encoding, decoding, and broken tables ----------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/src/tokenizer/TableFormat.h"
#include "test/unit/Tokenizer/Tiny.h"
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <random>

namespace retort {
namespace {
using namespace test;
using testing::ElementsAre;
using testing::HasSubstr;
using Ids = std::vector<int32_t>;

TEST(Tokenizer, MergesByRank) {
  Compiled c(tinyByteLevel());
  EXPECT_EQ(c.tokenizer.encode("the", false), (Ids{257}));
  EXPECT_EQ(c.tokenizer.encode("in the", false), (Ids{259, 258}));
  EXPECT_EQ(c.tokenizer.encode("tthe", false), (Ids{'t', 257}));
  EXPECT_EQ(c.tokenizer.encode("the"), (Ids{260, 257}));
  EXPECT_TRUE(c.tokenizer.addsBos());
  EXPECT_TRUE(c.tokenizer.isStop(261));
  EXPECT_EQ(c.tokenizer.specialId("<end>"), 261);
}

TEST(Tokenizer, SpecialTokensOnlyWhereAllowed) {
  Compiled c(tinyByteLevel());
  const std::string text = "in<end>  in";
  EXPECT_EQ(c.tokenizer.encode(text, false), (Ids{259, 261, 259})); // rstrip takes the spaces
  EXPECT_EQ(c.tokenizer.encode(text, false, false).size(), 1 + 5 + 2 + 1u);
  std::vector<std::pair<size_t, size_t>> ranges = {{2, 7}};
  Ids ids;
  c.tokenizer.encode(text, {false, true, ranges}, ids);
  EXPECT_EQ(ids, (Ids{259, 261, 259}));
  ranges = {{0, 6}}; // ends inside the token
  ids.clear();
  c.tokenizer.encode(text, {false, true, ranges}, ids);
  EXPECT_EQ(ids, c.tokenizer.encode(text, false, false));
}

TEST(Tokenizer, TrustedRangesMoveWithRepairs) {
  Compiled c(tinyByteLevel());
  const std::string text = "\xFF\xFF<end><end>";
  std::vector<std::pair<size_t, size_t>> ranges = {{7, 12}};
  Ids ids;
  c.tokenizer.encode(text, {false, true, ranges}, ids);
  EXPECT_EQ(std::count(ids.begin(), ids.end(), 261), 1);
  EXPECT_EQ(ids.back(), 261);
}

TEST(Tokenizer, EveryTextComesBack) {
  Compiled c(tinyByteLevel());
  std::mt19937 random(1);
  for (int i = 0; i < 2000; ++i) {
    std::string text;
    for (int n = random() % 12; n > 0; --n)
      switch (random() % 4) {
      case 0:
        text += " the";
        break;
      case 1:
        text += char('a' + random() % 26);
        break;
      case 2:
        text += "\xE2\x82\xAC";
        break;
      case 3:
        text += "\xF0\x9F\x98\x80";
        break;
      }
    Ids ids = c.tokenizer.encode(text, false);
    EXPECT_EQ(c.tokenizer.decode(ids), text);
    StreamDecoder stream(c.tokenizer);
    std::string streamed;
    for (int32_t id : ids)
      streamed += stream.push(id);
    EXPECT_EQ(streamed + stream.finish(), text);
  }
}

TEST(Tokenizer, StreamKeepsPartsOfCharacters) {
  Compiled c(tinyByteLevel());
  StreamDecoder stream(c.tokenizer);
  EXPECT_EQ(stream.push(0xE2), "");
  EXPECT_EQ(stream.push(0x82), "");
  EXPECT_EQ(stream.push(0xAC), "\xE2\x82\xAC");
  EXPECT_EQ(stream.push(0xF0), "");
  EXPECT_EQ(stream.push('x'), "\xEF\xBF\xBDx");
  EXPECT_EQ(stream.push(0xF0), "");
  EXPECT_EQ(stream.push(261), ""); // special
  EXPECT_EQ(stream.push(100000), "");
  EXPECT_EQ(stream.finish(), "\xEF\xBF\xBD");
}

/// As Llama 2's: bytes, then "▁", "t", "h", "th", "▁th", <s>.
TokenizerSpec tinySentencePiece() {
  TokenizerSpec s;
  for (int b = 0; b < 256; ++b) {
    char name[8];
    std::snprintf(name, sizeof name, "<0x%02X>", unsigned(b));
    s.tokens.push_back(name);
  }
  for (const char *piece : {"\u2581", "t", "h", "th", "\u2581th"}) // 256 to 260
    s.tokens.push_back(piece);
  s.merges = {{257, 258, 259}, {256, 259, 260}};
  s.inModel.assign(s.tokens.size(), true);
  s.added.push_back({261, "<s>", false, false, false, false, true});
  s.tokens.push_back("<s>");
  s.inModel.push_back(false);
  s.normalizers = {{NormalizerStep::Prepend, "", "\u2581"},
                   {NormalizerStep::Replace, " ", "\u2581"}};
  s.decoder.kind = DecoderSpec::SentencePiece;
  s.decoder.stripSpaces = 1;
  s.byteFallback = true;
  s.bos = 261;
  s.prefix = {261};
  s.source = "tiny";
  return s;
}

TEST(Tokenizer, WhatFollowsATextKeepsItsSpace) {
  Compiled c(tinySentencePiece());
  ASSERT_EQ(c.tokenizer.encode("th th"), (Ids{261, 260, 260}));
  EXPECT_EQ(c.tokenizer.decode(Ids{260, 260}), "th th");
  StreamDecoder stream(c.tokenizer);
  EXPECT_EQ(stream.push(260) + stream.push(260) + stream.finish(), "th th");
  stream.follow(Ids{261, 260});
  EXPECT_EQ(stream.push(260) + stream.push(260) + stream.finish(), " th th");
  EXPECT_EQ(stream.push(260) + stream.finish(), "th") << "anew";
  stream.follow(Ids{260, 261}); // what a special token begins
  EXPECT_EQ(stream.push(260) + stream.finish(), "th");
  stream.follow({});
  EXPECT_EQ(stream.push(260) + stream.finish(), "th");
}

TEST(Tokenizer, BrokenUtf8IsReplaced) {
  Compiled c(tinyByteLevel());
  auto same = [&](const char *broken, const char *repaired) {
    EXPECT_EQ(c.tokenizer.encode(broken, false), c.tokenizer.encode(repaired, false)) << repaired;
  };
  same("a\xFFz", "a\xEF\xBF\xBDz");
  same("\xE2\x82", "\xEF\xBF\xBD");                             // truncated: one
  same("\xED\xA0\x80", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"); // a surrogate: three
  same("\xC0\xAF", "\xEF\xBF\xBD\xEF\xBF\xBD");                 // overlong
}

TEST(Tokenizer, LongRunsTakeLittleTime) {
  Compiled c(tinyByteLevel());
  for (std::string unit : {"a", " ", "\n", "t", "\xCC\x81", "\xE2\x80\x8D", "\xFF", "\n    "}) {
    std::string text;
    while (text.size() < 1 << 20)
      text += unit;
    EXPECT_GT(c.tokenizer.encode(text, false).size(), 0u);
  }
}

// Tables are untrusted: any damage is refused or gives other ids, and touches nothing outside.
TEST(Tokenizer, DamagedTables) {
  std::vector<uint8_t> good = compileTokenizer(tinyByteLevel());
  std::mt19937 random(2);
  int refused = 0;
  for (int i = 0; i < 3000; ++i) {
    std::vector<uint8_t> bad = good;
    if (i % 10 == 0)
      bad.resize(random() % bad.size());
    else
      for (int n = random() % 4 + 1; n > 0; --n)
        bad[i % 2 ? random() % bad.size() : random() % 1024] = uint8_t(random());
    std::string error = errorOf([&] {
      Tokenizer t = Tokenizer::open(bad, "bad.bin");
      Ids ids = t.encode("in the <end> \xE2\x82\xAC 12");
      t.decode(ids);
      t.decode(Ids{0, 5, 255, 256, 261, -1, 1 << 30});
    });
    if (!error.empty()) {
      ++refused;
      EXPECT_THAT(error, testing::StartsWith("3 bad.bin: tokenizer tables: "));
    }
  }
  EXPECT_GT(refused, 1000);
}

TEST(Tokenizer, SectionsThatAreElsewhereOrCut) {
  using namespace tok;
  const std::vector<uint8_t> good = compileTokenizer(tinyByteLevel());
  const auto with = [&](auto change) {
    std::vector<uint8_t> bytes = good;
    uint32_t sections;
    std::memcpy(&sections, bytes.data() + offsetof(FileHeader, sections), sizeof sections);
    for (uint32_t i = 0; i < sections; ++i) {
      SectionHeader section;
      uint8_t *at = bytes.data() + sizeof(FileHeader) + i * sizeof section;
      std::memcpy(&section, at, sizeof section);
      if (section.kind != kTokenOffsets)
        continue;
      change(section);
      std::memcpy(at, &section, sizeof section);
    }
    return errorOf([&] { Tokenizer::open(bytes, "t.bin"); });
  };
  EXPECT_EQ(with([](SectionHeader &) {}), "");
  EXPECT_THAT(with([&](SectionHeader &s) { s.offset = (good.size() + 8) / 8 * 8; }),
              HasSubstr("section 2 lies outside the file"));
  EXPECT_THAT(with([](SectionHeader &s) { s.offset += 4; }),
              HasSubstr("section 2 lies outside the file"));
  EXPECT_THAT(with([](SectionHeader &s) { s.bytes -= 1; }),
              HasSubstr("section 2 has a broken last entry"));
}

TEST(Tokenizer, OpeningNamesWhatIsWrong) {
  std::vector<uint8_t> bytes(64);
  auto open = [&] { Tokenizer::open(bytes, "t.bin"); };
  EXPECT_THAT(errorOf(open), HasSubstr("RTOKTBL1"));
  bytes.resize(3);
  EXPECT_THAT(errorOf(open), HasSubstr("shorter than their header"));
}

} // namespace
} // namespace retort
