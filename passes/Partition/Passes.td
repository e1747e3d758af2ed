//===- Passes.td - Passes that cut a model over devices -------------------===//
// SPDX-License-Identifier: Apache-2.0
#ifndef RETORT_PASSES_PARTITION_TD
#define RETORT_PASSES_PARTITION_TD
include "mlir/Pass/PassBase.td"

def Partition : Pass<"partition", "::retort::lm::ModelOp"> {
  let summary = "Make a model one device's part of it";
  let description = [{
    Tensor parallelism (Megatron-LM, arXiv:1909.08053, section 3): a device has some key/value heads
    of every attention with their query heads, some channels of every gated unit, and some rows of
    the logits' matrix. Query, key, value, gate and up projections and the logits' matrix lose the
    rows of others, output and down projections the columns; their products become partial sums,
    which an `lm.all_reduce` adds up, so a layer has two. Their biases stay with device 0. The
    embedding's table stays whole, since a step reads a row of it for a token; where the logits'
    matrix is the same parameter, its rows become one of their own, so a device holds that table one
    and a half times.

    Cuts are made where nothing changes in value: between key/value heads, and between groups of the
    quantised matrix whose columns are cut, at least every 16 channels. The cut nearest to the
    middle is taken; what cannot be halved is larger on the device that has fewer bytes up to there,
    so over a model's layers the devices come out even: of 3 key/value heads device 0 has 2 in the
    first layer, 1 in the second. Run for each device on a copy of the model, before projections are
    fused: `partition{devices=2 device=1}`.
  }];
  let options = [
    Option<"devices", "devices", "int64_t", "1",
           "Devices that share the model: 1 (leave it whole) or 2">,
    Option<"device", "device", "int64_t", "0", "The device whose part to make, from 0">];
  let statistics = [
    Statistic<"numAllReduces", "all-reduces", "All-reduces inserted">,
    Statistic<"numCut", "parameters-cut", "Parameters that lost rows or columns">];
}
#endif
