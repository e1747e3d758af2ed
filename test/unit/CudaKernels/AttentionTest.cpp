//===- AttentionTest.cpp - Attention of decode and prefill against loops ----------------===//
// SPDX-License-Identifier: Apache-2.0
#include "test/unit/CudaKernels/Kernels.h"

namespace retort::test {
namespace {

struct Shape {
  int heads, kvHeads, dims;
  int rotary = 0, window = 0, splits = 1;
  float softCap = 0;
  bool norms = false, normLast = false, ownAngles = false, sinks = false;
  CacheFormat cache = CacheFormat::F16;
  float querySize = 1, keySize = 1; // how large the numbers are

  int stride() const { return (heads + 2 * kvHeads) * dims; }
  int elementBytes() const { return cuda::CacheShape{.format = cache}.valueBytes(); }
  int layerOffset() const { return 256; }
  int pageBytes() const { return layerOffset() + 2 * kvHeads * 16 * dims * elementBytes() + 128; }
  float scale() const { return 1 / std::sqrt(float(dims)); }
  cuda::AppendShape append() const {
    return {.heads = heads,
            .cache = {.kvHeads = kvHeads, .dims = dims, .format = cache, .pageBytes = pageBytes()},
            .rotaryDims = rotary,
            .qStride = stride(),
            .kStride = stride(),
            .kAt = heads * dims,
            .vStride = stride(),
            .vAt = (heads + kvHeads) * dims,
            .qNorm = norms,
            .kNorm = norms,
            .normLast = normLast,
            .eps = 1e-6f};
  }
  cuda::AttendShape attend() const {
    return {.append = append(),
            .splits = splits,
            .maxRows = 16,
            .window = window,
            .scale = scale(),
            .softCap = softCap,
            .sinks = sinks};
  }
  cuda::AttentionShape attention() const {
    return {.heads = heads,
            .cache = append().cache,
            .qStride = stride(),
            .window = window,
            .scale = scale(),
            .softCap = softCap,
            .sinks = sinks};
  }
  std::string text(const std::string &name, bool prefill) const {
    std::string s = prefill ? declaration(name + "_append", append()) + "\n" +
                                  declaration(name, attention()) + "\n"
                            : declaration(name, attend()) + "\n";
    s += "RETORT_KERNEL(k_" + name +
         ", kThreads, 1, const retort_cuda_step *step, float *x, const float *qNorm, "
         "const float *kNorm, const float *qAngles, const float *angles, const float *sinks, "
         "float *partials, float *y) {\n  Cta cta(step);\n";
    const std::string offset = std::to_string(layerOffset());
    if (prefill)
      s += "  prefill::ropeAppend<" + name +
           "_append>(cta, x, x, x, qNorm, kNorm, qAngles, angles, " + offset +
           ");\n  cta.wait();\n  prefill::attention<" + name + ">(cta, x, " + offset +
           ", sinks, y);\n}\n";
    else
      s += "  attendPrefetch<" + name + ">(cta, " + offset + ");\n  attend<" + name +
           ">(cta, x, x, x, qNorm, kNorm, qAngles, angles, " + offset +
           ", sinks, partials, y);\n}\n";
    return s;
  }
};

/// Rows of one slot in a step: positions first..first + count - 1, everything before in the cache.
struct Part {
  int slot, first, count;
};

float rounded(const Shape &s, float v) {
  return s.cache == CacheFormat::F16      ? roundHalf(v)
         : s.cache == CacheFormat::BF16   ? fromBFloat16(toBFloat16(v))
         : s.cache == CacheFormat::F8E4M3 ? fromE4m3(toE4m3(v))
                                          : v;
}

class Attention : public CudaKernels {
protected:
  static constexpr int kMaxSlots = 3;

  static void norm(const Shape &s, std::vector<float> &y, const float *gain) {
    double sum = 0;
    for (float v : y)
      sum += double(v) * v;
    for (int i = 0; i < s.dims; ++i)
      y[size_t(i)] *= float(1 / std::sqrt(sum / s.dims + 1e-6)) * gain[i];
  }
  /// What queries' angles are multiplied by, where they have their own.
  static float grown(const Shape &s, int position) {
    return s.ownAngles ? 1 + 0.25f * float(position / 20) : 1;
  }
  /// Normed and rotated head, or the other way round, as f32.
  std::vector<float> turned(const Shape &s, const float *x, const float *gain, int position,
                            bool isQuery) {
    std::vector<float> y(x, x + s.dims);
    if (s.norms && !s.normLast)
      norm(s, y, gain);
    const float scale = isQuery ? grown(s, position) : 1;
    for (int i = 0; i < s.rotary / 2; ++i) {
      const float c = scale * angle(s, position, i),
                  n = scale * angle(s, position, i + s.rotary / 2);
      const float a = y[size_t(i)], b = y[size_t(i + s.rotary / 2)];
      y[size_t(i)] = a * c - b * n;
      y[size_t(i + s.rotary / 2)] = b * c + a * n;
    }
    if (s.norms && s.normLast)
      norm(s, y, gain);
    return y;
  }
  static float angle(const Shape &s, int position, int i) {
    const int half = s.rotary / 2;
    const double a = position * std::pow(10000.0, -double(i % half) / half);
    return float(i < half ? std::cos(a) : std::sin(a));
  }
  uint8_t *element(const Shape &s, std::vector<uint8_t> &pages, int slot, int position, int kvHead,
                   bool value, int d) {
    const size_t page = size_t(pageTable[size_t(slot * pagesPerSlot + position / 16)]);
    return pages.data() + page * size_t(s.pageBytes()) + size_t(s.layerOffset()) +
           size_t((((value ? s.kvHeads : 0) + kvHead) * 16 + position % 16) * s.dims + d) *
               size_t(s.elementBytes());
  }
  void put(const Shape &s, uint8_t *to, float v) {
    const uint16_t bits = s.cache == CacheFormat::F16      ? toHalf(v)
                          : s.cache == CacheFormat::F8E4M3 ? toE4m3(v)
                                                           : toBFloat16(v);
    if (s.elementBytes() == 4)
      memcpy(to, &v, 4);
    else
      memcpy(to, &bits, size_t(s.elementBytes()));
  }
  float get(const Shape &s, const uint8_t *from) {
    if (s.elementBytes() == 4)
      return *reinterpret_cast<const float *>(from);
    if (s.elementBytes() == 1)
      return fromE4m3(*from);
    const uint16_t bits = *reinterpret_cast<const uint16_t *>(from);
    return s.cache == CacheFormat::F16 ? fromHalf(bits) : fromBFloat16(bits);
  }

  std::vector<float> check(CUmodule module, const std::string &name, const Shape &s,
                           const std::vector<Part> &parts, float tolerance) {
    SCOPED_TRACE(name + ": heads " + std::to_string(s.heads) + "/" + std::to_string(s.kvHeads) +
                 " dims " + std::to_string(s.dims) + " first " + std::to_string(parts[0].first) +
                 " count " + std::to_string(parts[0].count));
    std::vector<int32_t> slots, positions;
    pagesPerSlot = 1;
    for (const Part &part : parts) {
      for (int i = 0; i < part.count; ++i)
        slots.push_back(part.slot), positions.push_back(part.first + i);
      pagesPerSlot = std::max(pagesPerSlot, (part.first + part.count + 15) / 16);
    }
    const int rows = int(slots.size());
    // Every position of a slot has its row, whether it is of this step or not.
    auto source = [&](int slot, int position) {
      auto row = randomValues(size_t(s.stride()), unsigned(slot * 100003 + position), 1);
      for (int i = 0; i < (s.heads + s.kvHeads) * s.dims; ++i)
        row[size_t(i)] *= i < s.heads * s.dims ? s.querySize : s.keySize;
      return row;
    };
    const auto qNorm = randomValues(size_t(s.dims), 1), kNorm = randomValues(size_t(s.dims), 2);
    const auto sinks = randomValues(size_t(s.heads), 4);
    std::vector<float> x, angles, qAngles;
    for (int r = 0; r < rows; ++r) {
      const auto row = source(slots[size_t(r)], positions[size_t(r)]);
      x.insert(x.end(), row.begin(), row.end());
      for (int i = 0; i < s.rotary; ++i)
        angles.push_back(angle(s, positions[size_t(r)], i));
      for (int i = 0; i < s.rotary; ++i)
        qAngles.push_back(grown(s, positions[size_t(r)]) * angle(s, positions[size_t(r)], i));
    }
    angles.push_back(0);
    qAngles.push_back(0);
    makeStep(slots, positions, {}, s.pageBytes(), pagesPerSlot);
    std::vector<uint8_t> pages(pageTable.size() * size_t(s.pageBytes()),
                               0xff); // NaN where nothing was appended
    std::vector<std::vector<std::vector<float>>> keys(kMaxSlots),
        values(kMaxSlots); // [slot][position][kvHeads * dims]
    for (const Part &part : parts)
      for (int p = 0; p < part.first + part.count; ++p) {
        const auto row = source(part.slot, p);
        std::vector<float> key, value;
        for (int h = 0; h < s.kvHeads; ++h) {
          const float *k = row.data() + (s.heads + h) * s.dims, *v = k + s.kvHeads * s.dims;
          const auto t = turned(s, k, kNorm.data(), p, false);
          for (int d = 0; d < s.dims; ++d) {
            key.push_back(rounded(s, t[size_t(d)]));
            value.push_back(rounded(s, v[d]));
            if (p < part.first) {
              put(s, element(s, pages, part.slot, p, h, false, d), key.back());
              put(s, element(s, pages, part.slot, p, h, true, d), value.back());
            }
          }
        }
        keys[size_t(part.slot)].push_back(key);
        values[size_t(part.slot)].push_back(value);
      }
    EXPECT_EQ(cuda.cuMemcpyHtoDAsync(cache, pages.data(), pages.size(), nullptr), CUDA_SUCCESS);
    const size_t outputs = size_t(rows * s.heads * s.dims);
    const CUdeviceptr y = upload(std::vector<float>(outputs, NAN));
    const CUdeviceptr partials =
        upload(std::vector<float>(size_t(rows * s.heads * s.splits * (s.dims + 2)), NAN));
    const CUdeviceptr px = upload(x), pq = upload(qNorm), pk = upload(kNorm), pa = upload(angles),
                      pqa = upload(qAngles), ps = upload(sinks);
    run(module, "k_" + name, px, pq, pk, pqa, pa, ps, partials, y);
    auto got = download<float>(y, outputs);
    auto appended = download<uint8_t>(cache, pages.size());
    for (int r = 0; r < rows; ++r) {
      const int slot = slots[size_t(r)], position = positions[size_t(r)];
      for (int h = 0; h < s.heads; ++h) {
        const auto query =
            turned(s, x.data() + r * s.stride() + h * s.dims, qNorm.data(), position, true);
        const int kvHead = h / (s.heads / s.kvHeads);
        const int begin = s.window > 0 ? std::max(0, position - s.window + 1) : 0;
        std::vector<double> score;
        double most = -1e30, total = 0;
        for (int p = begin; p <= position; ++p) {
          double dot = 0;
          for (int d = 0; d < s.dims; ++d)
            dot += double(query[size_t(d)]) *
                   keys[size_t(slot)][size_t(p)][size_t(kvHead * s.dims + d)];
          dot *= s.scale();
          if (s.softCap != 0)
            dot = s.softCap * std::tanh(dot / s.softCap);
          score.push_back(dot);
          most = std::max(most, dot);
        }
        if (s.sinks) {
          most = std::max(most, double(sinks[size_t(h)]));
          total = std::exp(sinks[size_t(h)] - most);
        }
        for (double &v : score)
          total += v = std::exp(v - most);
        for (int d = 0; d < s.dims; ++d) {
          double want = 0;
          for (int p = begin; p <= position; ++p)
            want += score[size_t(p - begin)] / total *
                    values[size_t(slot)][size_t(p)][size_t(kvHead * s.dims + d)];
          const float is = got[size_t((r * s.heads + h) * s.dims + d)];
          if (!(std::fabs(is - want) <= tolerance)) {
            ADD_FAILURE() << "row " << r << " head " << h << " feature " << d << ": " << is
                          << ", want " << want;
            return got;
          }
        }
      }
      for (int h = 0; h < s.kvHeads; ++h)
        for (int d = 0; d < s.dims; ++d)
          for (bool value : {false, true}) {
            const float is = get(s, element(s, appended, slot, position, h, value, d));
            const float want =
                (value ? values : keys)[size_t(slot)][size_t(position)][size_t(h * s.dims + d)];
            if (!(std::fabs(is - want) <= 4e-3f * std::max(1.0f, std::fabs(want)))) {
              ADD_FAILURE() << "appended row " << r << " head " << h << " feature " << d << ": "
                            << is << ", want " << want;
              return got;
            }
          }
    }
    return got;
  }
  CUmodule loadShapes(const std::vector<Shape> &shapes, bool prefill) {
    std::string text;
    for (size_t i = 0; i < shapes.size(); ++i)
      text += shapes[i].text("A" + std::to_string(i), prefill);
    return loadProgram(text);
  }
  void checkAll(const std::vector<Shape> &shapes, const std::vector<std::vector<Part>> &steps,
                bool prefill, float tolerance) {
    CUmodule module = loadShapes(shapes, prefill);
    ASSERT_TRUE(module);
    for (size_t i = 0; i < shapes.size(); ++i)
      for (const auto &parts : steps) {
        check(module, "A" + std::to_string(i), shapes[i], parts, tolerance);
        if (HasFailure())
          return;
      }
  }
  int pagesPerSlot = 1;
};

const std::vector<Shape> kShapes = {
    {.heads = 9, .kvHeads = 3, .dims = 64, .rotary = 64, .splits = 4},
    {.heads = 8, .kvHeads = 2, .dims = 128, .rotary = 128, .splits = 3, .norms = true},
    {.heads = 2, .kvHeads = 2, .dims = 80, .rotary = 32, .splits = 2, .cache = CacheFormat::BF16},
    {.heads = 3, .kvHeads = 3, .dims = 32, .splits = 1, .softCap = 2, .cache = CacheFormat::F32},
    {.heads = 8, .kvHeads = 1, .dims = 256, .rotary = 256, .window = 40, .splits = 2},
    {.heads = 16, .kvHeads = 1, .dims = 64, .rotary = 64, .window = 150, .splits = 4},
    {.heads = 9, .kvHeads = 3, .dims = 64, .rotary = 64, .splits = 4, .cache = CacheFormat::F8E4M3},
    {.heads = 4, .kvHeads = 2, .dims = 48, .window = 40, .splits = 2, .cache = CacheFormat::F8E4M3},
    {.heads = 4,
     .kvHeads = 4,
     .dims = 128,
     .rotary = 128,
     .splits = 2,
     .norms = true,
     .cache = CacheFormat::BF16},
    {.heads = 2, .kvHeads = 1, .dims = 256, .splits = 2, .cache = CacheFormat::F8E4M3},
    {.heads = 6,
     .kvHeads = 2,
     .dims = 48,
     .rotary = 48,
     .splits = 3,
     .norms = true,
     .normLast = true},
    {.heads = 8, .kvHeads = 1, .dims = 64, .rotary = 64, .splits = 2, .ownAngles = true},
    {.heads = 6, .kvHeads = 3, .dims = 64, .rotary = 32, .window = 40, .splits = 1, .sinks = true},
    {.heads = 16, .kvHeads = 2, .dims = 128, .splits = 4, .softCap = 2, .sinks = true}};
/// What prefill's f16 queries are too coarse for, or its cache.
const std::vector<Shape> kDecodeShapes = {
    // Scores far apart: the weights' reference moves often.
    {.heads = 7, .kvHeads = 1, .dims = 128, .rotary = 128, .splits = 2, .querySize = 40},
    {.heads = 8,
     .kvHeads = 1,
     .dims = 256,
     .splits = 2,
     .cache = CacheFormat::BF16,
     .querySize = 10},
    {.heads = 4, .kvHeads = 1, .dims = 96, .window = 60},
    // Beyond f16's range.
    {.heads = 4,
     .kvHeads = 2,
     .dims = 128,
     .splits = 2,
     .cache = CacheFormat::BF16,
     .querySize = 1e-5f,
     .keySize = 1e6f},
    {.heads = 2, .kvHeads = 1, .dims = 128, .splits = 2, .cache = CacheFormat::F32}};

TEST_F(Attention, DecodeOneRow) {
  open(90);
  for (const auto &shapes : {kShapes, kDecodeShapes})
    checkAll(shapes, {{{0, 0, 1}}, {{0, 5, 1}}, {{0, 16, 1}}, {{0, 127, 1}}, {{0, 300, 1}}}, false,
             1e-4f);
}
TEST_F(Attention, DecodeRowsOfOneAndManySlots) {
  open(80);
  for (const auto &shapes : {kShapes, kDecodeShapes})
    checkAll(shapes, {{{0, 0, 16}}, {{0, 200, 5}}, {{0, 3, 1}, {1, 250, 2}, {2, 14, 4}}}, false,
             1e-4f);
}
// 8 KB of context: splits and the page table's reloading.
TEST_F(Attention, DecodeLongContext) {
  open(90, 5);
  checkAll({{.heads = 3, .kvHeads = 1, .dims = 64, .rotary = 64, .splits = 1},
            {.heads = 3, .kvHeads = 1, .dims = 64, .rotary = 64, .splits = 16}},
           {{{0, 6000, 1}}}, false, 1e-4f);
}
// A row's bits do not depend on what else is in the step, nor on the grid.
TEST_F(Attention, DecodeGivesTheSameBitsAloneAndInABatch) {
  const Shape s = kShapes[0];
  open(80, 3);
  CUmodule module = loadShapes({s}, false);
  const auto alone = check(module, "A0", s, {{0, 195, 1}}, 1e-4f);
  const auto chunk = check(module, "A0", s, {{0, 190, 6}, {1, 33, 2}}, 1e-4f);
  const auto batch = check(module, "A0", s, {{1, 34, 1}, {0, 195, 1}}, 1e-4f);
  const size_t row = size_t(s.heads * s.dims);
  for (size_t i = 0; i < row; ++i) {
    ASSERT_EQ(chunk[5 * row + i], alone[i]);
    ASSERT_EQ(chunk[5 * row + i], batch[row + i]);
    ASSERT_EQ(chunk[7 * row + i], batch[i]);
  }
  // Who is last to arrive, and adds the splits, depends on the schedule.
  for (int seed : {1, 2, 3}) {
    TearDown();
    set("seed", seed);
    open(80, 2 + 3 * seed);
    EXPECT_EQ(alone, check(loadShapes({s}, false), "A0", s, {{0, 195, 1}}, 1e-4f));
  }
}
// Nothing uninitialised, no race, and keys and values in whole sectors.
TEST_F(Attention, IsClean) {
  for (bool prefill : {false, true}) {
    open(90, 3, true);
    std::vector<Shape> shapes = {kShapes[0], kShapes[1], kShapes[4], kShapes[6], kShapes[8]};
    if (!prefill)
      shapes.insert(shapes.end(), kDecodeShapes.begin(), kDecodeShapes.begin() + 3);
    checkAll(shapes, {{{0, 3, 5}, {1, 250, 2}}}, prefill, 6e-3f);
    const auto r = report();
    EXPECT_EQ(r["findings"].size(), 0u) << r["findings"].dump(1).substr(0, 3000);
    EXPECT_LT(double(r["shared"]["bank_conflicts"]), 0.01 * double(r["shared"]["requests"]))
        << r["sites"].dump(1);
    library().clear();
  }
}
// What is asked for ahead: a page a warp, of those that hold earlier steps' positions.
TEST_F(Attention, AsksForPagesOfEarlierSteps) {
  const Shape &s = kShapes[0];
  const int pageBytes = 2 * 16 * s.dims * 2, tiles = s.splits * s.kvHeads;
  for (int arch : {80, 90})
    for (const auto &[position, multiprocessors, pages] :
         {std::tuple(0, tiles, 0), std::tuple(300, tiles, 3 * 19), // 3 splits of 6 or 7 pages
          std::tuple(2000, tiles, 3 * 4 * 8), std::tuple(300, 3, 3 * 6)}) {
      SCOPED_TRACE(testing::Message() << arch << ", position " << position);
      open(arch, multiprocessors, true);
      checkAll({s}, {{{0, position, 1}}}, false, 1e-4f);
      EXPECT_EQ(report()["prefetch_bytes"], pages * pageBytes);
      EXPECT_EQ(report()["findings"].size(), 0u);
      library().clear();
    }
}
TEST_F(Attention, Prefill) {
  open(90);
  checkAll(kShapes,
           {{{0, 0, 1}}, {{0, 0, 70}}, {{0, 100, 33}}, {{0, 3, 20}, {1, 50, 30}, {2, 0, 1}}}, true,
           6e-3f);
}

} // namespace
} // namespace retort::test
