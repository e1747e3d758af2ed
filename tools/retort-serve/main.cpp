//===- main.cpp - `retort serve` ------------------------------------------===//
// SPDX-License-Identifier: Apache-2.0
// Parses options and calls runtime/server, nothing else. Exit codes: docs/errors.md.
#include "runtime/base/Output.h"
#include "runtime/base/SystemError.h"
#include "runtime/server/Serve.h"
#include "tools/CommandOptions.h"

#include <cstdio>
#include <sstream>

namespace {
using namespace retort;
using namespace retort::server;

struct CommandLine {
  CLI::App app{"Answers over HTTP as OpenAI's API does, many requests at a time.", "retort serve"};
  ServeOptions options;
  std::string cache, name;
  std::vector<std::string> bundles;
  bool noPrefixCache = false;
  int32_t weights = RETORT_WEIGHTS_MAPPED;

  CommandLine() {
    app.set_version_flag("--version", std::string("retort " RETORT_VERSION));
    app.option_defaults()->always_capture_default();
    app.add_option("BUNDLE", bundles,
                   "What `retort compile` made, or several; NAME=FILE gives a name for clients")
        ->required()
        ->envname("RETORT_SERVE_BUNDLE");
    app.set_config("--config", "", "These options from a TOML file: port = 8443")
        ->type_name("FILE")
        ->envname("RETORT_SERVE_CONFIG");
    app.allow_config_extras(CLI::config_extras_mode::error);
    addNetwork();
    addAccess();
    addModel();
    addLimits();
    app.footer("Each option is also an environment variable: --api-key-file is "
               "RETORT_SERVE_API_KEY_FILE.\n"
               "example: retort serve field.retort\n"
               "         curl localhost:8080/v1/chat/completions -d "
               "'{\"messages\": [{\"role\": \"user\", \"content\": \"...\"}]}'\n"
               "endpoints, limits, exit codes: docs/serve.md");
  }

  CLI::Option *named(CLI::Option *option, const char *group, const char *type) {
    std::string variable = "RETORT_SERVE_";
    for (char c : option->get_lnames().at(0))
      variable += c == '-' ? '_' : char(std::toupper(c));
    option->group(group)->envname(variable);
    return type ? option->type_name(type) : option;
  }
  void seconds(const char *name, std::chrono::seconds &value, const char *group, const char *help) {
    named(app.add_option_function<uint64_t>(
              name, [&value](uint64_t given) { value = std::chrono::seconds(given); }, help),
          group, "S")
        ->check(whole(0, 1 << 30))
        ->default_str(std::to_string(value.count()));
  }
  template <class T>
  void number(const char *name, T &value, uint64_t least, uint64_t most, const char *group,
              const char *help) {
    named(app.add_option(name, value, help), group, "N")->check(whole(least, most));
  }

  void addNetwork() {
    const char *group = "Network";
    named(app.add_option("--host", options.http.address, "Address to listen at; 0.0.0.0, ::: all"),
          group, "ADDRESS");
    number("--port", options.http.port, 0, 65535, group, "Port; 0: any that is free");
    named(app.add_option("--tls-cert", options.http.certificate, "Certificates, PEM: HTTPS only"),
          group, "FILE")
        ->default_str("");
    named(app.add_option("--tls-key", options.http.key, "Their private key, PEM"), group, "FILE")
        ->default_str("");
  }

  void addAccess() {
    const char *group = "Access";
    named(app.add_option("--api-key-file", options.keyFile,
                         "Keys that clients must send, one a line"),
          group, "FILE")
        ->default_str("");
    named(app.add_flag("--insecure", options.insecure,
                       "Let other machines ask without a key (--host)"),
          group, nullptr);
    named(app.add_option("--cors-origin", options.api.origins,
                         "Origins whose web pages may ask; *: all"),
          group, "ORIGIN")
        ->delimiter(',')
        ->default_str("")
        ->allow_extra_args(false);
  }

  void addModel() {
    const char *group = "Model";
    SessionOptions &session = options.scheduler.session;
    session.slots = 16;
    named(app.add_option("--name", name, "The one model's name for clients (default: the file's)"),
          group, "NAME")
        ->default_str("");
    named(app.add_option("--device", session.device,
                         "cpu, cuda, cuda:N (GPU N) (default: a GPU, else cpu)"),
          group, "DEVICE")
        ->default_str("");
    number("--threads", session.threads, 0, 4096, group, "Threads; 0: one a core");
    number("--slots", session.slots, 1, 65536, group, "Answers written at a time");
    number("--context", session.maxContext, 0, 1 << 30, group,
           "Most tokens of a prompt and its answer; 0: the model's");
    named(app.add_option("--cache", cache,
                         "Keys and values of all answers together, 512MB (default: enough)"),
          group, "SIZE")
        ->default_str("");
    named(app.add_option(
              "--weights", weights,
              "mapped: shared, the file must stay as it is; copied; locked: never paged out"),
          group, "HOW")
        ->transform(CLI::CheckedTransformer(
                        std::map<std::string, int32_t>{{"mapped", RETORT_WEIGHTS_MAPPED},
                                                       {"copied", RETORT_WEIGHTS_COPIED},
                                                       {"locked", RETORT_WEIGHTS_LOCKED}})
                        .description(""))
        ->default_str("mapped");
    named(app.add_flag("--no-prefix-cache", noPrefixCache,
                       "Compute each prompt anew, also where it begins like another"),
          group, nullptr);
    number("--prefill-rows", options.scheduler.prefillRows, 0, 1 << 20, group,
           "Most tokens of prompts in a step while answers are written; 0: what fits");
    options.scheduler.speculate = 8;
    number("--speculate", options.scheduler.speculate, 0, 64, group,
           "Most tokens of an answer guessed for a step, where it repeats itself; 0: none");
  }

  void addLimits() {
    const char *group = "Limits";
    number("--queue", options.scheduler.queue, 0, 1 << 20, group,
           "Answers that may wait beyond --slots; then 429");
    seconds("--request-time", options.api.requestTime, group,
            "An answer may take, waiting and all; 0: any");
    seconds("--drain", options.drainTime, group, "Running answers may take after SIGTERM");
    number("--connections", options.http.connections, 1, 1 << 20, group, "Open connections");
    number("--header-bytes", options.http.headerBytes, 256, 1 << 20, group, "Of a request");
    number("--body-bytes", options.http.bodyBytes, 16, 1 << 30, group, "Of a request");
    seconds("--read-time", options.http.readTime, group, "For a request to arrive whole");
    seconds("--write-time", options.http.writeTime, group, "For a client to take what is sent");
    seconds("--idle-time", options.http.idleTime, group, "Between requests of a connection");
  }
};

void run(CommandLine &line, int argc, char **argv) {
  try {
    line.app.parse(argc, argv);
  } catch (const CLI::Success &asked) { // for help or for the version
    std::ostringstream text;
    line.app.exit(asked, text, text);
    output::write(text.str());
    output::finish();
    return;
  } catch (const CLI::ParseError &e) {
    fail(ExitCode::Usage, std::string(e.what()) + ": see `retort serve --help`");
  }
  line.options.models = namedFiles(line.bundles, line.name);
  for (ServedFile &file : line.options.models)
    file.weights = line.weights;
  line.options.scheduler.session.prefixCache = !line.noPrefixCache;
  if (!line.cache.empty())
    line.options.scheduler.session.cacheBytes = parseSize(line.cache);
  serve(line.options);
}

} // namespace

int main(int argc, char **argv) {
  output::reserveStreams();
  CommandLine line;
  Error error;
  try {
    run(line, argc, argv);
    return int(ExitCode::Ok);
  } catch (const Failure &failure) {
    error = {exitCodeOf(failure.status()), failure.what()};
  } catch (...) {
    error = errorInFlight();
  }
  std::fprintf(stderr, "retort serve: %s\n", error.message.c_str());
  return int(error.code);
}
