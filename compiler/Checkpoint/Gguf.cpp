//===- Gguf.cpp - Reading GGUF checkpoints --------------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Checkpoint/Gguf.h"
#include "compiler/Checkpoint/Cursor.h"
#include <algorithm>
#include <array>
#include <bit>
#include <numeric>
#include <unordered_set>

namespace retort {
namespace {

static_assert(std::endian::native == std::endian::little, "GGUF is read as it lies in memory");

constexpr uint64_t kDefaultAlignment = 32;
constexpr uint64_t kMaxAlignment = 1 << 20;
constexpr uint64_t kMaxNameLength = 4096;
/// Sizes stay far from where products with a few bytes overflow an int64_t.
constexpr uint64_t kMaxElements = uint64_t(1) << 56;

constexpr uint64_t sizeOf(GgufFile::Type type) {
  constexpr uint8_t sizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 8, 0, 8, 8, 8};
  return sizes[static_cast<uint32_t>(type)];
}

/// ggml's tensor types by number. Those that Retort does not read are named in the error.
struct TensorType {
  std::string_view name;
  std::optional<DType> type;
};
std::optional<TensorType> tensorType(uint32_t number) {
  switch (number) {
  case 0:
    return TensorType{"F32", DType::F32};
  case 1:
    return TensorType{"F16", DType::F16};
  case 2:
    return TensorType{"Q4_0", DType::Q4_0};
  case 3:
    return TensorType{"Q4_1", DType::Q4_1};
  case 6:
    return TensorType{"Q5_0", DType::Q5_0};
  case 7:
    return TensorType{"Q5_1", DType::Q5_1};
  case 8:
    return TensorType{"Q8_0", DType::Q8_0};
  case 10:
    return TensorType{"Q2_K", DType::Q2_K};
  case 11:
    return TensorType{"Q3_K", DType::Q3_K};
  case 12:
    return TensorType{"Q4_K", DType::Q4_K};
  case 13:
    return TensorType{"Q5_K", DType::Q5_K};
  case 14:
    return TensorType{"Q6_K", DType::Q6_K};
  case 20:
    return TensorType{"IQ4_NL", DType::IQ4_NL};
  case 23:
    return TensorType{"IQ4_XS", DType::IQ4_XS};
  case 28:
    return TensorType{"F64", DType::F64};
  case 30:
    return TensorType{"BF16", DType::BF16};
  case 34:
    return TensorType{"TQ1_0", DType::TQ1_0};
  case 35:
    return TensorType{"TQ2_0", DType::TQ2_0};
  case 39:
    return TensorType{"MXFP4", DType::MXFP4};
  case 40:
    return TensorType{"NVFP4", DType::NVFP4};
  default:
    break;
  }
  constexpr std::array<std::string_view, 30> others = {
      "", "",      "",      "", "Q4_2", "Q4_3", "",        "",       "",        "Q8_1",
      "", "",      "",      "", "",     "Q8_K", "IQ2_XXS", "IQ2_XS", "IQ3_XXS", "IQ1_S",
      "", "IQ3_S", "IQ2_S", "", "I8",   "I16",  "I32",     "I64",    "",        "IQ1_M"};
  if (number < others.size() && !others[number].empty())
    return TensorType{others[number], std::nullopt};
  return std::nullopt;
}

std::string shapeText(std::span<const int64_t> shape) {
  std::string text;
  for (int64_t size : shape)
    text += (text.empty() ? "" : "x") + std::to_string(size);
  return text;
}

} // namespace

class GgufParser {
public:
  GgufParser(std::span<const uint8_t> bytes, GgufFile &file)
      : bytes_(bytes), cursor_(bytes, file.path_), file_(file) {}

  void parse() {
    readHeader();
    for (uint64_t i = 0; i < numValues_; ++i)
      readValue();
    for (uint64_t i = 0; i < numTensors_; ++i)
      readTensor();
    placeTensors();
    refuseOverlaps();
  }

private:
  void readHeader() {
    std::span<const uint8_t> magic = cursor_.take(4, "the magic 'GGUF'");
    if (std::memcmp(magic.data(), "GGUF", 4) != 0)
      fail(ExitCode::BadInput, file_.path_ + ": byte 0: is not a GGUF file (it starts with " +
                                   quote({reinterpret_cast<const char *>(magic.data()), 4}) +
                                   "): give a .gguf file or a Hugging Face directory");
    uint32_t version = cursor_.read<uint32_t>("the version");
    if (version != 0 && (version & 0xffff) == 0)
      fail(ExitCode::Unsupported,
           file_.path_ + ": byte 4: the file is big-endian: convert it to little-endian GGUF");
    if (version != 2 && version != 3)
      fail(ExitCode::Unsupported, file_.path_ + ": byte 4: GGUF version " +
                                      std::to_string(version) +
                                      " is not read: convert the file to version 3");
    uint64_t at = cursor_.position();
    numTensors_ = cursor_.read<uint64_t>("the number of tensors");
    numValues_ = cursor_.read<uint64_t>("the number of metadata values");
    // A tensor's entry takes at least 33 bytes, a value 13 and its type.
    if (numTensors_ > cursor_.remaining() / 33)
      cursor_.damaged(at, "lists " + std::to_string(numTensors_) + " tensors, more than its " +
                              std::to_string(cursor_.remaining()) + " bytes can");
    if (numValues_ > cursor_.remaining() / 14)
      cursor_.damaged(at + 8, "lists " + std::to_string(numValues_) +
                                  " metadata values, more than its " +
                                  std::to_string(cursor_.remaining()) + " bytes can");
  }

  std::string_view readName(std::string_view what) {
    uint64_t at = cursor_.position();
    std::string_view text = cursor_.readString(what);
    if (text.empty() || text.size() > kMaxNameLength || !isVisibleAscii(text))
      cursor_.damaged(at, std::string(what) + " " + quote(text) +
                              " is not 1 to 4096 visible ASCII characters");
    return text;
  }

  GgufFile::Type readType(std::string_view key) {
    uint64_t at = cursor_.position();
    uint32_t type = cursor_.read<uint32_t>("a value's type");
    if (type > static_cast<uint32_t>(GgufFile::Type::F64))
      cursor_.damaged(at, "key " + quote(key) + " has the unknown type " + std::to_string(type));
    return static_cast<GgufFile::Type>(type);
  }

  void skipElements(GgufFile::Value &value) {
    if (value.type != GgufFile::Type::String) {
      std::optional<uint64_t> size = checkedMul(value.count, sizeOf(value.type));
      if (!size || *size > cursor_.remaining())
        cursor_.damaged(value.offset, "key " + quote(value.key) + " has " +
                                          std::to_string(value.count) + " elements but " +
                                          std::to_string(cursor_.remaining()) + " bytes are left");
      cursor_.take(*size, "a value");
      return;
    }
    if (value.count > cursor_.remaining() / 8)
      cursor_.damaged(value.offset, "key " + quote(value.key) + " has " +
                                        std::to_string(value.count) + " strings but " +
                                        std::to_string(cursor_.remaining()) + " bytes are left");
    for (uint64_t i = 0; i < value.count; ++i)
      cursor_.readString("a string");
  }

  void readValue() {
    uint64_t at = cursor_.position();
    GgufFile::Value value;
    value.key = readName("a key");
    value.type = readType(value.key);
    if (value.type == GgufFile::Type::Array) {
      value.isArray = true;
      uint64_t elementAt = cursor_.position();
      value.type = readType(value.key);
      if (value.type == GgufFile::Type::Array)
        cursor_.damaged(elementAt, "key " + quote(value.key) + " is an array of arrays");
      value.count = cursor_.read<uint64_t>("an array's length");
    }
    value.offset = cursor_.position();
    skipElements(value);
    value.bytes = bytes_.subspan(value.offset, cursor_.position() - value.offset);
    if (!file_.valueIndex_.emplace(value.key, file_.values_.size()).second)
      cursor_.damaged(at, "key " + quote(value.key) + " is there twice");
    file_.values_.push_back(value);
  }

  void readTensor() {
    uint64_t at = cursor_.position();
    GgufTensor tensor;
    tensor.name = readName("a tensor's name");
    uint32_t rank = cursor_.read<uint32_t>("a tensor's rank");
    if (rank < 1 || rank > 4)
      cursor_.damaged(at, "tensor " + quote(tensor.name) + " has " + std::to_string(rank) +
                              " dimensions, not 1 to 4");
    uint64_t elements = 1;
    for (uint32_t i = 0; i < rank; ++i) {
      uint64_t size = cursor_.read<uint64_t>("a tensor's shape");
      std::optional<uint64_t> product = checkedMul(elements, size);
      if (size == 0 || !product || *product > kMaxElements)
        cursor_.damaged(at, "tensor " + quote(tensor.name) + " has an impossible dimension " +
                                std::to_string(size));
      elements = *product;
      tensor.shape.insert(tensor.shape.begin(), static_cast<int64_t>(size));
    }
    tensor.type = readTensorType(tensor.name);
    tensor.offset = cursor_.read<uint64_t>("a tensor's offset"); // absolute in placeTensors()
    if (!tensorNames_.insert(tensor.name).second)
      cursor_.damaged(at, "tensor " + quote(tensor.name) + " is there twice");
    file_.tensors_.push_back(std::move(tensor));
  }

  DType readTensorType(std::string_view tensor) {
    uint64_t at = cursor_.position();
    uint32_t number = cursor_.read<uint32_t>("a tensor's type");
    std::optional<TensorType> type = tensorType(number);
    if (!type)
      cursor_.damaged(at, "tensor " + quote(tensor) + " has the unknown type " +
                              std::to_string(number));
    if (!type->type)
      fail(ExitCode::Unsupported, file_.path_ + ": byte " + std::to_string(at) + ": tensor " +
                                      quote(tensor) + " is stored as " + std::string(type->name) +
                                      ", which is not read: take another quantisation, such as "
                                      "Q4_K, Q8_0 or BF16");
    return *type->type;
  }

  uint64_t alignment() {
    const GgufFile::Value *value = file_.find("general.alignment");
    if (!value)
      return kDefaultAlignment;
    if (value->isArray || value->type != GgufFile::Type::U32)
      cursor_.damaged(value->offset, "key 'general.alignment' is not a u32");
    uint32_t alignment;
    std::memcpy(&alignment, value->bytes.data(), sizeof alignment);
    if (!std::has_single_bit(alignment) || alignment > kMaxAlignment)
      cursor_.damaged(value->offset, "general.alignment " + std::to_string(alignment) +
                                         " is not a power of two up to 1048576");
    return alignment;
  }

  /// Bytes of the tensor, whose element count was checked.
  uint64_t storedBytes(const GgufTensor &tensor) {
    uint64_t columns = static_cast<uint64_t>(tensor.shape.back()), rows = 1;
    for (int64_t size : tensor.shape)
      rows *= static_cast<uint64_t>(size);
    rows /= columns;
    if (columns % blockElements(tensor.type) != 0)
      cursor_.damaged(0, "tensor " + quote(tensor.name) + " has rows of " +
                             std::to_string(columns) + " elements, not a multiple of the " +
                             std::to_string(blockElements(tensor.type)) + " of a " +
                             std::string(name(tensor.type)) + " block");
    return rows * (columns / blockElements(tensor.type)) * blockBytes(tensor.type);
  }

  void placeTensors() {
    uint64_t align = alignment();
    if (file_.tensors_.empty())
      return;
    uint64_t padding = (align - cursor_.position() % align) % align;
    uint64_t start = cursor_.position() + padding;
    if (padding > cursor_.remaining())
      cursor_.damaged(cursor_.position(), "the file ends before its tensors' data");
    uint64_t available = bytes_.size() - start;
    for (GgufTensor &tensor : file_.tensors_) {
      uint64_t size = storedBytes(tensor);
      if (tensor.offset % align != 0)
        cursor_.damaged(start, "tensor " + quote(tensor.name) + " lies at offset " +
                                   std::to_string(tensor.offset) + ", not a multiple of " +
                                   std::to_string(align));
      if (tensor.offset > available || size > available - tensor.offset)
        cursor_.damaged(start, "tensor " + quote(tensor.name) + " (" + shapeText(tensor.shape) +
                                   " " + std::string(name(tensor.type)) + ", " +
                                   std::to_string(size) + " bytes at offset " +
                                   std::to_string(tensor.offset) + ") ends after the file's " +
                                   std::to_string(available) + " bytes of data");
      tensor.offset += start;
      tensor.bytes = bytes_.subspan(tensor.offset, size);
    }
  }

  void refuseOverlaps() {
    std::vector<size_t> order(file_.tensors_.size());
    std::iota(order.begin(), order.end(), size_t(0));
    std::ranges::sort(order, {}, [&](size_t i) { return file_.tensors_[i].offset; });
    for (size_t i = 1; i < order.size(); ++i) {
      const GgufTensor &before = file_.tensors_[order[i - 1]], &tensor = file_.tensors_[order[i]];
      if (before.offset + before.bytes.size() > tensor.offset)
        cursor_.damaged(tensor.offset, "tensors " + quote(before.name) + " and " +
                                           quote(tensor.name) + " overlap");
    }
  }

  std::span<const uint8_t> bytes_;
  Cursor cursor_;
  GgufFile &file_;
  std::unordered_set<std::string_view> tensorNames_;
  uint64_t numTensors_ = 0, numValues_ = 0;
};

GgufFile GgufFile::parse(std::span<const uint8_t> bytes, std::string path) {
  GgufFile file;
  file.path_ = std::move(path);
  GgufParser(bytes, file).parse();
  return file;
}

GgufFile GgufFile::open(const std::string &path) {
  MappedFile mapped = MappedFile::open(path);
  GgufFile file = parse(mapped.bytes(), path);
  file.file_ = std::move(mapped); // the mapping stays where it is: views remain valid
  return file;
}

const GgufFile::Value *GgufFile::find(std::string_view key) const {
  auto it = valueIndex_.find(key);
  return it == valueIndex_.end() ? nullptr : &values_[it->second];
}

} // namespace retort
