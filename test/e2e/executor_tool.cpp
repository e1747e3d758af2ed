//===- executor_tool.cpp - The executor by hand, for tests and measurements ----------===//
// SPDX-License-Identifier: Apache-2.0
//
//   executor-tool LIBRARY CHECKPOINT logits f32|bf16 SEQUENCES OUT [PIPELINE]
//   executor-tool LIBRARY CHECKPOINT bench ROWS COUNT THREADS [score|observe|train|distil]
//   executor-tool LIBRARY CHECKPOINT memory TOKENS
//
// SEQUENCES is a text file: a sequence a line, token ids by spaces, '|' where a document begins.
// OUT gets the logits of all rows as float32, of the model that PIPELINE makes. `bench` prints
// tokens a second on COUNT sequences of ROWS random tokens; with one thread by its CPU time, which
// other processes do not disturb. `memory` observes TOKENS random tokens and prints the peak of
// memory.
//
//===--------------------------------------------------------------------------------===//
#include "compiler/Import/Import.h"
#include "compiler/Torch/FromIR.h"
#include "compiler/Torch/Loader.h"
#include "compiler/Weights/ParamStream.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Pass/PassRegistry.h"
#include "passes/Register.h"
#include <cstdio>
#include <cstring>
#include <fstream>
#include <optional>
#include <sstream>
#include <sys/resource.h>
#include <time.h>

using namespace retort;

namespace {

void runPipeline(mlir::ModuleOp module, const char *text) {
  registerAllPasses();
  mlir::PassManager manager(module.getContext(), mlir::ModuleOp::getOperationName());
  auto parsed = mlir::parsePassPipeline(text);
  if (mlir::failed(parsed))
    fail(ExitCode::Usage, "the pipeline does not parse");
  static_cast<mlir::OpPassManager &>(manager) = std::move(*parsed);
  if (mlir::failed(manager.run(module)))
    fail(ExitCode::Usage, "a pass failed");
}

/// A checkpoint as the executor takes it.
struct Teacher {
  mlir::MLIRContext context;
  Checkpoint checkpoint;
  mlir::OwningOpRef<mlir::ModuleOp> module;
  lm::ModelOp model;
  exec::Graph graph;
  WeightSources sources;
  std::optional<ParamStream> stream;
  exec::ParamId streamOf = exec::kNone;

  Teacher(const std::string &path, const char *pipeline)
      : checkpoint(Checkpoint::open(path)), module(importModel(context, checkpoint)),
        sources(&checkpoint) {
    if (pipeline)
      runPipeline(*module, pipeline);
    model = *module->getBody()->getOps<lm::ModelOp>().begin();
    graph = exec::graphFromModel(model);
  }

  exec::Model executable() {
    return {&graph, [this](exec::ParamId param, int64_t begin, int64_t end, float *out) {
              return exec::guarded([&] {
                if (param != streamOf)
                  stream.emplace(model.lookupParam(graph.params[size_t(param)].name), sources);
                streamOf = param;
                stream->readRows(begin, end, out);
              });
            }};
  }
};

std::vector<exec::Sequence> readSequences(const char *path) {
  std::ifstream file(path);
  std::vector<exec::Sequence> sequences;
  for (std::string line; std::getline(file, line);) {
    exec::Sequence sequence;
    std::istringstream words(line);
    for (std::string word; words >> word;)
      if (word == "|")
        sequence.documents.push_back(int32_t(sequence.tokens.size()));
      else
        sequence.tokens.push_back(std::stoi(word));
    sequences.push_back(sequence);
  }
  return sequences;
}

std::vector<exec::Sequence> randomSequences(int64_t rows, int64_t count, int64_t vocab) {
  std::vector<exec::Sequence> sequences(static_cast<size_t>(count));
  uint32_t state = 1;
  for (exec::Sequence &sequence : sequences)
    for (int64_t i = 0; i < rows; ++i)
      sequence.tokens.push_back(int32_t((state = state * 1664525 + 1013904223) % uint32_t(vocab)));
  return sequences;
}

void writeLogits(exec::Executor &executor, Teacher &teacher, char **argv) {
  std::vector<std::vector<float>> logits;
  const auto precision =
      std::strcmp(argv[0], "bf16") == 0 ? exec::Precision::Bf16 : exec::Precision::F32;
  exec::check(executor.logits(teacher.executable(), readSequences(argv[1]), precision, logits));
  std::ofstream out(argv[2], std::ios::binary);
  for (const std::vector<float> &rows : logits)
    out.write(reinterpret_cast<const char *>(rows.data()),
              std::streamsize(rows.size() * sizeof(float)));
}

/// Of the clock that bench() goes by.
double seconds(int threads) {
  timespec now{};
  clock_gettime(threads == 1 ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC, &now);
  return double(now.tv_sec) + 1e-9 * double(now.tv_nsec);
}

void bench(exec::Executor &executor, Teacher &teacher, int64_t rows, int64_t count, int threads,
           const std::string &only) {
  const auto sequences = randomSequences(rows, count, teacher.graph.vocab);
  const exec::Model model = teacher.executable();
  // The rate between the first and the last report: reading the weights is not in it.
  auto rate = [&](const char *what, auto call) {
    if (!only.empty() && std::string(what).find(only) != 0)
      return;
    std::optional<double> first;
    double last = 0;
    double steps = -1, all = 1;
    exec::check(call([&](const exec::Progress &progress) {
      last = seconds(threads);
      if (!first)
        first = last;
      ++steps;
      all = double(progress.totalSteps);
      return true;
    }));
    std::printf("%-28s %8.0f tokens/s\n", what,
                double(rows * count) * steps / all / (last - *first));
    std::fflush(stdout);
  };
  exec::Scores scores;
  rate("score: blocks forward", [&](const exec::OnProgress &progress) {
    return executor.score(model, nullptr, sequences, {}, progress, scores);
  });
  Statistics statistics;
  rate("observe", [&](const exec::OnProgress &progress) {
    return executor.observe(model, sequences, progress, statistics);
  });
  exec::TrainOptions options;
  options.learningRate = 1e-4;
  exec::TrainResult result;
  rate("train, cross-entropy", [&](const exec::OnProgress &progress) {
    return executor.train(model, nullptr, sequences, options, progress, result);
  });
  options.losses.forwardKl = 1;
  rate("distil, KL + cross-entropy", [&](const exec::OnProgress &progress) {
    return executor.train(model, &model, sequences, options, progress, result);
  });
}

void memory(exec::Executor &executor, Teacher &teacher, int64_t tokens) {
  Statistics statistics;
  exec::check(executor.observe(teacher.executable(),
                               randomSequences(256, tokens / 256, teacher.graph.vocab), {},
                               statistics));
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  std::printf("{\"blocks\": %zu, \"peak_kib\": %ld}\n", statistics.blocks.size(), usage.ru_maxrss);
}

int run(int argc, char **argv) {
  const std::string command = argc > 3 ? argv[3] : "";
  const bool isBench = command == "bench" && (argc == 7 || argc == 8);
  auto executor = exec::loadExecutor({.threads = isBench ? std::atoi(argv[6]) : 0}, argv[1]);
  const bool isLogits = command == "logits" && (argc == 7 || argc == 8);
  Teacher teacher(argv[2], isLogits && argc == 8 ? argv[7] : nullptr);
  if (isLogits)
    writeLogits(*executor, teacher, argv + 4);
  else if (isBench)
    bench(*executor, teacher, std::atoll(argv[4]), std::atoll(argv[5]), std::atoi(argv[6]),
          argc == 8 ? argv[7] : "");
  else if (command == "memory" && argc == 5)
    memory(*executor, teacher, std::atoll(argv[4]));
  else
    fail(ExitCode::Usage, "see the head of executor_tool.cpp");
  return 0;
}

} // namespace

int main(int argc, char **argv) {
  try {
    if (argc < 4)
      fail(ExitCode::Usage, "executor-tool LIBRARY CHECKPOINT logits|bench|memory ...");
    return run(argc, argv);
  } catch (const Error &error) {
    std::fprintf(stderr, "executor-tool: %s\n", error.message.c_str());
    return int(error.code);
  }
}
