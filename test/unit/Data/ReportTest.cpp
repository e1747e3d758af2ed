//===- ReportTest.cpp - Reports and tables ----------------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Report/Report.h"

#include <cmath>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <limits>
#include <nlohmann/json.hpp>
#include <numbers>

using namespace retort;
using testing::ContainsRegex;
using testing::HasSubstr;
using testing::Not;

namespace {
Report sample() {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  Report report;
  report.title = "man <pages> & \"more\"";
  report.models = {{.name = "teacher",
                    .bitsPerByte = Estimate{0.911, 0.012, 0.89, 0.94},
                    .documents = {"ab", "cd"},
                    .scores = {{3000, 2000 * std::numbers::ln2}, {1000, 900 * std::numbers::ln2}},
                    .weightBytesPerToken = 84'000'000,
                    .textBytesPerToken = 4.2},
                   {.name = "<script>alert(1)</script>",
                    .bitsPerByte = Estimate{0.725, nan, nan, nan},
                    .difference = Estimate{-0.186, 0.01, -0.2, -0.17},
                    .ratio = Estimate{0.796, 0.01, 0.78, 0.82},
                    .textBytesPerToken = 3.5}};
  LossCurve curve{"distilling", {}};
  for (uint64_t i = 0; i < 50; ++i)
    curve.points.push_back({i * 1000, 3.0 + 1.0 / static_cast<double>(i + 1)});
  report.curves = {curve};
  report.parameters = {{"token_embd.weight", {49152, 576}, {49152, 576}, "int8 g32", 31'850'496},
                       {"blk.0.ffn_up.weight", {1024, 576}, {1536, 576}, "int4 g32", 331'776}};
  report.layers = {
      {.name = "token_embd.weight", .shape = LayerShape{.other = 1000}, .otherBytes = 500},
      {.name = "blk.0",
       .shape = LayerShape{.heads = 6, .kvHeads = 2, .channels = 832, .attention = 300, .ffn = 700},
       .teacher =
           LayerShape{.heads = 9, .kvHeads = 3, .channels = 1536, .attention = 600, .ffn = 1400},
       .attentionBytes = 150,
       .ffnBytes = 350},
      {.name = "blk.1", .teacher = LayerShape{.heads = 9, .kvHeads = 3, .channels = 1536}}};
  report.provenance = {{"teacher", "caf\xE9.gguf <"}, {"recipe", "specialist"}};
  report.corpus = CorpusCounts();
  report.corpus->nearDuplicates = 7;
  return report;
}
} // namespace

TEST(Report, JsonHasEveryFigureAndNullForWhatWasNotMeasured) {
  const nlohmann::json json = nlohmann::json::parse(sample().toJson().dump());
  EXPECT_EQ(json["format"], 2);
  EXPECT_EQ(json["models"][0]["bits_per_byte_interval"], nlohmann::json({0.89, 0.94}));
  EXPECT_EQ(json["models"][0]["bits_per_byte_difference"], nullptr);
  EXPECT_EQ(json["models"][0]["effective_documents"], 1.6);
  EXPECT_EQ(json["models"][0]["documents"][1],
            nlohmann::json({{"sha256", "cd"}, {"text_bytes", 1000}, {"bits", 900.0}}));
  EXPECT_EQ(json["models"][1]["bits_per_byte_interval"], nullptr);
  EXPECT_EQ(json["models"][1]["bits_per_byte_difference_interval"], nlohmann::json({-0.2, -0.17}));
  EXPECT_EQ(json["models"][1]["bits_per_byte_ratio"], 0.796);
  EXPECT_EQ(json["models"][1]["effective_documents"], nullptr);
  EXPECT_EQ(json["models"][0]["weight_bytes_per_text_byte"], 20e6);
  EXPECT_EQ(json["models"][1]["weight_bytes_per_token"], nullptr);
  EXPECT_EQ(json["models"][1]["bits_per_byte_stderr"], nullptr);
  EXPECT_EQ(json["provenance"]["teacher"], "caf\uFFFD.gguf <");
  EXPECT_EQ(json["corpus"]["dropped_documents"]["near_duplicate"], 7);
  EXPECT_EQ(json["parameters"][1]["teacher_shape"], nlohmann::json({1536, 576}));
  EXPECT_EQ(json["layers"][1]["teacher_shape"]["heads"], 9);
  EXPECT_EQ(json["layers"][1]["shape"]["channels"], 832);
  EXPECT_EQ(json["layers"][1]["ffn_bytes"], 350);
  EXPECT_EQ(json["layers"][2]["shape"], nullptr);
  EXPECT_EQ(json["layers"][0]["teacher_shape"], nullptr);
  EXPECT_EQ(json["loss_curves"][0]["points"][10]["tokens"], 10000);
}

TEST(Report, HtmlIsEscapedAndSelfContained) {
  const std::string html = sample().toHtml();
  EXPECT_THAT(html, Not(HasSubstr("<script")));
  EXPECT_THAT(html, HasSubstr("&lt;script&gt;alert(1)&lt;/script&gt;"));
  EXPECT_THAT(html, HasSubstr("man &lt;pages&gt; &amp; &quot;more&quot;"));
  EXPECT_THAT(html, Not(HasSubstr("http")));
  EXPECT_THAT(html, HasSubstr("<polyline"));
  EXPECT_THAT(html, HasSubstr("training loss, nats a token"));
  EXPECT_THAT(html, HasSubstr("near duplicate"));
  EXPECT_THAT(html, Not(ContainsRegex("[ >,-]nan")));
  EXPECT_EQ(html, sample().toHtml());
}

TEST(Report, LayersAreDrawnBesideTheTeachers) {
  const std::string html = sample().toHtml();
  EXPECT_THAT(html, HasSubstr("<td>6 / 2 of 9 / 3</td><td>832 of 1,536</td><td>4.00</td>"));
  EXPECT_THAT(html, HasSubstr("<td>0 of 9 / 3</td><td>0 of 1,536</td><td>dropped</td>"));
  // The widest is what the teacher's block would take, 1,000 bytes at as many bits.
  EXPECT_THAT(html, HasSubstr("<i class=\"attention\" style=\"width:15.00%\"></i>"
                              "<i class=\"ffn\" style=\"width:35.00%\"></i>"
                              "<i class=\"other\" style=\"width:0.00%\"></i>"
                              "<b style=\"width:50.00%\"></b>"));
  EXPECT_THAT(html, HasSubstr("attention 150 B, 15.0 %"));
}

TEST(Report, ModelsAreDrawnByWhatTheyReadAndReach) {
  Report report = sample();
  EXPECT_THAT(report.toHtml(), Not(HasSubstr("class=\"mark\""))) << "one point is no front";
  report.models[1].weightBytesPerToken = 40'000'000;
  const std::string html = report.toHtml();
  EXPECT_THAT(html, HasSubstr("class=\"mark\""));
  EXPECT_THAT(html, HasSubstr("0.911 [0.890, 0.940]"));
  EXPECT_THAT(html, HasSubstr("-0.186 [-0.200, -0.170]"));
  EXPECT_THAT(html, Not(HasSubstr("class=\"better\""))) << "scored on other documents";
  report.models[1].documents = report.models[0].documents;
  report.specialist = report.models[1].name;
  report.models[1].scores = {{3000, 1900 * std::numbers::ln2}, {1000, 950 * std::numbers::ln2}};
  EXPECT_THAT(report.toHtml(), HasSubstr("1 of 2 are better"));
  report.models[1].scores[0].nll = std::numeric_limits<double>::quiet_NaN();
  EXPECT_THAT(report.toHtml(), Not(ContainsRegex("[ >,\"-]nan")));
}

TEST(Report, TasksAreATable) {
  Report report;
  report.tasks = {{"faq<.jsonl", "teacher", 60, {0.5, 0.1, 0.4, 0.6}, {0.25, 0.1, 0.1, 0.4}}};
  EXPECT_THAT(report.toHtml(), HasSubstr("<td>faq&lt;.jsonl</td><td>teacher</td><td>60</td>"
                                         "<td>0.500 [0.400, 0.600]</td>"));
}

TEST(Report, AnEmptyReportIsAPage) {
  EXPECT_THAT(Report().toHtml(), HasSubstr("</html>"));
  EXPECT_EQ(Report().toJson()["corpus"], nullptr);
}

TEST(Report, CurvesOfOddShapeDraw) {
  Report report;
  const double nan = std::numeric_limits<double>::quiet_NaN();
  report.curves = {{"flat", {{0, 1}, {10, 1}}},          {"zero", {{0, 0}, {10, 0}}},
                   {"gap", {{0, 2}, {5, nan}, {10, 1}}}, {"one", {{0, 1}}},
                   {"same place", {{3, 1}, {3, 2}}},     {"large", {{0, -1e308}, {10, 1e308}}}};
  const std::string html = report.toHtml();
  EXPECT_THAT(html, HasSubstr("flat"));
  EXPECT_THAT(html, HasSubstr("gap"));
  EXPECT_THAT(html, Not(HasSubstr("same place")));
  EXPECT_THAT(html, Not(HasSubstr("large")));
}

TEST(Report, EscapesEverything) {
  EXPECT_EQ(escapeHtml("<a href='x'>\"&\"</a>"),
            "&lt;a href=&#39;x&#39;&gt;&quot;&amp;&quot;&lt;/a&gt;");
  EXPECT_EQ(escapeHtml(std::string_view("\0\x1b\x7f\n\xff", 5)), "\uFFFD\uFFFD\uFFFD\n\uFFFD");
}
