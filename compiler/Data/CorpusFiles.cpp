//===- CorpusFiles.cpp - From files to texts --------------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Data/CorpusFiles.h"
#include "compiler/Data/Html.h"
#include "compiler/Data/Jsonl.h"
#include "runtime/base/Sha256.h"
#include "runtime/base/SystemError.h"
#include "runtime/base/Utf8.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>
#include <optional>
#include <set>
#include <sys/stat.h>

namespace retort {
namespace {
namespace fs = std::filesystem;

enum class Kind { Text, Html, JsonLines, Unknown };

Kind kindOf(const std::string &path) {
  std::string extension = fs::path(path).extension().string();
  for (char &c : extension)
    c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  if (extension == ".html" || extension == ".htm")
    return Kind::Html;
  if (extension == ".jsonl")
    return Kind::JsonLines;
  for (const char *text : {".txt", ".text", ".md", ".markdown", ".rst"})
    if (extension == text)
      return Kind::Text;
  return Kind::Unknown;
}

/// Counts a file or folder that is not read, and says why. Where it is this process that lacks something
/// (open files, memory), the others would be missed too, and nothing is wrong with the corpus: that throws.
void countUnreadable(CorpusCounts &counts, const std::string &path, const std::string &shown,
                     int error) {
  if (exitCodeOf(error) == ExitCode::Resources)
    failSystem(path, "the corpus cannot be read", error);
  ++counts.unreadableFiles;
  counts.note(repaired(shown.empty() ? path : shown) + ": " + std::strerror(error));
}

/// Walks folders depth first, by name.
class Walker {
public:
  Walker(std::vector<CorpusFile> &files, CorpusCounts &counts) : files_(files), counts_(counts) {}

  void root(const std::string &path) {
    struct stat info;
    if (::stat(path.c_str(), &info) != 0)
      failSystem(path, "the corpus cannot be read");
    if (S_ISDIR(info.st_mode)) {
      std::error_code error;
      fs::directory_iterator probe(path, error);
      if (error)
        failSystem(path, "the corpus cannot be read", error.value());
      return folder(path, "", info);
    }
    if (!S_ISREG(info.st_mode))
      fail(ExitCode::Io, path + ": is neither a file nor a folder: name files or folders of text");
    ++counts_.files;
    files_.push_back({path, repaired(fs::path(path).filename().string()), true});
  }

private:
  void folder(const std::string &path, const std::string &prefix, const struct stat &info) {
    if (!visited_.insert({info.st_dev, info.st_ino}).second)
      return; // a link back, or a folder that was named twice
    std::vector<std::string> names;
    std::error_code error;
    for (fs::directory_iterator it(path, error), end; !error && it != end; it.increment(error))
      names.push_back(it->path().filename().string());
    if (error) {
      ++counts_.files;
      countUnreadable(counts_, path, prefix, error.value());
    }
    std::sort(names.begin(), names.end());
    for (const std::string &name : names)
      entry(path + "/" + name, prefix + name, name);
  }

  void entry(const std::string &path, const std::string &shown, const std::string &name) {
    struct stat info;
    const int error = ::stat(path.c_str(), &info) == 0 ? 0 : errno;
    const bool there = error == 0;
    if (there && S_ISDIR(info.st_mode)) {
      if (name[0] != '.')
        folder(path, shown + "/", info);
      return;
    }
    if (there && !S_ISREG(info.st_mode))
      return; // a pipe, a socket or a device
    ++counts_.files;
    if (!there) // a link to nowhere
      countUnreadable(counts_, path, shown, error);
    else if (name[0] == '.')
      ++counts_.hiddenFiles;
    else if (kindOf(name) == Kind::Unknown)
      ++counts_.unknownTypeFiles;
    else
      files_.push_back({path, repaired(shown), false});
  }

  std::vector<CorpusFile> &files_;
  CorpusCounts &counts_;
  std::set<std::pair<dev_t, ino_t>> visited_;
};

bool isUtf16(std::string_view content) {
  return content.starts_with("\xFF\xFE") || content.starts_with("\xFE\xFF");
}

struct CloseFile {
  void operator()(std::FILE *file) const { std::fclose(file); }
};
using File = std::unique_ptr<std::FILE, CloseFile>;

/// The whole file; nothing if the operating system refuses or it is longer than `maxBytes`.
std::optional<std::string> readWhole(std::FILE *file, uint64_t maxBytes, bool &tooLarge) {
  std::string content;
  char buffer[1 << 16];
  while (size_t count = std::fread(buffer, 1, sizeof buffer, file)) {
    content.append(buffer, count);
    if ((tooLarge = content.size() > maxBytes))
      return std::nullopt;
  }
  if (std::ferror(file))
    return std::nullopt;
  return content;
}

/// Removes a byte-order mark and makes "\r\n" and '\r' into '\n'.
void normalise(std::string &text) {
  if (text.starts_with("\xEF\xBB\xBF"))
    text.erase(0, 3);
  size_t out = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool carriageReturn = text[i] == '\r';
    if (carriageReturn && i + 1 < text.size() && text[i + 1] == '\n')
      continue;
    text[out++] = carriageReturn ? '\n' : text[i];
  }
  text.resize(out);
}

void addPieces(const std::string &name, std::string text, const CorpusOptions &options,
               CorpusCounts &counts, const AddDocument &add) {
  normalise(text);
  const auto blank = [](std::string_view piece) {
    return piece.find_first_not_of(" \t\n\v\f") == std::string_view::npos;
  };
  if (blank(text)) {
    ++counts.emptyDocuments;
    return;
  }
  const std::string source = sha256Hex(std::string_view(text));
  const size_t most = std::max<uint64_t>(options.maxDocumentBytes, 16);
  if (text.size() <= most)
    return add(name, std::move(text), source);
  std::string_view rest = text;
  for (unsigned piece = 1; !rest.empty(); ++piece) {
    const size_t cut = rest.size() <= most ? rest.size() : cutPoint(rest, most);
    if (blank(rest.substr(0, cut)))
      ++counts.emptyDocuments;
    else
      add(name + "@" + std::to_string(piece), std::string(rest.substr(0, cut)), source);
    rest.remove_prefix(cut);
  }
}

/// Most bytes of a line of .jsonl, which is held in memory whole.
constexpr uint64_t kMostLineBytes = 256 << 20;

/// Reads lines of at most `maxLineBytes`, ended by "\n", "\r\n" or '\r'; longer ones are said to be
/// unusable and passed over.
class LineReader {
public:
  LineReader(std::FILE *file, uint64_t maxLineBytes) : file_(file), maxLineBytes_(maxLineBytes) {}

  /// False at the end of the file. `usable`: the line was not too long.
  bool next(std::string &line, bool &usable) {
    line.clear();
    usable = true;
    bool any = false;
    while (refill()) {
      if (afterReturn_ && buffer_[begin_] == '\n') {
        afterReturn_ = false;
        ++begin_;
        continue;
      }
      afterReturn_ = false;
      any = true;
      const char *end = std::find_if(buffer_ + begin_, buffer_ + end_,
                                     [](char c) { return c == '\n' || c == '\r'; });
      const size_t stop = static_cast<size_t>(end - buffer_);
      const bool ended = stop != end_;
      if (usable && (usable = line.size() + (stop - begin_) <= maxLineBytes_))
        line.append(buffer_ + begin_, stop - begin_);
      begin_ = stop + ended;
      afterReturn_ = ended && *end == '\r';
      if (ended)
        return true;
    }
    return any;
  }

private:
  bool refill() {
    if (begin_ == end_) {
      begin_ = 0;
      end_ = std::fread(buffer_, 1, sizeof buffer_, file_);
    }
    return begin_ < end_;
  }

  std::FILE *file_;
  uint64_t maxLineBytes_;
  char buffer_[1 << 16];
  size_t begin_ = 0, end_ = 0;
  bool afterReturn_ = false; ///< a newline that comes next belongs to the line before
};

void readJsonLines(const CorpusFile &file, std::FILE *handle, const CorpusOptions &options,
                   CorpusCounts &counts, const AddDocument &add) {
  const auto reader = std::make_unique<LineReader>(handle, kMostLineBytes);
  std::string line;
  bool usable = true;
  for (uint64_t number = 1; reader->next(line, usable); ++number) {
    if (line.find_first_not_of(" \t") == std::string::npos && usable)
      continue;
    const std::string name = file.name + ":" + std::to_string(number);
    JsonLine read = usable ? textOfJsonLine(line) : JsonLine{{}, "is longer than 256 MiB"};
    if (read.fault) {
      ++counts.badLines;
      counts.note(name + ": " + read.fault);
      continue;
    }
    addPieces(name, std::move(read.text), options, counts, add);
  }
}
} // namespace

size_t cutPoint(std::string_view text, size_t maxBytes) {
  for (char end : {'\n', ' '}) {
    const size_t found = text.rfind(end, maxBytes - 1);
    if (found != std::string_view::npos && found >= maxBytes / 2)
      return found + 1;
  }
  size_t cut = maxBytes;
  while (cut > 1 && (static_cast<unsigned char>(text[cut]) & 0xC0) == 0x80)
    --cut;
  return cut;
}

size_t findInvalidUtf8(std::string_view text) {
  const size_t good = validPrefix(text);
  return good == text.size() ? std::string_view::npos : good;
}

std::vector<CorpusFile> findCorpusFiles(const std::vector<std::string> &paths,
                                        CorpusCounts &counts) {
  std::vector<CorpusFile> files;
  Walker walker(files, counts);
  for (const std::string &path : paths)
    walker.root(path);
  return files;
}

void readCorpusFile(const CorpusFile &file, const CorpusOptions &options, CorpusCounts &counts,
                    const AddDocument &add) {
  const File handle(std::fopen(file.path.c_str(), "rbe"));
  if (!handle) {
    if (file.named)
      failSystem(file.path, "the corpus cannot be read");
    return countUnreadable(counts, file.path, file.name, errno);
  }
  const Kind kind = kindOf(file.path);
  if (kind == Kind::JsonLines) {
    ++counts.readFiles;
    return readJsonLines(file, handle.get(), options, counts, add);
  }
  bool tooLarge = false;
  std::optional<std::string> content = readWhole(handle.get(), options.maxFileBytes, tooLarge);
  if (!content) {
    ++(tooLarge ? counts.tooLargeFiles : counts.unreadableFiles);
  } else if (content->find('\0') != std::string::npos) {
    ++counts.binaryFiles;
    counts.note(file.name + ": has a NUL byte" +
                (isUtf16(*content) ? ": it is UTF-16, convert it to UTF-8" : ""));
  } else if (findInvalidUtf8(*content) != std::string::npos) {
    ++counts.invalidUtf8Files;
    counts.note(file.name + ": is not UTF-8 from byte " +
                std::to_string(findInvalidUtf8(*content)) + " on");
  } else {
    ++counts.readFiles;
    if (kind == Kind::Html)
      content = htmlToText(*content);
    addPieces(file.name, std::move(*content), options, counts, add);
  }
}

} // namespace retort
