//===- Manifest.cpp - What a bundle says of itself -------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/src/engine/Manifest.h"
#include "runtime/src/base/Error.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace retort::engine {
namespace {

using Json = nlohmann::json;

/// A JSON value for a message: short, on one line.
std::string shown(const Json &value) {
  std::string text = value.dump(-1, ' ', true, Json::error_handler_t::replace);
  return text.size() > 40 ? text.substr(0, 40) + "..." : text;
}

/// An object of the manifest, and where it stands, for messages: "model", "parts.weights.bin".
class Object {
public:
  Object(const Json &value, std::string path, const std::string &where)
      : value_(value), path_(std::move(path)), where_(where) {
    if (!value.is_object())
      bad(path_.empty() ? "it" : path_, "is " + shown(value) + ", not an object");
  }
  [[noreturn]] void bad(const std::string &key, const std::string &what) const {
    fail(ExitCode::BadInput,
         where_ + ": " + key + " " + what + ": the bundle is damaged, make or copy it again");
  }
  std::string pathOf(const std::string &key) const {
    return path_.empty() ? key : path_ + "." + key;
  }
  bool has(const std::string &key) const { return value_.contains(key); }
  const Json &at(const std::string &key) const {
    auto found = value_.find(key);
    if (found == value_.end())
      bad(pathOf(key), "is missing");
    return *found;
  }
  Object object(const std::string &key) const { return {at(key), pathOf(key), where_}; }
  const Json &array(const std::string &key) const {
    const Json &value = at(key);
    if (!value.is_array())
      bad(pathOf(key), "is " + shown(value) + ", not a list");
    return value;
  }
  std::string text(const std::string &key) const {
    const Json &value = at(key);
    if (!value.is_string())
      bad(pathOf(key), "is " + shown(value) + ", not a text");
    return value.get<std::string>();
  }
  uint64_t number(const std::string &key, uint64_t low, uint64_t high) const {
    const Json &value = at(key);
    // A negative number is number_integer and not number_unsigned.
    if (!value.is_number_unsigned() || value.get<uint64_t>() < low || value.get<uint64_t>() > high)
      bad(pathOf(key), "is " + shown(value) + ", not a whole number from " + std::to_string(low) +
                           " to " + std::to_string(high));
    return value.get<uint64_t>();
  }
  uint64_t multiple(const std::string &key, uint64_t unit, uint64_t low, uint64_t high) const {
    uint64_t value = number(key, low, high);
    if (value % unit != 0)
      bad(pathOf(key),
          "is " + std::to_string(value) + ", not a multiple of " + std::to_string(unit));
    return value;
  }
  const Json &json() const { return value_; }
  const std::string &where() const { return where_; }

private:
  const Json &value_;
  std::string path_;
  const std::string &where_;
};

bool isHash(std::string_view text) {
  return text.size() == 64 && std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

Manifest::Part readPart(const Object &object, const std::string &name, bool isFile) {
  Manifest::Part part;
  part.name = name;
  part.bytes = object.number("bytes", 0, uint64_t(1) << 48);
  if (isFile)
    part.offset = object.multiple("offset", kBundlePage, kBundlePage, uint64_t(1) << 48);
  part.sha256 = object.text("sha256");
  const Json &chunks = object.array("chunks");
  if (chunks.size() != (part.bytes + kHashChunkBytes - 1) / kHashChunkBytes)
    object.bad(object.pathOf("chunks"), "has " + std::to_string(chunks.size()) + " hashes for " +
                                            std::to_string(part.bytes) + " bytes");
  for (const Json &chunk : chunks)
    part.chunks.push_back(chunk.is_string() ? chunk.get<std::string>() : "");
  bool good = isHash(part.sha256) && std::all_of(part.chunks.begin(), part.chunks.end(), isHash);
  if (!good)
    object.bad(object.pathOf("sha256"), "or one of its chunks is not 64 hexadecimal digits");
  return part;
}

/// Parts lie one after the other, each from a page's start, up to the manifest: every byte of the
/// file is in the header, a part, its zero padding or the manifest.
void checkLayout(const Manifest &manifest, const Object &root, uint64_t end) {
  uint64_t next = kBundlePage;
  for (const Manifest::Part &part : manifest.parts) {
    if (part.offset != next)
      root.bad("parts." + part.name, "is at byte " + std::to_string(part.offset) +
                                         ", not where the part before it ends, " +
                                         std::to_string(next));
    next = (part.offset + part.bytes + kBundlePage - 1) / kBundlePage * kBundlePage;
  }
  if (next != end)
    root.bad("parts", "end at byte " + std::to_string(next) + ", not at the manifest, byte " +
                          std::to_string(end));
}

void readParts(Manifest &manifest, const Object &root, std::optional<uint64_t> fileBytes) {
  Object parts = root.object("parts");
  for (const auto &[name, value] : parts.json().items()) {
    if (!isPartName(name) || name == "manifest.json" || name == "manifest.sha256")
      root.bad("parts", "has a part named " + shown(name) + ", which is no part's name");
    manifest.parts.push_back(
        readPart(Object(value, parts.pathOf(name), root.where()), name, fileBytes.has_value()));
  }
  std::sort(manifest.parts.begin(), manifest.parts.end(), [](const auto &a, const auto &b) {
    return a.offset != b.offset ? a.offset < b.offset : a.name < b.name;
  });
  if (fileBytes)
    checkLayout(manifest, root, *fileBytes);
  for (const char *name : {"weights.bin", "program.so"})
    if (!manifest.findPart(name))
      root.bad(std::string("parts.") + name, "is missing");
}

void readEntries(Manifest &manifest, const Object &root) {
  size_t index = 0;
  for (const Json &value : root.array("entries")) {
    Object entry(value, "entries[" + std::to_string(index++) + "]", root.where());
    manifest.entries.push_back({entry.text("target"), entry.text("isa"), entry.text("symbol")});
  }
}

/// Parameters are for people and tools; the runtime only sees to it that they are where they say.
void checkParams(const Manifest &manifest, const Object &root) {
  if (!root.has("params"))
    return;
  const uint64_t weightBytes = manifest.findPart("weights.bin")->bytes;
  size_t index = 0;
  for (const Json &value : root.array("params")) {
    Object param(value, "params[" + std::to_string(index++) + "]", root.where());
    param.text("name");
    param.text("format");
    for (const Json &dim : param.array("shape"))
      if (!dim.is_number_unsigned())
        param.bad(param.pathOf("shape"), "holds " + shown(dim));
    uint64_t bytes = param.number("bytes", 0, weightBytes);
    param.number("offset", 0, weightBytes - bytes);
  }
}

} // namespace

bool isPartName(std::string_view name) {
  return !name.empty() && name.size() <= 64 && name[0] != '.' &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '.' || c == '_' || c == '-';
         });
}

const Manifest::Part *Manifest::findPart(std::string_view name) const {
  auto found =
      std::find_if(parts.begin(), parts.end(), [&](const Part &part) { return part.name == name; });
  return found == parts.end() ? nullptr : &*found;
}

nlohmann::json parseBoundedJson(std::string_view text, const std::string &where) {
  if (text.size() > kMaxManifestBytes)
    fail(ExitCode::BadInput, where + ": has " + std::to_string(text.size()) +
                                 " bytes, more than the " + std::to_string(kMaxManifestBytes) +
                                 " allowed: the bundle is damaged");
  auto limitDepth = [&](int depth, Json::parse_event_t, Json &) -> bool {
    if (depth > 64)
      fail(ExitCode::BadInput, where + ": is nested more than 64 deep: the bundle is damaged");
    return true;
  };
  try {
    return Json::parse(text.begin(), text.end(), limitDepth);
  } catch (const Json::parse_error &error) {
    fail(ExitCode::BadInput, where + ": is not JSON from byte " + std::to_string(error.byte) +
                                 ": the bundle is damaged");
  } catch (const Json::exception &) {
    fail(ExitCode::BadInput,
         where + ": holds a number that is out of range: the bundle is damaged");
  }
}

Manifest parseManifest(std::string_view text, const std::string &where,
                       std::optional<uint64_t> fileBytes) {
  Json json = parseBoundedJson(text, where);
  Object root(json, "", where);
  if (uint64_t format = root.number("format", 0, UINT64_MAX); format != kManifestFormat)
    fail(ExitCode::Unsupported, where + ": has format " + std::to_string(format) +
                                    ", and this runtime reads format " +
                                    std::to_string(kManifestFormat) +
                                    ": use the Retort that made the bundle, or compile it again");
  constexpr uint64_t terabyte = uint64_t(1) << 40;
  Manifest manifest;
  manifest.text = text;
  Object model = root.object("model");
  manifest.name = model.text("name");
  manifest.family = model.text("family");
  manifest.vocab = int64_t(model.number("vocab", 1, 1 << 24));
  manifest.context = int64_t(model.number("context", 1, 1 << 24));
  manifest.hidden = int64_t(model.number("hidden", 1, 1 << 20));
  manifest.maxRows = int64_t(model.number("max_rows", 1, 1 << 16));
  manifest.blocks = int64_t(model.number("blocks", 0, 1 << 16));
  Object cache = root.object("cache");
  manifest.pageRows = int64_t(cache.number("page_rows", 1, 1 << 12));
  manifest.pageBytes = cache.multiple("page_bytes", 64, 64, terabyte);
  Object buffers = root.object("buffers");
  manifest.activationBytes = buffers.number("activations", 0, terabyte);
  manifest.scratchBytesPerThread = buffers.multiple("scratch_per_thread", 64, 0, terabyte);
  manifest.bytesPerToken = root.object("figures").number("bytes_per_token", 0, uint64_t(1) << 48);
  readEntries(manifest, root);
  readParts(manifest, root, fileBytes);
  checkParams(manifest, root);
  if (root.has("chat") && !root.at("chat").is_null())
    manifest.chat = ChatFormat::fromJson(root.at("chat"));
  return manifest;
}

} // namespace retort::engine
