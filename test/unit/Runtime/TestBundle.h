//===- TestBundle.h - Bundles of the test program ---------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "retort.hpp"
#include "test/unit/Runtime/TestProgram.h"
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

namespace retort::test {

/// An empty folder that is removed with the object.
class TempFolder {
public:
  TempFolder();
  ~TempFolder();
  std::string operator/(const std::string &name) const { return path_ + "/" + name; }
  const std::string &path() const { return path_; }

private:
  std::string path_;
};

constexpr int32_t kVocab = TEST_VOCAB, kContext = 64;
/// Tokens: a byte each, then these; the rest of the logits stand for no token.
constexpr int32_t kEnd = 256, kUser = 257, kAnswer = 258, kTokens = 259;

/// The manifest that the driver would write for the test program, without "format" and "parts".
nlohmann::json testManifest();
extern const char *const kTestTemplate;
/// The parts: weights.bin (`weightBytes`, 7 first), program.so, tokenizer.bin and chat.bin unless left
/// out.
void writeTestBundle(const std::string &path, const nlohmann::json &manifest = testManifest(),
                     uint64_t weightBytes = 5000, bool tokenizer = true, bool chat = true,
                     const std::string &chatTemplate = kTestTemplate);

/// A bundle of the test program for GPUs.
struct CudaTest {
  std::string form = "persistent"; ///< or "graph"
  std::vector<int> devices = {1};  ///< numbers of GPUs that it has entries for
  bool cpu = false;                ///< also a CPU program
  bool tokenizer = false;
  bool argmax = false; ///< its programs keep the largest logits
  bool draws = false;  ///< and draw tokens
  uint64_t weightBytes = 5000;
  nlohmann::json patch = nlohmann::json::array(); ///< applied to the manifest (RFC 6902)
};
/// Decode takes 1 or 2 rows, prefill up to TEST_MAX_ROWS.
constexpr int kDecodeRows = 2, kLogitsBegin1 = 100;
nlohmann::json cudaManifest(const CudaTest &test);
/// program.fatbin holds program.cu's text too, which is what the simulated driver takes for one.
void writeCudaBundle(const std::string &path, const CudaTest &test = {});

/// The test program's state after reading tokens at positions 0, 1, ...
uint64_t stateAfter(std::span<const int32_t> tokens);
/// Its logits, computed from the tokens alone.
std::vector<float> expectedLogits(std::span<const int32_t> tokens);

/// The manifest of a bundle as it stands there, to be changed.
nlohmann::json manifestJson(const std::string &path);

std::string readFile(const std::string &path);
void writeFile(const std::string &path, const std::string &bytes);

/// What a call throws, as "STATUS: message".
template <class Call> std::string failureOf(Call call) {
  try {
    call();
  } catch (const Failure &failure) {
    return std::string(retort_status_name(failure.status())) + ": " + failure.what();
  }
  return "no failure";
}

} // namespace retort::test
