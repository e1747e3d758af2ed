//===- Fit.cpp - Solving a student's layers by least squares --------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Torch/Fit.h"
#include "compiler/Torch/BlockFit.h"
#include "compiler/Torch/Checks.h"
#include "compiler/Torch/Meter.h"
#include <ATen/core/grad_mode.h>

namespace retort::exec {

void fit(const Model &student, const Model &teacher, const std::vector<Sequence> &sequences,
         const FitOptions &options, const OnProgress &progress, FitResult &result) {
  const at::NoGradGuard noGrad;
  if (sequences.empty())
    fail(ExitCode::BadInput, "fit: there are no sequences");
  if (!(options.damping > 0))
    fail(ExitCode::Usage, "fit: the damping must be above 0");
  checkFit(*student.graph, *teacher.graph, options.params);
  checkSequences(sequences, *student.graph);
  result = {};
  BlockFit blocks(student, teacher, sequences, options.damping, options.precision);
  blocks.want(options.params, /*towardsOutputs=*/true);
  const size_t count = student.graph->blocks.size();
  Meter meter("fit", progress, int64_t(count));
  for (const Block &block : student.graph->blocks) {
    blocks.runTeacher(block.label);
    blocks.runStudent(block);
    result.blocks.push_back(block.label);
    result.lacking.push_back(blocks.lacking());
    meter.step(double(blocks.rows()) / double(count));
  }
  blocks.fitLogits();
  writeWeights(blocks.take(), options.outputPath);
}

} // namespace retort::exec
