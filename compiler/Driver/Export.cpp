//===- Export.cpp - `retort export` -------------------------------------------===//
// SPDX-License-Identifier: Apache-2.0
//
// A file is first written without its weights, imported as any checkpoint, and compared with the bundle's
// model: what would be another model is refused before any weight is written.
//
//===----------------------------------------------------------------------===//
#include "compiler/Bundle/BundleWriter.h"
#include "compiler/Bundle/OutputFile.h"
#include "compiler/Checkpoint/Safetensors.h"
#include "compiler/Codegen/TemporaryFolder.h"
#include "compiler/Driver/Commands.h"
#include "compiler/Driver/Inputs.h"
#include "compiler/Driver/Pipeline.h"
#include "compiler/Driver/Progress.h"
#include "compiler/Export/BundleWeights.h"
#include "compiler/Export/ConfigWriter.h"
#include "compiler/Export/GgufWriter.h"
#include "compiler/Import/Family.h"
#include "compiler/Import/Import.h"
#include "compiler/Import/TensorNames.h"
#include "runtime/base/Error.h"
#include "runtime/base/SmallFloat.h"
#include "runtime/base/SystemError.h"
#include "runtime/src/tokenizer/Tokenizer.h"
#include <cmath>
#include <filesystem>
#include <unistd.h>

namespace retort {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kChunkRows = 256;
constexpr const char *kRopeTable = "rope_freqs.weight";

/// The numbers in a checkpoint's type, little-endian.
std::vector<uint8_t> inType(std::span<const float> values, DType type, const std::string &tensor) {
  std::vector<uint8_t> bytes(values.size() * blockBytes(type));
  if (type == DType::F32) {
    std::memcpy(bytes.data(), values.data(), bytes.size());
    return bytes;
  }
  for (size_t i = 0; i < values.size(); ++i) {
    const uint16_t bits = type == DType::F16 ? toHalf(values[i]) : toBFloat16(values[i]);
    if (type == DType::F16 && std::isinf(fromHalf(bits)))
      fail(ExitCode::BadInput, "'" + tensor +
                                   "' has values beyond 65504, the largest of f16: export with "
                                   "--type bf16 or f32");
    std::memcpy(bytes.data() + 2 * i, &bits, 2);
  }
  return bytes;
}

/// Everything that is read of the bundle.
class Source {
public:
  Source(const ExportOptions &options, CompilerContext &context)
      : bundle(engine::BundleReader::open(options.bundle)) {
    bundle.verify(0);
    const std::string text = readBundlePart(options.bundle, "program.mlir");
    module_ = context.parseText(text, options.bundle + ": program.mlir");
    findModel(options.bundle);
    try {
      const auto parts = unfuse(model_);
      model = structureOf(model_, parts);
    } catch (const Error &error) {
      fail(error.code,
           options.bundle + ": cannot be written as " + options.format + ": " + error.message);
    }
    readTokenizer(options.bundle);
  }

  lm::ForwardOp forward() { return *model_.getBody()->getOps<lm::ForwardOp>().begin(); }

  engine::BundleReader bundle;
  std::string weightsPart;
  ExportedModel model;
  TokenizerSpec tokenizer;
  bool hasTokenizer = false;
  std::string tokenizerJson;

private:
  /// The model of a target that is whole.
  void findModel(const std::string &path) {
    mlir::ModuleOp scope = *module_;
    std::string target = bundle.manifest().findPart("weights.bin") ? "cpu" : "cuda";
    for (mlir::ModuleOp inner : module_->getOps<mlir::ModuleOp>())
      if (inner.getSymName() == target)
        scope = inner;
    weightsPart = target == "cpu" ? "weights.bin" : "weights.cuda.bin";
    auto models = scope.getOps<lm::ModelOp>();
    if (models.empty() || !bundle.manifest().findPart(weightsPart))
      fail(ExitCode::Unsupported,
           path + ": its model is cut over GPUs: export the one compiled for cpu or for "
                  "one GPU");
    model_ = *models.begin();
  }

  void readTokenizer(const std::string &path) {
    const engine::Manifest::Part *part = bundle.manifest().findPart("tokenizer.bin");
    if (!part || !bundle.manifest().findPart("tokenizer.json"))
      return;
    hasTokenizer = true;
    tokenizerJson = readBundlePart(path, "tokenizer.json");
    tokenizer = parseTokenizerJson(tokenizerJson, "", "", {}, path + ": tokenizer.json");
    // What tokenizer.json has no place for.
    const Tokenizer tables = Tokenizer::open(bundle.bytes(*part), path + ": tokenizer.bin");
    tokenizer.bos = tables.bos();
    tokenizer.eos = tables.eos();
    tokenizer.stop.assign(tables.stopIds().begin(), tables.stopIds().end());
  }

  mlir::OwningOpRef<mlir::ModuleOp> module_;
  lm::ModelOp model_;
};

/// A tensor as a format has it: its type there, and which order and offset its numbers have.
class Writer {
public:
  Writer(Source &source, const ExportOptions &options, DType type)
      : source_(source), options_(options), type_(type), gguf_(options.format == "gguf"),
        family_(*source.model.config.family) {}

  /// Proves that what would be written means the same model.
  void check(CompilerContext &context) const {
    const codegen::TemporaryFolder folder("retort-export");
    const std::string path = folder.file(gguf_ ? "model.gguf" : "");
    if (gguf_) {
      folder.write("model.gguf", "");
      OutputFile file(folder.file(""), options_.output);
      GgufWriter writer = ggufWriter(file);
      writeRopeTable(writer);
      file.closeAs(path);
      grow(path, file.bytes() + sizeOfAll());
    } else {
      writeSmallFiles(folder.file(""));
      SafetensorsWriter writer(folder.file("model.safetensors"));
      addTensors(writer);
      writer.begin();
      grow(folder.file("model.safetensors"),
           fs::file_size(folder.file("model.safetensors")) + sizeOfAll());
    }
    std::string difference;
    try {
      const Checkpoint checkpoint = Checkpoint::open(path);
      auto module = importModel(context.mlir(), checkpoint);
      lm::ModelOp again = context.finalModel(*module);
      difference =
          firstDifference(source_.forward(), *again.getBody()->getOps<lm::ForwardOp>().begin());
    } catch (const Error &error) {
      difference = error.message.substr(
          error.message.starts_with(path + ": ") ? path.size() + 2 : 0); // a file of ours
    }
    if (!difference.empty())
      fail(ExitCode::Unsupported, options_.bundle + ": " + options_.format + " of " +
                                      std::string(family_.name) +
                                      " cannot say this model: " + difference);
  }

  uint64_t write(Progress &progress) const {
    const BundleWeights weights(source_.bundle, source_.weightsPart);
    const uint64_t all = sizeOfAll();
    uint64_t done = 0;
    auto each = [&](const ExportedTensor &tensor,
                    const std::function<void(std::span<const uint8_t>)> &sink) {
      stream(tensor, weights, [&](std::span<const uint8_t> bytes) {
        if (Progress::interrupted())
          fail(ExitCode::Interrupted, "stopped: nothing is written");
        sink(bytes);
        progress.update(done += bytes.size(), all);
      });
    };
    if (gguf_) {
      OutputFile file(OutputFile::folderOf(options_.output), options_.output);
      GgufWriter writer = ggufWriter(file);
      writeRopeTable(writer);
      for (const ExportedTensor &tensor : source_.model.tensors)
        each(tensor, [&](std::span<const uint8_t> bytes) { writer.append(bytes); });
      const uint64_t bytes = file.bytes();
      file.closeAs(options_.output);
      return bytes;
    }
    OutputDirectory folder(options_.output);
    writeSmallFiles(folder.path());
    SafetensorsWriter writer(folder.path() + "/model.safetensors");
    addTensors(writer);
    writer.begin();
    for (const ExportedTensor &tensor : source_.model.tensors)
      each(tensor, [&](std::span<const uint8_t> bytes) { writer.append(bytes); });
    writer.finish();
    return folder.commit();
  }

private:
  DType typeOf(const ExportedTensor &tensor) const {
    return gguf_ && tensor.shape.size() == 1 ? DType::F32 : type_; // llama.cpp adds vectors as f32
  }

  /// Bytes of the tensors, without what stands between them.
  uint64_t sizeOfAll() const {
    uint64_t all = 0;
    for (const ExportedTensor &tensor : source_.model.tensors) {
      uint64_t bytes = blockBytes(typeOf(tensor));
      for (const int64_t size : tensor.shape)
        bytes *= static_cast<uint64_t>(size);
      all += bytes;
    }
    return all;
  }

  static void grow(const std::string &path, uint64_t bytes) {
    if (::truncate(path.c_str(), static_cast<off_t>(bytes)) != 0)
      failSystem(path, "cannot be made");
  }

  std::string nameOf(const ExportedTensor &tensor) const {
    if (gguf_)
      return nameInGguf(family_, tensor.name);
    const std::string name = nameInTransformers(family_, tensor.name);
    return tensor.name == "output.weight" ? name : "model." + name;
  }

  GgufWriter ggufWriter(OutputFile &file) const {
    GgufWriter writer([&file](std::string_view bytes) { file.write(bytes); });
    addGgufMetadata(source_.model, source_.tokenizer, source_.bundle.manifest().name, type_,
                    writer);
    if (hasRopeTable(source_.model)) {
      const int64_t pairs = static_cast<int64_t>(source_.model.ropeFactors.size());
      writer.addTensor(kRopeTable, DType::F32, std::span(&pairs, 1));
    }
    for (const ExportedTensor &tensor : source_.model.tensors)
      writer.addTensor(nameOf(tensor), typeOf(tensor), tensor.shape);
    writer.begin();
    return writer;
  }

  void writeRopeTable(GgufWriter &writer) const {
    if (!hasRopeTable(source_.model))
      return;
    const std::vector<float> factors(source_.model.ropeFactors.begin(),
                                     source_.model.ropeFactors.end());
    writer.append(inType(factors, DType::F32, kRopeTable));
  }

  void writeSmallFiles(const std::string &folder) const {
    auto put = [&](const char *name, const std::string &text) {
      writeFileAtomically((fs::path(folder) / name).string(), text);
    };
    put("config.json", huggingFaceConfig(source_.model, source_.tokenizer, type_));
    if (!source_.hasTokenizer)
      return;
    put("tokenizer.json", source_.tokenizerJson);
    put("tokenizer_config.json", tokenizerConfig(source_.tokenizer, source_.model.config.context));
    put("generation_config.json", generationConfig(source_.tokenizer));
  }

  void addTensors(SafetensorsWriter &writer) const {
    writer.setMetadata("format", "pt");
    for (const ExportedTensor &tensor : source_.model.tensors)
      writer.addTensor(nameOf(tensor), type_, tensor.shape);
  }

  void stream(const ExportedTensor &tensor, const BundleWeights &weights,
              const std::function<void(std::span<const uint8_t>)> &sink) const {
    const int64_t rows = tensor.shape[0], cols = tensor.shape.size() == 2 ? tensor.shape[1] : 1;
    const bool interleaved = gguf_ ? family_.interleavedRows : family_.interleavedHuggingFace;
    const bool moves = interleaved && tensor.heads != 0; // within a head
    const int64_t chunk = tensor.heads != 0 ? rows / tensor.heads : cols == 1 ? rows : kChunkRows;
    for (int64_t begin = 0; begin < rows; begin += chunk) {
      const int64_t count = std::min(chunk, rows - begin);
      const std::vector<float> read = weights.read(tensor.param, tensor.begin + begin, count, cols);
      std::vector<float> values(read.size());
      for (int64_t row = 0; row < count; ++row) {
        const int64_t to = moves ? pairedRow(row, source_.model.config.rope.dims) : row;
        std::copy_n(read.data() + row * cols, cols, values.data() + to * cols);
      }
      const bool lessOne = family_.normOffset && !gguf_; // GGUF stores gains whole
      if (tensor.gain != ExportedTensor::NoGain)
        for (float &value : values)
          value += static_cast<float>((tensor.gain == ExportedTensor::LessOne) - lessOne);
      sink(inType(values, typeOf(tensor), tensor.name));
    }
  }

  Source &source_;
  const ExportOptions &options_;
  DType type_;
  bool gguf_;
  const Family &family_;
};

DType typeNamed(const std::string &name) {
  return name == "f32" ? DType::F32 : name == "bf16" ? DType::BF16 : DType::F16;
}

} // namespace

void exportCommand(const ExportOptions &options) {
  if (fs::exists(options.output) && !options.force)
    fail(ExitCode::Usage, options.output + " exists: give --force to replace it");
  checkNotInput(options.output, {options.bundle});
  Workspace workspace(Workspace::defaultDir());
  CompilerContext context(workspace);
  Progress progress(options.quiet);
  Source source(options, context);
  if (!source.hasTokenizer)
    progress.note("the bundle has no tokenizer: none is written");
  if (source.bundle.manifest().findPart("chat.bin"))
    progress.note("the chat template is not written: a bundle holds it as a program");
  const Writer writer(source, options, typeNamed(options.type));
  writer.check(context);
  progress.begin("write " + options.format);
  const uint64_t bytes = writer.write(progress);
  progress.end(options.output + ", " + formatBytes(bytes));
}

} // namespace retort
