//===- Processes.cpp - Running tools, a few at a time ---------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Codegen/Processes.h"
#include "runtime/base/SystemError.h"
#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace retort::codegen {
namespace {

constexpr useconds_t kPollMicroseconds = 20'000;
constexpr int kNotStarted = 127;

/// Never returns: becomes the command. Only calls that are safe after fork.
[[noreturn]] void become(char *const *arguments, const char *folder, const char *output) {
  ::setsid(); // of its own, so that stopping it stops what it starts
  const int file = ::open(output, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  const int null = ::open("/dev/null", O_RDONLY);
  if (file >= 0 && null >= 0 && ::dup2(null, 0) == 0 && ::dup2(file, 1) == 1 &&
      ::dup2(file, 2) == 2 && ::chdir(folder) == 0)
    ::execv(arguments[0], arguments);
  ::_exit(kNotStarted);
}

pid_t start(const Job &job, const std::string &folder) {
  std::vector<char *> arguments;
  for (const std::string &argument : job.command)
    arguments.push_back(const_cast<char *>(argument.c_str()));
  arguments.push_back(nullptr);
  const pid_t child = ::fork();
  if (child == 0)
    become(arguments.data(), folder.c_str(), job.output.c_str());
  if (child < 0)
    failSystem(job.command[0], "cannot be run");
  return child;
}

void stop(pid_t child) {
  ::kill(-child, SIGTERM);
  ::kill(child, SIGTERM); // before it has its session
  ::waitpid(child, nullptr, 0);
}

} // namespace

void runJobs(std::vector<Job> &jobs, const std::string &folder, unsigned atOnce,
             const std::function<bool()> &interrupted) {
  std::vector<std::pair<Job *, pid_t>> running;
  auto stopAll = [&] {
    for (auto &[job, child] : running)
      stop(child);
  };
  size_t next = 0;
  while (next < jobs.size() || !running.empty()) {
    while (next < jobs.size() && running.size() < std::max(1u, atOnce)) {
      try {
        running.emplace_back(&jobs[next], start(jobs[next], folder));
        ++next;
      } catch (...) {
        stopAll();
        throw;
      }
    }
    if (interrupted && interrupted()) {
      stopAll();
      fail(ExitCode::Interrupted, "stopped: what was computed is kept, run again to go on");
    }
    ::usleep(kPollMicroseconds);
    std::erase_if(running, [](auto &one) {
      int status = 0;
      if (::waitpid(one.second, &status, WNOHANG) == 0)
        return false;
      one.first->exitCode = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
      return true;
    });
  }
}

} // namespace retort::codegen
