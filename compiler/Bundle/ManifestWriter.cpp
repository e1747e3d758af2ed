//===- ManifestWriter.cpp - A manifest as JSON -------------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Bundle/ManifestWriter.h"
#include "runtime/src/engine/ManifestFields.h"

namespace retort {
namespace {

using nlohmann::json;
using namespace engine;

/// Writes the fields that ManifestObject reads by the same calls. Ranges and checks are the
/// reader's: BundleWriter::commit() reads what it is about to write.
class ManifestWriter {
public:
  static constexpr bool reads = false;
  explicit ManifestWriter(json &object) : object_(object) {}

  void text(const char *key, const std::string &value) const { object_[key] = value; }
  void textIf(const char *key, const std::string &value) const {
    if (!value.empty())
      text(key, value);
  }
  void flag(const char *key, bool value) const {
    if (value)
      object_[key] = true;
  }
  template <class T, class... Range> void number(const char *key, T value, Range...) const {
    object_[key] = value;
  }
  template <class T, class... Range> void numberOr(const char *key, T value, Range...) const {
    object_[key] = value;
  }
  template <class T, class... Range> void multiple(const char *key, T value, Range...) const {
    object_[key] = value;
  }
  template <class T, class... Range> void multipleOr(const char *key, T value, Range...) const {
    object_[key] = value;
  }
  void choice(const char *key, bool value, const char *yes, const char *no) const {
    object_[key] = value ? yes : no;
  }
  template <class T, class Parse, class Print>
  void word(const char *key, const T &value, const char *, Parse, Print print) const {
    object_[key] = print(value);
  }
  template <class T, class Parse, class Print>
  void wordIf(const char *key, const std::optional<T> &value, const char *, Parse,
              Print print) const {
    if (value)
      object_[key] = print(*value);
  }
  template <class T, class Parse, class Print>
  void words(const char *key, const std::vector<T> &values, size_t, const char *, Parse,
             Print print) const {
    json &list = object_[key] = json::array();
    for (const T &value : values)
      list.push_back(print(value));
  }
  void texts(const char *key, const std::vector<std::string> &values) const {
    object_[key] = values;
  }
  void sizes(const char *key, const std::vector<int64_t> &values) const { object_[key] = values; }
  template <class Fields> void object(const char *key, Fields fields) const {
    fields(ManifestWriter(object_[key] = json::object()));
  }
  template <class Fields> void objectIf(const char *key, Fields fields) const {
    object(key, fields);
  }
  template <class T, class Fields>
  void optional(const char *key, std::optional<T> &value, Fields fields) const {
    if (value)
      fields(ManifestWriter(object_[key] = json::object()), *value);
  }
  template <class T, class Fields>
  void list(const char *key, std::vector<T> &values, size_t, const char *, Fields fields) const {
    json &list = object_[key] = json::array();
    for (T &value : values)
      fields(ManifestWriter(list.emplace_back(json::object())), value);
  }
  template <class T, class Fields>
  void listIf(const char *key, std::vector<T> &values, size_t most, const char *noun,
              Fields fields) const {
    list(key, values, most, noun, fields);
  }
  template <class Message> void check(bool, const char *, Message) const {}

private:
  json &object_;
};

template <class Entry>
void writeEntries(json &list, EntryHead head, std::vector<Entry> &entries,
                  const Manifest &manifest) {
  for (Entry &entry : entries) {
    const ManifestWriter io(list.emplace_back(json::object()));
    headFields(io, head);
    entryFields(io, entry, manifest);
  }
}

} // namespace

json toJson(Manifest manifest) {
  json root = json::object();
  const ManifestWriter io(root);
  modelFields(io, manifest);
  json &entries = root[kEntriesKey] = json::array();
  writeEntries(entries, {kCpuTarget, RETORT_CPU_ABI_VERSION}, manifest.entries, manifest);
  writeEntries(entries, {kCudaTarget, RETORT_CUDA_ABI_VERSION}, manifest.cudaEntries, manifest);
  bufferFields(io, manifest);
  toolFields(io, manifest);
  return root;
}

void addParts(json &manifest, std::vector<Manifest::Part> parts, bool isFile) {
  uint64_t format = kManifestFormat;
  formatField(ManifestWriter(manifest), format);
  json &object = manifest[kPartsKey] = json::object();
  for (Manifest::Part &part : parts)
    partFields(ManifestWriter(object[part.name] = json::object()), part, isFile);
}

} // namespace retort
