//===- Node.cpp - Reading, choosing and joining rows ----------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Weights/Node.h"
#include "compiler/Checkpoint/CodedMatrix.h"
#include "runtime/base/Error.h"
#include "runtime/base/SmallFloat.h"
#include <algorithm>
#include <cmath>
#include <cstring>

namespace retort::weight {
namespace {

size_t size(int64_t rows, int64_t columns) { return static_cast<size_t>(rows * columns); }

constexpr uint64_t kReleaseBytes = 16 << 20;

/// Refuses a weight that is no number: it would spread over all that is computed from it.
void checkFinite(const CheckpointTensor &tensor, std::span<const float> values, int64_t firstRow) {
  const size_t bad = firstNotFinite(values);
  if (bad == values.size())
    return;
  const int64_t columns = tensor.shape.size() < 2 ? 1 : tensor.columns();
  const auto at = static_cast<int64_t>(bad);
  fail(ExitCode::BadInput,
       "tensor '" + std::string(tensor.name) + "' has " +
           (std::isnan(values[bad]) ? "NaN" : "an infinite value") + " in row " +
           std::to_string(firstRow + at / columns) + ", column " + std::to_string(at % columns) +
           ": the checkpoint is damaged, or was saved by a training that had failed: get another");
}

/// A tensor of a checkpoint. Mapped pages that were read are dropped after every kReleaseBytes.
class Load : public Node {
public:
  Load(const CheckpointTensor &tensor, int64_t rows, int64_t columns, Precision precision)
      : Node(rows, columns), tensor_(tensor), precision_(precision) {}
  ~Load() override { release(); }

  void read(int64_t begin, int64_t end, float *out) override {
    const uint64_t first = static_cast<uint64_t>(begin * columns_);
    const uint64_t last = static_cast<uint64_t>(end * columns_);
    const uint64_t unit = blockElements(tensor_.type), bytes = blockBytes(tensor_.type);
    const uint64_t firstBlock = first / unit, lastBlock = (last + unit - 1) / unit;
    const uint8_t *in = tensor_.bytes.data() + firstBlock * bytes;
    if (first % unit == 0 && last % unit == 0) {
      dequantize(tensor_.type, in, last - first, out);
    } else { // elements of a quantised vector that do not fall on blocks
      buffer_.resize((lastBlock - firstBlock) * unit);
      dequantize(tensor_.type, in, buffer_.size(), buffer_.data());
      std::copy_n(buffer_.begin() + static_cast<ptrdiff_t>(first - firstBlock * unit), last - first,
                  out);
    }
    checkFinite(tensor_, {out, last - first}, begin);
    roundTo(precision_, {out, last - first});
    consumed(firstBlock * bytes, lastBlock * bytes);
  }

private:
  void consumed(uint64_t begin, uint64_t end) {
    from_ = std::min(from_, begin);
    to_ = std::max(to_, end);
    count_ += end - begin;
    if (count_ >= kReleaseBytes)
      release();
  }
  void release() {
    if (tensor_.file && from_ < to_)
      tensor_.file->release(tensor_.offset + from_, to_ - from_);
    from_ = UINT64_MAX, to_ = count_ = 0;
  }

  CheckpointTensor tensor_;
  Precision precision_;
  std::vector<float> buffer_;
  uint64_t from_ = UINT64_MAX, to_ = 0, count_ = 0;
};

/// A matrix that a checkpoint keeps in several tensors.
class LoadCoded : public Node {
public:
  LoadCoded(const CheckpointTensor &tensor, Precision precision)
      : Node(tensor.rows(), tensor.columns()), tensor_(tensor), precision_(precision),
        reader_(tensor.coded) {}
  ~LoadCoded() override { tensor_.coded->release(); }

  void read(int64_t begin, int64_t end, float *out) override {
    reader_.read(begin, end, out);
    const std::span<float> values(out, size(end - begin, columns_));
    checkFinite(tensor_, values, begin);
    roundTo(precision_, values);
    count_ += values.size();
    if (count_ < kReleaseBytes)
      return;
    tensor_.coded->release();
    count_ = 0;
  }

private:
  CheckpointTensor tensor_;
  Precision precision_;
  CodedReader reader_;
  uint64_t count_ = 0; ///< of codes read since pages were dropped
};

class Constant : public Node {
public:
  Constant(int64_t rows, int64_t columns, std::vector<float> values)
      : Node(rows, columns), values_(std::move(values)) {}
  void read(int64_t begin, int64_t end, float *out) override {
    std::copy_n(values_.begin() + begin * columns_, (end - begin) * columns_, out);
  }

private:
  std::vector<float> values_;
};

class TakeRows : public Node {
public:
  TakeRows(NodePtr input, std::vector<int32_t> indices)
      : Node(static_cast<int64_t>(indices.size()), input->columns()), input_(std::move(input)),
        indices_(std::move(indices)) {}

  void read(int64_t begin, int64_t end, float *out) override {
    for (int64_t i = begin; i < end;) { // consecutive rows are read at once
      int64_t stop = i + 1;
      while (stop < end && index(stop) == index(stop - 1) + 1)
        ++stop;
      input_->read(index(i), index(stop - 1) + 1, out);
      out += size(stop - i, columns_);
      i = stop;
    }
  }

private:
  int64_t index(int64_t i) const { return indices_[static_cast<size_t>(i)]; }
  NodePtr input_;
  std::vector<int32_t> indices_;
};

class TakeColumns : public Node {
public:
  TakeColumns(NodePtr input, std::vector<int32_t> indices)
      : Node(input->rows(), static_cast<int64_t>(indices.size())), input_(std::move(input)),
        indices_(std::move(indices)) {}

  void read(int64_t begin, int64_t end, float *out) override {
    forEachChunk(*input_, begin, end, buffer_, [&](int64_t from, int64_t to, const float *rows) {
      for (int64_t row = from; row < to; ++row, rows += input_->columns())
        for (int32_t index : indices_)
          *out++ = rows[index];
    });
  }

private:
  NodePtr input_;
  std::vector<int32_t> indices_;
  std::vector<float> buffer_;
};

class SliceRows : public Node {
public:
  SliceRows(NodePtr input, int64_t offset, int64_t size)
      : Node(size, input->columns()), input_(std::move(input)), offset_(offset) {}
  void read(int64_t begin, int64_t end, float *out) override {
    input_->read(offset_ + begin, offset_ + end, out);
  }

private:
  NodePtr input_;
  int64_t offset_;
};

class SliceColumns : public Node {
public:
  SliceColumns(NodePtr input, int64_t offset, int64_t size)
      : Node(input->rows(), size), input_(std::move(input)), offset_(offset) {}

  void read(int64_t begin, int64_t end, float *out) override {
    forEachChunk(*input_, begin, end, buffer_, [&](int64_t from, int64_t to, const float *rows) {
      for (int64_t row = from; row < to; ++row, rows += input_->columns())
        out = std::copy_n(rows + offset_, columns_, out);
    });
  }

private:
  NodePtr input_;
  int64_t offset_;
  std::vector<float> buffer_;
};

int64_t total(const std::vector<NodePtr> &inputs, int64_t (Node::*axis)() const) {
  int64_t sum = 0;
  for (const NodePtr &input : inputs)
    sum += (input.get()->*axis)();
  return sum;
}

class ConcatRows : public Node {
public:
  explicit ConcatRows(std::vector<NodePtr> inputs)
      : Node(total(inputs, &Node::rows), inputs[0]->columns()), inputs_(std::move(inputs)) {}

  void read(int64_t begin, int64_t end, float *out) override {
    int64_t start = 0; // of the operand
    for (const NodePtr &input : inputs_) {
      const int64_t from = std::max(begin, start), to = std::min(end, start + input->rows());
      if (from < to) {
        input->read(from - start, to - start, out);
        out += size(to - from, columns_);
      }
      start += input->rows();
    }
  }

private:
  std::vector<NodePtr> inputs_;
};

class ConcatColumns : public Node {
public:
  explicit ConcatColumns(std::vector<NodePtr> inputs)
      : Node(inputs[0]->rows(), total(inputs, &Node::columns)), inputs_(std::move(inputs)) {}

  void read(int64_t begin, int64_t end, float *out) override {
    int64_t start = 0;
    for (const NodePtr &input : inputs_) {
      const int64_t width = input->columns();
      forEachChunk(*input, begin, end, buffer_, [&](int64_t from, int64_t to, const float *rows) {
        for (int64_t row = from; row < to; ++row, rows += width)
          std::copy_n(rows, width, out + size(row - begin, columns_) + start);
      });
      start += width;
    }
  }

private:
  std::vector<NodePtr> inputs_;
  std::vector<float> buffer_;
};

class Cast : public Node {
public:
  Cast(NodePtr input, Precision precision)
      : Node(input->rows(), input->columns()), input_(std::move(input)), precision_(precision) {}
  void read(int64_t begin, int64_t end, float *out) override {
    input_->read(begin, end, out);
    roundTo(precision_, {out, size(end - begin, columns_)});
  }

private:
  NodePtr input_;
  Precision precision_;
};

class Scale : public Node {
public:
  Scale(NodePtr input, float factor, Precision precision)
      : Node(input->rows(), input->columns()), input_(std::move(input)), factor_(factor),
        precision_(precision) {}
  void read(int64_t begin, int64_t end, float *out) override {
    input_->read(begin, end, out);
    const std::span<float> values(out, size(end - begin, columns_));
    for (float &value : values)
      value *= factor_;
    roundTo(precision_, values);
  }

private:
  NodePtr input_;
  float factor_;
  Precision precision_;
};

class Add : public Node {
public:
  Add(NodePtr left, NodePtr right, Precision precision)
      : Node(left->rows(), left->columns()), left_(std::move(left)), right_(std::move(right)),
        precision_(precision) {}
  void read(int64_t begin, int64_t end, float *out) override {
    left_->read(begin, end, out);
    const std::span<float> values(out, size(end - begin, columns_));
    forEachChunk(*right_, begin, end, buffer_, [&](int64_t from, int64_t to, const float *rows) {
      float *sum = out + size(from - begin, columns_);
      for (size_t i = 0; i < size(to - from, columns_); ++i)
        sum[i] += rows[i];
    });
    roundTo(precision_, values);
  }

private:
  NodePtr left_, right_;
  Precision precision_;
  std::vector<float> buffer_;
};

class Product : public Node {
public:
  Product(NodePtr left, NodePtr right, Precision precision)
      : Node(left->rows(), right->columns()), left_(std::move(left)), right_(std::move(right)),
        precision_(precision) {}
  void read(int64_t begin, int64_t end, float *out) override {
    if (factor_.empty()) {
      factor_.resize(size(right_->rows(), columns_));
      right_->read(0, right_->rows(), factor_.data());
    }
    forEachChunk(*left_, begin, end, buffer_, [&](int64_t from, int64_t to, const float *left) {
      for (int64_t row = from; row < to; ++row, out += columns_) {
        std::fill_n(out, columns_, 0.0f);
        for (const float *right = factor_.data(), *stop = right + factor_.size(); right != stop;
             right += columns_, ++left)
          for (int64_t column = 0; column < columns_; ++column)
            out[column] += *left * right[column];
      }
      roundTo(precision_, {out - size(to - from, columns_), size(to - from, columns_)});
    });
  }

private:
  NodePtr left_, right_;
  Precision precision_;
  std::vector<float> factor_, buffer_;
};

class SetNorms : public Node {
public:
  SetNorms(NodePtr input, NodePtr norms, Precision precision)
      : Node(input->rows(), input->columns()), input_(std::move(input)), norms_(std::move(norms)),
        precision_(precision) {}
  void read(int64_t begin, int64_t end, float *out) override {
    input_->read(begin, end, out);
    lengths_.resize(size(end - begin, 1));
    norms_->read(begin, end, lengths_.data());
    for (float length : lengths_) {
      const std::span<float> row(out, size(1, columns_));
      double squares = 0;
      for (float value : row)
        squares += double(value) * value;
      const double factor = squares == 0 ? 0 : length / std::sqrt(squares);
      for (float &value : row)
        value = static_cast<float>(value * factor);
      roundTo(precision_, row);
      out += columns_;
    }
  }

private:
  NodePtr input_, norms_;
  Precision precision_;
  std::vector<float> lengths_;
};

class Quantize : public Node {
public:
  Quantize(NodePtr input, NumberFormat format)
      : Node(input->rows(), input->columns()), input_(std::move(input)), format_(format) {}
  void read(int64_t begin, int64_t end, float *out) override {
    input_->read(begin, end, out);
    for (int64_t row = begin; row < end; ++row, out += columns_)
      quantiseDequantise(format_, {out, static_cast<size_t>(columns_)});
  }

private:
  NodePtr input_;
  NumberFormat format_;
};

} // namespace

void roundTo(Precision precision, std::span<float> values) {
  if (precision == Precision::F16)
    for (float &value : values)
      value = fromHalf(toFiniteHalf(value));
  if (precision == Precision::BF16)
    for (float &value : values)
      value = fromBFloat16(toBFloat16(value));
}

NodePtr makeLoad(const CheckpointTensor &tensor, Precision precision) {
  if (tensor.coded)
    return std::make_shared<LoadCoded>(tensor, precision);
  const bool vector = tensor.shape.size() < 2;
  return std::make_shared<Load>(tensor, vector ? tensor.columns() : tensor.rows(),
                                vector ? 1 : tensor.columns(), precision);
}
NodePtr makeConstant(int64_t rows, int64_t columns, std::vector<float> values) {
  return std::make_shared<Constant>(rows, columns, std::move(values));
}
NodePtr makeTakeRows(NodePtr input, std::vector<int32_t> indices) {
  return std::make_shared<TakeRows>(std::move(input), std::move(indices));
}
NodePtr makeTakeColumns(NodePtr input, std::vector<int32_t> indices) {
  return std::make_shared<TakeColumns>(std::move(input), std::move(indices));
}
NodePtr makeSliceRows(NodePtr input, int64_t offset, int64_t size) {
  return std::make_shared<SliceRows>(std::move(input), offset, size);
}
NodePtr makeSliceColumns(NodePtr input, int64_t offset, int64_t size) {
  return std::make_shared<SliceColumns>(std::move(input), offset, size);
}
NodePtr makeConcatRows(std::vector<NodePtr> inputs) {
  return std::make_shared<ConcatRows>(std::move(inputs));
}
NodePtr makeConcatColumns(std::vector<NodePtr> inputs) {
  return std::make_shared<ConcatColumns>(std::move(inputs));
}
NodePtr makeCast(NodePtr input, Precision precision) {
  return std::make_shared<Cast>(std::move(input), precision);
}
NodePtr makeScale(NodePtr input, float factor, Precision precision) {
  return std::make_shared<Scale>(std::move(input), factor, precision);
}
NodePtr makeAdd(NodePtr left, NodePtr right, Precision precision) {
  return std::make_shared<Add>(std::move(left), std::move(right), precision);
}
NodePtr makeProduct(NodePtr left, NodePtr right, Precision precision) {
  return std::make_shared<Product>(std::move(left), std::move(right), precision);
}
NodePtr makeSetNorms(NodePtr input, NodePtr norms, Precision precision) {
  return std::make_shared<SetNorms>(std::move(input), std::move(norms), precision);
}
NodePtr makeQuantize(NodePtr input, NumberFormat format) {
  return std::make_shared<Quantize>(std::move(input), format);
}

} // namespace retort::weight
