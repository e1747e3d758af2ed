//===- main.cpp - The command line of Retort ------------------------------===//
// SPDX-License-Identifier: Apache-2.0
// Parses options and calls compiler/Driver, nothing else. Exit codes: docs/errors.md.
#include "compiler/Driver/Commands.h"
#include "compiler/Driver/Progress.h"
#include "compiler/Driver/Suggest.h"
#include "runtime/base/Output.h"
#include "runtime/base/SystemError.h"
#include "runtime/include/retort.hpp"
#include "tools/CommandOptions.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <limits>
#include <sstream>
#include <unistd.h>

namespace {
using namespace retort;

/// "a, b, c".
std::string listed(const std::vector<std::string> &names) {
  std::string text;
  for (const std::string &name : names)
    text += (text.empty() ? "" : ", ") + name;
  return text;
}

constexpr uint64_t kMostTokens = 1'000'000'000'000, kMostThreads = 4096;

/// The commands, their options, and what to call once they are parsed.
struct CommandLine {
  CLI::App app{"Retort makes a small model of one field from a general one and that field's "
               "documents.",
               "retort"};
  CompileOptions compile;
  EvalOptions eval;
  DocumentsOptions documents;
  RunOptions run;
  ChatRenderOptions chatRender;
  BenchOptions bench;
  InspectOptions inspect;
  ImportOptions import;
  ExportOptions exported;
  std::vector<std::string> budgets;
  std::string budget, latency, described;

  CommandLine() {
    app.require_subcommand(1);
    app.set_version_flag("--version", std::string("retort " RETORT_VERSION));
    app.option_defaults()->always_capture_default();
    addCompile();
    addCorpus();
    addEval();
    addRun();
    addChatRender();
    addBench();
    addInspect();
    addImport();
    addExport();
    addSweep();
    addRecipes();
    addServe();
    for (CLI::App *command : app.get_subcommands({}))
      command->footer("exit codes: see `retort --help`, and docs/errors.md");
    app.footer("example: retort compile teacher.gguf --corpus docs/ -o field.retort\n"
               "         retort run field.retort -p \"How do I ...?\"\n"
               "exit codes: 0 done, 1 bug, 2 usage, 3 bad input, 4 unsupported, 5 resources,\n"
               "            6 I/O, 7 device, 8 a gate failed, 130 interrupted");
  }

  /// Refuses a word that is no command, with the nearest one.
  void checkCommand(const std::string &word) {
    std::vector<std::string> names;
    for (const CLI::App *command : app.get_subcommands({}))
      names.push_back(command->get_name());
    if (std::find(names.begin(), names.end(), word) != names.end())
      return;
    const std::string nearest = nearestName(word, names);
    fail(ExitCode::Usage,
         "'" + word + "' is no command: " +
             (nearest.empty() ? "see `retort --help`" : "did you mean '" + nearest + "'?"));
  }

  void addCompile() {
    auto *c = app.add_subcommand("compile", "Make a bundle from a teacher and documents");
    c->add_option("-o,--output", compile.output, "The bundle; a folder if it ends in '/'")
        ->type_name("OUT.retort");
    addHowToCompile(c);
    c->add_flag("--print-pipeline", compile.printPipeline, "Print the pipeline in use and stop");
    c->add_option("--budget", budget, "Most bytes of the bundle, for example 40MB (default: none)")
        ->type_name("SIZE")
        ->default_str("");
    c->add_option(
         "--latency", latency,
         "Longest time to decode a token on the GPU that --on names, by the cost model, for "
         "example 2ms (default: none)")
        ->type_name("TIME")
        ->default_str("");
    c->add_option("--on", compile.limits.on, "The GPU of --latency, for example h100 or rtx4090")
        ->type_name("DEVICE")
        ->default_str("");
    c->add_flag("--dry-run", compile.dryRun,
                "Print stages, cache, memory, disk and time, and stop");
    c->callback([this] {
      if (!budget.empty())
        compile.limits.bundleBytes = parseSize(budget);
      if (!latency.empty())
        compile.limits.decodeUs = parseTime(latency);
      if (latency.empty() != compile.limits.on.empty())
        fail(ExitCode::Usage, latency.empty()
                                  ? "--on says where --latency is meant: give both"
                                  : "--latency needs the GPU that it is meant for: give --on");
      compileCommand(compile);
    });
  }

  void addSweep() {
    auto *c =
        app.add_subcommand("sweep", "Make a bundle for each of several budgets, and one report");
    c->add_option("--budgets", budgets, "Most bytes of each bundle, for example 20MB,40MB")
        ->required()
        ->type_name("SIZE,...")
        ->allow_extra_args(false)
        ->delimiter(',')
        ->default_str("");
    c->add_option("-o,--output", compile.output, "The folder of the bundles and the report")
        ->required()
        ->type_name("DIR");
    addHowToCompile(c);
    c->callback([this] {
      SweepOptions sweep{compile, {}};
      for (const std::string &each : budgets)
        sweep.budgets.emplace_back(each, parseSize(each));
      sweepCommand(sweep);
    });
  }

  /// What compile and sweep have in common.
  void addHowToCompile(CLI::App *c) {
    c->add_option("TEACHER", compile.teacher, "A .gguf file or a Hugging Face folder")->required();
    addAdapter(c, compile.adapter, "TEACHER");
    c->add_option("--corpus", compile.corpus, "Documents of the field: files or folders")
        ->type_name("DIR...")
        ->default_str("");
    c->add_flag("--small-corpus", compile.smallCorpus,
                "Go on with a corpus that holds out fewer than 50 documents");
    c->add_option("--target", compile.target,
                  "What to emit code for: cpu, cpu:x86-64-v3, cuda:sm_80,sm_90 or cpu,cuda:sm_90")
        ->type_name("TARGET");
    c->add_option("--devices", compile.devices, "GPUs that share the model")->type_name("N");
    c->add_option(
         "--form", compile.form,
         "GPUs: persistent (one kernel a step) or graph (default: the faster, as predicted)")
        ->type_name("FORM")
        ->default_str("");
    c->add_option("--recipe", compile.recipe,
                  listed(Recipe::names()) + ", or a file (default: see `retort recipes`)")
        ->type_name("NAME|FILE")
        ->default_str("");
    c->add_option_function<std::vector<std::string>>(
         "--set",
         [this](const std::vector<std::string> &texts) {
           for (const std::string &text : texts)
             compile.settings.push_back(Setting::parse(text));
         },
         "Set a parameter of the recipe (may be repeated)")
        ->type_name("NAME=VALUE")
        ->default_str("")
        ->allow_extra_args(false);
    addSetting(c, "--cache",
               "How keys and values are kept: f16, bf16, f8e4m3, or f32, which is f16 on GPUs "
               "(default: the recipe's)")
        ->type_name("FORMAT");
    c->add_option("--gate", compile.gates,
                  "What the specialist must reach, or no bundle is written (may be repeated): "
                  "\"bits_per_byte <= 0.85 * teacher\", \"task:faq.jsonl >= 0.8\"")
        ->type_name("LIMIT")
        ->default_str("")
        ->allow_extra_args(false);
    c->add_option("--passes", compile.passes, "An MLIR pipeline in the recipe's place")
        ->type_name("PIPELINE")
        ->default_str("");
    addChatSource(c, compile.chat);
    c->add_option("--minutes", compile.minutes,
                  "What the compile may take on this machine: how long to train (default: the "
                  "recipe's numbers of tokens)")
        ->type_name("N")
        ->check(CLI::Range(0.01, 1e6))
        ->default_str("");
    addSetting(c, "--distill-tokens", "Tokens to distil on (default: the recipe's)")
        ->type_name("N");
    c->add_option("--workspace", compile.workspace,
                  "Where data work is kept (default: ~/.cache/retort)")
        ->type_name("DIR")
        ->default_str("");
    addSetting(c, "--seed", "Seed of the shuffle and the training")->type_name("N");
    c->add_option("--threads", compile.threads, "Threads of data work; 0: one a core")
        ->type_name("N")
        ->check(whole(0, kMostThreads));
    c->add_flag_callback(
        "--baselines",
        [this] { compile.settings.push_back({"--baselines", "baselines", "true", {}}); },
        "Also train the honest baselines, for the report (doubles the time)");
    c->add_flag("--explain", compile.explain,
                "Print what was chosen for each layer by measured costs, and why");
    c->add_flag("--force", compile.force, "Replace the output if it exists");
    c->add_flag("-q,--quiet", compile.quiet, "No progress");
  }

  /// An option that sets the recipe's parameter of the same name.
  CLI::Option *addSetting(CLI::App *command, const std::string &option, const std::string &help) {
    const std::string name = option.substr(2);
    return command
        ->add_option_function<std::string>(
            option,
            [this, option, name](const std::string &value) {
              // What a pipeline that has no parameter for it can say itself.
              const std::string instead =
                  name == "cache" ? "write cache-format{format=" + value + "} there" : "";
              compile.settings.push_back({option + " " + value, name, value, instead});
            },
            help)
        ->default_str("");
  }

  static void addDevice(CLI::App *command, std::string &device) {
    command
        ->add_option("--device", device,
                     "cpu, cuda, cuda:N (GPU N), sim, sim:N (N GPUs) (default: a GPU, else cpu)")
        ->type_name("DEVICE")
        ->default_str("");
  }

  void addCorpus() {
    auto *c = app.add_subcommand("corpus", "Show what a corpus holds, and how it is split");
    c->add_option("DIR", documents.corpus, "Documents: files or folders")->required();
    c->add_option("--documents", documents.documents,
                  "Write each document's split to this file (TSV)")
        ->type_name("FILE")
        ->default_str("");
    c->callback([this] { corpusCommand(documents); });
  }

  void addEval() {
    auto *c = app.add_subcommand("eval", "Score a model on a corpus' held-out documents");
    c->add_option("MODEL", eval.model, "A bundle, a .gguf file or a Hugging Face folder")
        ->required();
    c->add_option("--corpus", eval.corpus, "Documents; only their held-out part is read")
        ->type_name("DIR...")
        ->default_str("");
    c->add_option("--task", eval.tasks, "Questions to answer, JSON lines (may be repeated)")
        ->type_name("FILE")
        ->default_str("")
        ->allow_extra_args(false);
    addAdapter(c, eval.adapter, "MODEL, a checkpoint");
    c->add_option("--against", eval.against, "A second model, asked the same")
        ->type_name("MODEL")
        ->default_str("");
    c->add_option("--documents", eval.documents, "Write each document's score to this file (TSV)")
        ->type_name("FILE")
        ->default_str("");
    c->add_option("--text-bytes", eval.textBytes, "Most bytes of text to score; 0: all")
        ->type_name("N")
        ->check(whole(0, kMostTokens));
    c->add_option("--threads", eval.threads, "Threads; 0: one a core")
        ->type_name("N")
        ->check(whole(0, kMostThreads));
    addDevice(c, eval.device);
    c->add_flag("--json", eval.json, "Print JSON");
    c->add_flag("-q,--quiet", eval.quiet, "No progress");
    c->callback([this] { evalCommand(eval); });
  }

  void addRun() {
    auto *c = app.add_subcommand("run", "Generate text with a bundle");
    c->add_option("BUNDLE", run.bundle, "What `retort compile` made")->required();
    auto *prompt = c->add_option("-p,--prompt", run.prompt, "The text to continue")
                       ->type_name("PROMPT")
                       ->default_str("");
    auto *chat =
        c->add_flag("--chat", run.chat, "Talk in the terminal, by the model's own chat template")
            ->excludes(prompt);
    addConversation(c, run.chatVariables, run.date);
    for (const char *option : {"--chat-var", "--date"})
      c->get_option(option)->needs(chat);
    c->add_option("-n,--tokens", run.maxTokens,
                  "Most tokens to generate; 0: until the context is full")
        ->type_name("N")
        ->check(whole(0, 1 << 30));
    c->add_option("--temperature", run.temperature, "0 to 100; 0: the likeliest token each time")
        ->type_name("T")
        ->check(CLI::Range(0.0, 100.0).description(""));
    c->add_option("--top-k", run.topK, "Sample among the K likeliest; 0: all")
        ->type_name("K")
        ->check(whole(0, 1 << 30));
    c->add_option("--top-p", run.topP,
                  "Sample among the likeliest that reach probability P, over 0 to 1; 0: all")
        ->type_name("P")
        ->check(CLI::Range(0.0, 1.0).description(""));
    c->add_option("--min-p", run.minP,
                  "Sample among those of at least P of the likeliest's probability; 0: all")
        ->type_name("P")
        ->check(CLI::Range(0.0, 1.0).description(""));
    c->add_option("--repetition-penalty", run.repetitionPenalty,
                  "Weaken tokens that the text holds already, 0.01 to 100; 1: none")
        ->type_name("R")
        ->check(CLI::Range(0.01, 100.0).description(""));
    c->add_option("--seed", run.seed, "Seed of the sampling, 0 to 2^64 - 1")
        ->type_name("S")
        ->check(whole(0, std::numeric_limits<uint64_t>::max()));
    c->add_option("--stop", run.stops,
                  "End before this text, or at the special token of this name (may be repeated)")
        ->type_name("S")
        ->default_str("")
        ->allow_extra_args(false);
    c->add_option("--speculate", run.speculate,
                  "Most tokens guessed for a step, where the text repeats itself; 0: none")
        ->type_name("N")
        ->check(whole(0, 64));
    c->add_option("--threads", run.threads, "Threads; 0: one a core")
        ->type_name("N")
        ->check(whole(0, kMostThreads));
    addDevice(c, run.device);
    c->add_flag("--json", run.json, "Print one JSON object at the end");
    c->callback([this] { runCommand(run); });
  }

  /// What a chat template reads besides messages.
  static void addConversation(CLI::App *command, std::vector<std::string> &variables,
                              std::string &date) {
    command
        ->add_option("--chat-var", variables,
                     "A switch of the chat template, enable_thinking=false (may be repeated)")
        ->type_name("NAME=VALUE")
        ->default_str("")
        ->allow_extra_args(false);
    command->add_option("--date", date, "What the chat template takes for today (default: now)")
        ->type_name("YYYY-MM-DD")
        ->default_str("");
  }

  static void addAdapter(CLI::App *command, std::string &adapter, const std::string &model) {
    command
        ->add_option("--adapter", adapter, "A LoRA adapter that PEFT saved, merged into " + model)
        ->type_name("DIR")
        ->default_str("");
  }

  /// Where a checkpoint's chat template comes from.
  static void addChatSource(CLI::App *command, ChatSource &chat) {
    auto *none = command->add_flag("--no-chat", chat.none, "Leave the chat template out");
    command
        ->add_option("--chat-template", chat.file, "A Jinja file in the place of the teacher's own")
        ->type_name("FILE")
        ->default_str("")
        ->excludes(none);
  }

  void addChatRender() {
    auto *c = app.add_subcommand("chat-render", "Show a conversation as a model reads it");
    c->add_option("MODEL", chatRender.model, "A bundle, a .gguf file or a Hugging Face folder")
        ->required();
    c->add_option("CONVERSATION", chatRender.conversation, "A JSON file with a list of messages")
        ->required();
    c->add_option("--tools", chatRender.tools, "A JSON file with a list of functions")
        ->type_name("FILE")
        ->default_str("");
    c->add_option("--documents", chatRender.documents, "A JSON file with a list of documents")
        ->type_name("FILE")
        ->default_str("");
    addConversation(c, chatRender.chatVariables, chatRender.date);
    addChatSource(c, chatRender.chat);
    c->add_flag("--no-answer", chatRender.noAnswer, "Do not ask for an answer at the end");
    c->add_flag("--json", chatRender.json, "Print JSON");
    c->callback([this] { chatRenderCommand(chatRender); });
  }

  void addBench() {
    auto *c = app.add_subcommand("bench", "Time a bundle");
    c->add_option("BUNDLE", bench.bundle, "What `retort compile` made")->required();
    c->add_option("--prompt", bench.prompt, "Tokens of prompt (default: 128; simulated: 16)")
        ->type_name("N")
        ->check(whole(1, 1 << 20))
        ->default_str("");
    c->add_option("--generate", bench.generate, "Tokens to generate (default: 128; simulated: 1)")
        ->type_name("N")
        ->check(whole(1, 1 << 20))
        ->default_str("");
    c->add_option("--rows", bench.rows, "Sequences that decode together")
        ->type_name("N")
        ->check(whole(1, 1 << 12));
    c->add_option("--context", bench.context,
                  "Positions that each holds when decoding begins (default: the prompt's)")
        ->type_name("N")
        ->check(whole(1, 1 << 20))
        ->default_str("");
    c->add_option("--threads", bench.threads, "Threads; 0: one a core")
        ->type_name("N")
        ->check(whole(0, kMostThreads));
    addDevice(c, bench.device);
    c->add_option("--repeat", bench.repeat,
                  "Runs; the median is printed (default: 5; simulated: 1)")
        ->type_name("N")
        ->check(whole(1, 1000))
        ->default_str("");
    c->add_flag("--json", bench.json, "Print JSON");
    c->callback([this] { benchCommand(bench); });
  }

  void addInspect() {
    auto *c = app.add_subcommand("inspect", "Show a checkpoint, an .mlir file or a bundle");
    c->add_option("FILE", inspect.file, "A .gguf file, a Hugging Face folder, .mlir or a bundle")
        ->required();
    c->add_flag("--phases", inspect.phases, "Also the phases of the programs, a line each");
    PredictOptions &predict = inspect.predict;
    c->add_option("--on", predict.on, "Predict the phases' times on " + kernel::deviceNames())
        ->type_name("DEVICE")
        ->default_str("");
    c->add_option("--rows", predict.rows,
                  "Rows of the predicted step (default: 1, or a whole prefill)")
        ->type_name("N")
        ->check(whole(1, 1 << 30))
        ->default_str("");
    c->add_option("--context", predict.context, "Positions that a row attends to (default: 128)")
        ->type_name("N")
        ->check(whole(1, 1 << 30))
        ->default_str("");
    c->add_option("--devices", predict.devices,
                  "GPUs that share the model (default: as many as the bundle is for)")
        ->type_name("N")
        ->check(whole(1, 2))
        ->default_str("");
    c->add_option("--assume", predict.assume,
                  "Numbers in the place of the device's: wait_us:0.5, ... (docs/cuda-cost.md)")
        ->type_name("FIELD:VALUE")
        ->delimiter(',');
    c->add_flag("--json", inspect.json, "Print JSON");
    c->callback([this] { inspectCommand(inspect); });
  }

  void addImport() {
    auto *c =
        app.add_subcommand("import", "Write a teacher's lm IR; weights stay in the checkpoint");
    c->add_option("TEACHER", import.teacher, "A .gguf file or a Hugging Face folder")->required();
    addAdapter(c, import.adapter, "TEACHER");
    c->add_option("-o,--output", import.output, "The .mlir file; '-' for stdout")
        ->required()
        ->type_name("model.mlir");
    c->callback([this] { importCommand(import); });
  }

  void addExport() {
    auto *c = app.add_subcommand("export", "Write a bundle's model for other engines");
    c->add_option("BUNDLE", exported.bundle, "A bundle")->required();
    c->add_option("-o,--output", exported.output, "A .gguf file, or the folder of safetensors")
        ->required()
        ->type_name("OUT");
    c->add_option("--format", exported.format,
                  "gguf (llama.cpp), or safetensors (transformers, vLLM): a folder")
        ->check(CLI::IsMember({"gguf", "safetensors"}))
        ->type_name("FORMAT");
    c->add_option("--type", exported.type, "Of matrices: f16, bf16 or f32")
        ->check(CLI::IsMember({"f16", "bf16", "f32"}))
        ->type_name("TYPE");
    c->add_flag("--force", exported.force, "Replace the output if it exists");
    c->add_flag("-q,--quiet", exported.quiet, "Print errors only");
    c->callback([this] { exportCommand(exported); });
  }

  void addServe() { // for the list of commands: becomeServer() has its options
    app.add_subcommand("serve", "Answer over HTTP with a bundle, as OpenAI's API does");
  }

  void addRecipes() {
    auto *c = app.add_subcommand("recipes", "List the recipes, or describe one");
    c->add_option("RECIPE", described, "A name or a .pipeline file")->default_str("");
    c->callback([this] { recipesCommand(described); });
  }
};

/// `retort serve` is a program of its own, beside this one, so that a service's machine needs no
/// compiler. It takes the place of this process.
[[noreturn]] void becomeServer(int argc, char **argv) {
  std::error_code error;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", error);
  const std::string server = (self.parent_path() / "retort-serve").string();
  std::vector<char *> arguments = {argv[0]};
  arguments.insert(arguments.end(), argv + 2, argv + argc);
  arguments.push_back(nullptr);
  ::execv(server.c_str(), arguments.data());
  fail(ExitCode::Io, server + ": cannot be run: " + reasonOf(errno) +
                         ": install the server beside retort (component `server`, or target "
                         "`retort-serve`)");
}

/// Runs `body`; the exit code is the process's.
int guarded(const std::function<void()> &body) {
  Error error;
  try {
    body();
    return static_cast<int>(ExitCode::Ok);
  } catch (const Failure &failure) {
    error = {exitCodeOf(failure.status()), failure.what()};
  } catch (...) {
    error = errorInFlight();
  }
  if (!error.message.empty())
    std::fprintf(stderr, "retort: %s\n", error.message.c_str());
  return static_cast<int>(error.code);
}
} // namespace

int main(int argc, char **argv) {
  output::reserveStreams();
  if (argc > 1 && argv[1] == std::string_view("serve"))
    return guarded([&] { becomeServer(argc, argv); });
  Progress::handleSignals(/*atOnce=*/true);
  CommandLine line;
  return guarded([&] {
    if (argc > 1 && argv[1][0] != '-')
      line.checkCommand(argv[1]);
    try {
      line.app.parse(argc, argv);
    } catch (const CLI::Success &asked) { // for help or for the version
      std::ostringstream text;
      line.app.exit(asked, text);
      output::write(text.str());
    } catch (const CLI::ParseError &e) {
      fail(ExitCode::Usage, std::string(e.what()) + ": see `retort " +
                                (argc > 1 && argv[1][0] != '-' ? std::string(argv[1]) + " " : "") +
                                "--help`");
    }
    output::finish();
  });
}
