//===- PackTest.cpp - Quantising and packing ---------------------------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Weights/PackMma.h"
#include "runtime/base/Error.h"
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <gtest/gtest.h>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

using namespace retort;
using namespace retort::weight;
using Kind = NumberFormat::Kind;

namespace {

const std::vector<NumberFormat> &kFormats = all<NumberFormat>();

std::vector<float> randomRows(int64_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, 0.05f);
  std::vector<float> values(count);
  for (float &v : values)
    v = normal(random);
  return values;
}

TEST(Pack, UnpackGivesExactlyWhatFakeQuantisationGives) {
  for (const NumberFormat &format : kFormats)
    for (int64_t cols : {1, 2, 31, 32, 33, 100, 128, 200, 576})
      for (int64_t rows : {1, 7, 16}) {
        std::vector<float> values = randomRows(rows * cols, unsigned(cols * 31 + rows));
        std::vector<uint8_t> block(blockBytes(format, cols));
        packBlock(format, values.data(), rows, cols, block);
        std::vector<float> unpacked(16 * cols);
        unpackBlock(format, block, cols, unpacked.data());
        for (int64_t r = 0; r < rows; ++r)
          quantiseDequantise(format, {values.data() + r * cols, size_t(cols)});
        for (int64_t i = 0; i < 16 * cols; ++i)
          ASSERT_EQ(unpacked[i], i < rows * cols ? values[i] : 0.0f)
              << nameOf(format) << " cols " << cols << " rows " << rows << " at " << i;
      }
}

TEST(NumberFormat, HasOneName) {
  EXPECT_EQ(allNames<NumberFormat>(),
            "f32, f16, bf16, i8g32, i8g64, i8g128, f8g32, f8g64, f8g128, i4g32s, i4g64s, i4g128s, "
            "i4g32a, i4g64a, i4g128a or i3g64s");
  for (const NumberFormat &format : all<NumberFormat>())
    EXPECT_EQ(named<NumberFormat>(nameOf(format)), format);
  for (const char *name :
       {"", "f64", "f32g32", "i4g32", "i4g48s", "i4g256s", "i8g16", "i8g32s", "i8g32a", "f8g64a",
        "i4g032s", "I4G32S", "i4g32s ", "i4s", "i3g32s", "i3g64", "i3g64a"})
    EXPECT_FALSE(named<NumberFormat>(name)) << name;
  EXPECT_EQ(codesName({Kind::I4, 64, true}), "i4a");
  EXPECT_EQ(codesName({Kind::BF16}), "bf16");
}

TEST(Pack, EveryLayoutHoldsTheSameValues) {
  for (std::string name : {"rows16", "mma16"})
    for (const NumberFormat &format : kFormats)
      for (int64_t cols : {1, 31, 33, 63, 64, 80, 129, 200, 576})
        for (int64_t rows : {1, 7, 9, 16}) {
          const MatrixLayout layout = *named<MatrixLayout>(name);
          std::vector<float> values = randomRows(rows * cols, unsigned(cols * 37 + rows));
          std::vector<uint8_t> block(blockBytes(layout, format, cols), 0xa5);
          packBlock(layout, format, values.data(), rows, cols, block);
          std::vector<float> unpacked(16 * cols);
          unpackBlock(layout, format, block, cols, unpacked.data());
          for (int64_t r = 0; r < rows; ++r)
            quantiseDequantise(format, {values.data() + r * cols, size_t(cols)});
          for (int64_t i = 0; i < 16 * cols; ++i)
            ASSERT_EQ(unpacked[i], i < rows * cols ? values[i] : 0.0f)
                << name << " " << nameOf(format) << " cols " << cols << " rows " << rows << " at "
                << i;
        }
}

TEST(Pack, Mma16TakesTheBytesThatItsFormatNeeds) {
  const MatrixLayout mma = *named<MatrixLayout>("mma16"),
                     gated = *named<MatrixLayout>("mma16_gated");
  EXPECT_TRUE(gated.gated);
  EXPECT_FALSE(named<MatrixLayout>("mma16_"));
  EXPECT_FALSE(named<MatrixLayout>("rows8"));
  for (const NumberFormat &format : kFormats) {
    // Whole pieces: no padding. A piece of 128 columns at most is added.
    EXPECT_EQ(double(packedBytes(mma, format, 32, 1536)) * 8 / (32 * 1536), format.bitsPerWeight());
    EXPECT_EQ(packedBytes(mma, format, 17, 80), packedBytes(mma, format, 32, 128));
    EXPECT_EQ(packedBytes(gated, format, 34, 128), packedBytes(mma, format, 64, 128));
    EXPECT_EQ(blockBytes(mma, format, 1536) % 32, 0) << "sectors are not shared between blocks";
  }
}

// Fragments of mma.m16n8k32 s8: what lane l holds after reading 16 bytes at 16 * l.
TEST(Pack, Mma16IsInTheOrderOfTheLanesRegisters) {
  const MatrixLayout mma = *named<MatrixLayout>("mma16");
  std::vector<float> values(16 * 64);
  for (int i = 0; i < 16 * 64; ++i)
    values[i] = float((i * 7 + i / 64 * 3) % 15 - 8); // a block with scale 1: codes are value + 8
  for (int row = 0; row < 16; ++row)
    values[row * 64] = values[row * 64 + 32] = -8;
  std::vector<uint8_t> block(blockBytes(mma, {Kind::I4, 32}, 64));
  packBlock(mma, {Kind::I4, 32}, values.data(), 16, 64, block);
  for (int lane = 0; lane < 32; ++lane)
    for (int step = 0; step < 2; ++step)
      for (int n = 0; n < 4;
           ++n) { // register n of the fragment: row g or g + 8, columns 4t or 4t + 16
        uint32_t word;
        std::memcpy(&word, block.data() + 64 + lane * 16 + step * 8 + n / 2 * 4, 4);
        const int row = lane / 4 + n % 2 * 8, col = step * 32 + n / 2 * 16 + lane % 4 * 4;
        for (int j = 0; j < 4; ++j)
          EXPECT_EQ(int(word >> (8 * j + n % 2 * 4) & 15) - 8, int(values[row * 64 + col + j]));
      }
}

TEST(Pack, ErrorIsAtMostHalfAStep) {
  for (const NumberFormat &format : kFormats) {
    std::vector<float> values = randomRows(1024, 7), stored = values;
    quantiseDequantise(format, stored);
    for (size_t i = 0; i < values.size(); ++i) {
      float step = 0;
      if (format.kind == Kind::BF16)
        step = std::fabs(values[i]) / 128;
      if (format.kind == Kind::F16)
        step = std::fabs(values[i]) / 1024;
      if (format.kind == Kind::F8) // of its own size, whatever the group's largest
        step = std::fabs(values[i]) / 8;
      if (format.integers()) {
        size_t begin = i / size_t(format.group) * size_t(format.group);
        float most = 0, low = values[begin], high = low;
        for (size_t j = begin; j < begin + size_t(format.group); ++j) {
          most = std::max(most, std::fabs(values[j]));
          low = std::min(low, values[j]), high = std::max(high, values[j]);
        }
        step = format.kind == Kind::I8 ? most / 127
               : !format.minima        ? most / float(format.zeroCode())
                                       : (high - low) / 15;
        // Symmetric formats' codes end one step early: the far end is off by up to a whole step.
        step *= format.bits() < 8 && !format.minima ? 2.01f : 1.02f;
      }
      ASSERT_LE(std::fabs(values[i] - stored[i]), step / 2 + 1e-5f) << nameOf(format) << " " << i;
    }
  }
}

TEST(Pack, QuantisingTwiceChangesLittleAndPaddingNothing) {
  for (const NumberFormat &format : kFormats) {
    std::vector<float> row = randomRows(200, 3);
    std::vector<float> longer(row);
    longer.resize(256, 0.0f);
    quantiseDequantise(format, row);
    if (!format.minima) { // zeros do not move a symmetric group's scale
      quantiseDequantise(format, longer);
      EXPECT_TRUE(std::equal(row.begin(), row.end(), longer.begin())) << nameOf(format);
    }
  }
}

// fp8 of any size: what is stored is stored as it is, and a group's largest keeps its sign and 4
// bits.
TEST(Pack, F8HoldsGroupsOfAnySize) {
  for (float size : {1e-9f, 3e-6f, 2e-4f, 1.0f, 1000.0f, 1e4f}) {
    std::vector<float> row = randomRows(256, 9);
    for (float &v : row)
      v *= 20 * size;
    std::vector<float> stored = row;
    quantiseDequantise({Kind::F8, 64}, stored);
    for (size_t i = 0; i < row.size(); ++i)
      if (std::fabs(row[i]) > 1e-8f)
        ASSERT_NEAR(stored[i], row[i], std::fabs(row[i]) / 16 + 2.4e-10f) << size;
    std::vector<float> again = stored;
    quantiseDequantise({Kind::F8, 64}, again);
    EXPECT_EQ(again, stored) << size;
  }
}

TEST(Pack, SizesAreBlocksOf64Bytes) {
  EXPECT_EQ(blockBytes({Kind::I4, 32}, 576), 576 + 8 * 576);
  EXPECT_EQ(blockBytes({Kind::I4, 32, true}, 576), 64 * 18 + 8 * 576);
  EXPECT_EQ(blockBytes({Kind::I8, 32}, 100), 128 + 16 * 128);
  EXPECT_EQ(blockBytes({Kind::BF16}, 3), 32 * 4);
  EXPECT_EQ(packedBytes({Kind::F32}, 17, 5), 2 * 64 * 5);
  for (const NumberFormat &format : kFormats)
    for (int64_t cols = 1; cols < 300; cols += 13)
      EXPECT_EQ(blockBytes(format, cols) % 64, 0) << nameOf(format) << " " << cols;
  EXPECT_EQ(nameOf({Kind::I4, 64, true}), "i4g64a");
  EXPECT_EQ(nameOf({Kind::F8, 128}), "f8g128");
  EXPECT_EQ(blockBytes({Kind::F8, 128}, 200), 64 + 16 * 256);
  EXPECT_DOUBLE_EQ((NumberFormat{Kind::I4, 32}.bitsPerWeight()), 4.5);
}

TEST(Pack, ConstantRowsAreExactWhereTheFormatAllows) {
  std::vector<float> zeros(64, 0.0f), halves(64, 0.5f);
  for (const NumberFormat &format : kFormats) {
    std::vector<float> row = zeros;
    quantiseDequantise(format, row);
    EXPECT_EQ(row, zeros) << nameOf(format);
  }
  quantiseDequantise({Kind::I4, 32, true}, halves);
  EXPECT_EQ(halves, std::vector<float>(64, 0.5f));
}

TEST(Pack, RefusesWhatItCannotStore) {
  NumberFormat odd{Kind::I4, 48};
  EXPECT_THROW(blockBytes(odd, 96), Error);
  EXPECT_THROW(blockBytes({Kind::I8, 32, true}, 96), Error);
  EXPECT_THROW(packedBytes({Kind::F32}, int64_t(1) << 40, int64_t(1) << 40), Error);
  for (float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(), 1e30f}) {
    std::vector<float> row(32, 1.0f);
    row[5] = bad;
    EXPECT_THROW(quantiseDequantise({Kind::I4, 32}, row), Error) << bad;
    EXPECT_THROW(quantiseDequantise({Kind::I4, 32, true}, row), Error) << bad;
    EXPECT_THROW(quantiseDequantise({Kind::I8, 32}, row), Error) << bad;
    EXPECT_THROW(quantiseDequantise({Kind::F8, 32}, row), Error) << bad;
    EXPECT_THROW(quantiseDequantise({Kind::F16}, row), Error) << bad;
    for (std::string name : {"rows16", "mma16"}) {
      const MatrixLayout layout = *named<MatrixLayout>(name);
      std::vector<uint8_t> block(blockBytes(layout, {Kind::F16}, 32));
      EXPECT_THROW(packBlock(layout, {Kind::F16}, row.data(), 1, 32, block), Error) << name << bad;
    }
  }
}

TEST(Pack, HalfConversionsAgreeWithTheCompiler) {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    _Float16 half;
    uint16_t narrow = uint16_t(bits);
    memcpy(&half, &narrow, 2);
    float wide = float(half);
    if (std::isnan(wide)) {
      EXPECT_TRUE(std::isnan(fromHalf(narrow)));
      continue;
    }
    ASSERT_EQ(fromHalf(narrow), wide) << bits;
    ASSERT_EQ(toHalf(wide), narrow) << bits;
  }
  std::mt19937 random(1);
  for (int i = 0; i < 1000000; ++i) {
    float value = std::bit_cast<float>(uint32_t(random()));
    if (std::isnan(value))
      continue;
    _Float16 half = _Float16(value);
    uint16_t expected;
    memcpy(&expected, &half, 2);
    ASSERT_EQ(toHalf(value), expected) << value;
  }
}

// Every code, what lies around the middle between two codes, and what is beyond the largest.
TEST(Pack, E4m3RoundsToNearestEvenAndSaturates) {
  EXPECT_EQ(fromE4m3(0x7e), 448);
  EXPECT_EQ(fromE4m3(0x38), 1);
  EXPECT_EQ(fromE4m3(0x01), 0x1p-9f);
  for (int code = 0; code < 127; ++code) {
    const float value = fromE4m3(uint8_t(code));
    ASSERT_EQ(toE4m3(value), code);
    ASSERT_EQ(toE4m3(-value), code | 0x80);
    if (code == 126)
      continue;
    const float middle = (value + fromE4m3(uint8_t(code + 1))) / 2;
    ASSERT_EQ(toE4m3(middle), code + code % 2) << middle;
    ASSERT_EQ(toE4m3(std::nextafter(middle, 0.0f)), code);
    ASSERT_EQ(toE4m3(std::nextafter(middle, 1e9f)), code + 1);
  }
  for (float large : {449.0f, 1e30f, INFINITY}) {
    EXPECT_EQ(toE4m3(large), 0x7e);
    EXPECT_EQ(toE4m3(-large), 0xfe);
  }
  EXPECT_TRUE(std::isnan(fromE4m3(toE4m3(NAN))));
}

// A symmetric positive definite matrix as the Gram matrix of correlated inputs, and its factor for
// gptqRow: upper R with R^T R = inverse(G).
struct Inputs {
  int64_t cols;
  std::vector<double> gram, factor;
  explicit Inputs(int64_t cols) : cols(cols), gram(cols * cols), factor(cols * cols) {
    fillGram();
    factorise();
  }
  /// The same with columns in this order.
  Inputs inOrder(const std::vector<int32_t> &order) const {
    Inputs result = *this;
    for (int64_t i = 0; i < cols; ++i)
      for (int64_t j = 0; j < cols; ++j)
        result.gram[i * cols + j] = gram[order[i] * cols + order[j]];
    result.factorise();
    return result;
  }
  void fillGram() {
    std::mt19937 random(5);
    std::normal_distribution<double> normal;
    const int64_t rows = 4 * cols;
    for (int64_t r = 0; r < rows; ++r) {
      std::vector<double> x(cols);
      const double common = normal(random);
      for (double &value : x)
        value = normal(random) + 2 * common;
      for (int64_t i = 0; i < cols; ++i)
        for (int64_t j = 0; j < cols; ++j)
          gram[i * cols + j] += x[i] * x[j];
    }
  }
  void factorise() {
    // inverse = L^-T L^-1 for G = L L^T, so with the columns in reverse, R is a Cholesky factor:
    // here by Gauss-Jordan and a textbook Cholesky of the inverse.
    std::vector<double> left = gram, inverse(cols * cols);
    for (int64_t i = 0; i < cols; ++i)
      inverse[i * cols + i] = 1;
    for (int64_t p = 0; p < cols; ++p) {
      const double pivot = left[p * cols + p];
      for (int64_t j = 0; j < cols; ++j)
        left[p * cols + j] /= pivot, inverse[p * cols + j] /= pivot;
      for (int64_t i = 0; i < cols; ++i) {
        const double by = left[i * cols + p];
        if (i == p || by == 0)
          continue;
        for (int64_t j = 0; j < cols; ++j) {
          left[i * cols + j] -= by * left[p * cols + j];
          inverse[i * cols + j] -= by * inverse[p * cols + j];
        }
      }
    }
    for (int64_t i = 0; i < cols; ++i)
      for (int64_t j = i; j < cols; ++j) {
        double sum = inverse[i * cols + j];
        for (int64_t k = 0; k < i; ++k)
          sum -= factor[k * cols + i] * factor[k * cols + j];
        factor[i * cols + j] = i == j ? std::sqrt(sum) : sum / factor[i * cols + i];
      }
  }
  double error(const std::vector<float> &a, const std::vector<float> &b) const {
    double sum = 0;
    for (int64_t i = 0; i < cols; ++i)
      for (int64_t j = 0; j < cols; ++j)
        sum += double(a[i] - b[i]) * gram[i * cols + j] * double(a[j] - b[j]);
    return sum;
  }
};

std::vector<int32_t> ascending(int64_t cols) {
  std::vector<int32_t> order(static_cast<size_t>(cols));
  std::iota(order.begin(), order.end(), 0);
  return order;
}

// GPTQ's rows are stored as they are, in whatever order columns are rounded, and the layer's output
// moves less than with rounding to nearest.
TEST(Pack, GptqIsStoredExactlyAndBeatsRounding) {
  for (const NumberFormat &format : kFormats) {
    if (!format.quantised())
      continue;
    for (const int64_t cols : {96, 130})
      for (const bool shuffled : {false, true}) {
        const Inputs plain(cols);
        std::vector<int32_t> order = ascending(cols);
        if (shuffled)
          std::shuffle(order.begin(), order.end(), std::mt19937(7));
        const Inputs inputs = plain.inOrder(order);
        const std::vector<float> factor(inputs.factor.begin(), inputs.factor.end());
        double gptq = 0, nearest = 0;
        for (unsigned seed = 0; seed < 8; ++seed) {
          const std::vector<float> row = randomRows(cols, seed);
          std::vector<float> fitted = row, rounded = row;
          gptqRow(format, fitted, order, factor.data());
          quantiseDequantise(format, rounded);
          std::vector<float> again = fitted;
          quantiseDequantise(format, again);
          ASSERT_EQ(again, fitted) << nameOf(format) << " cols " << cols << " seed " << seed;
          gptq += plain.error(fitted, row);
          nearest += plain.error(rounded, row);
        }
        EXPECT_LT(gptq, (format.integers() && format.bits() < 8 ? 0.55 : 0.7) * nearest)
            << nameOf(format) << " cols " << cols;
      }
  }
}

TEST(Pack, GptqOfZerosIsZeros) {
  const std::vector<float> factor(64 * 64, 1.0f);
  std::vector<float> row(64, 0.0f);
  gptqRow({Kind::I4, 32}, row, ascending(64), factor.data());
  EXPECT_EQ(row, std::vector<float>(64, 0.0f));
}

} // namespace
