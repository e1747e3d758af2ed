//===- ParamStreamTest.cpp - Weight programs against naive evaluation -----===//
// SPDX-License-Identifier: Apache-2.0
//
// Random programs over random tensors, evaluated whole by a few loops and by ParamStream in pieces
// of random size; and programs that are too large to keep, whose memory is measured.
//
//===----------------------------------------------------------------------===//
#include "compiler/Weights/ParamStream.h"
#include "compiler/Checkpoint/Safetensors.h"
#include "compiler/Weights/PackMma.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Parser/Parser.h"
#include "runtime/base/Error.h"
#include <cmath>
#include <filesystem>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <random>
#include <sys/resource.h>

using namespace retort;
using namespace mlir;
using testing::HasSubstr;

namespace {

struct Matrix {
  int64_t rows, columns;
  std::vector<float> values;
  float &at(int64_t r, int64_t c) { return values[static_cast<size_t>(r * columns + c)]; }
  float at(int64_t r, int64_t c) const { return values[static_cast<size_t>(r * columns + c)]; }
};

class ParamStreamTest : public testing::Test {
protected:
  ParamStreamTest() { context_.loadDialect<lm::LMDialect, weight::WeightDialect>(); }
  ~ParamStreamTest() override { std::filesystem::remove(path_); }

  Matrix random(int64_t rows, int64_t columns) {
    Matrix m{rows, columns, std::vector<float>(static_cast<size_t>(rows * columns))};
    std::normal_distribution<float> normal;
    for (float &value : m.values)
      value = normal(generator_);
    return m;
  }

  /// Writes the workspace object that programs load from: w0, w1, ... (a vector if it has one
  /// column).
  void write(const std::vector<Matrix> &tensors) {
    SafetensorsWriter writer(path_);
    for (size_t i = 0; i < tensors.size(); ++i)
      writer.addTensor("w" + std::to_string(i), DType::F32,
                       tensors[i].columns == 0 ? std::vector<int64_t>{tensors[i].rows}
                                               : std::vector{tensors[i].rows, tensors[i].columns});
    writer.begin();
    for (const Matrix &m : tensors)
      writer.append(std::span<const float>(m.values));
    writer.finish();
    forget();
  }
  /// Of what was written before.
  void forget() {
    sources_.emplace(nullptr, [this](const std::string &) { return path_; });
  }

  static std::string load(const std::string &result, int tensor, const std::string &type) {
    return result + " = weight.load \"w" + std::to_string(tensor) + "\" stored \"F32\" file \"" +
           std::string(64, 'a') + "\" : " + type + "\n";
  }

  ParamStream stream(const std::string &type, const std::string &body) {
    const std::string text =
        "lm.model @m family \"test\" context 1 vocab 1 hidden 1 {\nlm.param @p : " + type + " {\n" +
        body + "}\nlm.param @e : tensor<1x1xf32> {\n" + load("%0", 0, "tensor<1x1xf32>") +
        "weight.yield %0 : tensor<1x1xf32>\n}\nlm.forward {\n^bb0(%t: tensor<?xi32>):\n"
        "%x = lm.embed %t, @e : tensor<?x1xf32>\n"
        "%l = lm.logits %x, @e : tensor<?x1xf32> -> tensor<?x1xf32>\n"
        "lm.return %l : tensor<?x1xf32>\n}\n}\n";
    module_ = parseSourceString<ModuleOp>(text, &context_);
    EXPECT_TRUE(module_) << text;
    auto model = *module_->getOps<lm::ModelOp>().begin();
    return ParamStream(model.lookupParam("p"), *sources_);
  }

  /// All rows, read in pieces of random sizes, some of them out of order.
  Matrix readAll(ParamStream &stream) {
    Matrix m{stream.rows(), stream.columns(), {}};
    m.values.resize(static_cast<size_t>(m.rows * m.columns));
    std::vector<std::pair<int64_t, int64_t>> pieces;
    for (int64_t at = 0; at < m.rows;) {
      const int64_t size = std::uniform_int_distribution<int64_t>(1, m.rows - at)(generator_);
      pieces.emplace_back(at, at + size);
      at += size;
    }
    if (generator_() % 2)
      std::ranges::reverse(pieces);
    for (auto [begin, end] : pieces)
      stream.readRows(begin, end, &m.values[static_cast<size_t>(begin * m.columns)]);
    return m;
  }

  static void expectEqual(const Matrix &got, const Matrix &want, float tolerance = 0) {
    ASSERT_EQ(got.rows, want.rows);
    ASSERT_EQ(got.columns, want.columns);
    for (size_t i = 0; i < want.values.size(); ++i)
      ASSERT_NEAR(got.values[i], want.values[i], tolerance) << "at " << i;
  }

  const std::string path_ =
      testing::TempDir() + "params-" + std::to_string(::getpid()) + ".safetensors";
  std::mt19937 generator_{5};
  MLIRContext context_;
  std::optional<WeightSources> sources_;
  OwningOpRef<ModuleOp> module_;
};

std::string type(int64_t rows, int64_t columns) {
  return "tensor<" + std::to_string(rows) + "x" + std::to_string(columns) + "xf32>";
}

/// A program that grows by one random op at a time, with its value computed beside it.
struct Program {
  std::mt19937 &generator;
  std::string text;
  std::vector<std::pair<std::string, Matrix>> values;
  int next = 0;

  int64_t below(int64_t n) { return std::uniform_int_distribution<int64_t>(0, n - 1)(generator); }
  std::string name() { return "%v" + std::to_string(next++); }
  const std::pair<std::string, Matrix> &any() {
    return values[static_cast<size_t>(below(static_cast<int64_t>(values.size())))];
  }

  void take(bool rows) {
    auto [operand, m] = any();
    std::string indices;
    Matrix result{
        rows ? 1 + below(2 * m.rows) : m.rows, rows ? m.columns : 1 + below(2 * m.columns), {}};
    result.values.resize(static_cast<size_t>(result.rows * result.columns));
    for (int64_t i = 0; i < (rows ? result.rows : result.columns); ++i) {
      // often the next one, so that runs are read together
      const int64_t size = rows ? m.rows : m.columns, index = below(3) ? i % size : below(size);
      indices += (i ? ", " : "") + std::to_string(index);
      for (int64_t k = 0; k < (rows ? m.columns : m.rows); ++k)
        (rows ? result.at(i, k) : result.at(k, i)) = rows ? m.at(index, k) : m.at(k, index);
    }
    add("weight.take " + operand + (rows ? " rows [" : " columns [") + indices +
            "] : " + type(m.rows, m.columns) + " -> " + type(result.rows, result.columns),
        result);
  }

  void slice(bool rows) {
    auto [operand, m] = any();
    const int64_t axis = rows ? m.rows : m.columns, offset = below(axis);
    const int64_t size = 1 + below(axis - offset);
    Matrix result{rows ? size : m.rows, rows ? m.columns : size, {}};
    for (int64_t r = 0; r < result.rows; ++r)
      for (int64_t c = 0; c < result.columns; ++c)
        result.values.push_back(rows ? m.at(offset + r, c) : m.at(r, offset + c));
    add("weight.slice " + operand + (rows ? " rows" : " columns") + " offset " +
            std::to_string(offset) + " size " + std::to_string(size) + " : " +
            type(m.rows, m.columns) + " -> " + type(result.rows, result.columns),
        result);
  }

  void concat(bool rows) {
    auto [operand, m] = any();
    Matrix result{rows ? 2 * m.rows : m.rows, rows ? m.columns : 2 * m.columns, {}};
    for (int64_t r = 0; r < result.rows; ++r)
      for (int64_t c = 0; c < result.columns; ++c)
        result.values.push_back(m.at(r % m.rows, c % m.columns));
    const std::string t = type(m.rows, m.columns);
    add("weight.concat " + std::string(rows ? "rows " : "columns ") + operand + ", " + operand +
            " : " + t + ", " + t + " -> " + type(result.rows, result.columns),
        result);
  }

  void scale() {
    auto [operand, m] = any();
    for (float &value : m.values)
      value *= -0.75f;
    add("weight.scale " + operand + " by -0.75 : " + type(m.rows, m.columns), m);
  }

  void sum() {
    auto [operand, m] = any();
    for (float &value : m.values)
      value += value;
    add("weight.add " + operand + ", " + operand + " : " + type(m.rows, m.columns), m);
  }

  /// By rows of its own operand, as many as that has columns.
  void product() {
    auto [operand, m] = any();
    std::string indices;
    Matrix right{m.columns, m.columns, {}}, result{m.rows, m.columns, {}};
    for (int64_t k = 0; k < m.columns; ++k) {
      indices += (k ? ", " : "") + std::to_string(k % m.rows);
      for (int64_t c = 0; c < m.columns; ++c)
        right.values.push_back(m.at(k % m.rows, c));
    }
    for (int64_t r = 0; r < m.rows; ++r)
      for (int64_t c = 0; c < m.columns; ++c) {
        float sum = 0;
        for (int64_t k = 0; k < m.columns; ++k)
          sum += m.at(r, k) * right.at(k, c);
        result.values.push_back(sum);
      }
    const bool small =
        std::ranges::all_of(result.values, [](float v) { return std::abs(v) < 1e6f; });
    if (!small || m.columns * m.columns > 4000)
      return;
    const std::string taken = name(), square = type(m.columns, m.columns);
    text += taken + " = weight.take " + operand + " rows [" + indices +
            "] : " + type(m.rows, m.columns) + " -> " + square + "\n";
    add("weight.product " + operand + ", " + taken + " : " + type(m.rows, m.columns) + ", " +
            square + " -> " + type(m.rows, m.columns),
        result);
  }

  void add(const std::string &op, Matrix value) {
    if (value.rows * value.columns > 4000)
      return; // small programs find as much
    values.emplace_back(name(), std::move(value));
    text += values.back().first + " = " + op + "\n";
  }

  void grow() {
    const bool rows = below(2);
    switch (below(6)) {
    case 0:
      return take(rows);
    case 2:
      return scale();
    case 3:
      return sum();
    case 4:
      return product();
    case 1:
      return slice(rows);
    default:
      return concat(rows);
    }
  }
};

TEST_F(ParamStreamTest, RandomPrograms) {
  for (int round = 0; round < 300; ++round) {
    Program program{generator_, "", {}};
    Matrix start = random(1 + program.below(40), 1 + program.below(40));
    write({start});
    program.values.emplace_back("%w", start);
    program.text = load("%w", 0, type(start.rows, start.columns));
    for (int64_t i = program.below(8); i >= 0; --i)
      program.grow();
    const auto &[last, want] = program.values.back();
    const std::string t = type(want.rows, want.columns);
    ParamStream made = stream(t, program.text + "weight.yield " + last + " : " + t + "\n");
    SCOPED_TRACE(program.text);
    expectEqual(readAll(made), want);
    if (HasFailure())
      return;
  }
}

TEST_F(ParamStreamTest, Vectors) {
  Matrix v = random(64, 0);
  v.values.resize(64);
  for (size_t i = 0; i < 64; ++i)
    v.values[i] = float(i);
  write({v});
  ParamStream made = stream("tensor<3xf32>", load("%0", 0, "tensor<64xf32>") +
                                                 "%1 = weight.take %0 rows [7, 8, 2] : "
                                                 "tensor<64xf32> -> tensor<3xf32>\n"
                                                 "weight.yield %1 : tensor<3xf32>\n");
  EXPECT_TRUE(made.isVector());
  EXPECT_EQ(made.rows(), 1);
  expectEqual(readAll(made), {1, 3, {7, 8, 2}});
  std::vector<uint8_t> bytes;
  made.writePacked([&](auto piece) { bytes.insert(bytes.end(), piece.begin(), piece.end()); });
  EXPECT_EQ(made.packedBytes(), 12);
  ASSERT_EQ(bytes.size(), 12u);
  EXPECT_EQ(*reinterpret_cast<float *>(bytes.data()), 7.0f);
}

TEST_F(ParamStreamTest, SetNorms) {
  const Matrix m{3, 2, {3, 4, 0, 0, -6, 8}};
  write({m});
  ParamStream made =
      stream(type(3, 2), load("%0", 0, type(3, 2)) +
                             "%1 = weight.constant dense<[10.0, 7.0, 5.0]> : tensor<3xf32>\n"
                             "%2 = weight.set_norms %0 to %1 : tensor<3x2xf32>, tensor<3xf32>\n"
                             "weight.yield %2 : tensor<3x2xf32>\n");
  expectEqual(readAll(made), {3, 2, {6, 8, 0, 0, -3, 4}}, 1e-6f);
}

TEST_F(ParamStreamTest, Constants) {
  write({random(1, 1)});
  ParamStream matrix = stream(
      "tensor<2x2xbf16>", "%0 = weight.constant dense<[[1.0, 2.0], [3.0, 4.0], [5.0, 0.5]]> : "
                          "tensor<3x2xbf16>\n"
                          "%1 = weight.take %0 rows [2, 0] : tensor<3x2xbf16> -> tensor<2x2xbf16>\n"
                          "weight.yield %1 : tensor<2x2xbf16>\n");
  expectEqual(readAll(matrix), {2, 2, {5, 0.5f, 1, 2}});
  ParamStream vector = stream("tensor<3xf32>", "%0 = weight.constant dense<0.25> : tensor<3xf32>\n"
                                               "weight.yield %0 : tensor<3xf32>\n");
  EXPECT_TRUE(vector.isVector());
  expectEqual(readAll(vector), {1, 3, {0.25f, 0.25f, 0.25f}});
}

/// Packed bytes are what packing whole blocks gives, and readRows gives what they stand for.
TEST_F(ParamStreamTest, PackedLayouts) {
  const int64_t rows = 74, columns = 100; // short groups and short blocks
  const std::string shape = "tensor<74x100x";
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"f32", ""},     {"bf16", ""},     {"f16", ""},      {"f8E4M3FN", "f8g128"},
      {"i8", "i8g32"}, {"i4", "i4g64s"}, {"i4", "i4g32a"}, {"i3", "i3g64s"}};
  Matrix w = random(rows, columns);
  write({w});
  for (const auto &[element, quantised] : cases)
    for (std::string name : {"rows16", "rows16_gated", "mma16", "mma16_gated"}) {
      const MatrixLayout layout = *named<MatrixLayout>(name);
      const std::string plain = type(rows, columns);
      const std::string stored =
          shape + element + (quantised.empty() ? ">" : ", #weight.format<" + quantised + ">>");
      const NumberFormat format = *named<NumberFormat>(quantised.empty() ? element : quantised);
      const int64_t parts = layout.gated ? 2 : 1, partRows = rows / parts;
      const int64_t size = weight::packedBytes(layout, format, rows, columns);
      std::string body = load("%0", 0, plain);
      std::string value = "%0";
      if (format.kind != NumberFormat::Kind::F32) {
        body += quantised.empty() ? "%1 = weight.cast %0 : " + plain + " -> " + stored + "\n"
                                  : "%1 = weight.quantize %0 : " + plain + " -> " + stored + "\n";
        value = "%1";
      }
      const std::string packed = "tensor<" + std::to_string(size) + "xi8>";
      body += "%2 = weight.pack " + value + " layout " + name + " : " + stored + " -> " + packed +
              "\nweight.yield %2 : " + packed + "\n";
      ParamStream made = stream(packed, body);
      EXPECT_EQ(made.rows(), rows);
      std::vector<uint8_t> bytes;
      made.writePacked([&](auto piece) { bytes.insert(bytes.end(), piece.begin(), piece.end()); });
      ASSERT_EQ(static_cast<int64_t>(bytes.size()), size);
      EXPECT_EQ(made.packedBytes(), size);
      Matrix got = readAll(made);
      const size_t blockBytes = static_cast<size_t>(weight::blockBytes(layout, format, columns));
      std::vector<float> block(static_cast<size_t>(16 * columns));
      for (int64_t row = 0; row < rows; ++row) {
        const int64_t part = row / partRows, within = row % partRows;
        const size_t index = static_cast<size_t>(within / 16 * parts + part);
        weight::unpackBlock(layout, format,
                            std::span(bytes).subspan(index * blockBytes, blockBytes), columns,
                            block.data());
        for (int64_t column = 0; column < columns; ++column)
          ASSERT_EQ(got.at(row, column), block[static_cast<size_t>(within % 16 * columns + column)])
              << name << " " << nameOf(format) << " row " << row << " column " << column;
      }
    }
}

TEST_F(ParamStreamTest, NamesWhatIsWrong) {
  write({random(2, 2)});
  auto messageOf = [&](const std::string &body) -> std::string {
    try {
      stream(type(2, 2), body + "weight.yield %0 : " + type(2, 2) + "\n");
    } catch (const Error &error) {
      EXPECT_EQ(error.code, ExitCode::BadInput);
      return error.message;
    }
    return "";
  };
  EXPECT_THAT(messageOf(load("%0", 9, type(2, 2))),
              HasSubstr("has no tensor 'w9': compile with the checkpoint it came from"));
  EXPECT_THAT(messageOf(load("%a", 0, type(3, 2)) + "%0 = weight.slice %a rows offset 0 size 2 : " +
                        type(3, 2) + " -> " + type(2, 2) + "\n"),
              HasSubstr("tensor 'w0' is 2x2, but the program loads 3x2"));
}

/// Peak memory of a matrix of 256 MB whose columns change places: a chunk, the pages not dropped yet.
TEST_F(ParamStreamTest, MemoryIsBounded) {
  const int64_t rows = 1 << 14, columns = 1 << 12;
  {
    SafetensorsWriter writer(path_);
    writer.addTensor("w0", DType::F32, {rows, columns});
    writer.begin();
    std::vector<float> zeros(1 << 20);
    for (int64_t at = 0; at < rows * columns; at += 1 << 20)
      writer.append(std::span<const float>(zeros));
    writer.finish();
  }
  forget();
  auto residentKb = [] {
    rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;
  };
  const long before = residentKb();
  const std::string wide = type(rows, columns);
  std::string indices;
  for (int64_t column = columns - 1; column >= 0; --column)
    indices += (indices.empty() ? "" : ", ") + std::to_string(column);
  ParamStream made =
      stream(wide, load("%w", 0, wide) + "%t = weight.take %w columns [" + indices + "] : " + wide +
                       " -> " + wide + "\nweight.yield %t : " + wide + "\n");
  std::vector<float> piece(static_cast<size_t>(64 * columns));
  for (int64_t at = 0; at < rows; at += 64)
    made.readRows(at, at + 64, piece.data());
  EXPECT_LT(residentKb() - before, 128 * 1024);
}

} // namespace
