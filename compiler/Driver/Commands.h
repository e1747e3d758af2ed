//===- Commands.h - What the commands of `retort` do ----------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
// One function a command. Each prints its result on stdout, progress on stderr, and throws Error;
// tools/retort only parses options, calls these and turns an Error into its line and exit code.
#pragma once
#include "compiler/Driver/Limits.h"
#include "compiler/Driver/Predict.h"
#include "compiler/Driver/Recipe.h"
#include "compiler/Tokenizer/Spec.h"
#include <cstdint>
#include <string>
#include <vector>

namespace retort {

struct CompileOptions {
  std::string teacher;             ///< a .gguf file or a Hugging Face folder
  std::string adapter;             ///< a LoRA folder, merged into the teacher; empty: none
  std::vector<std::string> corpus; ///< files or folders of documents; may be empty
  bool smallCorpus = false;        ///< few held-out documents will do
  std::string output;              ///< OUT.retort, or a folder if it ends in '/'
  std::string target = "cpu"; ///< "cpu", "cuda:sm_80,sm_90" or both: compiler/Codegen/Targets.h
  unsigned devices = 1;       ///< GPUs that share the model
  std::string form;   ///< of GPU programs: persistent or graph; empty: the faster by the cost model
  std::string recipe; ///< a name or a file; empty: the usual one
  std::vector<Setting> settings;  ///< of the recipe's parameters, in order
  std::string passes;             ///< a pipeline that replaces the recipe's
  std::vector<std::string> gates; ///< what the specialist must reach, as Gate::parse() reads it
  bool printPipeline = false;
  ChatSource chat;
  Limits limits;         ///< what the bundle must keep within; none: the recipe decides
  double minutes = 0;    ///< that the compile may take; 0: the recipe decides
  std::string workspace; ///< empty: Workspace::defaultDir()
  unsigned threads = 0;  ///< threads of data work; 0: one a core
  bool dryRun = false;
  bool explain = false; ///< print what was chosen for each layer, and why
  bool force = false;   ///< replace OUT if it exists
  bool quiet = false;
};
void compileCommand(const CompileOptions &options);

struct SweepOptions {
  CompileOptions compile;                                ///< of each; its output is the folder
  std::vector<std::pair<std::string, uint64_t>> budgets; ///< as written, and in bytes
};
/// Compiles for each budget and writes one report of them all.
void sweepCommand(const SweepOptions &options);

/// Lists the recipes, or describes the one of this name or file, with its parameters.
void recipesCommand(const std::string &nameOrFile);

struct EvalOptions {
  std::string model, against;
  std::string adapter;             ///< a LoRA folder, merged into `model`; empty: none
  std::vector<std::string> corpus; ///< may be empty if there are tasks
  std::vector<std::string> tasks;  ///< task files
  std::string documents;           ///< a file to write each document's score to; empty: none
  uint64_t textBytes = 500'000;    ///< most bytes of held-out text to score; 0: all
  unsigned threads = 0;
  std::string device; ///< of bundles, as in retort.h; empty: the best there is
  bool json = false, quiet = false;
};
void evalCommand(const EvalOptions &options);

struct DocumentsOptions {
  std::vector<std::string> corpus; ///< files or folders of documents
  std::string documents;           ///< a file to write each document's split to; empty: none
};
/// Reads a corpus as a compile does, and says what is in it.
void corpusCommand(const DocumentsOptions &options);

struct RunOptions {
  std::string bundle, prompt;
  std::string device; ///< as in retort.h; empty: the best there is
  bool chat = false, json = false;
  unsigned maxTokens = 256, threads = 0, topK = 40;
  unsigned speculate = 8; ///< most tokens guessed at a time
  double temperature = 0.7, topP = 0.95, minP = 0, repetitionPenalty = 1;
  uint64_t seed = 0;
  std::vector<std::string> stops;
  std::vector<std::string> chatVariables; ///< "name=value"
  std::string date;                       ///< for chat templates; empty: now
};
void runCommand(const RunOptions &options);

struct ChatRenderOptions {
  std::string model;            ///< a bundle, a .gguf file or a Hugging Face folder
  std::string conversation;     ///< a JSON file: a list of messages, or an object with "messages"
  std::string tools, documents; ///< JSON files; empty: none
  std::vector<std::string> chatVariables; ///< "name=value"
  std::string date;                       ///< empty: now
  ChatSource chat;                        ///< of a checkpoint
  bool noAnswer = false, json = false;
};
/// Prints a conversation as the model reads it: text and tokens.
void chatRenderCommand(const ChatRenderOptions &options);

struct BenchOptions {
  std::string bundle;
  std::string device;                            ///< as in retort.h; empty: the best there is
  unsigned prompt = 0, generate = 0, repeat = 0; ///< 0: 128, 128 and 5; 16, 1 and 1 if simulated
  unsigned rows = 1;                             ///< sequences that decode together, a row each
  unsigned context = 0; ///< positions that each holds when decoding begins; 0: the prompt's
  unsigned threads = 0;
  bool json = false;
};
void benchCommand(const BenchOptions &options);

struct InspectOptions {
  std::string file;
  bool phases = false; ///< also what each phase of the programs reads, writes and computes
  bool json = false;
  PredictOptions predict; ///< with phases
};
void inspectCommand(const InspectOptions &options);

struct ImportOptions {
  std::string teacher, output;
  std::string adapter; ///< a LoRA folder, merged into the teacher; empty: none
};
void importCommand(const ImportOptions &options);

struct ExportOptions {
  std::string bundle, output;
  std::string format = "gguf"; ///< or "safetensors"
  std::string type = "f16";    ///< of matrices: f16, bf16 or f32
  bool force = false, quiet = false;
};
/// Writes a bundle's model for other engines: one GGUF file, or a Hugging Face folder.
void exportCommand(const ExportOptions &options);

} // namespace retort
