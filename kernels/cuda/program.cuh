// All that an emitted program calls. SPDX-License-Identifier: Apache-2.0
#pragma once
#include "kernels/cuda/attend.cuh"
#include "kernels/cuda/embed.cuh"
#include "kernels/cuda/matmul.cuh"
#include "kernels/cuda/rows.cuh"
