//===- Predict.cpp - The cost model in commands ---------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Driver/Predict.h"
#include "compiler/Driver/Suggest.h"
#include "runtime/base/Error.h"

#include <nlohmann/json.hpp>

namespace retort {

const kernel::Device &deviceNamed(const std::string &name) {
  if (const kernel::Device *device = kernel::findDevice(name))
    return *device;
  std::vector<std::string> names;
  for (const kernel::Device &device : kernel::devices())
    names.emplace_back(device.name);
  const std::string nearest = nearestName(name, names);
  fail(ExitCode::Usage, "--on " + name + ": not a known device" +
                            (nearest.empty() ? "" : ": did you mean '" + nearest + "'?") +
                            (nearest.empty() ? ": there are " : " There are ") +
                            kernel::deviceNames());
}

kernel::Device assumedDevice(const PredictOptions &options) {
  kernel::Device device = deviceNamed(options.on);
  for (const std::string &text : options.assume)
    if (!device.assume(text))
      fail(ExitCode::Usage, "--assume " + text + ": not a number of a device, as in wait_us:0.5");
  return device;
}

bool predicts(kernel::ProgramOp program, const PredictOptions &options) {
  return !options.on.empty() && program.isCuda() &&
         options.rows <= static_cast<int64_t>(program.getMaxRows());
}

namespace {
nlohmann::json describe(const kernel::PhaseTime &phase) {
  return {{"name", phase.name},
          {"tiles", phase.tiles},
          {"memory_bytes", phase.memoryBytes},
          {"l2_bytes", phase.l2Bytes},
          {"flops", phase.flops},
          {"us", phase.us},
          {"wait_us", phase.waitUs},
          {"exchange_us", phase.exchangeUs},
          {"hidden_us", phase.hiddenUs},
          {"bound", phase.bound}};
}
} // namespace

nlohmann::json predictionOf(llvm::ArrayRef<kernel::ProgramOp> programs,
                            const PredictOptions &options) {
  const kernel::Device device = assumedDevice(options);
  kernel::ProgramOp program = programs.front();
  kernel::StepShape step;
  step.rows = options.rows         ? options.rows
              : program.isDecode() ? 1
                                   : static_cast<int64_t>(program.getMaxRows());
  step.context = options.context ? options.context : 128;
  if (!program.isDecode()) // the rows are of one sequence, and among what the last attends to
    step.context = std::max(step.context, step.rows);
  auto predicted = [&](bool graph) {
    step.graph = graph;
    std::vector<kernel::StepTime> times;
    for (kernel::ProgramOp one : programs)
      times.push_back(kernel::predict(kernel::phaseCosts(one), device, step));
    return times.size() == 1 ? times[0] : kernel::together(times[0], times[1]);
  };
  const kernel::StepTime time = predicted(false);
  const double graphUs = predicted(true).us;
  nlohmann::json phases = nlohmann::json::array();
  for (const kernel::PhaseTime &phase : time.phases)
    phases.push_back(describe(phase));
  nlohmann::json sample; // null: the program draws no tokens
  if (time.sample.us > 0)
    sample = describe(time.sample);
  return {{"device", device.name},
          {"measured", false},
          {"rows", step.rows},
          {"context", step.context},
          {"devices", programs.size()},
          {"phases", std::move(phases)},
          {"sample", std::move(sample)},
          {"us", time.us},
          {"graph_us", graphUs},
          {"tokens_per_second", step.rows * 1e6 / time.us},
          {"gb_s", time.gigabytesPerSecond()},
          {"achievable_gb_s", device.achievableGBs()},
          {"weight_us", time.weightUs},
          {"wait_us", time.waitUs},
          {"attention_us", time.attentionUs},
          {"exchange_us", time.exchangeUs},
          {"launch_us", time.startUs},
          {"excess_us", time.excessUs},
          {"other_us", time.otherUs()},
          {"hidden_us", time.hiddenUs}};
}

CudaForm fasterForm(llvm::ArrayRef<kernel::ProgramOp> programs, llvm::ArrayRef<CudaArch> arches) {
  double persistent = 0, graph = 0;
  for (kernel::ProgramOp program : programs) {
    if (!program.isDecode())
      continue;
    const std::vector<kernel::PhaseCost> costs = kernel::phaseCosts(program);
    for (const CudaArch &arch : arches) {
      const kernel::Device &device = kernel::deviceOfArch(arch.number);
      kernel::StepShape step;
      persistent += kernel::predict(costs, device, step).us;
      step.graph = true;
      graph += kernel::predict(costs, device, step).us;
    }
  }
  return graph < persistent ? CudaForm::Graph : CudaForm::Persistent;
}

} // namespace retort
