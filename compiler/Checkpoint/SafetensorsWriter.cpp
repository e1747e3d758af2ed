//===- SafetensorsWriter.cpp - Writing safetensors files ------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Checkpoint/Cursor.h"
#include "compiler/Checkpoint/Safetensors.h"
#include "runtime/base/Json.h"
#include "runtime/base/SmallFloat.h"
#include "runtime/base/SystemError.h"
#include <algorithm>
#include <fcntl.h>
#include <unistd.h>

namespace retort {

struct SafetensorsWriter::State {
  std::string path;
  int fd = -1;
  nlohmann::json header = nlohmann::json::object(); // keys are sorted: equal input, equal bytes
  uint64_t total = 0, written = 0;
  bool begun = false;

  [[noreturn]] void failed(const char *what) const {
    failSystem(path, std::string("cannot be ") + what);
  }

  /// The tensor that holds this byte of the data.
  std::string tensorAt(uint64_t byte) const {
    for (const auto &[name, entry] : header.items())
      if (name != "__metadata__" && byte >= entry["data_offsets"][0].get<uint64_t>() &&
          byte < entry["data_offsets"][1].get<uint64_t>())
        return name;
    return {};
  }

  void write(const uint8_t *bytes, uint64_t size) {
    while (size != 0) {
      ssize_t count = ::write(fd, bytes, std::min<uint64_t>(size, 1 << 24));
      if (count < 0 && errno == EINTR)
        continue;
      if (count < 0)
        failed("written");
      bytes += count;
      size -= static_cast<uint64_t>(count);
    }
  }
};

SafetensorsWriter::SafetensorsWriter(const std::string &path) : state_(new State) {
  state_->path = path;
  state_->fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (state_->fd < 0)
    state_->failed("created");
}

SafetensorsWriter::~SafetensorsWriter() {
  if (state_->fd >= 0)
    ::close(state_->fd);
}

void SafetensorsWriter::addTensor(std::string name, DType type, std::vector<int64_t> shape) {
  if (!isPlain(type))
    fail(ExitCode::Internal, state_->path + ": safetensors cannot hold " +
                                 std::string(retort::name(type)) + " tensors");
  std::optional<uint64_t> size = blockBytes(type);
  for (int64_t dimension : shape)
    size =
        size && dimension > 0 ? checkedMul(*size, static_cast<uint64_t>(dimension)) : std::nullopt;
  std::optional<uint64_t> end = size ? checkedAdd(state_->total, *size) : std::nullopt;
  if (!end || state_->begun || state_->header.contains(name))
    fail(ExitCode::Internal, state_->path + ": tensor " + quote(name) +
                                 " cannot be added: it is there already, too large or too late");
  state_->header[std::move(name)] = {{"dtype", std::string(retort::name(type))},
                                     {"shape", std::move(shape)},
                                     {"data_offsets", {state_->total, *end}}};
  state_->total = *end;
}

void SafetensorsWriter::setMetadata(std::string key, std::string value) {
  state_->header["__metadata__"][std::move(key)] = std::move(value);
}

void SafetensorsWriter::begin() {
  std::string text = state_->header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' '); // the data is aligned to 8 bytes
  const uint64_t length = text.size();
  state_->begun = true;
  state_->write(reinterpret_cast<const uint8_t *>(&length), sizeof length);
  state_->write(reinterpret_cast<const uint8_t *>(text.data()), text.size());
}

void SafetensorsWriter::append(std::span<const uint8_t> bytes) {
  if (!state_->begun || bytes.size() > state_->total - state_->written)
    fail(ExitCode::Internal, state_->path + ": more bytes than the tensors listed have");
  state_->write(bytes.data(), bytes.size());
  state_->written += bytes.size();
}

void SafetensorsWriter::append(std::span<const float> values) {
  if (const size_t bad = firstNotFinite(values); bad != values.size())
    fail(ExitCode::BadInput, "what was computed for " +
                                 quote(state_->tensorAt(state_->written + bad * sizeof(float))) +
                                 " is no finite number: the weights that it was made from are "
                                 "damaged or extreme, so nothing of it is kept");
  append({reinterpret_cast<const uint8_t *>(values.data()), values.size_bytes()});
}

void SafetensorsWriter::finish() {
  if (!state_->begun || state_->written != state_->total)
    fail(ExitCode::Internal, state_->path + ": has " + std::to_string(state_->written) +
                                 " bytes of tensors, not the " + std::to_string(state_->total) +
                                 " listed");
  if (::fsync(state_->fd) != 0)
    state_->failed("written");
  int fd = std::exchange(state_->fd, -1);
  if (::close(fd) != 0)
    state_->failed("written");
}

} // namespace retort
