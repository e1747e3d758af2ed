//===- GgufMutator.h - Changing a GGUF file a field at a time ---*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
//
// Bytes changed at random seldom get past a length in front of them. This finds the fields of a
// file that is sound up to some point (leniently: no range is checked) and sets one to a number
// that readers get wrong, or copies or drops a whole entry and corrects the counts.
//
//===----------------------------------------------------------------------===//
#pragma once
#include <cstdint>
#include <cstring>
#include <random>
#include <vector>

namespace retort::fuzz {

struct Field {
  size_t offset, size;
};
struct Layout {
  std::vector<Field> fields;          ///< numbers: counts, lengths, types, sizes, offsets, values
  std::vector<Field> values, tensors; ///< whole entries
};

/// Walks the file as far as it holds together.
class GgufWalker {
public:
  GgufWalker(const uint8_t *data, size_t size) : data_(data), size_(size) {}

  Layout walk() {
    if (size_ < 24)
      return {};
    at_ = 4;
    number(4);
    const uint64_t tensors = number(8), values = number(8);
    for (uint64_t i = 0; i < values && ok_; ++i) {
      const size_t start = at_;
      string();
      scalarOrArray(static_cast<uint32_t>(number(4)));
      if (ok_)
        layout_.values.push_back({start, at_ - start});
    }
    for (uint64_t i = 0; i < tensors && ok_; ++i) {
      const size_t start = at_;
      string();
      const uint64_t rank = number(4);
      for (uint64_t k = 0; k < rank && ok_; ++k)
        number(8);
      number(4);
      number(8);
      if (ok_)
        layout_.tensors.push_back({start, at_ - start});
    }
    return std::move(layout_);
  }

private:
  uint64_t number(size_t size) {
    uint64_t value = 0;
    if (!ok_ || size > size_ - at_) {
      ok_ = false;
      return 0;
    }
    std::memcpy(&value, data_ + at_, size);
    layout_.fields.push_back({at_, size});
    at_ += size;
    return value;
  }
  void skip(uint64_t size) {
    if (!ok_ || size > size_ - at_)
      ok_ = false;
    else
      at_ += size;
  }
  void string() { skip(number(8)); }
  void scalarOrArray(uint32_t type) {
    static constexpr size_t sizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    if (type == 8)
      return string();
    if (type < 13 && type != 9) {
      number(sizes[type]);
      return;
    }
    const uint64_t element = number(4), count = number(8);
    for (uint64_t i = 0; i < count && ok_; ++i)
      element == 8 ? string() : element < 13 && element != 9 ? skip(sizes[element]) : skip(~0ull);
  }

  const uint8_t *data_;
  size_t size_, at_ = 0;
  bool ok_ = true;
  Layout layout_;
};

/// Changes the file in place; returns its new size, or 0 if it has no structure to change.
inline size_t mutateGguf(uint8_t *data, size_t size, size_t maxSize, unsigned seed) {
  std::minstd_rand random(seed);
  Layout layout = GgufWalker(data, size).walk();
  auto pick = [&](const std::vector<Field> &from) { return from[random() % from.size()]; };
  auto addToCount = [&](size_t offset, int64_t change) {
    uint64_t count;
    std::memcpy(&count, data + offset, 8);
    count += static_cast<uint64_t>(change);
    std::memcpy(data + offset, &count, 8);
  };
  const bool tensors = random() % 2;
  const std::vector<Field> &entries = tensors ? layout.tensors : layout.values;
  const size_t countOffset = tensors ? 8 : 16;
  if (random() % 8 == 0 && !entries.empty()) { // an entry twice
    const Field entry = pick(entries);
    if (size + entry.size > maxSize)
      return 0;
    const std::vector<uint8_t> copy(data + entry.offset, data + entry.offset + entry.size);
    std::memmove(data + entry.offset + entry.size, data + entry.offset, size - entry.offset);
    std::memcpy(data + entry.offset, copy.data(), copy.size());
    addToCount(countOffset, 1);
    return size + entry.size;
  }
  if (random() % 8 == 0 && !entries.empty()) { // an entry less
    const Field entry = pick(entries);
    std::memmove(data + entry.offset, data + entry.offset + entry.size,
                 size - entry.offset - entry.size);
    addToCount(countOffset, -1);
    return size - entry.size;
  }
  if (layout.fields.empty())
    return 0;
  const Field field = pick(layout.fields);
  static constexpr uint64_t interesting[] = {0,
                                             1,
                                             2,
                                             3,
                                             5,
                                             8,
                                             9,
                                             13,
                                             16,
                                             31,
                                             32,
                                             33,
                                             64,
                                             255,
                                             256,
                                             512,
                                             1024,
                                             1025,
                                             65535,
                                             1 << 20,
                                             (1 << 20) + 1,
                                             0x7fffffff,
                                             0x80000000,
                                             0xffffffff,
                                             1ull << 32,
                                             1ull << 40,
                                             1ull << 61,
                                             1ull << 62,
                                             0x7fffffffffffffc0,
                                             0x7fffffffffffffff,
                                             1ull << 63,
                                             ~0ull,
                                             ~0ull - 31};
  uint64_t value;
  std::memcpy(&value, data + field.offset, field.size < 8 ? field.size : 8);
  if (random() % 3 == 0)
    value += random() % 65 - 32;
  else
    value = interesting[random() % std::size(interesting)];
  std::memcpy(data + field.offset, &value, field.size);
  return size;
}

} // namespace retort::fuzz
