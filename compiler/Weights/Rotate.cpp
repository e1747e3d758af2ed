//===- Rotate.cpp - Transposes and rotations, a panel at a time -----------===//
// SPDX-License-Identifier: Apache-2.0
//
// A row of these results needs many rows of the operand. Each node computes a panel of its rows at
// once and keeps it, so that reading all rows in order reads the operand once for each panel.
//
//===----------------------------------------------------------------------===//
#include "compiler/Weights/Node.h"
#include "runtime/base/Error.h"
#include <algorithm>
#include <cmath>
#include <string>

namespace retort::weight {
namespace {

/// A node that makes rows [begin, end) together, where begin is a multiple of panelRows().
class PanelNode : public Node {
public:
  PanelNode(int64_t rows, int64_t columns, int64_t panelRows)
      : Node(rows, columns), panelRows_(std::clamp<int64_t>(panelRows, 1, rows)) {}

  void read(int64_t begin, int64_t end, float *out) final {
    for (int64_t at = begin; at < end;) {
      const int64_t first = at / panelRows_ * panelRows_;
      const int64_t last = std::min(first + panelRows_, rows_), stop = std::min(last, end);
      if (first != cached_) {
        cached_ = -1; // until it is whole
        panel_.resize(static_cast<size_t>((last - first) * columns_));
        makePanel(first, last, panel_.data());
        cached_ = first;
      }
      out = std::copy_n(panel_.data() + (at - first) * columns_, (stop - at) * columns_, out);
      at = stop;
    }
  }

protected:
  virtual void makePanel(int64_t begin, int64_t end, float *panel) = 0;

private:
  int64_t panelRows_, cached_ = -1;
  std::vector<float> panel_;
};

class Transpose : public PanelNode {
public:
  explicit Transpose(NodePtr input)
      : PanelNode(input->columns(), input->rows(), kPanelFloats / input->rows()),
        input_(std::move(input)) {}

private:
  void makePanel(int64_t begin, int64_t end, float *panel) override {
    forEachChunk(*input_, 0, columns_, buffer_, [&](int64_t from, int64_t to, const float *rows) {
      // Tile by tile: both sides' cache lines are used whole.
      for (int64_t row = from; row < to; row += kTile, rows += kTile * rows_)
        for (int64_t column = begin; column < end; column += kTile)
          transposeTile(rows + column, std::min(kTile, to - row), std::min(kTile, end - column),
                        panel + (column - begin) * columns_ + row);
    });
  }

  void transposeTile(const float *in, int64_t height, int64_t width, float *out) const {
    for (int64_t column = 0; column < width; ++column)
      for (int64_t row = 0; row < height; ++row)
        out[column * columns_ + row] = in[row * rows_ + column];
  }

  static constexpr int64_t kTile = 16;

  NodePtr input_;
  std::vector<float> buffer_;
};

/// Multiplies `count` vectors of `size` numbers by Sylvester's Hadamard matrix over sqrt(size):
/// number i of vector v is at data[v + i * stride]. The butterflies of the fast Walsh-Hadamard
/// transform.
void hadamard(float *data, int64_t size, int64_t stride, int64_t count) {
  for (int64_t half = 1; half < size; half *= 2)
    for (int64_t i = 0; i < size; ++i) {
      if (i & half)
        continue;
      float *low = data + i * stride, *high = low + half * stride;
      for (int64_t v = 0; v < count; ++v) {
        const float a = low[v], b = high[v];
        low[v] = a + b;
        high[v] = a - b;
      }
    }
  const float scale = static_cast<float>(1 / std::sqrt(static_cast<double>(size)));
  for (int64_t i = 0; i < size; ++i)
    for (int64_t v = 0; v < count; ++v)
      data[i * stride + v] *= scale;
}

double hadamardEntry(int64_t row, int64_t column, int64_t size) {
  const double entry = 1 / std::sqrt(static_cast<double>(size));
  return __builtin_parityll(static_cast<uint64_t>(row & column)) ? -entry : entry;
}

/// The orthogonal matrix: read when it is first needed.
class Orthogonal {
public:
  Orthogonal(int64_t size, NodePtr matrix, bool inverse)
      : size_(size), matrix_(std::move(matrix)), inverse_(inverse) {
    if (matrix_ && size > kPanelFloats / size)
      fail(ExitCode::Unsupported, "weight.rotate: an orthogonal matrix of " + std::to_string(size) +
                                      " rows does not fit the memory that a rotation may take: "
                                      "rotate runs of 4096 or fewer");
  }
  int64_t size() const { return size_; }
  bool isHadamard() const { return !matrix_; }
  double operator()(int64_t row, int64_t column) {
    if (!matrix_)
      return hadamardEntry(row, column, size_);
    if (values_.empty()) {
      values_.resize(static_cast<size_t>(size_ * size_));
      matrix_->read(0, size_, values_.data());
    }
    return inverse_ ? values_[static_cast<size_t>(column * size_ + row)]
                    : values_[static_cast<size_t>(row * size_ + column)];
  }

private:
  int64_t size_;
  NodePtr matrix_;
  bool inverse_;
  std::vector<float> values_;
};

/// W Q on each run of columns: rows are independent.
class RotateColumns : public Node {
public:
  RotateColumns(NodePtr input, Orthogonal matrix, Precision precision)
      : Node(input->rows(), input->columns()), input_(std::move(input)), matrix_(std::move(matrix)),
        precision_(precision) {}

  void read(int64_t begin, int64_t end, float *out) override {
    input_->read(begin, end, out);
    const int64_t size = matrix_.size(), runs = (end - begin) * columns_ / size;
    for (int64_t run = 0; run < runs; ++run)
      if (matrix_.isHadamard())
        hadamard(out + run * size, size, 1, 1);
      else
        multiply(out + run * size);
    roundTo(precision_, {out, static_cast<size_t>((end - begin) * columns_)});
  }

private:
  void multiply(float *run) {
    sums_.assign(static_cast<size_t>(matrix_.size()), 0.0);
    for (int64_t k = 0; k < matrix_.size(); ++k)
      for (int64_t i = 0; i < matrix_.size(); ++i)
        sums_[static_cast<size_t>(i)] += run[k] * matrix_(k, i);
    std::ranges::copy(sums_, run);
  }

  NodePtr input_;
  Orthogonal matrix_;
  Precision precision_;
  std::vector<double> sums_;
};

/// Rows of a panel: whole runs where one fits, else a divisor of the run, so that none straddles.
int64_t rotationPanel(int64_t size, int64_t columns) {
  if (size <= kPanelFloats / columns)
    return kPanelFloats / columns / size * size;
  int64_t rows = std::max<int64_t>(1, kPanelFloats / columns / 2); // sums are doubles
  while (size % rows != 0)
    --rows;
  return rows;
}

/// Q^T W on each run of rows.
class RotateRows : public PanelNode {
public:
  RotateRows(NodePtr input, Orthogonal matrix, Precision precision)
      : PanelNode(input->rows(), input->columns(), rotationPanel(matrix.size(), input->columns())),
        input_(std::move(input)), matrix_(std::move(matrix)), precision_(precision) {}

private:
  void makePanel(int64_t begin, int64_t end, float *panel) override {
    const int64_t size = matrix_.size();
    if (matrix_.isHadamard() && (end - begin) % size == 0) {
      input_->read(begin, end, panel);
      for (int64_t run = begin; run < end; run += size)
        hadamard(panel + (run - begin) * columns_, size, columns_, columns_);
    } else {
      for (int64_t at = begin; at < end;) {
        const int64_t stop = std::min(end, (at / size + 1) * size);
        multiply(at, stop, panel + (at - begin) * columns_);
        at = stop;
      }
    }
    roundTo(precision_, {panel, static_cast<size_t>((end - begin) * columns_)});
  }

  /// Rows [begin, end) of one run: a pass over the run's rows, each added to all sums.
  void multiply(int64_t begin, int64_t end, float *out) {
    const int64_t size = matrix_.size(), run = begin / size * size;
    const int64_t step = std::max<int64_t>(1, kPanelFloats / columns_ / 2);
    for (int64_t at = begin; at < end; at += step) {
      const int64_t stop = std::min(end, at + step);
      sums_.assign(static_cast<size_t>((stop - at) * columns_), 0.0);
      forEachChunk(
          *input_, run, run + size, buffer_, [&](int64_t from, int64_t to, const float *rows) {
            for (int64_t row = from; row < to; ++row, rows += columns_)
              for (int64_t i = at; i < stop; ++i)
                addRow(matrix_(row - run, i - run), rows, sums_.data() + (i - at) * columns_);
          });
      out = std::ranges::copy(sums_, out).out;
    }
  }

  void addRow(double factor, const float *row, double *sums) const {
    for (int64_t column = 0; column < columns_; ++column)
      sums[column] += factor * row[column];
  }

  NodePtr input_;
  Orthogonal matrix_;
  Precision precision_;
  std::vector<float> buffer_;
  std::vector<double> sums_;
};

} // namespace

NodePtr makeTranspose(NodePtr input) { return std::make_shared<Transpose>(std::move(input)); }

NodePtr makeRotateColumns(NodePtr input, int64_t size, NodePtr matrix, bool inverse,
                          Precision precision) {
  return std::make_shared<RotateColumns>(std::move(input),
                                         Orthogonal(size, std::move(matrix), inverse), precision);
}

NodePtr makeRotateRows(NodePtr input, int64_t size, NodePtr matrix, bool inverse,
                       Precision precision) {
  return std::make_shared<RotateRows>(std::move(input),
                                      Orthogonal(size, std::move(matrix), inverse), precision);
}

} // namespace retort::weight
