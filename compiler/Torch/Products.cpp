//===- Products.cpp - Products and roots that any number of threads makes alike --------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Torch/Products.h"
#include "compiler/Torch/Parallel.h"
#include <ATen/ops/linalg_solve_triangular.h>
#include <ATen/ops/mm.h>
#include <algorithm>
#include <array>
#include <cmath>

namespace retort::exec {
namespace {
using at::Tensor;

/// A side of a tile. Products of smaller ones read their operands too often, and of larger ones there
/// are too few for many cores: on one thread of an EPYC 9004, tiles take 3 % longer than whole matrices.
constexpr int64_t kTile = 256;

/// A dimension in parts of the same size, at most kTile.
struct Cut {
  int64_t count, parts, size;
  explicit Cut(int64_t count)
      : count(count), parts((count + kTile - 1) / kTile),
        size(parts ? ((count + parts - 1) / parts + 15) / 16 * 16 : 0) {
    parts = size ? (count + size - 1) / size : 0; // which rounding up may have made fewer
  }
  Tensor of(const Tensor &tensor, int64_t dim, int64_t part) const {
    return tensor.narrow(dim, part * size, std::min(size, count - part * size));
  }
};

/// Makes the lower triangle of a tile its root, by outer products; false if it has none. LAPACK's own
/// cuts a matrix by the number of threads that it may have, also where it has but one.
bool takeRoot(const Tensor &tile) {
  const int64_t n = tile.size(0), stride = tile.stride(0);
  double *const values = tile.data_ptr<double>();
  std::array<double, kTile> column;
  for (int64_t j = 0; j < n; ++j) {
    const double square = values[j * stride + j];
    if (!(square > 0) || !std::isfinite(square))
      return false;
    const double pivot = column[size_t(j)] = values[j * stride + j] = std::sqrt(square);
    for (int64_t i = j + 1; i < n; ++i) {
      double *const row = values + i * stride;
      const double factor = column[size_t(i)] = row[j] /= pivot;
      for (int64_t k = j + 1; k <= i; ++k)
        row[k] -= factor * column[size_t(k)];
    }
  }
  return true;
}

} // namespace

Tensor product(const Tensor &a, const Tensor &b) {
  const bool batch = a.dim() == 3;
  const Tensor left = batch ? a : a.unsqueeze(0), right = batch ? b : b.unsqueeze(0);
  const Cut rows(left.size(1)), cols(right.size(2));
  const Tensor out = at::empty({left.size(0), rows.count, cols.count}, a.options());
  const int64_t tiles = rows.parts * cols.parts;
  shareOut(left.size(0) * tiles, [&](int64_t i) {
    const int64_t matrix = i / tiles, row = i % tiles / cols.parts, col = i % cols.parts;
    Tensor tile = cols.of(rows.of(out.select(0, matrix), 0, row), 1, col);
    at::mm_out(tile, rows.of(left.select(0, matrix), 0, row),
               cols.of(right.select(0, matrix), 1, col));
  });
  return batch ? out : out.squeeze(0);
}

Tensor linearLayer(const Tensor &a, const Tensor &b, const Tensor &bias) {
  const Tensor out = product(a, b.t());
  return bias.defined() ? out.add_(bias) : out;
}

double total(const Tensor &values) {
  const Tensor rows = values.sum(1, /*keepdim=*/false, at::kDouble);
  double sum = 0;
  for (int64_t i = 0; i < rows.numel(); ++i)
    sum += rows.data_ptr<double>()[i];
  return sum;
}

/// By blocks of columns, right-looking (Golub and Van Loan, Matrix Computations, algorithm 4.2.3).
std::optional<Tensor> lowerRoot(const Tensor &matrix) {
  const Tensor root = at::tril(matrix).contiguous();
  const int64_t n = root.size(0);
  for (int64_t at = 0; at < n; at += kTile) {
    const int64_t size = std::min(kTile, n - at), rest = n - at - size;
    const Tensor corner = root.narrow(0, at, size).narrow(1, at, size);
    if (!takeRoot(corner))
      return std::nullopt;
    const Cut below(rest);
    const Tensor panel = root.narrow(0, at + size, rest).narrow(1, at, size);
    shareOut(below.parts, [&](int64_t part) {
      const Tensor rows = below.of(panel, 0, part);
      rows.copy_(at::linalg_solve_triangular(corner.t(), rows, /*upper=*/true, /*left=*/false));
    });
    const Tensor trailing = root.narrow(0, at + size, rest).narrow(1, at + size, rest);
    shareOut(below.parts, [&](int64_t i) {
      const int64_t part = below.parts - 1 - i; // the longest first
      const int64_t cols = std::min(rest, (part + 1) * below.size);
      below.of(trailing, 0, part)
          .narrow(1, 0, cols)
          .sub_(at::mm(below.of(panel, 0, part), panel.narrow(0, 0, cols).t()));
    });
  }
  return root.tril(); // blocks on the diagonal are computed whole
}

Tensor inverseOfLower(const Tensor &root) {
  const int64_t n = root.size(0);
  const Cut cols(n);
  Tensor inverse = at::zeros_like(root);
  shareOut(cols.parts, [&](int64_t part) {
    const int64_t begin = part * cols.size, rest = n - begin, width = std::min(cols.size, rest);
    inverse.narrow(0, begin, rest)
        .narrow(1, begin, width)
        .copy_(at::linalg_solve_triangular(root.narrow(0, begin, rest).narrow(1, begin, rest),
                                           at::eye(rest, width, root.options()),
                                           /*upper=*/false));
  });
  return inverse;
}

} // namespace retort::exec
