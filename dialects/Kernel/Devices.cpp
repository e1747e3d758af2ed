//===- Devices.cpp - What the cost model knows of GPUs --------------------===//
// SPDX-License-Identifier: Apache-2.0
//
// The table in docs/cuda-cost.md says where each number comes from, and which are assumed. In
// short:
//   multiprocessors, clock, memory, L2 size, TFLOPS   NVIDIA's data sheets; B200's memory
//               pytorch/ao PR 4002
//   share       4090 zeux/calm; 5090 blog.alpindale.net/posts/5090_decode_optimization; h100, h200
//               GH200 by mredenti/PowerCapping (3615 of 4023 GB/s read); a100 JuliaCon23 workshop;
//               others assumed
//   latencies   markdewing/AI_kernels latency/README.md (4090, 5090, GH200, B200); others assumed
//   L2 GB/s     assumed; a100 between the two figures of smallscientist1/cuda_microbenchmark
//   wait        0.73 us measured on a 3090, Infatoshi/MegaQwen (225 grid.sync() in empty phases);
//               others scaled
//   start       MegaQwen: 3.9 us
//   launch      MegaQwen 0.83 us; h100 1.3 us, hazyresearch.stanford.edu/blog/2025-05-27-no-bubbles
//   dependent   assumed
//   access      GeForce drivers offer none over PCIe (forks that patch them are about just that)
//   way         NVLink 0.7 us: arXiv 2111.04867 (on V100; quoted in astra-sim issue 59); NCCL's own
//               model has 0.6 us for a hop of its LL protocol from Volta to Hopper
//               (src/graph/tuning.cc, nccl issue 1334). PCIe 1.5 us: assumed, between NCCL's 1.0
//               and half of the 4.1 us that lukealonso/p2pmark measures for a load there and back
//   GB/s        h100 NVIDIA/nccl issue 1264; others assumed
//   mma share   assumed
#include "dialects/Kernel/Devices.h"
#include "llvm/ADT/StringSwitch.h"

namespace retort::kernel {
namespace {
// clang-format off
constexpr Device kDevices[] = {
  // name    title                          arch SMs  GHz    GB/s  share   L2 MB GB/s  L2us  mem   TFLOPS mma  fp32  wait start launch dep  access way GB/s
  {"a100",    "NVIDIA A100 SXM 80 GB",       80, 108, 1.410, 2039, 0.88,   40, 4000, 0.15, 0.40,  312, 1.00, 19.5, 0.75, 3.9, 1.00, 0.0, true , 0.7, 230},
  {"rtx3060", "NVIDIA GeForce RTX 3060",     86,  28, 1.777,  360, 0.92,    3,  900, 0.14, 0.33, 25.5, 1.00, 12.7, 0.65, 3.9, 0.83, 0.0, false, 1.5,  20},
  {"rtx3090", "NVIDIA GeForce RTX 3090",     86,  82, 1.695,  936, 0.92,    6, 2000, 0.14, 0.33, 71.0, 1.00, 35.6, 0.73, 3.9, 0.83, 0.0, false, 1.5,  20},
  {"l4",      "NVIDIA L4",                   89,  58, 2.040,  300, 0.90,   48, 1800, 0.15, 0.33,  121, 1.00, 30.3, 0.70, 3.9, 0.83, 0.0, true , 1.5,  20},
  {"rtx4090", "NVIDIA GeForce RTX 4090",     89, 128, 2.520, 1008, 0.947,  72, 4500, 0.12, 0.25,  165, 1.00, 82.6, 0.73, 3.9, 0.83, 0.0, false, 1.5,  20},
  {"h100",    "NVIDIA H100 SXM 80 GB",       90, 132, 1.980, 3350, 0.90,   50, 5500, 0.14, 0.35,  989, 0.62, 66.9, 0.80, 3.9, 1.30, 1.0, true , 0.7, 370},
  {"h200",    "NVIDIA H200 SXM 141 GB",      90, 132, 1.980, 4800, 0.90,   50, 5500, 0.14, 0.35,  989, 0.62, 66.9, 0.80, 3.9, 1.30, 1.0, true , 0.7, 370},
  {"b200",    "NVIDIA B200",                100, 148, 1.965, 7672, 0.90,  126, 9000, 0.15, 0.44, 2250, 0.50, 75.0, 0.90, 3.9, 1.30, 1.0, true , 0.7, 700},
  {"rtx5090", "NVIDIA GeForce RTX 5090",    120, 170, 2.407, 1792, 0.934,  96, 7000, 0.15, 0.39,  210, 1.00,105.0, 0.85, 3.9, 1.00, 0.9, false, 1.5,  40},
};
// clang-format on
} // namespace

bool Device::assume(llvm::StringRef text) {
  auto [field, number] = text.split(':');
  double value = 0;
  if (number.getAsDouble(value) || value <= 0)
    return false;
  double *to = llvm::StringSwitch<double *>(field)
                   .Case("memory_share", &memoryShare)
                   .Case("l2_gbs", &l2GBs)
                   .Case("issue", &issue)
                   .Case("wait_us", &waitUs)
                   .Case("launch_us", &launchUs)
                   .Case("launch_dependent_us", &launchDependentUs)
                   .Case("peer_us", &peerUs)
                   .Case("peer_gbs", &peerGBs)
                   .Default(nullptr);
  if (to)
    *to = value;
  else if (field == "multiprocessors")
    multiprocessors = static_cast<int>(value);
  else if (field == "peer_access" && value == 1)
    peerAccess = true;
  else
    return false;
  return true;
}

llvm::ArrayRef<Device> devices() { return kDevices; }

const Device *findDevice(llvm::StringRef name) {
  for (const Device &device : kDevices)
    if (name == device.name)
      return &device;
  return nullptr;
}

const Device &deviceOfArch(int arch) {
  switch (arch) {
  case 86:
    return *findDevice("rtx3090");
  case 89:
    return *findDevice("rtx4090");
  case 90:
    return *findDevice("h100");
  }
  const Device *best = &kDevices[0];
  for (const Device &device : kDevices)
    if (device.arch <= arch)
      best = &device;
  return *best;
}

std::string deviceNames() {
  std::string text;
  for (const Device &device : kDevices)
    text += (text.empty() ? "" : ", ") + std::string(device.name);
  return text;
}

} // namespace retort::kernel
