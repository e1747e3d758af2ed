//===- HtmlTest.cpp - The text of web pages ---------------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Data/Html.h"
#include "compiler/Data/CorpusFiles.h"

#include <ctime>
#include <gtest/gtest.h>
#include <random>

using namespace retort;

TEST(Html, DropsWhatNobodyReads) {
  EXPECT_EQ(htmlToText("<!DOCTYPE html><head><title>T</title><style>p > a {}</style>"
                       "<script>if (a</b/.test(x)) \"<p>\"</script></head><body>seen"
                       "<!-- not <p>this --><svg><text>nor</text><svg></svg> this</svg></body>"),
            "T\n\nseen\n");
  EXPECT_EQ(htmlToText("a<script>never closed <p>b"), "a\n");
  EXPECT_EQ(htmlToText("a<!-- x --!>b<!--!> y -->c<!-->d<!--->e"), "abcde\n");
  EXPECT_EQ(htmlToText("<math><mi>x</mi><annotation encoding='tex'>{x}</annotation></math> is"),
            "x is\n");
  EXPECT_EQ(htmlToText("a<SCRIPT>x</ScRiPt >b"), "ab\n");
}

/// The attribute `hidden`, also of elements whose end tag is left out and of such that have none.
TEST(Html, DropsHiddenElements) {
  EXPECT_EQ(htmlToText("<p hidden>no</p>a"), "a\n");
  EXPECT_EQ(htmlToText("<div HIDDEN='until-found'><div>no</div>no</div>a"), "a\n");
  EXPECT_EQ(htmlToText("<p hidden>no<p>a"), "a\n");
  EXPECT_EQ(htmlToText("<p hidden>no<ul><li>a</ul>b"), "- a\n\nb\n");
  EXPECT_EQ(htmlToText("<ul><li hidden>no<div>no</div>no<li>a</ul>b"), "- a\n\nb\n");
  EXPECT_EQ(htmlToText("<ul><li>a<li hidden>no</ul>b"), "- a\n\nb\n");
  EXPECT_EQ(htmlToText("<input hidden>a<br hidden>b<span class=hidden title='hidden'>c</span>"),
            "a\nbc\n");
  EXPECT_EQ(htmlToText("<textarea><b>&lt;</b></textarea>a"), "<b><</b>a\n");
}

TEST(Html, SetsWhiteSpace) {
  EXPECT_EQ(htmlToText("  a \n\t b<b> c</b>d <i>e</i>"), "a b cd e\n");
  EXPECT_EQ(htmlToText("<p>one<p>two<br>three<br><br>four"), "one\n\ntwo\nthree\n\nfour\n");
  EXPECT_EQ(htmlToText("<div><div>a</div></div><div>b</div>"), "a\nb\n");
  EXPECT_EQ(htmlToText("<pre>\n  a\n    b\n</pre>c"), "  a\n    b\n\n\nc\n");
  EXPECT_EQ(htmlToText("<ul><li>a</li><li><p>b</p></li></ul>"), "- a\n- b\n");
  EXPECT_EQ(htmlToText("<table><tr><td>a<td>b<tr><td>c</table>"), "a\tb\nc\n");
}

TEST(Html, ResolvesCharacterReferences) {
  EXPECT_EQ(htmlToText("a &lt;b&gt; &amp;amp; &quot;&apos;&hellip;"), "a <b> &amp; \"'\u2026\n");
  EXPECT_EQ(htmlToText("&#65;&#x42;&#X1F600;&#150;"), "AB\U0001F600\u2013\n");
  EXPECT_EQ(htmlToText("&#0;&#xD800;&#x110000;"), "\uFFFD\uFFFD\uFFFD\n");
  EXPECT_EQ(htmlToText("AT&T &nosuch; &; &# &#x; & &lt"), "AT&T &nosuch; &; &# &#x; & <\n");
  EXPECT_EQ(htmlToText("a&nbsp;b &ampc &copy 2020 caf&eacute &notit;"),
            "a b &c \u00a9 2020 caf\u00e9 \u00acit;\n");
  EXPECT_EQ(htmlToText("&leq;&langle;&NotEqualTilde;&CounterClockwiseContourIntegral;&fjlig;"),
            "\u2264\u27e8\u2242\u0338\u2233fj\n");
  EXPECT_EQ(htmlToText("&#x0000041;&#0000000000000000065;&#99999999999999999999;"), "AA\uFFFD\n");
}

TEST(Html, TakesBrokenMarkupAsBrowsersDo) {
  EXPECT_EQ(htmlToText("1 < 2 and a<3"), "1 < 2 and a<3\n");
  EXPECT_EQ(htmlToText("<a title=\"x > y\" href='>'>link</a>"), "link\n");
  EXPECT_EQ(htmlToText("<p class=it's>text</p>"), "text\n");
  EXPECT_EQ(htmlToText("text <unfinished tag"), "text\n");
  EXPECT_EQ(htmlToText("</p></p></svg>text<?php x ?>"), "text\n");
  EXPECT_EQ(htmlToText(""), "");
  EXPECT_EQ(htmlToText(" <p> </p> "), "");
}

TEST(Html, KeepsUtf8Valid) {
  const std::string pieces[] = {"<p>",    "é",    "\u4e2d", "&#x10FFFF;", "<pre>",  "&eacute;",
                                "</pre>", "<!--", "-->",    "<svg>",      "</svg>", "\"",
                                "'",      "=",    " ",      "<td",        ">",      "\U0001F600"};
  std::mt19937_64 random(1);
  for (int round = 0; round < 5000; ++round) {
    std::string html;
    for (int i = 0; i < 30; ++i)
      html += pieces[random() % std::size(pieces)];
    EXPECT_EQ(findInvalidUtf8(htmlToText(html)), std::string::npos) << html;
  }
}

TEST(Html, IsLinear) {
  // Each of these is quadratic in a stripper that looks back or ahead without end.
  for (const char *piece : {"<", "<a", "<a ", "<!--", "</", "&", "&#", "<p ", "<script>", "<svg>",
                            "<pre>", "<li>", "<a b=\"", "<td>", "</script"}) {
    std::string html;
    while (html.size() < (1u << 20))
      html += piece;
    const std::clock_t started = std::clock(); // of the processor, which others use too
    htmlToText(html);
    EXPECT_LT(std::clock() - started, 5 * CLOCKS_PER_SEC)
        << piece; // some 15 ms, ten times that under sanitizers
  }
}
