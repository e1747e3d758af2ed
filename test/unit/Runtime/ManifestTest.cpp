//===- ManifestTest.cpp - Damaged and malicious bundles -------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Bundle/BundleWriter.h"
#include "compiler/Bundle/ManifestWriter.h"
#include "retort.hpp"
#include "runtime/base/Error.h"
#include "runtime/base/Sha256.h"
#include "runtime/src/engine/BundleReader.h"
#include "test/unit/Runtime/TestBundle.h"

#include <filesystem>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <map>

namespace retort::test {
namespace {

using nlohmann::json;
using testing::HasSubstr;

/// What opening says: "ok", or the status and message.
std::string open(const std::string &path, const std::string &isa = {}) {
  try {
    Model model(path, isa);
    return "ok";
  } catch (const Failure &failure) {
    return std::string(retort_status_name(failure.status())) + ": " + failure.what();
  }
}

/// A bundle's file with another manifest, its hash made right: what a malicious writer would make.
std::string withManifest(std::string file, const std::string &text) {
  uint64_t offset = 0;
  for (int i = 7; i >= 0; --i)
    offset = offset << 8 | uint8_t(file[8 + size_t(i)]);
  file.resize(offset);
  file += text;
  for (int i = 0; i < 8; ++i)
    file[16 + size_t(i)] = char(text.size() >> 8 * i);
  const std::string hash = sha256Hex(text);
  for (size_t i = 0; i < 32; ++i)
    file[24 + i] = char(std::stoi(hash.substr(2 * i, 2), nullptr, 16));
  return file;
}

class ManifestTest : public testing::Test {
protected:
  ManifestTest() {
    writeTestBundle(path);
    file = readFile(path);
    manifest = manifestJson(path);
  }
  std::string openWith(const std::string &text) {
    writeFile(path, withManifest(file, text));
    return open(path);
  }
  /// Sets one value of the manifest, by JSON pointer.
  std::string openWith(const char *pointer, const json &value) {
    json changed = manifest;
    changed[json::json_pointer(pointer)] = value;
    return openWith(changed.dump());
  }
  TempFolder folder;
  std::string path = folder / "m.retort", file;
  json manifest;
};

TEST_F(ManifestTest, TheOriginalOpens) { EXPECT_EQ(openWith(manifest.dump()), "ok"); }

/// Bytes of a small bundle, each with one bit flipped: never opens, and the message
/// names the part that the byte is in.
TEST_F(ManifestTest, EveryFlippedByteIsRefused) {
  std::map<uint64_t, std::string> starts = {{0, ""}};
  for (const auto &[name, part] : manifest["parts"].items()) {
    starts[part["offset"]] = "the part " + name;
    starts[part["offset"].get<uint64_t>() + part["bytes"].get<uint64_t>()] = "padding";
  }
  const size_t manifestBegin =
      file.size() -
      engine::readBundleHeader({reinterpret_cast<const uint8_t *>(file.data()), file.size()}, path)
          .manifestBytes;
  for (size_t i = 0; i < file.size(); ++i) {
    // Every byte of the header and the manifest; some of the parts and of the padding.
    const std::string &where = std::prev(starts.upper_bound(i))->second;
    if (i % 4096 != 0 && ((where.starts_with("the part") && i % 97 != 0) ||
                          (where == "padding" && i < manifestBegin && i % 7 != 0)))
      continue;
    std::string changed = file;
    changed[i] = char(changed[i] ^ 1 << i % 8);
    ASSERT_THROW(
        {
          try {
            auto bytes =
                std::span(reinterpret_cast<const uint8_t *>(changed.data()), changed.size());
            engine::readBundleFile(bytes, "x");
            writeFile(path, changed);
            engine::BundleReader::open(path).verify(1);
          } catch (const Error &error) {
            if (where.starts_with("the part"))
              EXPECT_THAT(error.message, HasSubstr(where));
            throw;
          }
        },
        Error)
        << "byte " << i << " in " << where;
  }
}

TEST_F(ManifestTest, FlippedPartsAreNamedAtTheApi) {
  for (const auto &[name, part] : manifest["parts"].items()) {
    std::string changed = file;
    changed[part["offset"].get<size_t>() + part["bytes"].get<size_t>() / 2] ^= 4;
    writeFile(path, changed);
    EXPECT_THAT(open(path), HasSubstr("RETORT_E_BAD_INPUT: " + path + ": the part " + name +
                                      " does not match its SHA-256"));
  }
}

TEST_F(ManifestTest, TruncatedAnywhere) {
  for (size_t size = 0; size < file.size(); size += size < 5000 ? 61 : 1009) {
    writeFile(path, file.substr(0, size));
    ASSERT_THAT(open(path), HasSubstr("RETORT_E_BAD_INPUT")) << size;
  }
  writeFile(path, file + "x");
  EXPECT_THAT(open(path), HasSubstr("RETORT_E_BAD_INPUT"));
}

TEST_F(ManifestTest, WhatIsNoBundle) {
  writeFile(path, "GGUF....");
  EXPECT_THAT(open(path), HasSubstr("is not a Retort bundle"));
  std::string newer = file;
  newer[7] = '2';
  writeFile(path, newer);
  EXPECT_THAT(open(path), HasSubstr("RETORT_E_UNSUPPORTED: " + path + ": is a bundle of another"));
  EXPECT_THAT(open(folder / "none"), HasSubstr("RETORT_E_IO: " + (folder / "none")));
  EXPECT_THAT(open(folder.path()), HasSubstr("manifest.json: cannot be opened"));
  EXPECT_THAT(openWith("/format", 1), HasSubstr("has format 1, and this runtime reads format 3"));
}

TEST_F(ManifestTest, NumbersOutOfRange) {
  EXPECT_THAT(openWith("/model/vocab", -1),
              HasSubstr("manifest: model.vocab is -1, not a whole number from 1 to 16777216"));
  const json bad[] = {-1,      0,    uint64_t(1) << 63, 1.5,      1e300, "16",
                      nullptr, true, json::array(),     INT64_MIN};
  for (const char *pointer : {"/model/vocab", "/model/context", "/model/hidden", "/model/max_rows",
                              "/cache/page_rows", "/cache/page_bytes"})
    for (const json &value : bad)
      EXPECT_THAT(openWith(pointer, value), HasSubstr("RETORT_E_BAD_INPUT")) << pointer << value;
  for (const char *pointer :
       {"/buffers/activations", "/buffers/scratch_per_thread", "/figures/bytes_per_token",
        "/parts/weights.bin/bytes", "/parts/weights.bin/offset", "/params/0/offset",
        "/params/0/bytes", "/params/0/shape/0", "/model/blocks"})
    for (const json &value : {json(-1), json(1.5), json("1"), json(nullptr)})
      EXPECT_THAT(openWith(pointer, value), HasSubstr("RETORT_E_BAD_INPUT")) << pointer << value;
  EXPECT_THAT(openWith("/cache/page_bytes", 100), HasSubstr("not a multiple of 64"));
  EXPECT_THAT(openWith("/params/0/offset", 4999), HasSubstr("params[0].offset is 4999"));
  EXPECT_THAT(openWith("/params/0/bytes", 5001), HasSubstr("params[0].bytes is 5001"));
}

TEST_F(ManifestTest, PartsThatOverlapOrLeaveGaps) {
  EXPECT_THAT(openWith("/parts/report.json/offset", manifest["parts"]["program.so"]["offset"]),
              HasSubstr("not where the part before it ends"));
  // The last part has the length of another: its hashes are as many.
  json shorter = manifest;
  std::string last;
  for (const auto &[name, part] : manifest["parts"].items())
    if (last.empty() || part["offset"] > manifest["parts"][last]["offset"])
      last = name;
  shorter["parts"].erase(last);
  EXPECT_THAT(openWith(shorter.dump()), HasSubstr("not at the manifest, byte"));
  EXPECT_THAT(openWith("/parts/weights.bin/offset", 1u << 20), HasSubstr("not where the part"));
  EXPECT_THAT(openWith("/parts/weights.bin/bytes", uint64_t(1) << 47), HasSubstr("hashes for"));
  EXPECT_THAT(openWith("/parts/weights.bin/bytes", UINT64_MAX), HasSubstr("not a whole number"));
  EXPECT_THAT(openWith("/parts/weights.bin/chunks/0", 5),
              HasSubstr("parts.weights.bin.chunks holds 5, which is no text"));
  EXPECT_THAT(openWith("/parts/..~1x", manifest["parts"]["report.json"]),
              HasSubstr("which is no part's name"));
  for (const char *part : {"weights.bin", "program.so"}) {
    json changed = manifest;
    changed["parts"].erase(part);
    EXPECT_THAT(openWith(changed.dump()), HasSubstr("RETORT_E_BAD_INPUT"));
  }
}

TEST_F(ManifestTest, MissingKeysAndWrongTypes) {
  for (const char *key : {"format", "model", "cache", "buffers", "entries", "parts", "figures"}) {
    json changed = manifest;
    changed.erase(key);
    EXPECT_THAT(openWith(changed.dump()), HasSubstr(std::string(key) + " is missing")) << key;
    changed[key] = "text";
    EXPECT_THAT(openWith(changed.dump()), HasSubstr("RETORT_E_BAD_INPUT")) << key;
  }
  EXPECT_THAT(openWith("/parts/weights.bin/sha256", "abc"), HasSubstr("64 hexadecimal digits"));
  EXPECT_THAT(openWith("[1]"),
              HasSubstr("not an object: the bundle is damaged, make or copy it again"));
  EXPECT_THAT(openWith("{\"format\":"), HasSubstr("byte 11: is not valid JSON"));
  EXPECT_THAT(openWith("{\"format\":1e999}"), HasSubstr("number that is out of range"));
  EXPECT_THAT(openWith(std::string(100'000, '[')), HasSubstr("JSON is nested deeper than 64"));
  EXPECT_THAT(openWith(std::string(17 << 20, ' ')), HasSubstr("should end with a manifest"));
}

/// Sizes that are allowed but that no machine has are refused before anything is allocated.
TEST_F(ManifestTest, BuffersThatDoNotFit) {
  for (const char *pointer : {"/buffers/activations", "/buffers/scratch_per_thread"}) {
    ASSERT_EQ(openWith(pointer, uint64_t(1) << 40), "ok");
    Model model(path);
    try {
      Session session(model, {.threads = 4});
      FAIL();
    } catch (const Failure &failure) {
      EXPECT_EQ(failure.status(), RETORT_E_RESOURCES);
      EXPECT_THAT(failure.what(), HasSubstr("and the machine has"));
    }
  }
  ASSERT_EQ(openWith("/cache/page_bytes", uint64_t(1) << 40), "ok");
  Model model(path);
  EXPECT_THROW(Session(model, {.slots = 65536}), Failure);
  ASSERT_EQ(openWith("/model/context", 1 << 20), "ok");
  EXPECT_THAT(failureOf([&] { Session(Model(path), {.slots = 65536}); }),
              HasSubstr("pages: ask for fewer slots or a shorter max_context"));
}

TEST_F(ManifestTest, EntriesThatDoNotSuit) {
  EXPECT_THAT(openWith("/entries/0/isa", "armv9"), HasSubstr("has code for armv9, and this CPU"));
  EXPECT_THAT(openWith("/entries", json::array()), HasSubstr("has code for no CPU"));
  EXPECT_THAT(openWith("/entries/0/symbol", "nothing"), HasSubstr("has no entry 'nothing'"));
  writeFile(path, file);
  EXPECT_THAT(open(path, "x86-64-v4"), HasSubstr("RETORT_E_UNSUPPORTED"));
  EXPECT_EQ(open(path, "x86-64-v3"), "ok");
}

/// The same for a bundle for two GPUs.
class CudaManifestTest : public ManifestTest {
protected:
  CudaManifestTest() {
    writeCudaBundle(path, {.devices = {1, 2}});
    file = readFile(path);
    manifest = manifestJson(path);
  }
  std::string entryWith(const std::string &key, const json &value, size_t entry = 0) {
    return openWith(("/entries/" + std::to_string(entry) + "/" + key).c_str(), value);
  }
};

TEST_F(CudaManifestTest, TheOriginalOpens) {
  EXPECT_EQ(openWith(manifest.dump()), "ok");
  EXPECT_EQ(entryWith("page_bytes", 2 * TEST_PAGE_BYTES, 0).substr(0, 18), "RETORT_E_BAD_INPUT");
  EXPECT_EQ(entryWith("ptx", nullptr), "ok");
  EXPECT_EQ(entryWith("pdl", true), "ok");
  EXPECT_EQ(entryWith("argmax", true), "ok");
  const json draw = {{"symbol", "test_sample_1"}, {"threads", 1024}, {"shared_bytes", 32768}};
  EXPECT_THAT(entryWith("sample", draw),
              HasSubstr("entries[0].sample is there without \"argmax\""));
  EXPECT_EQ(entryWith("target", "npu").substr(0, 2), "ok"); // of a later version
}

TEST_F(CudaManifestTest, CodeForAnotherRuntime) {
  EXPECT_EQ(entryWith("abi", 3).substr(0, 20), "RETORT_E_UNSUPPORTED");
  EXPECT_THAT(entryWith("abi", 3),
              HasSubstr("entries[0].abi is 3, and this runtime's is 2: use the "
                        "Retort that made it, or compile it again"));
  json changed = manifest;
  changed["entries"][0].erase("abi"); // the first had no number
  EXPECT_THAT(openWith(changed.dump()), HasSubstr("entries[0].abi is 1, and"));
  EXPECT_THAT(entryWith("abi", "2"), HasSubstr("RETORT_E_BAD_INPUT"));
}

TEST_F(CudaManifestTest, NumbersOutOfRange) {
  EXPECT_THAT(entryWith("threads", 100), HasSubstr("entries[0].threads is 100, not a multiple"));
  EXPECT_THAT(entryWith("devices", 3), HasSubstr("not a whole number from 1 to 2"));
  EXPECT_THAT(entryWith("device", 1), HasSubstr("entries[0].device is 1, not a whole number"));
  const json bad[] = {-1, uint64_t(1) << 63, 1.5, "16", nullptr, json::array(), json::object()};
  for (const char *key : {"devices",      "device",     "max_rows",         "threads",
                          "shared_bytes", "sync_words", "activations",      "grid",
                          "page_rows",    "page_bytes", "kernels/0/grid",   "shared_bytes_on",
                          "step",         "form",       "kernels",          "arches",
                          "logits",       "kernels/0",  "kernels/0/symbol", "pdl",
                          "argmax",       "sample"})
    for (const json &value : bad)
      if (!((key == std::string("arches") || key == std::string("shared_bytes_on")) &&
            value == json::array()) &&
          !(key == std::string("kernels/0/symbol") && value == "16"))
        EXPECT_THAT(entryWith(key, value), HasSubstr("RETORT_E_BAD_INPUT")) << key << value;
  EXPECT_THAT(entryWith("shared_bytes_on", json::array({{{"arch", "90"}, {"bytes", 1}}})),
              HasSubstr("shared_bytes_on[0].arch holds \"90\", which is no architecture"));
  EXPECT_THAT(entryWith("shared_bytes_on", json::array({{{"arch", "sm_90"}, {"bytes", -1}}})),
              HasSubstr("shared_bytes_on[0].bytes is -1"));
  for (const char *key : {"max_rows", "threads", "page_rows", "page_bytes", "devices"})
    EXPECT_THAT(entryWith(key, 0), HasSubstr("RETORT_E_BAD_INPUT")) << key;
}

TEST_F(CudaManifestTest, WordsThatMeanNothing) {
  EXPECT_THAT(entryWith("step", "encode"), HasSubstr("neither \"decode\" nor \"prefill\""));
  EXPECT_THAT(entryWith("form", "eager"), HasSubstr("neither \"persistent\" nor \"graph\""));
  for (const char *arch :
       {"sm_", "sm_9", "sm_1200", "sm_90b", "sm_9x", "90", "compute_90", "sm_-10"})
    EXPECT_THAT(entryWith("arches", {arch}), HasSubstr("which is no architecture")) << arch;
  EXPECT_THAT(entryWith("ptx", "sm_90"), HasSubstr("which is no architecture"));
  for (const char *symbol : {"", "a b", "1a", "a-b", "\xC3\xA4"})
    EXPECT_THAT(entryWith("kernels/0/symbol", symbol), HasSubstr("which is no symbol")) << symbol;
  EXPECT_THAT(entryWith("kernels/0/symbol", std::string(257, 'a')), HasSubstr("no symbol"));
  EXPECT_THAT(entryWith("kernels", json::array()), HasSubstr("has 0 kernels"));
  json two = {{{"symbol", "a"}}, {{"symbol", "b"}}};
  EXPECT_THAT(entryWith("kernels", two), HasSubstr("has 2 kernels, not the one"));
  for (const json &phase : {json(-1), json(65536), json("a")})
    EXPECT_THAT(entryWith("kernels/0/phase", phase), HasSubstr("kernels[0].phase is")) << phase;
}

TEST_F(CudaManifestTest, EntriesThatDoNotGoTogether) {
  json changed = manifest; // entries: 1 GPU decode, prefill; 2 GPUs: 0 decode, prefill, 1 ...
  changed["entries"].erase(5);
  EXPECT_THAT(openWith(changed.dump()), HasSubstr("have no prefill on device 1 of 2"));
  changed = manifest;
  changed["entries"].erase(2);
  EXPECT_THAT(openWith(changed.dump()), HasSubstr("have no decode on device 0 of 2"));
  EXPECT_THAT(entryWith("max_rows", 3, 4), HasSubstr("do not fit those of device 0"));
  EXPECT_THAT(entryWith("logits", {{"begin", 99}, {"count", 161}}, 4), HasSubstr("do not fit"));
  EXPECT_THAT(entryWith("logits", {{"begin", 100}, {"count", 161}}, 4), HasSubstr("logits.begin"));
  EXPECT_THAT(entryWith("logits", {{"begin", 100}, {"count", 1}}, 4),
              HasSubstr("entries write 101 of 260 logits"));
  EXPECT_THAT(entryWith("page_rows", 32, 3), HasSubstr("have another cache than its other entry"));
  changed = manifest;
  changed["entries"][3]["logits"]["count"] = 110; // prefill of both GPUs, still whole
  changed["entries"][5]["logits"] = {{"begin", 110}, {"count", 150}};
  EXPECT_THAT(openWith(changed.dump()),
              HasSubstr("decode and prefill write different logits on device 0"));
  EXPECT_EQ(entryWith("activations", 0), "ok");
}

TEST_F(CudaManifestTest, PartsThatAreNotThere) {
  writeTestBundle(path); // a CPU's bundle
  file = readFile(path);
  json cpu = manifestJson(path);
  cpu["entries"].push_back(manifest["entries"][0]);
  EXPECT_THAT(openWith(cpu.dump()), HasSubstr("parts.weights.cuda.bin is missing"));
  writeCudaBundle(path);
  file = readFile(path);
  json gpu = manifestJson(path);
  gpu["params"][0]["part"] = "weights.bin";
  EXPECT_THAT(openWith(gpu.dump()), HasSubstr("params[0].part is \"weights.bin\""));
  gpu["params"][0]["part"] = "weights.cuda.bin";
  EXPECT_EQ(openWith(gpu.dump()), "ok");
  gpu["params"][0]["bytes"] = 5001;
  EXPECT_THAT(openWith(gpu.dump()), HasSubstr("params[0].bytes is 5001"));
}

/// A manifest with no field at its default.
engine::Manifest fullManifest() {
  using engine::Manifest;
  const std::string hash(64, 'a');
  Manifest made;
  made.retort = "0.1.0";
  made.name = "name";
  made.family = "family";
  made.vocab = 100;
  made.context = 200;
  made.hidden = 300;
  made.maxRows = 400;
  made.blocks = 5;
  made.pageRows = 16;
  made.pageBytes = 640;
  made.cacheFormat = "f16";
  made.activationBytes = 700;
  made.scratchBytesPerThread = 128;
  made.bytesPerToken = 900;
  made.entries = {{"x86-64-v3", "step_v3"}, {"x86-64-v4", "step_v4"}};
  Manifest::CudaEntry entry;
  entry.decode = true;
  entry.maxRows = 8;
  entry.pdl = entry.argmax = true;
  entry.sample = Manifest::CudaEntry::Sample{"draw", 64, 1024};
  entry.devices = 2;
  entry.threads = 256;
  entry.syncWords = 12;
  entry.sharedBytes = 4096;
  entry.sharedBytesOn = {{CudaArch{90}, 8192}};
  entry.activationBytes = 1300;
  entry.pageRows = 32;
  entry.pageBytes = 1280;
  entry.logitsCount = 60;
  entry.grid = 3;
  entry.kernels = {{"one", 1, 11}, {"two", 2, 3}};
  entry.arches = {CudaArch{80}, CudaArch{90, 'a'}};
  entry.ptx = CudaArch{120};
  made.cudaEntries = {entry, entry};
  made.cudaEntries[1].device = 1;
  made.cudaEntries[1].sample.reset();
  made.cudaEntries[1].logitsBegin = 60;
  made.cudaEntries[1].logitsCount = 40;
  uint64_t offset = engine::kBundlePage;
  for (const char *name :
       {"program.fatbin", "program.so", "weights.bin", "weights.cuda0.bin", "weights.cuda1.bin"}) {
    made.parts.push_back({name, offset, 5, hash, {hash}});
    offset += engine::kBundlePage;
  }
  made.params = {{"w", "i4g64s", "rows16", "weights.bin", {2, 3}, 1, 4},
                 {"v", "f32", "", "", {4}, 0, 5}};
  made.provenance = Manifest::Provenance{"a.gguf", hash, "int4", "builtin.module()", 7, "corpus"};
  return made;
}

TEST(ManifestRoundTripTest, WhatIsWrittenIsRead) {
  for (bool isFile : {true, false}) {
    engine::Manifest made = fullManifest();
    if (!isFile)
      for (engine::Manifest::Part &part : made.parts)
        part.offset = 0;
    json written = toJson(made);
    addParts(written, made.parts, isFile);
    const std::string text = written.dump();
    const auto end =
        isFile ? std::optional((made.parts.size() + 1) * engine::kBundlePage) : std::nullopt;
    engine::Manifest read = engine::parseManifest(text, "x", end);
    EXPECT_EQ(read.text, text);
    read.text.clear();
    EXPECT_EQ(read, made);
    json again = toJson(read);
    addParts(again, read.parts, isFile);
    EXPECT_EQ(again, written);
  }
}

/// What a long list of objects takes is linear in their number.
TEST_F(ManifestTest, HostileLists) {
  std::string text = "{\"format\":3,\"entries\":[{}";
  for (int i = 0; i < 200'000; ++i)
    text += ",{}";
  EXPECT_THAT(openWith(text + "]}"), HasSubstr("RETORT_E_BAD_INPUT"));
  EXPECT_THAT(openWith("{\"format\":3,\"format\":3}"), HasSubstr("is there twice"));
}

TEST_F(ManifestTest, ProgramsThatAreNone) {
  for (const char *part : {"program.so", "tokenizer.bin"}) {
    BundleWriter writer(path);
    for (const char *name : {"weights.bin", "program.so", "tokenizer.bin"})
      writer.addPart(name, name == std::string(part) ? "nonsense" : readBundlePart(path, name));
    json plain = manifest;
    writer.commit(plain);
    EXPECT_THAT(open(path), HasSubstr("RETORT_E_BAD_INPUT")) << part;
    EXPECT_THAT(open(path), HasSubstr(part));
    writeFile(path, file);
  }
}

} // namespace
} // namespace retort::test
