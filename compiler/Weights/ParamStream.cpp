//===- ParamStream.cpp - Making parameters by their weight programs -------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Weights/ParamStream.h"
#include "compiler/Checkpoint/Cursor.h"
#include "compiler/Checkpoint/Safetensors.h"
#include "compiler/Weights/Node.h"
#include "compiler/Weights/PackMma.h"
#include "dialects/Weight/WeightUpdateOps.h"
#include "mlir/IR/BuiltinTypes.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/TypeSwitch.h"

namespace retort {
namespace {

using namespace mlir;
using weight::Node;
using weight::NodePtr;
using weight::Precision;

std::string shapeText(ArrayRef<int64_t> shape) {
  std::string text;
  for (int64_t size : shape)
    text += (text.empty() ? "" : "x") + std::to_string(size);
  return text.empty() ? "a scalar" : text;
}

Precision precisionOf(Type type) {
  Type element = llvm::cast<RankedTensorType>(type).getElementType();
  return element.isBF16() ? Precision::BF16 : element.isF16() ? Precision::F16 : Precision::F32;
}

/// Makes the nodes of a program, one for each value.
class Translator {
public:
  explicit Translator(WeightSources &sources) : sources_(sources) {}

  NodePtr node(Value value) {
    NodePtr &known = nodes_[value];
    if (known)
      return known;
    NodePtr made = make(value.getDefiningOp());
    return nodes_[value] = made;
  }

private:
  NodePtr make(Operation *op) {
    return llvm::TypeSwitch<Operation *, NodePtr>(op)
        .Case([&](weight::LoadOp load) {
          return makeLoad(sources_.tensor(load), precisionOf(load.getType()));
        })
        .Case([&](weight::ConstantOp op) { return constant(op); })
        .Case([&](weight::TakeOp take) {
          std::vector<int32_t> indices(take.getIndices().begin(), take.getIndices().end());
          return take.getAxis() == weight::Axis::Rows
                     ? makeTakeRows(node(take.getInput()), std::move(indices))
                     : makeTakeColumns(node(take.getInput()), std::move(indices));
        })
        .Case([&](weight::SliceOp slice) {
          auto make = slice.getAxis() == weight::Axis::Rows ? weight::makeSliceRows
                                                            : weight::makeSliceColumns;
          return make(node(slice.getInput()), slice.getOffset(), slice.getSize());
        })
        .Case([&](weight::ConcatOp concat) {
          std::vector<NodePtr> inputs;
          for (Value input : concat.getInputs())
            inputs.push_back(node(input));
          auto make = concat.getAxis() == weight::Axis::Rows ? weight::makeConcatRows
                                                             : weight::makeConcatColumns;
          return make(std::move(inputs));
        })
        .Case([&](weight::CastOp op) {
          return makeCast(node(op.getInput()), precisionOf(op.getType()));
        })
        .Case([&](weight::ScaleOp op) {
          return makeScale(node(op.getInput()), static_cast<float>(op.getFactor()),
                           precisionOf(op.getType()));
        })
        .Case([&](weight::AddOp op) {
          return makeAdd(node(op.getLeft()), node(op.getRight()), precisionOf(op.getType()));
        })
        .Case([&](weight::ProductOp op) {
          return makeProduct(node(op.getLeft()), node(op.getRight()), precisionOf(op.getType()));
        })
        .Case([&](weight::SetNormsOp op) {
          return makeSetNorms(node(op.getInput()), node(op.getNorms()), precisionOf(op.getType()));
        })
        .Case([&](weight::QuantizeOp op) {
          return makeQuantize(node(op.getInput()), op.getFormat().getValue());
        })
        .Default([](Operation *op) -> NodePtr {
          fail(ExitCode::Unsupported, "weight program: '" + op->getName().getStringRef().str() +
                                          "' has no evaluation: remove it from the pipeline");
        });
  }

  NodePtr constant(weight::ConstantOp op) {
    std::vector<float> values;
    for (APFloat number : op.getValue().getValues<APFloat>()) {
      bool lost = false;
      number.convert(APFloat::IEEEsingle(), APFloat::rmNearestTiesToEven, &lost);
      values.push_back(number.convertToFloat());
    }
    auto shape = llvm::cast<RankedTensorType>(op.getType()).getShape();
    return weight::makeConstant(shape[0], shape.size() == 1 ? 1 : shape[1], std::move(values));
  }

  WeightSources &sources_;
  llvm::DenseMap<Value, NodePtr> nodes_;
};

/// Bytes of one element of an unpacked parameter.
int64_t elementBytes(Type type) { return precisionOf(type) == Precision::F32 ? 4 : 2; }

/// The bytes of unpacked values.
void encode(Precision precision, std::span<const float> values, std::vector<uint8_t> &bytes) {
  if (precision == Precision::F32) {
    bytes.resize(values.size_bytes());
    std::memcpy(bytes.data(), values.data(), bytes.size());
    return;
  }
  bytes.resize(values.size() * 2);
  for (size_t i = 0; i < values.size(); ++i) {
    uint16_t bits = precision == Precision::F16 ? toHalf(values[i]) : toBFloat16(values[i]);
    std::memcpy(bytes.data() + 2 * i, &bits, sizeof bits);
  }
}

} // namespace

//===- WeightSources ------------------------------------------------------===//

WeightSources::WeightSources(const Checkpoint *checkpoint,
                             std::function<std::string(const std::string &)> objectPath)
    : checkpoint_(checkpoint), objectPath_(std::move(objectPath)) {}
WeightSources::~WeightSources() = default;

CheckpointTensor WeightSources::tensor(weight::LoadOp load) {
  const std::string name = load.getName().str();
  std::optional<CheckpointTensor> found;
  std::string where;
  if (std::optional<StringRef> hash = load.getFile()) {
    const std::string key = hash->str();
    where = objectPath_ ? objectPath_(key) : "";
    if (where.empty())
      fail(ExitCode::BadInput, "tensor " + quote(name) + " lies in the workspace object " + key +
                                   ", but there is no workspace: give --workspace");
    std::unique_ptr<SafetensorsFile> &file = objects_[key];
    if (!file)
      file = std::make_unique<SafetensorsFile>(SafetensorsFile::open(where));
    if (const SafetensorsTensor *tensor = file->find(name))
      found = CheckpointTensor{tensor->name,  tensor->type,  tensor->shape,
                               tensor->bytes, &file->file(), tensor->offset};
  } else if (checkpoint_) {
    where = checkpoint_->path();
    if (const CheckpointTensor *tensor = checkpoint_->find(name))
      found = *tensor;
  } else {
    where = "there is no checkpoint and so";
  }
  if (!found)
    fail(ExitCode::BadInput,
         where + ": has no tensor " + quote(name) + ": compile with the checkpoint it came from");
  ArrayRef<int64_t> wanted = load.getType().getShape();
  if (ArrayRef<int64_t>(found->shape) != wanted)
    fail(ExitCode::BadInput, where + ": tensor " + quote(name) + " is " + shapeText(found->shape) +
                                 ", but the program loads " + shapeText(wanted) +
                                 ": compile with the checkpoint it came from");
  const StringRef stored = found->format();
  if (stored != load.getStored())
    fail(ExitCode::BadInput, where + ": tensor " + quote(name) + " is stored as " + stored.str() +
                                 ", but the program loads " + load.getStored().str() +
                                 ": compile with the checkpoint it came from");
  if (!found->isOfWeights())
    fail(ExitCode::BadInput, where + ": tensor " + quote(name) + " is stored as " + stored.str() +
                                 ", which is no format of weights");
  return *found;
}

//===- ParamStream --------------------------------------------------------===//

ParamStream::ParamStream(lm::ParamOp param, WeightSources &sources)
    : name_(param.getSymName().str()) {
  Value value = param.getProgramValue();
  if (auto pack = value.getDefiningOp<weight::PackOp>()) {
    layout_ = pack.getLayout();
    value = pack.getInput();
  }
  stored_ = value.getType();
  isVector_ = llvm::cast<RankedTensorType>(stored_).getRank() == 1;
  root_ = Translator(sources).node(value);
  rows_ = isVector_ ? 1 : root_->rows();
  columns_ = isVector_ ? root_->rows() : root_->columns();
  // Packing quantises by itself: it must see the values before rounding.
  unrounded_ = root_;
  if (auto quantize = value.getDefiningOp<weight::QuantizeOp>(); quantize && layout_)
    unrounded_ = Translator(sources).node(quantize.getInput());
  checkLayout();
}
ParamStream::~ParamStream() = default;
ParamStream::ParamStream(ParamStream &&) noexcept = default;

void ParamStream::checkLayout() const {
  if (!layout_) // the executor reads rows of quantised values before anything is packed
    return;
  if (isVector_ || !weight::numberFormat(stored_) || (layout_->gated && rows_ % 2 != 0))
    fail(ExitCode::Unsupported, "parameter " + quote(name_) + ": layout " +
                                    quote(nameOf(*layout_)) +
                                    " cannot hold it: choose another layout or format");
}

void ParamStream::readRows(int64_t begin, int64_t end, float *out) {
  try {
    if (isVector_ && begin < end)
      root_->read(0, columns_, out);
    else if (begin < end)
      root_->read(begin, end, out);
  } catch (Error &error) {
    error.message = "parameter " + quote(name_) + ": " + error.message;
    throw;
  }
}

int64_t ParamStream::packedBytes() const {
  if (!layout_ && weight::getFormat(stored_))
    fail(ExitCode::Internal, "parameter " + quote(name_) + " is quantised but not packed");
  if (!layout_)
    return rows_ * columns_ * elementBytes(stored_);
  return weight::packedBytes(*layout_, *weight::numberFormat(stored_), rows_, columns_);
}

void ParamStream::writePacked(const Sink &sink) {
  packedBytes(); // refuses what has no bytes
  try {
    if (!layout_)
      writeValues(sink);
    else
      writeBlocks(sink);
  } catch (Error &error) {
    error.message = "parameter " + quote(name_) + ": " + error.message;
    throw;
  }
}

void ParamStream::writeValues(const Sink &sink) {
  std::vector<float> buffer;
  std::vector<uint8_t> bytes;
  forEachChunk(*root_, 0, root_->rows(), buffer, [&](int64_t from, int64_t to, const float *rows) {
    size_t count = static_cast<size_t>((to - from) * root_->columns());
    encode(precisionOf(stored_), {rows, count}, bytes);
    sink(bytes);
  });
}

/// A gated matrix is two stacked matrices of equal size, whose blocks of 16 rows alternate.
void ParamStream::writeBlocks(const Sink &sink) {
  const MatrixLayout layout = *layout_;
  const NumberFormat format = *weight::numberFormat(stored_);
  const int64_t parts = layout.gated ? 2 : 1, partRows = rows_ / parts;
  const int64_t bytes = weight::blockBytes(layout, format, columns_);
  const int64_t blocks = (partRows + weight::kBlockRows - 1) / weight::kBlockRows;
  const int64_t step =
      std::max<int64_t>(1, weight::kChunkFloats / (parts * columns_ * weight::kBlockRows));
  std::vector<float> rows;
  std::vector<uint8_t> packed;
  for (int64_t first = 0; first < blocks; first += step) {
    const int64_t count = std::min(step, blocks - first);
    packed.resize(static_cast<size_t>(count * parts * bytes));
    for (int64_t part = 0; part < parts; ++part) {
      const int64_t begin = first * weight::kBlockRows;
      const int64_t end = std::min((first + count) * weight::kBlockRows, partRows);
      rows.resize(static_cast<size_t>((end - begin) * columns_));
      unrounded_->read(part * partRows + begin, part * partRows + end, rows.data());
      for (int64_t block = 0; block < count; ++block) {
        const int64_t row = block * weight::kBlockRows;
        weight::packBlock(
            layout, format, rows.data() + row * columns_,
            std::min(weight::kBlockRows, end - begin - row), columns_,
            std::span(packed).subspan(static_cast<size_t>((block * parts + part) * bytes),
                                      static_cast<size_t>(bytes)));
      }
    }
    sink(packed);
  }
}

} // namespace retort
