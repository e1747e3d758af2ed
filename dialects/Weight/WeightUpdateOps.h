//===- WeightUpdateOps.h - Operations that change weights by others -------===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "dialects/Weight/WeightOps.h"

#define GET_OP_CLASSES
#include "dialects/Weight/WeightUpdateOps.h.inc"
