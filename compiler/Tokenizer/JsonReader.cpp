//===- JsonReader.cpp - Reading Hugging Face's tokenizer.json -------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Tokenizer/Internal.h"
#include "runtime/base/Error.h"
#include "runtime/base/Json.h"
#include "runtime/base/MappedFile.h"
#include <algorithm>
#include <filesystem>
#include <functional>
#include <map>
#include <unordered_map>

namespace retort {
namespace {
using nlohmann::json;
using namespace tokspec;

/// A place in the file: typed access with messages that name the key.
class Place {
public:
  Place(const json &value, std::string path, const std::string &source)
      : value_(value), path_(std::move(path)), source_(source) {}

  [[noreturn]] void bad(const std::string &what) const {
    fail(ExitCode::BadInput, source_ + ": " + path_ + " " + what);
  }
  [[noreturn]] void unsupported(const std::string &what) const {
    fail(ExitCode::Unsupported, source_ + ": " + path_ + ": " + what + " is not known to Retort");
  }
  bool has(const char *key) const {
    return value_.is_object() && value_.contains(key) && !value_[key].is_null();
  }
  Place at(const char *key) const {
    if (!value_.is_object() || !value_.contains(key))
      bad(std::string("has no '") + key + "'");
    return Place(value_[key], path_.empty() ? key : path_ + "." + key, source_);
  }
  bool isNull() const { return value_.is_null(); }
  const json &array() const {
    if (!value_.is_array())
      bad("is not a list");
    return value_;
  }
  std::vector<Place> items() const {
    std::vector<Place> list;
    for (size_t i = 0; i < array().size(); ++i)
      list.emplace_back(value_[i], path_ + "[" + std::to_string(i) + "]", source_);
    return list;
  }
  const json &object() const {
    if (!value_.is_object())
      bad("is not an object");
    return value_;
  }
  bool isString() const { return value_.is_string(); }
  const std::string &text() const {
    if (!value_.is_string())
      bad("is not a string");
    return value_.get_ref<const std::string &>();
  }
  std::string text(const char *key) const { return at(key).text(); }
  bool flag(const char *key, bool otherwise) const {
    if (!has(key))
      return otherwise;
    if (!value_[key].is_boolean())
      at(key).bad("is not true or false");
    return value_[key].get<bool>();
  }
  int32_t id() const {
    if (!value_.is_number_integer() || value_ < 0 || value_ > (1 << 24))
      bad("is not a token id");
    return value_.get<int32_t>();
  }
  double number() const {
    if (!value_.is_number())
      bad("is not a number");
    return value_.get<double>();
  }

private:
  const json &value_;
  std::string path_;
  const std::string &source_;
};

class JsonReader {
public:
  JsonReader(const json &root, const std::string &source)
      : root_(root, "", source), source_(source) {
    spec_.source = source;
  }

  TokenizerSpec run() {
    Place model = root_.at("model");
    std::string type = model.has("type")     ? model.text("type")
                       : model.has("merges") ? "BPE"
                                             : "Unigram";
    if (type == "BPE")
      bpe(model);
    else if (type == "Unigram")
      unigram(model);
    else
      model.unsupported("the model " + inQuotes(type));
    if (root_.has("added_tokens"))
      addedTokens(root_.at("added_tokens"));
    if (root_.has("normalizer"))
      normalizer(root_.at("normalizer"), 0);
    if (root_.has("pre_tokenizer"))
      preTokenizer(root_.at("pre_tokenizer"), 0);
    if (root_.has("post_processor"))
      postProcessor(root_.at("post_processor"), 0);
    decoder();
    return std::move(spec_);
  }

private:
  void place(int32_t id, const std::string &token, const Place &where) {
    if (size_t(id) >= spec_.tokens.size())
      where.bad("gives " + inQuotes(token) + " the id " + std::to_string(id) +
                ", but there are only " + std::to_string(spec_.tokens.size()) + " tokens");
    if (filled_[id])
      where.bad("gives the id " + std::to_string(id) + " to " + inQuotes(token) + " and " +
                inQuotes(spec_.tokens[id]));
    filled_[id] = true;
    spec_.tokens[id] = token;
  }

  /// Room for the model's tokens and the added ones that are not of the model: each is placed once, so
  /// no id is left without a token.
  void makeRoom(size_t modelTokens, const std::function<bool(const std::string &)> &inModel) {
    size_t total = modelTokens;
    if (root_.has("added_tokens"))
      for (const Place &token : root_.at("added_tokens").items())
        total += !inModel(token.text("content"));
    spec_.tokens.resize(total);
    spec_.inModel.resize(total);
    filled_.resize(total);
    modelTokens_ = modelTokens;
  }

  void bpe(const Place &model) {
    for (const char *key : {"continuing_subword_prefix", "end_of_word_suffix"})
      if (model.has(key) && !model.text(key).empty())
        model.unsupported(std::string(key) + " " + inQuotes(model.text(key)));
    if (model.has("dropout") && model.at("dropout").number() != 0)
      model.unsupported("dropout");
    spec_.model = TokenizerSpec::Model::Bpe;
    spec_.byteFallback = model.flag("byte_fallback", false);
    spec_.fuseUnknown = model.flag("fuse_unk", false);
    spec_.ignoreMerges = model.flag("ignore_merges", false);
    Place vocab = model.at("vocab");
    makeRoom(vocab.object().size(),
             [&](const std::string &t) { return vocab.object().contains(t); });
    for (const auto &[token, id] : vocab.object().items()) {
      int32_t number = Place(id, "model.vocab[" + inQuotes(token) + "]", source_).id();
      place(number, token, vocab);
      spec_.inModel[number] = true;
      byName_[token] = number;
    }
    if (model.has("unk_token"))
      spec_.unknown = idOf(model.text("unk_token"), model.at("unk_token"));
    size_t index = 0;
    for (const json &merge : model.at("merges").array()) {
      Place here(merge, "model.merges[" + std::to_string(index++) + "]", source_);
      auto [left, right] = parts(here, merge);
      int32_t l = idOf(left, here), r = idOf(right, here);
      spec_.merges.push_back({l, r, idOf(left + right, here)});
    }
  }

  /// "a b" (the older form) or ["a", "b"].
  static std::pair<std::string, std::string> parts(const Place &here, const json &merge) {
    if (merge.is_array()) {
      auto items = here.items();
      if (items.size() != 2)
        here.bad("does not have two parts");
      return {items[0].text(), items[1].text()};
    }
    const std::string &text = here.text();
    size_t space = text.find(' ');
    if (space == std::string::npos || text.find(' ', space + 1) != std::string::npos)
      here.bad("is " + inQuotes(text) + ", not two tokens with a space between");
    return {text.substr(0, space), text.substr(space + 1)};
  }

  int32_t idOf(const std::string &token, const Place &where) const {
    auto it = byName_.find(token);
    if (it == byName_.end())
      where.bad("names " + inQuotes(token) + ", which is not in the vocabulary");
    return it->second;
  }

  void unigram(const Place &model) {
    spec_.model = TokenizerSpec::Model::Unigram;
    spec_.byteFallback = model.flag("byte_fallback", false);
    spec_.fuseUnknown = true;
    auto pieces = model.at("vocab").items();
    for (size_t i = 0; i < pieces.size(); ++i) {
      auto pair = pieces[i].items();
      if (pair.size() != 2)
        pieces[i].bad("is not a piece and its score");
      if (!byName_.try_emplace(pair[0].text(), int32_t(i)).second)
        pieces[i].bad("repeats " + inQuotes(pair[0].text()));
    }
    makeRoom(pieces.size(), [&](const std::string &t) { return byName_.count(t) > 0; });
    spec_.scores.assign(spec_.tokens.size(), 0);
    for (size_t i = 0; i < pieces.size(); ++i) {
      auto pair = pieces[i].items();
      place(int32_t(i), pair[0].text(), pieces[i]);
      spec_.inModel[i] = true;
      spec_.scores[i] = pair[1].number();
    }
    if (model.has("unk_id"))
      spec_.unknown = model.at("unk_id").id();
  }

  void addedTokens(const Place &list) {
    int32_t next = int32_t(modelTokens_);
    for (const Place &token : list.items()) {
      AddedToken added;
      added.id = token.at("id").id();
      added.content = token.text("content");
      added.singleWord = token.flag("single_word", false);
      added.lstrip = token.flag("lstrip", false);
      added.rstrip = token.flag("rstrip", false);
      added.special = token.flag("special", false);
      added.normalized = token.flag("normalized", !added.special);
      auto it = byName_.find(added.content);
      int32_t expected = it != byName_.end() ? it->second : next++;
      if (added.id != expected)
        token.bad("gives " + inQuotes(added.content) + " the id " + std::to_string(added.id) +
                  ", but tokenizers would make it " + std::to_string(expected));
      if (it == byName_.end())
        place(added.id, added.content, token);
      spec_.added.push_back(std::move(added));
    }
    std::sort(spec_.added.begin(), spec_.added.end(),
              [](const AddedToken &a, const AddedToken &b) { return a.id < b.id; });
  }

  // Recursion is bounded by the depth of the JSON.
  void normalizer(const Place &step, int depth) {
    std::string type = step.text("type");
    if (type == "Sequence") {
      for (const Place &inner : step.at("normalizers").items())
        normalizer(inner, depth + 1);
    } else if (type == "NFC") {
      spec_.normalizers.push_back({NormalizerStep::Nfc, "", ""});
    } else if (type == "Prepend") {
      spec_.normalizers.push_back({NormalizerStep::Prepend, "", step.text("prepend")});
    } else if (type == "Replace") {
      Place pattern = step.at("pattern");
      if (!pattern.has("String"))
        step.unsupported("the normaliser Replace with a regular expression");
      spec_.normalizers.push_back(
          {NormalizerStep::Replace, pattern.text("String"), step.text("content")});
    } else {
      step.unsupported("the normaliser " + inQuotes(type));
    }
  }

  void preTokenizer(const Place &place, int depth) {
    std::string type = place.text("type");
    PreTokenizerStep step{};
    if (type == "Sequence") {
      for (const Place &inner : place.at("pretokenizers").items())
        preTokenizer(inner, depth + 1);
      return;
    }
    if (type == "Split") {
      step.kind = PreTokenizerStep::Split;
      Place pattern = place.at("pattern");
      step.isRegex = !pattern.has("String");
      step.pattern = pattern.text(step.isRegex ? "Regex" : "String");
      step.behavior = behavior(place.at("behavior"));
      step.invert = place.flag("invert", false);
    } else if (type == "ByteLevel") {
      step.kind = PreTokenizerStep::ByteLevel;
      step.addPrefixSpace = place.flag("add_prefix_space", true);
      step.trimOffsets = place.flag("trim_offsets", true);
      step.useRegex = place.flag("use_regex", true);
    } else if (type == "Digits") {
      step.kind = PreTokenizerStep::Digits;
      step.individualDigits = place.flag("individual_digits", false);
    } else if (type == "Metaspace") {
      step.kind = PreTokenizerStep::Metaspace;
      step.replacement = place.text("replacement");
      step.prepend = prependScheme(place);
      step.split = place.flag("split", true);
    } else {
      place.unsupported("the pre-tokeniser " + inQuotes(type));
    }
    spec_.preTokenizers.push_back(std::move(step));
  }

  static SplitBehavior behavior(const Place &place) {
    const std::pair<const char *, SplitBehavior> names[] = {
        {"Removed", SplitBehavior::Removed},
        {"Isolated", SplitBehavior::Isolated},
        {"MergedWithPrevious", SplitBehavior::MergedWithPrevious},
        {"MergedWithNext", SplitBehavior::MergedWithNext},
        {"Contiguous", SplitBehavior::Contiguous}};
    for (auto [name, value] : names)
      if (place.text() == name)
        return value;
    place.unsupported("the behaviour " + inQuotes(place.text()));
  }

  static PrependScheme prependScheme(const Place &place) {
    std::string name = place.has("prepend_scheme") ? place.text("prepend_scheme") : "always";
    if (!place.flag("add_prefix_space", true) && name != "never")
      place.bad("has add_prefix_space false, but its prepend_scheme is " + inQuotes(name));
    if (name == "always")
      return PrependScheme::Always;
    if (name == "first")
      return PrependScheme::First;
    if (name == "never")
      return PrependScheme::Never;
    place.unsupported("the prepend_scheme " + inQuotes(name));
  }

  void postProcessor(const Place &step, int depth) {
    std::string type = step.text("type");
    if (type == "Sequence") {
      for (const Place &inner : step.at("processors").items())
        postProcessor(inner, depth + 1);
    } else if (type == "TemplateProcessing") {
      templateProcessing(step);
    } else if (type != "ByteLevel") { // which changes offsets only
      step.unsupported("the post-processor " + inQuotes(type));
    }
  }

  void templateProcessing(const Place &step) {
    bool seenText = false;
    if (!spec_.prefix.empty() || !spec_.suffix.empty())
      step.unsupported("more than one TemplateProcessing");
    for (const Place &piece : step.at("single").items()) {
      if (piece.has("Sequence")) {
        if (seenText || piece.at("Sequence").text("id") != "A")
          piece.unsupported("this sequence in 'single'");
        seenText = true;
        continue;
      }
      std::string name = piece.at("SpecialToken").text("id");
      Place ids = step.at("special_tokens").at(name.c_str()).at("ids");
      for (const Place &id : ids.items())
        (seenText ? spec_.suffix : spec_.prefix).push_back(id.id());
    }
    if (!seenText)
      step.unsupported("a template without the text");
  }

  void decoder() {
    if (!root_.has("decoder"))
      root_.unsupported("a tokenizer without a decoder");
    Place place = root_.at("decoder");
    std::vector<std::string> steps;
    flatten(place, steps);
    std::string chain;
    for (const std::string &step : steps)
      chain += (chain.empty() ? "" : ", ") + step;
    DecoderSpec &d = spec_.decoder;
    if (chain == "ByteLevel") {
      d.kind = DecoderSpec::ByteLevel;
    } else if (chain == "Replace, ByteFallback, Fuse" ||
               chain == "Replace, ByteFallback, Fuse, Strip") {
      d.kind = DecoderSpec::SentencePiece;
      d.stripSpaces = steps.size() == 4;
    } else if (chain == "Metaspace" || chain == "ByteFallback, Metaspace") {
      d.kind = DecoderSpec::Metaspace;
      d.byteFallback = steps.size() == 2;
    } else {
      place.unsupported("the decoder [" + chain + "]");
    }
  }

  void flatten(const Place &place, std::vector<std::string> &steps) {
    std::string type = place.text("type");
    if (type == "Sequence") {
      for (const Place &inner : place.at("decoders").items())
        flatten(inner, steps);
      return;
    }
    if (type == "Replace" &&
        (!place.at("pattern").has("String") || place.at("pattern").text("String") != kMetaspace ||
         place.text("content") != " "))
      place.unsupported("a decoder that replaces anything but U+2581 by a space");
    if (type == "Strip" && (place.text("content") != " " || place.at("start").number() != 1 ||
                            place.at("stop").number() != 0))
      place.unsupported("a decoder that strips anything but one leading space");
    if (type == "Metaspace") {
      if (place.text("replacement") != kMetaspace)
        place.unsupported("the decoder Metaspace with another replacement");
      spec_.decoder.prepend = prependScheme(place);
    }
    steps.push_back(type);
  }

  TokenizerSpec spec_;
  Place root_;
  const std::string &source_;
  std::vector<bool> filled_;
  size_t modelTokens_ = 0;
  std::unordered_map<std::string, int32_t> byName_;
};

/// What tokenizer_config.json, generation_config.json and the chat template add.
class SideFiles {
public:
  SideFiles(TokenizerSpec &spec, const std::string &source) : spec_(spec), source_(source) {}

  void tokenizerConfig(const json &root) {
    Place config(root, "tokenizer_config", source_);
    spec_.bos = special(config, "bos_token");
    spec_.eos = special(config, "eos_token");
    spec_.pad = special(config, "pad_token");
    std::string type = config.has("tokenizer_class") ? config.text("tokenizer_class") : "";
    // transformers lets the flags of these two classes win over the post-processor.
    if (type.starts_with("LlamaTokenizer") || type.starts_with("GemmaTokenizer")) {
      flag(config, "add_bos_token", spec_.prefix, spec_.bos);
      flag(config, "add_eos_token", spec_.suffix, spec_.eos);
    }
    if (config.has("chat_template"))
      chatTemplates(config.at("chat_template"));
  }

  void generationConfig(const json &root) {
    Place config(root, "generation_config", source_);
    if (!config.has("eos_token_id"))
      return;
    Place ids = config.at("eos_token_id");
    if (root["eos_token_id"].is_array())
      for (const Place &id : ids.items())
        spec_.stop.push_back(id.id());
    else
      spec_.stop.push_back(ids.id());
    if (spec_.eos < 0)
      spec_.eos = spec_.stop[0];
  }

  /// The templates of tokenizer_config.json; a chat_template.jinja goes before them.
  const ChatTemplates &chat() const { return chat_; }

private:
  int32_t special(const Place &config, const char *key) const {
    if (!config.has(key))
      return -1;
    Place place = config.at(key);
    std::string content = place.isString() ? place.text() : place.text("content");
    auto it = std::find_if(spec_.added.begin(), spec_.added.end(),
                           [&](const AddedToken &token) { return token.content == content; });
    if (it != spec_.added.end())
      return it->id;
    auto piece = std::find(spec_.tokens.begin(), spec_.tokens.end(), content);
    if (piece == spec_.tokens.end())
      place.bad("is " + inQuotes(content) + ", which is not in the vocabulary");
    return int32_t(piece - spec_.tokens.begin());
  }

  static void flag(const Place &config, const char *key, std::vector<int32_t> &ids, int32_t id) {
    if (!config.has(key) || id < 0)
      return;
    ids.clear();
    if (config.flag(key, false))
      ids.push_back(id);
  }

  void chatTemplates(const Place &place) {
    if (place.isString()) {
      chat_.usual = place.text();
      return;
    }
    for (const Place &named : place.items())
      if (const std::string name = named.text("name"); name == "default")
        chat_.usual = named.text("template");
      else if (name == "tool_use")
        chat_.toolUse = named.text("template");
  }

  TokenizerSpec &spec_;
  const std::string &source_;
  ChatTemplates chat_;
};

std::string readWhole(const std::filesystem::path &path) {
  MappedFile file = MappedFile::open(path.string());
  return std::string(reinterpret_cast<const char *>(file.bytes().data()), file.bytes().size());
}

} // namespace

TokenizerSpec parseTokenizerJson(std::string_view tokenizerJson, std::string_view config,
                                 std::string_view generation, const ChatTemplates &templates,
                                 const std::string &source, const ChatSource &chat) {
  TokenizerSpec spec;
  {
    json root = parseJson(tokenizerJson, source);
    spec = JsonReader(root, source).run();
  }
  SideFiles reader(spec, source);
  if (!config.empty())
    reader.tokenizerConfig(parseJson(config, source + " (tokenizer_config.json)"));
  else if (spec.prefix.size() == 1)
    spec.bos = spec.prefix[0];
  if (!generation.empty())
    reader.generationConfig(parseJson(generation, source + " (generation_config.json)"));
  tokspec::setChat(spec, templates.usual.empty() ? reader.chat() : templates, chat);
  tokspec::finishStops(spec);
  tokspec::validate(spec);
  return spec;
}

TokenizerSpec tokspec::readDirectory(const std::string &path, const ChatSource &chat) {
  namespace fs = std::filesystem;
  fs::path dir(path);
  if (!fs::exists(dir / "tokenizer.json"))
    fail(fs::exists(dir / "tokenizer.model") ? ExitCode::Unsupported : ExitCode::Io,
         path + ": no tokenizer.json: save the tokenizer with transformers' save_pretrained");
  auto optional = [&](const char *name) {
    return fs::exists(dir / name) ? readWhole(dir / name) : std::string();
  };
  return parseTokenizerJson(
      readWhole(dir / "tokenizer.json"), optional("tokenizer_config.json"),
      optional("generation_config.json"),
      {optional("chat_template.jinja"), optional("additional_chat_templates/tool_use.jinja")},
      (dir / "tokenizer.json").string(), chat);
}

TokenizerSpec tokspec::readJsonFile(const std::string &path, const ChatSource &chat) {
  return parseTokenizerJson(readWhole(path), "", "", {}, path, chat);
}

} // namespace retort
