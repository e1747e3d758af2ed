//===- Pack.cpp - Quantising rows and packing them for the CPU kernels ------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Weights/Pack.h"
#include "runtime/base/Error.h"
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <vector>

namespace retort::weight {
namespace {

using Kind = NumberFormat::Kind;

void check(const NumberFormat &format) {
  if (!format.isKnown())
    fail(ExitCode::Usage, "weight format: '" + nameOf(format) + "' is none of " +
                              allNames<NumberFormat>() + ": choose one of these");
}

int64_t multiply(int64_t a, int64_t b) {
  int64_t result;
  if (a < 0 || b < 0 || __builtin_mul_overflow(a, b, &result))
    fail(ExitCode::BadInput, "weight of " + std::to_string(a) + " x " + std::to_string(b) +
                                 " bytes or elements overflows: the checkpoint's shapes are wrong");
  return result;
}

int64_t scaleBytes(const NumberFormat &format, int64_t groups) {
  return format.minima ? multiply(groups, 64) : (multiply(groups, 32) + 63) / 64 * 64;
}

// Groups are worked on four lanes at a time (GCC's vector extension): a parameter has up to 10^9
// elements, and fake quantisation in training sees all of them again and again.
using Float4 = float __attribute__((vector_size(16)));
using Int4 = int32_t __attribute__((vector_size(16)));
using Byte4 = uint8_t __attribute__((vector_size(4)));

constexpr int kMaxGroup = 128;

/// One group on its own: `count` values, filled up to `size` with copies of the first.
struct Group {
  int64_t size;
  alignas(16) float values[kMaxGroup];

  Group(const NumberFormat &format, std::span<const float> from) : size(format.group) {
    std::ranges::copy(from, values);
    std::fill(values + from.size(), values + size, from.empty() ? 0.0f : from[0]);
  }
  Float4 at(int64_t i) const { return *reinterpret_cast<const Float4 *>(values + i); }
};

/// Codes of a group stand for scale * (code - zero) + minimum. For I8 and symmetric I4 the minimum
/// is 0. F8's stand for scale * (code's value / 256).
struct GroupScale {
  float scale, minimum;
  int zero, lowest, highest;
};

/// Throws unless every value is finite.
std::pair<float, float> extremes(const Group &group) {
  Float4 low = group.at(0), high = low;
  Int4 bad = {0, 0, 0, 0};
  for (int64_t i = 0; i < group.size; i += 4) {
    Float4 v = group.at(i);
    low = v < low ? v : low;
    high = v > high ? v : high;
    bad |= (std::bit_cast<Int4>(v) & 0x7f800000) == 0x7f800000;
  }
  if (bad[0] | bad[1] | bad[2] | bad[3])
    fail(ExitCode::BadInput, "weights: a group of values holds NaN or infinity: the checkpoint is "
                             "damaged, or the training that made it diverged");
  return {std::min({low[0], low[1], low[2], low[3]}),
          std::max({high[0], high[1], high[2], high[3]})};
}

constexpr float kLeastF8Scale = 0x1p-14f; // f16's least normal number

/// Up to f16, so that nothing is beyond e4m3's 448.
float f8Scale(float most) {
  const float least = std::fabs(most) / 1.75f;
  uint16_t scale = toHalf(std::max(least, kLeastF8Scale));
  return fromHalf(fromHalf(scale) < least ? scale + 1 : scale);
}
uint8_t f8Code(float value, float scale) { return toE4m3(value * 256 / scale); }
float f8Value(uint8_t code, float scale) { return scale * (fromE4m3(code) / 256); }

/// Of two elements of equal magnitude the negative one counts as the largest. `share` is the part of
/// the group's range that codes span; what is beyond gets the outermost code.
GroupScale chooseScale(const NumberFormat &format, const Group &values, float share = 1) {
  auto [low, high] = extremes(values);
  const float beyond = (1 - share) / 2 * (high - low);
  if (format.minima)
    low += beyond, high -= beyond;
  float most = share * (-low >= high ? low : high);
  GroupScale group;
  if (format.kind == Kind::I8)
    group = {std::fabs(most) / 127, 0, format.zeroCode(), 1, 255};
  else if (format.kind == Kind::F8)
    group = {f8Scale(most), 0, 0, 0, 0};
  else if (!format.minima)
    group = {most / -float(format.zeroCode()), 0, format.zeroCode(), 0, (1 << format.bits()) - 1};
  else
    group = {(high - low) / 15, fromHalf(toHalf(low)), 0, 0, 15};
  group.scale = fromHalf(toHalf(group.scale));
  if (std::isinf(group.scale) || std::isinf(group.minimum))
    fail(ExitCode::BadInput, "weights: values from " + std::to_string(low) + " to " +
                                 std::to_string(high) +
                                 " are beyond 16-bit scales: keep this parameter in f32");
  return group;
}

/// Nearest codes of values i..i+3. Adding 1.5 * 2^23 leaves no bits for a fraction, so the sum is
/// rounded to nearest even.
Int4 codesAt(const Group &values, int64_t i, const GroupScale &group) {
  constexpr float kRound = 12582912.0f;
  Float4 zero = Float4{} + float(group.zero);
  if (group.scale == 0)
    return __builtin_convertvector(zero, Int4);
  Float4 code = ((values.at(i) - group.minimum) / group.scale + kRound) - kRound + zero;
  Float4 low = Float4{} + float(group.lowest), high = Float4{} + float(group.highest);
  code = code < low ? low : code;
  code = code > high ? high : code;
  return __builtin_convertvector(code, Int4);
}

float dequantised(const NumberFormat &format, uint8_t code, float scale, float minimum) {
  if (format.kind == Kind::F8)
    return f8Value(code, scale);
  return scale * float(int(code) - format.zeroCode()) + minimum;
}

/// What rows16 (kernels/cpu/kernels.h) makes of codes that share bytes: words of four columns, which
/// are neighbouring bytes of a lane, are joined to planes of such words.
struct Planes {
  int64_t words, planes; ///< of a unit of columns

  explicit Planes(Kind kind) {
    words = kind == Kind::I3 ? 8 : kind == Kind::I4 ? 2 : 1;
    planes = kind == Kind::I3 ? 3 : 1;
  }
  static void join(Kind kind, const uint32_t *w, uint32_t *plane) {
    if (kind ==
        Kind::I3) { // six codes whole, the others' low bits above them, high bits in the last
      plane[0] = w[0] | w[1] << 3 | (w[6] & 0x03030303) << 6;
      plane[1] = w[2] | w[3] << 3 | (w[7] & 0x03030303) << 6;
      plane[2] = w[4] | w[5] << 3 | (w[6] & 0x04040404) << 4 | (w[7] & 0x04040404) << 5;
    } else {
      plane[0] = kind == Kind::I4 ? w[0] | w[1] << 4 : w[0];
    }
  }
  static void split(Kind kind, const uint32_t *plane, uint32_t *w) {
    if (kind == Kind::I3) {
      for (int i = 0; i < 6; ++i)
        w[i] = plane[i / 2] >> i % 2 * 3 & 0x07070707;
      w[6] = (plane[0] >> 6 & 0x03030303) | (plane[2] >> 4 & 0x04040404);
      w[7] = (plane[1] >> 6 & 0x03030303) | (plane[2] >> 5 & 0x04040404);
    } else {
      w[0] = kind == Kind::I4 ? plane[0] & 0x0f0f0f0f : plane[0];
      w[1] = plane[0] >> 4 & 0x0f0f0f0f;
    }
  }
};

void storeCodes(const NumberFormat &format, int64_t lane, std::span<const uint8_t> codes,
                std::span<uint8_t> stored) {
  if (format.kind == Kind::F8) {
    for (int64_t k = 0; k < int64_t(codes.size()); ++k)
      stored[k * 16 + lane] = codes[k];
    return;
  }
  const Planes unit(format.kind);
  uint8_t *out = stored.data() + lane * 4;
  for (int64_t k = 0; k < int64_t(codes.size()); k += 4 * unit.words) {
    uint32_t words[8], planes[3];
    std::memcpy(words, &codes[k], size_t(4 * unit.words));
    Planes::join(format.kind, words, planes);
    for (int64_t plane = 0; plane < unit.planes; ++plane, out += 64)
      std::memcpy(out, &planes[plane], 4);
  }
}

/// The inverse of storeCodes.
void loadCodes(const NumberFormat &format, int64_t lane, std::span<const uint8_t> stored,
               std::span<uint8_t> codes) {
  if (format.kind == Kind::F8) {
    for (int64_t k = 0; k < int64_t(codes.size()); ++k)
      codes[k] = stored[k * 16 + lane];
    return;
  }
  const Planes unit(format.kind);
  const uint8_t *in = stored.data() + lane * 4;
  for (int64_t k = 0; k < int64_t(codes.size()); k += 4 * unit.words) {
    uint32_t words[8], planes[3];
    for (int64_t plane = 0; plane < unit.planes; ++plane, in += 64)
      std::memcpy(&planes[plane], in, 4);
    Planes::split(format.kind, planes, words);
    std::memcpy(&codes[k], words, size_t(4 * unit.words));
  }
}

template <typename T> void put(std::span<uint8_t> out, int64_t offset, T value) {
  std::memcpy(out.data() + offset, &value, sizeof value);
}
template <typename T> T get(std::span<const uint8_t> in, int64_t offset) {
  T value;
  std::memcpy(&value, in.data() + offset, sizeof value);
  return value;
}

/// Byte offset of the scale (or the minimum) of group g of row `lane`.
int64_t scaleOffset(const NumberFormat &format, int64_t g, int64_t lane, bool minimum) {
  return format.minima ? g * 64 + (minimum ? 32 : 0) + lane * 2 : g * 32 + lane * 2;
}

void packQuantised(const NumberFormat &format, const float *rows, int64_t numRows, int64_t cols,
                   std::span<uint8_t> out) {
  int64_t padded = paddedCols(format, cols), groups = padded / format.group;
  std::span<uint8_t> stored = out.subspan(scaleBytes(format, groups));
  std::vector<uint8_t> codes(padded);
  std::vector<float> scales(groups), minima(format.minima ? groups : 0);
  for (int64_t lane = 0; lane < kBlockRows; ++lane) {
    if (lane < numRows) {
      quantiseRow(format, {rows + lane * cols, size_t(cols)}, codes, scales, minima);
    } else {
      std::ranges::fill(codes, uint8_t(format.zeroCode()));
      std::ranges::fill(scales, 0.0f);
      std::ranges::fill(minima, 0.0f);
    }
    for (int64_t g = 0; g < groups; ++g) {
      put(out, scaleOffset(format, g, lane, false), toHalf(scales[g]));
      if (format.minima)
        put(out, scaleOffset(format, g, lane, true), toHalf(minima[g]));
    }
    storeCodes(format, lane, codes, stored);
  }
}

void unpackQuantised(const NumberFormat &format, std::span<const uint8_t> block, int64_t cols,
                     float *rows) {
  const int64_t padded = paddedCols(format, cols), groups = padded / format.group;
  std::vector<uint8_t> codes(padded);
  for (int64_t lane = 0; lane < kBlockRows; ++lane) {
    loadCodes(format, lane, block.subspan(scaleBytes(format, groups)), codes);
    for (int64_t k = 0; k < cols; ++k) {
      const int64_t g = k / format.group;
      const float scale = fromHalf(get<uint16_t>(block, scaleOffset(format, g, lane, false)));
      const float minimum =
          format.minima ? fromHalf(get<uint16_t>(block, scaleOffset(format, g, lane, true))) : 0;
      rows[lane * cols + k] = dequantised(format, codes[k], scale, minimum);
    }
  }
}

} // namespace

int64_t paddedCols(const NumberFormat &format, int64_t cols) {
  int64_t unit = format.quantised() ? format.group : format.kind == Kind::F32 ? 1 : 2;
  return multiply(cols / unit + (cols % unit != 0), unit);
}

int64_t blockBytes(const NumberFormat &format, int64_t cols) {
  check(format);
  const int64_t padded = paddedCols(format, cols);
  return multiply(padded, 2 * format.bits()) +
         (format.quantised() ? scaleBytes(format, padded / format.group) : 0);
}

int64_t packedBytes(const NumberFormat &format, int64_t rows, int64_t cols) {
  return multiply(rows / kBlockRows + (rows % kBlockRows != 0), blockBytes(format, cols));
}

void quantiseRow(const NumberFormat &format, std::span<const float> row, std::span<uint8_t> codes,
                 std::span<float> scales, std::span<float> minima) {
  check(format);
  int64_t cols = int64_t(row.size()), groups = paddedCols(format, cols) / format.group;
  for (int64_t g = 0; g < groups; ++g) {
    int64_t begin = g * format.group, count = std::min<int64_t>(format.group, cols - begin);
    Group values(format, row.subspan(begin, count));
    GroupScale group = chooseScale(format, values);
    if (format.kind == Kind::F8)
      for (int64_t i = 0; i < count; ++i)
        codes[begin + i] = f8Code(values.values[i], group.scale);
    else
      for (int64_t i = 0; i < format.group; i += 4) {
        Byte4 four = __builtin_convertvector(codesAt(values, i, group), Byte4);
        std::memcpy(&codes[begin + i], &four, 4);
      }
    std::fill_n(&codes[begin] + count, format.group - count, uint8_t(format.zeroCode()));
    scales[g] = group.scale;
    if (format.minima)
      minima[g] = group.minimum;
  }
}

float codeValue(const NumberFormat &format, uint8_t code) {
  return dequantised(format, code, 1, 0);
}

void packBlock(const NumberFormat &format, const float *rows, int64_t numRows, int64_t cols,
               std::span<uint8_t> out) {
  std::ranges::fill(out, uint8_t(0));
  if (format.quantised()) {
    packQuantised(format, rows, numRows, cols, out);
    return;
  }
  for (int64_t lane = 0; lane < numRows; ++lane)
    for (int64_t k = 0; k < cols; ++k) {
      float value = rows[lane * cols + k];
      if (format.kind == Kind::F32)
        put(out, (k * 16 + lane) * 4, value);
      else if (format.kind == Kind::F16)
        put(out, (k * 16 + lane) * 2, toFiniteHalf(value));
      else
        put(out, k / 2 * 64 + lane * 4 + k % 2 * 2, toBFloat16(value));
    }
}

void unpackBlock(const NumberFormat &format, std::span<const uint8_t> block, int64_t cols,
                 float *rows) {
  if (format.quantised()) {
    unpackQuantised(format, block, cols, rows);
    return;
  }
  for (int64_t lane = 0; lane < kBlockRows; ++lane)
    for (int64_t k = 0; k < cols; ++k)
      rows[lane * cols + k] =
          format.kind == Kind::F32 ? get<float>(block, (k * 16 + lane) * 4)
          : format.kind == Kind::F16
              ? fromHalf(get<uint16_t>(block, (k * 16 + lane) * 2))
              : fromBFloat16(get<uint16_t>(block, k / 2 * 64 + lane * 4 + k % 2 * 2));
}

void quantiseDequantise(const NumberFormat &format, std::span<float> row) {
  check(format);
  if (format.kind == Kind::F32)
    return;
  if (format.kind == Kind::BF16) {
    for (float &v : row)
      v = fromBFloat16(toBFloat16(v));
    return;
  }
  if (format.kind == Kind::F16) {
    for (float &v : row)
      v = fromHalf(toFiniteHalf(v));
    return;
  }
  for (size_t begin = 0; begin < row.size(); begin += size_t(format.group)) {
    std::span<float> values =
        row.subspan(begin, std::min<size_t>(size_t(format.group), row.size() - begin));
    Group copy(format, values);
    GroupScale group = chooseScale(format, copy);
    if (format.kind == Kind::F8) {
      for (float &v : values)
        v = f8Value(f8Code(v, group.scale), group.scale);
      continue;
    }
    for (int64_t i = 0; i < copy.size; i += 4) {
      Int4 code = codesAt(copy, i, group) - group.zero;
      Float4 value = group.scale * __builtin_convertvector(code, Float4) + group.minimum;
      std::memcpy(copy.values + i, &value, sizeof value);
    }
    std::copy_n(copy.values, values.size(), values.begin());
  }
}

namespace {

/// The columns of a group whose codes must be the outermost, so that the stored values' own scale
/// is the one they were rounded with: the element of largest magnitude, or the two ends.
struct Outermost {
  int64_t low = -1, high = -1; ///< columns of the group; -1: none
  Outermost(const NumberFormat &format, const Group &values, const GroupScale &group,
            int64_t count) {
    const auto [least, most] = std::minmax_element(values.values, values.values + count);
    if (format.minima)
      low = least - values.values, high = most - values.values;
    else if (format.kind == Kind::F8 && group.scale == kLeastF8Scale)
      return; // whatever the largest is
    else if (format.integers() && format.bits() < 8)
      low = (group.scale > 0 ? least : most) - values.values;
    else
      (-*least >= *most ? low : high) = (-*least >= *most ? least : most) - values.values;
  }
  /// What is stored for `value` in column i of the group.
  float storedInteger(float value, int64_t i, const GroupScale &group) const {
    const float lowest = float(group.lowest - group.zero);
    const float highest = float(group.highest - group.zero);
    float code = group.scale == 0 ? 0.0f : std::nearbyint((value - group.minimum) / group.scale);
    code = i == low ? lowest : i == high ? highest : std::clamp(code, lowest, highest);
    return group.scale * code + group.minimum;
  }
  float storedF8(float value, int64_t i, const GroupScale &group) const {
    const float largest = 1.75f * group.scale;
    return i == low    ? -largest
           : i == high ? largest
                       : f8Value(f8Code(value, group.scale), group.scale);
  }
};

} // namespace

namespace {

/// The scale whose codes have the least error, each element's square weighed by `weights`. A group's
/// largest element is seldom worth what spanning it costs the others at 4 bits and less.
GroupScale searchScale(const NumberFormat &format, const Group &values, const float *weights) {
  GroupScale best = chooseScale(format, values);
  if (!format.integers() || format.bits() >= 8)
    return best;
  constexpr int kSteps = 16;
  constexpr float kStep = 0.025f;
  float least = INFINITY;
  for (int step = 0; step < kSteps; ++step) {
    const GroupScale group = chooseScale(format, values, 1 - kStep * float(step));
    Float4 sums = {0, 0, 0, 0};
    for (int64_t i = 0; i < format.group; i += 4) {
      const Float4 code = __builtin_convertvector(codesAt(values, i, group) - group.zero, Float4);
      const Float4 error = values.at(i) - (group.scale * code + group.minimum);
      Float4 weight;
      std::memcpy(&weight, weights + i, sizeof weight);
      sums += weight * error * error;
    }
    if (const float sum = sums[0] + sums[1] + sums[2] + sums[3]; sum < least)
      least = sum, best = group;
  }
  return best;
}

} // namespace

void gptqRow(const NumberFormat &format, std::span<float> row, std::span<const int32_t> order,
             const float *factor) {
  check(format);
  const int64_t cols = int64_t(row.size()), groups = paddedCols(format, cols) / format.group;
  std::vector<float> weights(size_t(groups * format.group)); // by column; 0 beyond the last
  for (int64_t i = 0; i < cols; ++i)
    weights[size_t(order[size_t(i)])] = 1 / (factor[i * cols + i] * factor[i * cols + i]);
  std::vector<GroupScale> scales;
  std::vector<Outermost> outermost;
  for (int64_t begin = 0; begin < cols; begin += format.group) {
    const int64_t count = std::min<int64_t>(format.group, cols - begin);
    const Group values(format, row.subspan(size_t(begin), size_t(count)));
    scales.push_back(searchScale(format, values, &weights[size_t(begin)]));
    outermost.emplace_back(format, values, scales.back(), count);
  }
  std::vector<float> left(static_cast<size_t>(cols)); // in the order of rounding
  for (int64_t i = 0; i < cols; ++i)
    left[size_t(i)] = row[size_t(order[size_t(i)])];
  for (int64_t i = 0; i < cols; ++i) {
    const int64_t column = order[size_t(i)], inGroup = column % format.group;
    const GroupScale &scale = scales[size_t(column / format.group)];
    const Outermost &outer = outermost[size_t(column / format.group)];
    const float stored = format.kind == Kind::F8
                             ? outer.storedF8(left[size_t(i)], inGroup, scale)
                             : outer.storedInteger(left[size_t(i)], inGroup, scale);
    const float *from = factor + i * cols;
    const float error = (left[size_t(i)] - stored) / from[i];
    row[size_t(column)] = stored;
    for (int64_t j = i + 1; j < cols; ++j)
      left[size_t(j)] -= error * from[j];
  }
}

} // namespace retort::weight
