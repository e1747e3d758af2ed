//===- Kernels.h - Runs the kernels of kernels/cuda on the simulated device -------------===//
// SPDX-License-Identifier: Apache-2.0
//
// A test writes a translation unit as the emitter would, loads it into the simulated driver,
// launches its kernels with a step, and compares with plain loops.
#pragma once
#include "compiler/Codegen/CudaShapeText.h"
#include "compiler/Weights/PackMma.h"
#include "kernels/cuda/shapes.h"
#include "runtime/src/abi/cuda_program.h"
#include "test/unit/Sim/Sim.h"
#include <cmath>
#include <random>

namespace retort::test {

using codegen::declaration;

inline std::vector<float> randomValues(size_t count, unsigned seed, float scale = 1) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, scale);
  std::vector<float> values(count);
  for (float &v : values)
    v = normal(random);
  return values;
}
inline float roundHalf(float v) { return fromHalf(toHalf(v)); }

/// A matrix in the mma16 layout, and what it stands for.
struct Packed {
  std::vector<uint8_t> bytes;
  std::vector<float> values; ///< [rows][cols]
};
inline Packed packMatrix(const std::string &layoutName, const NumberFormat &format, int64_t rows,
                         int64_t cols, unsigned seed) {
  const MatrixLayout layout = *named<MatrixLayout>(layoutName);
  Packed packed;
  packed.values = randomValues(size_t(rows * cols), seed, 0.1f);
  packed.bytes.resize(size_t(weight::packedBytes(layout, format, rows, cols)));
  const int64_t parts = layout.gated ? 2 : 1, partRows = rows / parts;
  const int64_t block = weight::blockBytes(layout, format, cols);
  for (int64_t part = 0; part < parts; ++part)
    for (int64_t first = 0; first < partRows; first += 16)
      weight::packBlock(layout, format, packed.values.data() + (part * partRows + first) * cols,
                        std::min<int64_t>(16, partRows - first), cols,
                        std::span(packed.bytes)
                            .subspan(size_t((first / 16 * parts + part) * block), size_t(block)));
  for (int64_t r = 0; r < rows; ++r)
    weight::quantiseDequantise(format, {packed.values.data() + r * cols, size_t(cols)});
  return packed;
}

class CudaKernels : public Sim {
protected:
  static constexpr unsigned kThreads = retort::cuda::kThreads;
  unsigned sharedBytes = 0; ///< of a CTA, set by open()

  void open(int arch, int sms = 3, bool check = false) {
    set("arch", arch);
    sharedBytes = unsigned(retort::cuda::sharedBytesOf(arch));
    set("sms", sms);
    set("check", check);
    set("count", check);
    multiprocessors = unsigned(sms);
    start();
  }
  CUmodule loadProgram(const std::string &body) {
    CUmodule module = nullptr;
    const std::string text =
        "#include \"kernels/cuda/program.cuh\"\nusing namespace retort::cuda;\n" + body;
    EXPECT_EQ(cuda.cuModuleLoadData(&module, codeOf(text).c_str()), CUDA_SUCCESS)
        << library().error();
    return module;
  }
  /// A step of rows (slot, position), with pages of its own for each slot, in an order that is not
  /// theirs.
  void makeStep(const std::vector<int32_t> &slots, const std::vector<int32_t> &positions,
                const std::vector<int32_t> &wanted, int64_t pageBytes, int pagesPerSlot,
                CUdeviceptr cacheMemory = 0) {
    const int32_t numSlots = *std::max_element(slots.begin(), slots.end()) + 1;
    pageTable.resize(size_t(numSlots * pagesPerSlot));
    for (size_t i = 0; i < pageTable.size(); ++i)
      pageTable[i] = int32_t((i * 7 + 3) % pageTable.size());
    if (pageTable.size() % 7 == 0)
      for (size_t i = 0; i < pageTable.size(); ++i)
        pageTable[i] = int32_t(pageTable.size() - 1 - i);
    cache = cacheMemory ? cacheMemory
                        : upload(std::vector<uint8_t>(pageTable.size() * size_t(pageBytes)));
    step = {};
    step.slots = pointer<const int32_t>(upload(slots));
    step.positions = pointer<const int32_t>(upload(positions));
    step.page_table = pointer<const int32_t>(upload(pageTable));
    step.wanted = pointer<const int32_t>(upload(wanted.empty() ? std::vector<int32_t>{0} : wanted));
    step.cache = pointer<uint8_t>(cache);
    step.sync = pointer<uint32_t>(upload(std::vector<uint32_t>(64 + 16 * 64)));
    step.num_rows = int32_t(slots.size());
    step.num_wanted = int32_t(wanted.size());
    step.pages_per_slot = pagesPerSlot;
    step.num_devices = 1;
  }
  void makeRows(int rows, const std::vector<int32_t> &wanted = {}) {
    std::vector<int32_t> slots(size_t(rows), 0), positions(slots);
    for (int r = 0; r < rows; ++r)
      positions[size_t(r)] = r;
    makeStep(slots, positions, wanted, 64, (rows + 15) / 16);
  }
  template <class T> static T *pointer(CUdeviceptr p) { return reinterpret_cast<T *>(p); }

  template <class... A> void run(CUmodule module, const std::string &name, A... arguments) {
    if (!module)
      return; // said already
    CUfunction f = function(module, name.c_str());
    ASSERT_EQ(
        cuda.cuFuncSetAttribute(f, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, sharedBytes),
        CUDA_SUCCESS);
    const CUdeviceptr memory = upload(std::vector<retort_cuda_step>{step});
    ASSERT_EQ(launch(f, multiprocessors, kThreads, sharedBytes, true, memory, arguments...),
              CUDA_SUCCESS)
        << library().error();
    ASSERT_EQ(cuda.cuCtxSynchronize(), CUDA_SUCCESS) << report().dump(1).substr(0, 4000);
  }

  unsigned multiprocessors = 3;
  retort_cuda_step step = {};
  std::vector<int32_t> pageTable;
  CUdeviceptr cache = 0;
};

} // namespace retort::test
