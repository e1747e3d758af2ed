//===- Safetensors.cpp - Reading safetensors files ------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Checkpoint/Safetensors.h"
#include "compiler/Checkpoint/Cursor.h"
#include "runtime/base/Json.h"
#include <algorithm>
#include <set>

namespace retort {
namespace {

constexpr uint64_t kMaxHeader = 100'000'000; // the limit of the reference implementation
constexpr uint64_t kMaxElements = uint64_t(1) << 56;
constexpr size_t kMaxRank = 8;
constexpr size_t kMaxTensors = 1 << 20;

/// The header's events (SAX): depth 1 holds tensors' names, depth 2 their fields, depth 3 numbers.
/// Nothing is kept but what the format has, so memory stays within a few times the header's size.
class HeaderParser {
public:
  using json = nlohmann::json;
  HeaderParser(const std::string &path, const char *text, std::vector<SafetensorsTensor> &tensors,
               std::map<std::string, std::string> &metadata)
      : path_(path), position_(text), begin_(text), tensors_(tensors), metadata_(metadata) {}

  /// Where the lexer is; the input iterator moves it.
  const char *&position() { return position_; }
  /// The ends of the tensors' ranges, in the tensors' order.
  const std::vector<uint64_t> &ends() const { return ends_; }

  [[noreturn]] void damaged(const std::string &what) const {
    fail(ExitCode::BadInput, path_ + ": byte " + std::to_string(8 + (position_ - begin_)) + ": " +
                                 what + ": the file is damaged, download it again");
  }

  bool null() { unexpected("null"); }
  bool boolean(bool) { unexpected("a boolean"); }
  bool number_integer(json::number_integer_t) { unexpected("a negative number"); }
  bool number_float(json::number_float_t, const std::string &) { unexpected("a fraction"); }
  bool binary(json::binary_t &) { unexpected("binary data"); }

  bool number_unsigned(json::number_unsigned_t number) {
    if (!inArray_)
      unexpected("a number");
    if (numbers_.size() >= kMaxRank)
      damaged(subject() + " has a list of more than " + std::to_string(kMaxRank) + " numbers");
    numbers_.push_back(number);
    return true;
  }

  bool string(std::string &text) {
    if (depth_ == 2 && inMetadata_)
      metadata_[key_] = std::move(text);
    else if (depth_ == 2 && key_ == "dtype")
      setType(text);
    else
      unexpected("a string");
    return true;
  }

  bool start_object(size_t) {
    if (inArray_ || depth_ == 2)
      unexpected("an object");
    if (depth_++ == 1) {
      inMetadata_ = name_ == "__metadata__";
      hasType_ = hasShape_ = hasOffsets_ = false;
      fields_.clear();
      if (!inMetadata_)
        tensors_.emplace_back().name = name_;
    }
    return true;
  }

  bool key(std::string &text) {
    if (depth_ == 1) {
      name_ = text;
      if (!names_.insert(text).second)
        damaged("tensor " + quote(text) + " is there twice");
      if (text != "__metadata__" && (text.empty() || !isVisibleAscii(text)))
        damaged("tensor name " + quote(text) + " is not visible ASCII");
      if (names_.size() > kMaxTensors)
        damaged("lists more than " + std::to_string(kMaxTensors) + " tensors");
      return true;
    }
    if (!fields_.insert(text).second)
      damaged(subject() + " has the key " + quote(text) + " twice");
    key_ = text;
    return true;
  }

  bool end_object() {
    if (depth_-- == 2 && !inMetadata_ && !(hasType_ && hasShape_ && hasOffsets_))
      damaged(subject() + " lacks " +
              (!hasType_    ? "its dtype"
               : !hasShape_ ? "its shape"
                            : "its data_offsets"));
    return true;
  }

  bool start_array(size_t) {
    if (depth_ != 2 || inMetadata_ || inArray_)
      unexpected("a list");
    inArray_ = true;
    numbers_.clear();
    return true;
  }

  bool end_array() {
    inArray_ = false;
    if (key_ == "shape")
      setShape();
    else if (key_ == "data_offsets")
      setOffsets();
    else
      damaged(subject() + " has the unknown field " + quote(key_));
    return true;
  }

  bool parse_error(size_t, const std::string &, const nlohmann::detail::exception &) {
    damaged("the header is not valid JSON");
  }

private:
  std::string subject() const { return inMetadata_ ? "'__metadata__'" : "tensor " + quote(name_); }
  [[noreturn]] void unexpected(const char *what) const {
    damaged((depth_ == 1 ? "key " + quote(name_) : subject() + ", key " + quote(key_)) + " holds " +
            what);
  }

  void setType(const std::string &text) {
    hasType_ = true;
    if (const std::optional<DType> type = dtypeNamed(text); type && isPlain(*type)) {
      tensors_.back().type = *type;
      return;
    }
    constexpr std::string_view others[] = {"F8_E5M2", "C64",         "F4",         "F6_E2M3",
                                           "F6_E3M2", "F8_E4M3FNUZ", "F8_E5M2FNUZ"};
    if (std::ranges::find(others, text) == std::end(others))
      damaged(subject() + " has the unknown dtype " + quote(text));
    fail(ExitCode::Unsupported, path_ + ": tensor " + quote(name_) + " is stored as " + text +
                                    ": take a checkpoint in F32, F16 or BF16");
  }

  void setShape() {
    hasShape_ = true;
    uint64_t elements = 1;
    for (uint64_t size : numbers_) {
      std::optional<uint64_t> product = checkedMul(elements, size);
      if (size == 0 || !product || *product > kMaxElements)
        damaged(subject() + " has an impossible dimension " + std::to_string(size));
      elements = *product;
      tensors_.back().shape.push_back(static_cast<int64_t>(size));
    }
  }

  void setOffsets() {
    hasOffsets_ = true;
    if (numbers_.size() != 2 || numbers_[0] > numbers_[1])
      damaged(subject() + " has data_offsets that are no range");
    tensors_.back().offset = numbers_[0]; // into the data; parse() makes both absolute
    ends_.push_back(numbers_[1]);
  }

  const std::string &path_;
  const char *position_, *begin_;
  std::vector<SafetensorsTensor> &tensors_;
  std::map<std::string, std::string> &metadata_;
  std::vector<uint64_t> ends_;
  std::set<std::string> names_, fields_;
  std::string name_, key_;
  std::vector<uint64_t> numbers_;
  int depth_ = 0;
  bool inArray_ = false, inMetadata_ = false;
  bool hasType_ = false, hasShape_ = false, hasOffsets_ = false;
};

/// A pointer into the header that tells the parser how far the lexer has come.
struct TrackingIterator {
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = ptrdiff_t;
  using pointer = const char *;
  using reference = const char &;
  const char *at;
  const char **position;
  const char &operator*() const { return *at; }
  TrackingIterator &operator++() {
    *position = ++at;
    return *this;
  }
  bool operator==(const TrackingIterator &other) const { return at == other.at; }
  bool operator!=(const TrackingIterator &other) const { return at != other.at; }
};

uint64_t storedBytes(const SafetensorsTensor &tensor) {
  uint64_t elements = 1;
  for (int64_t size : tensor.shape)
    elements *= static_cast<uint64_t>(size);
  return elements * blockBytes(tensor.type);
}

} // namespace

SafetensorsFile SafetensorsFile::parse(std::span<const uint8_t> bytes, std::string path) {
  SafetensorsFile file;
  file.path_ = std::move(path);
  Cursor cursor(bytes, file.path_);
  uint64_t headerBytes = cursor.read<uint64_t>("the header's length");
  if (headerBytes > kMaxHeader || headerBytes > cursor.remaining())
    cursor.damaged(0, "the header has " + std::to_string(headerBytes) + " bytes but the file has " +
                          std::to_string(cursor.remaining()) +
                          " more, of which it may take 100000000");
  std::span<const uint8_t> header = cursor.take(headerBytes, "the header");
  if (header.empty() || header[0] != '{')
    cursor.damaged(8, "the header does not start with '{'");
  if (const void *nul = std::memchr(header.data(), 0, header.size())) // nlohmann's would end there
    cursor.damaged(8 + static_cast<uint64_t>(static_cast<const uint8_t *>(nul) - header.data()),
                   "the header is not valid JSON (a NUL byte)");
  const uint64_t start = cursor.position(), dataBytes = cursor.remaining();

  const char *text = reinterpret_cast<const char *>(header.data());
  HeaderParser parser(file.path_, text, file.tensors_, file.metadata_);
  TrackingIterator first{text, &parser.position()}, last{text + header.size(), nullptr};
  nlohmann::json::sax_parse(first, last, &parser);

  for (size_t i = 0; i < file.tensors_.size(); ++i) {
    SafetensorsTensor &tensor = file.tensors_[i];
    const uint64_t begin = tensor.offset, end = parser.ends()[i], size = end - begin;
    if (end > dataBytes)
      cursor.damaged(start, "tensor " + quote(tensor.name) + " ends at byte " +
                                std::to_string(end) + " of the data, which has " +
                                std::to_string(dataBytes));
    if (size != storedBytes(tensor))
      cursor.damaged(start, "tensor " + quote(tensor.name) + " has " + std::to_string(size) +
                                " bytes, but its shape and dtype need " +
                                std::to_string(storedBytes(tensor)));
    tensor.offset = start + begin;
    tensor.bytes = bytes.subspan(tensor.offset, size);
  }
  std::ranges::sort(file.tensors_, {}, &SafetensorsTensor::offset);
  uint64_t expected = start;
  for (size_t i = 0; i < file.tensors_.size(); ++i) {
    const SafetensorsTensor &tensor = file.tensors_[i];
    if (tensor.offset != expected)
      cursor.damaged(tensor.offset,
                     "tensor " + quote(tensor.name) +
                         (tensor.offset < expected ? " overlaps the tensor before it"
                                                   : " leaves a gap to the tensor before it"));
    expected += tensor.bytes.size();
    file.index_.emplace(tensor.name, i);
  }
  if (expected != bytes.size())
    cursor.damaged(expected,
                   std::to_string(bytes.size() - expected) + " bytes follow the last tensor");
  return file;
}

SafetensorsFile SafetensorsFile::open(const std::string &path) {
  MappedFile mapped = MappedFile::open(path);
  SafetensorsFile file = parse(mapped.bytes(), path);
  file.file_ = std::move(mapped); // the mapping stays where it is: views remain valid
  return file;
}

const SafetensorsTensor *SafetensorsFile::find(std::string_view name) const {
  auto it = index_.find(name);
  return it == index_.end() ? nullptr : &tensors_[it->second];
}

} // namespace retort
