//===- TestBundle.cpp - Bundles of the test program -----------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "test/unit/Runtime/TestBundle.h"
#include "compiler/Bundle/BundleWriter.h"
#include "compiler/Tokenizer/Spec.h"
#include "kernels/cuda/machine.h"
#include "runtime/base/Error.h"
#include "runtime/src/abi/cuda_program.h"
#include "runtime/src/engine/Manifest.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>

namespace retort::test {
namespace {

/// GPT-2's spelling of a byte: printable Latin-1 as itself, the others from U+0100 on.
std::string spelling(int byte) {
  auto printable = [](int b) {
    return (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || (b >= 174 && b <= 255);
  };
  int code = byte;
  if (!printable(byte)) {
    code = 256;
    for (int b = 0; b < byte; ++b)
      code += !printable(b);
  }
  if (code < 128)
    return {char(code)};
  return {char(0xC0 | code >> 6), char(0x80 | (code & 63))};
}

TokenizerSpec testTokenizer() {
  TokenizerSpec spec;
  for (int byte = 0; byte < 256; ++byte)
    spec.tokens.push_back(spelling(byte));
  spec.inModel.assign(kTokens, true);
  for (const char *text : {"<|end|>", "<|user|>", "<|answer|>"}) {
    AddedToken added;
    added.id = int32_t(spec.tokens.size());
    added.content = text;
    added.special = true;
    spec.inModel[spec.tokens.size()] = false;
    spec.tokens.push_back(text);
    spec.added.push_back(added);
  }
  PreTokenizerStep step;
  step.kind = PreTokenizerStep::ByteLevel;
  spec.preTokenizers.push_back(step);
  spec.eos = kEnd;
  spec.stop = {kEnd};
  return spec;
}

} // namespace

const char *const kTestTemplate =
    "{%- for m in messages %}{%- if m.role not in ['user', 'assistant'] %}"
    "{{ raise_exception('no ' + m.role) }}{%- endif %}{{- '<|' + m.role + '|>' + m.content + '\\n' "
    "}}"
    "{%- endfor %}{%- if date is defined %}{{- strftime_now('%d') + date }}{%- endif %}"
    "{%- if tools %}{{- tools | tojson }}{%- endif %}"
    "{%- if add_generation_prompt %}{{- '<|answer|>' }}{%- endif %}";

TempFolder::TempFolder() {
  std::string name = (std::filesystem::temp_directory_path() / "retort-test-XXXXXX").string();
  if (!::mkdtemp(name.data()))
    throw std::runtime_error("no temporary folder");
  path_ = name;
}

TempFolder::~TempFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

nlohmann::json testManifest() {
  return {{"retort", "0.1.0"},
          {"model",
           {{"name", "hash"},
            {"family", "test"},
            {"vocab", kVocab},
            {"context", kContext},
            {"hidden", 16},
            {"max_rows", TEST_MAX_ROWS},
            {"blocks", 1}}},
          {"cache", {{"page_rows", TEST_PAGE_ROWS}, {"page_bytes", TEST_PAGE_BYTES}}},
          {"buffers",
           {{"activations", TEST_ACTIVATION_BYTES}, {"scratch_per_thread", TEST_SCRATCH_BYTES}}},
          {"entries", {{{"target", "cpu"}, {"isa", "x86-64-v3"}, {"symbol", "retort_test_step"}}}},
          {"params",
           {{{"name", "token_embd.weight"},
             {"format", "f32"},
             {"shape", {4, 16}},
             {"offset", 64},
             {"bytes", 256}}}},
          {"figures", {{"bytes_per_token", 1}}},
          {"provenance",
           {{"teacher", {{"file", "none"}, {"sha256", ""}}},
            {"recipe", "none"},
            {"pipeline", ""},
            {"seed", 0}}}};
}

void writeTestBundle(const std::string &path, const nlohmann::json &manifest, uint64_t weightBytes,
                     bool tokenizer, bool chat, const std::string &chatTemplate) {
  BundleWriter writer(path);
  writer.beginPart("weights.bin");
  std::string weights(weightBytes, 'w');
  weights[0] = 7;
  writer.append(weights);
  writer.addPart("program.so", readFile(TEST_PROGRAM));
  if (tokenizer) {
    const TokenizerSpec spec = testTokenizer();
    writer.addPart("tokenizer.bin", compileTokenizer(spec));
    if (chat)
      writer.addPart("chat.bin", compileChatTemplate(chatTemplate, spec).toBytes());
  }
  writer.addPart("report.json", std::string_view("{\"format\": 1}\n"));
  writer.commit(manifest);
}

nlohmann::json cudaManifest(const CudaTest &test) {
  nlohmann::json manifest = testManifest(), entries = nlohmann::json::array();
  if (test.cpu)
    entries = manifest["entries"];
  else
    manifest.erase("buffers");
  for (int devices : test.devices)
    for (int device = 0; device < devices; ++device)
      for (const char *step : {"decode", "prefill"}) {
        const bool decode = step == std::string("decode");
        nlohmann::json entry = {{"target", "cuda"},
                                {"abi", RETORT_CUDA_ABI_VERSION},
                                {"step", step},
                                {"form", test.form},
                                {"devices", devices},
                                {"device", device},
                                {"max_rows", decode ? kDecodeRows : TEST_MAX_ROWS},
                                {"threads", 64},
                                {"shared_bytes", 0},
                                {"sync_words", 4},
                                {"activations", TEST_ACTIVATION_BYTES},
                                {"arches", {"sm_80", "sm_90a"}},
                                {"ptx", "compute_80"}};
        if (test.form == "persistent")
          entry["kernels"] = {{{"symbol", std::string("test_") + step}}};
        else
          for (const char *kernel : {"append", "hash", "logits", "done"})
            entry["kernels"].push_back({{"symbol", std::string("test_") + kernel}, {"grid", 3}});
        if (test.argmax)
          entry["argmax"] = true;
        if (test.draws && device == 0)
          entry["sample"] = {{"symbol", "test_sample_" + std::to_string(devices)},
                             {"threads", cuda::kSampleThreads},
                             {"shared_bytes", cuda::kSampleSharedBytes}};
        if (devices == 2)
          entry["logits"] = {{"begin", device ? kLogitsBegin1 : 0},
                             {"count", device ? kVocab - kLogitsBegin1 : kLogitsBegin1}};
        entries.push_back(entry);
      }
  manifest["entries"] = entries;
  return manifest.patch(test.patch);
}

void writeCudaBundle(const std::string &path, const CudaTest &test) {
  BundleWriter writer(path);
  std::string weights(test.weightBytes, 'w');
  weights[0] = 7;
  if (test.cpu) {
    writer.addPart("weights.bin", weights);
    writer.addPart("program.so", readFile(TEST_PROGRAM));
  }
  for (int devices : test.devices)
    for (int device = 0; device < devices; ++device)
      writer.addPart(engine::cudaWeightsName(devices, device), weights);
  const std::string program = "#define TEST_VOCAB " + std::to_string(kVocab) +
                              "\n#define TEST_LOGITS_BEGIN_1 " + std::to_string(kLogitsBegin1) +
                              "\n" + readFile(TEST_CUDA_PROGRAM);
  writer.addPart("program.cu", program);
  writer.addPart("program.fatbin", program + '\0');
  if (test.tokenizer)
    writer.addPart("tokenizer.bin", compileTokenizer(testTokenizer()));
  try {
    writer.commit(cudaManifest(test));
  } catch (const Error &error) {
    throw std::runtime_error(error.message);
  }
}

uint64_t stateAfter(std::span<const int32_t> tokens) {
  uint64_t state = 7;
  for (size_t i = 0; i < tokens.size(); ++i)
    state = testRead(state, tokens[i], int32_t(i));
  return state;
}

std::vector<float> expectedLogits(std::span<const int32_t> tokens) {
  std::vector<float> logits;
  for (int32_t i = 0; i < kVocab; ++i)
    logits.push_back(testLogit(stateAfter(tokens), i));
  return logits;
}

nlohmann::json manifestJson(const std::string &path) {
  return nlohmann::json::parse(readBundleManifest(path).text);
}

std::string readFile(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

void writeFile(const std::string &path, const std::string &bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

} // namespace retort::test
