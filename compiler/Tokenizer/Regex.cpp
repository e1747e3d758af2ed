//===- Regex.cpp - Pre-tokeniser patterns to automata ---------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Tokenizer/Regex.h"
#include "runtime/base/Error.h"
#include <algorithm>
#include <functional>
#include <map>
#include <memory>

namespace retort {
namespace {

constexpr size_t kMaxPattern = 8192, kMaxSteps = 20000, kMaxStates = 8000;
constexpr int kMaxDepth = 50, kMaxRepeat = 256;

/// The pattern as a tree. Children are indices into the pool.
struct Node {
  enum Kind { Set, Ahead, NotAhead, Cat, Alt, Repeat } kind;
  CodeSet set;           ///< Set, Ahead, NotAhead
  std::vector<int> kids; ///< Cat, Alt, Repeat (one)
  int min = 0, max = -1; ///< Repeat; -1: without end
  bool lazy = false;
};

class Parser {
public:
  explicit Parser(std::string_view pattern) : pattern_(pattern) { decode(); }

  int parse() {
    int root = alternatives(0, false);
    if (at_ < codes_.size())
      refuse("an unmatched ')'");
    return root;
  }
  std::vector<Node> nodes;

  [[noreturn]] void refuse(const std::string &what) const {
    fail(ExitCode::Unsupported, "pre-tokeniser pattern '" + std::string(pattern_.substr(0, 400)) +
                                    "', character " + std::to_string(at_ + 1) + ": " + what +
                                    " is not known to Retort");
  }

private:
  void decode() {
    if (pattern_.size() > kMaxPattern)
      refuse("a pattern of more than " + std::to_string(kMaxPattern) + " bytes");
    for (size_t i = 0; i < pattern_.size();) {
      uint8_t b = pattern_[i];
      int more = b < 0x80 ? 0 : b >= 0xF0 ? 3 : b >= 0xE0 ? 2 : 1;
      uint32_t code = more == 0 ? b : b & (0x3F >> more);
      if ((b >= 0x80 && b < 0xC2) || b > 0xF4 || pattern_.size() - i <= size_t(more))
        refuse("text that is not UTF-8");
      for (int k = 1; k <= more; ++k)
        code = code << 6 | (pattern_[i + k] & 0x3F);
      codes_.push_back(code);
      i += more + 1;
    }
  }

  bool done() const { return at_ >= codes_.size(); }
  bool peek(char c, size_t ahead = 0) const {
    return at_ + ahead < codes_.size() && codes_[at_ + ahead] == uint32_t(c);
  }
  bool take(char c) { return peek(c) && ++at_; }
  bool takeText(std::string_view text) {
    for (size_t i = 0; i < text.size(); ++i)
      if (!peek(text[i], i))
        return false;
    at_ += text.size();
    return true;
  }
  uint32_t read() {
    if (done())
      refuse("a pattern that ends too early");
    return codes_[at_++];
  }
  int add(Node node) { // at most two for each character
    nodes.push_back(std::move(node));
    return static_cast<int>(nodes.size()) - 1;
  }

  // Recursion is bounded by kMaxDepth.
  int alternatives(int depth, bool ignoreCase) {
    if (depth > kMaxDepth)
      refuse("nesting this deep");
    Node alt{Node::Alt, {}, {}};
    do {
      alt.kids.push_back(sequence(depth, ignoreCase));
    } while (take('|'));
    return alt.kids.size() == 1 ? alt.kids[0] : add(std::move(alt));
  }

  int sequence(int depth, bool ignoreCase) {
    Node cat{Node::Cat, {}, {}};
    while (!done() && !peek('|') && !peek(')'))
      cat.kids.push_back(repeated(depth, ignoreCase));
    return cat.kids.size() == 1 ? cat.kids[0] : add(std::move(cat));
  }

  int repeated(int depth, bool ignoreCase) {
    int item = atom(depth, ignoreCase);
    bool counted = false;
    Node repeat{Node::Repeat, {}, {item}};
    if (take('?'))
      repeat.max = 1;
    else if (take('+'))
      repeat.min = 1;
    else if (take('*'))
      repeat.min = 0;
    else if (peek('{')) {
      counted = true;
      ++at_;
      braces(repeat);
    } else
      return item;
    if (nodes[item].kind == Node::Ahead || nodes[item].kind == Node::NotAhead)
      refuse("a repeated lookahead");
    if (!counted)
      repeat.lazy = take('?');
    if (peek('+') || peek('*') || peek('?') || peek('{'))
      refuse("a possessive or doubled quantifier");
    return add(std::move(repeat));
  }

  int number() {
    int value = 0, digits = 0;
    for (; !done() && codes_[at_] >= '0' && codes_[at_] <= '9'; ++digits, ++at_)
      if ((value = value * 10 + int(codes_[at_] - '0')) > kMaxRepeat)
        refuse("a repetition of more than " + std::to_string(kMaxRepeat));
    if (digits == 0)
      refuse("this use of '{'");
    return value;
  }
  void braces(Node &repeat) {
    repeat.min = repeat.max = number();
    if (take(','))
      repeat.max = peek('}') ? -1 : number();
    if (!take('}') || (repeat.max >= 0 && repeat.max < repeat.min) || repeat.max == 0)
      refuse("this use of '{'");
  }

  int atom(int depth, bool ignoreCase) {
    if (take('(')) {
      int inside;
      if (takeText("?:"))
        inside = alternatives(depth + 1, ignoreCase);
      else if (takeText("?i:"))
        inside = alternatives(depth + 1, true);
      else if (takeText("?="))
        return lookahead(depth, ignoreCase, Node::Ahead);
      else if (takeText("?!"))
        return lookahead(depth, ignoreCase, Node::NotAhead);
      else if (peek('?') || peek('*'))
        refuse("this kind of group");
      else
        inside = alternatives(depth + 1, ignoreCase);
      if (!take(')'))
        refuse("a group that is not closed");
      return inside;
    }
    if (take('['))
      return add({Node::Set, bracket(ignoreCase), {}});
    if (take('\\'))
      return add({Node::Set, escape(ignoreCase), {}});
    if (take('.'))
      return add({Node::Set, CodeSet::of('\n').complement(), {}});
    uint32_t code = read();
    if (code < 128 && std::string_view("^$*+?{").find(char(code)) != std::string_view::npos) {
      --at_;
      refuse(std::string("'") + char(code) + "' here");
    }
    return add({Node::Set, folded(code, ignoreCase), {}});
  }

  int lookahead(int depth, bool ignoreCase, Node::Kind kind) {
    int inside = alternatives(depth + 1, ignoreCase);
    if (!take(')'))
      refuse("a group that is not closed");
    if (nodes[inside].kind != Node::Set)
      refuse("a lookahead at more than one character");
    return add({kind, nodes[inside].set, {}});
  }

  /// Oniguruma folds with Unicode's simple folding: among ASCII letters only k and s have others.
  CodeSet folded(uint32_t code, bool ignoreCase) {
    if (!ignoreCase)
      return CodeSet::of(code);
    if (code >= 128)
      refuse("ignoring the case of a character outside ASCII");
    if (!((code | 32) >= 'a' && (code | 32) <= 'z'))
      return CodeSet::of(code);
    CodeSet set = CodeSet::of(code | 32) | CodeSet::of(code & ~32u);
    if ((code | 32) == 's')
      set = set | CodeSet::of(0x17F);
    if ((code | 32) == 'k')
      set = set | CodeSet::of(0x212A);
    return set;
  }

  CodeSet property(bool negated) {
    if (!take('{'))
      refuse("a property without braces");
    if (take('^'))
      negated = !negated;
    std::string name;
    while (!done() && !peek('}') && codes_[at_] < 128 && name.size() < 40)
      name += char(codes_[at_++]);
    auto set = unicodeCategory(name);
    if (!take('}') || !set)
      refuse("the property \\p{" + name + "}");
    return negated ? set->complement() : *set;
  }

  uint32_t hexEscape() {
    bool braces = take('{');
    uint32_t value = 0;
    int digits = 0;
    for (; digits < (braces ? 6 : 2) && !done(); ++digits, ++at_) {
      uint32_t c = codes_[at_];
      int d = c >= '0' && c <= '9'                 ? int(c - '0')
              : (c | 32) >= 'a' && (c | 32) <= 'f' ? int((c | 32) - 'a' + 10)
                                                   : -1;
      if (d < 0)
        break;
      value = value * 16 + d;
    }
    if (digits == 0 || value >= kCodePoints || (braces && !take('}')) || (!braces && value >= 128))
      refuse("this \\x escape");
    return value;
  }

  CodeSet escape(bool ignoreCase) {
    uint32_t c = read();
    switch (c) {
    case 's':
      return unicodeSpace();
    case 'S':
      return unicodeSpace().complement();
    case 'd':
      return *unicodeCategory("Nd");
    case 'D':
      return unicodeCategory("Nd")->complement();
    case 'p':
      return property(false);
    case 'P':
      return property(true);
    case 'r':
      return CodeSet::of('\r');
    case 'n':
      return CodeSet::of('\n');
    case 't':
      return CodeSet::of('\t');
    case 'f':
      return CodeSet::of('\f');
    case 'v':
      return CodeSet::of('\v');
    case 'x':
      return CodeSet::of(hexEscape());
    }
    bool alphanumeric = c < 128 && ((c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z'));
    if (alphanumeric) {
      --at_;
      refuse(std::string("the escape \\") + char(c));
    }
    return folded(c, ignoreCase && c < 128);
  }

  CodeSet bracket(bool ignoreCase) {
    bool negated = take('^');
    CodeSet set;
    for (bool first = true; first || !peek(']'); first = false) {
      if (peek('[') || (peek('&') && peek('&', 1)) || (first && peek(']')))
        refuse("this inside brackets");
      CodeSet item = take('\\') ? escape(ignoreCase) : folded(read(), ignoreCase);
      bool single = item.ranges().size() == 1 && item.ranges()[0].first == item.ranges()[0].second;
      if (peek('-') && !peek(']', 1)) {
        ++at_;
        if (peek('[') || !single || ignoreCase)
          refuse("this range");
        CodeSet high = take('\\') ? escape(false) : CodeSet::of(read());
        uint32_t low = item.ranges()[0].first, last = high.ranges().at(0).first;
        if (high.ranges().size() != 1 || high.ranges()[0].second != last || last < low)
          refuse("this range");
        item = CodeSet({{low, last}});
      }
      set = set | item;
      if (done())
        refuse("a bracket that is not closed");
    }
    ++at_;
    return negated ? set.complement() : set;
  }

  std::string_view pattern_;
  std::vector<uint32_t> codes_;
  size_t at_ = 0;
};

/// An instruction of the pattern as a program; `to` and `other` are successors, best first.
struct Step {
  enum Kind { Set, Ahead, NotAhead, Fork, Match } kind;
  int set = -1; ///< index of the CodeSet
  int to = -1, other = -1;
};

class Compiler {
public:
  explicit Compiler(Parser &parser) : parser_(parser) {}

  Automaton run(int root) {
    int match = emit({Step::Match});
    start_ = build(root, match, 0);
    if (nullable_(root))
      parser_.refuse("a pattern that matches the empty text");
    classify();
    determinise();
    return std::move(automaton_);
  }

private:
  int emit(Step step) {
    if (program_.size() >= kMaxSteps)
      parser_.refuse("a pattern of this size");
    program_.push_back(step);
    return static_cast<int>(program_.size()) - 1;
  }
  int setIndex(const CodeSet &set) {
    auto it = std::find(sets_.begin(), sets_.end(), set);
    if (it == sets_.end())
      it = sets_.insert(sets_.end(), set);
    return static_cast<int>(it - sets_.begin());
  }

  bool nullable_(int index) const {
    const Node &node = parser_.nodes[index];
    auto null = [this](int kid) { return nullable_(kid); };
    switch (node.kind) {
    case Node::Set:
      return false;
    case Node::Ahead:
    case Node::NotAhead:
      return true;
    case Node::Cat:
      return std::all_of(node.kids.begin(), node.kids.end(), null);
    case Node::Alt:
      return std::any_of(node.kids.begin(), node.kids.end(), null);
    case Node::Repeat:
      return node.min == 0 || null(node.kids[0]);
    }
    return false;
  }

  /// Builds from the back: the program that does `index` and then goes to `then`.
  int build(int index, int then, int depth) {
    const Node &node = parser_.nodes[index];
    switch (node.kind) {
    case Node::Set:
      return emit({Step::Set, setIndex(node.set), then});
    case Node::Ahead:
      return emit({Step::Ahead, setIndex(node.set), then});
    case Node::NotAhead:
      return emit({Step::NotAhead, setIndex(node.set), then});
    case Node::Cat:
      for (size_t i = node.kids.size(); i-- > 0;)
        then = build(node.kids[i], then, depth + 1);
      return then;
    case Node::Alt: {
      int rest = build(node.kids.back(), then, depth + 1);
      for (size_t i = node.kids.size() - 1; i-- > 0;)
        rest = emit({Step::Fork, -1, build(node.kids[i], then, depth + 1), rest});
      return rest;
    }
    case Node::Repeat:
      return buildRepeat(node, then, depth);
    }
    return then;
  }

  int fork(int into, int past, bool lazy) {
    return emit({Step::Fork, -1, lazy ? past : into, lazy ? into : past});
  }

  int buildRepeat(const Node &node, int then, int depth) {
    if (nullable_(node.kids[0]))
      parser_.refuse("repeating what may be empty");
    if (node.max < 0) {
      int loop = emit({Step::Fork});
      int body = build(node.kids[0], loop, depth + 1);
      program_[loop].to = node.lazy ? then : body;
      program_[loop].other = node.lazy ? body : then;
      then = loop;
    } else {
      // x{2,4} is x x (x (x)?)?
      int past = then;
      for (int i = node.min; i < node.max; ++i)
        then = fork(build(node.kids[0], then, depth + 1), past, node.lazy);
    }
    for (int i = 0; i < node.min; ++i)
      then = build(node.kids[0], then, depth + 1);
    return then;
  }

  /// Splits all code points into classes that no set of the pattern tells apart.
  void classify() {
    std::vector<uint32_t> edges{0};
    for (const CodeSet &set : sets_)
      for (auto [low, high] : set.ranges()) {
        edges.push_back(low);
        edges.push_back(high + 1);
      }
    std::sort(edges.begin(), edges.end());
    edges.erase(std::unique(edges.begin(), edges.end()), edges.end());
    automaton_.classOf.resize(kCodePoints);
    std::map<std::vector<bool>, uint32_t> numbers;
    for (size_t e = 0; e < edges.size() && edges[e] < kCodePoints; ++e) {
      std::vector<bool> in;
      for (const CodeSet &set : sets_)
        in.push_back(set.contains(edges[e]));
      auto [it, fresh] = numbers.try_emplace(in, uint32_t(numbers.size()));
      if (fresh)
        members_.push_back(in);
      if (it->second > 250)
        parser_.refuse("a pattern with so many kinds of characters");
      uint32_t end = e + 1 < edges.size() ? edges[e + 1] : kCodePoints;
      std::fill(automaton_.classOf.begin() + edges[e], automaton_.classOf.begin() + end,
                uint8_t(it->second));
    }
    automaton_.classes = uint32_t(members_.size());
  }

  bool in(int set, uint32_t cls) const {
    return cls < automaton_.classes && members_[cls][set]; // the end of the text is in no set
  }

  /// What `list` does on a character of class `cls`: the next list, and whether it had matched.
  std::pair<std::vector<int>, bool> advance(const std::vector<int> &list, uint32_t cls) {
    std::vector<int> next;
    std::vector<char> seen(program_.size()), queued(program_.size());
    std::vector<int> stack;
    for (int place : list) {
      stack.assign(1, place);
      while (!stack.empty()) {
        int at = stack.back();
        stack.pop_back();
        if (seen[at])
          continue;
        seen[at] = 1;
        const Step &step = program_[at];
        switch (step.kind) {
        case Step::Match:
          return {next, true}; // cuts off all that is worse
        case Step::Fork:
          stack.push_back(step.other);
          stack.push_back(step.to);
          break;
        case Step::Ahead:
        case Step::NotAhead:
          if (in(step.set, cls) == (step.kind == Step::Ahead))
            stack.push_back(step.to);
          break;
        case Step::Set:
          if (in(step.set, cls) && !queued[step.to]) {
            queued[step.to] = 1;
            next.push_back(step.to);
          }
          break;
        }
      }
    }
    return {next, false};
  }

  void determinise() {
    std::vector<std::vector<int>> states{std::vector<int>(), std::vector<int>{start_}};
    std::map<std::vector<int>, uint32_t> numbers;
    numbers[states[0]] = 0;
    numbers[states[1]] = 1;
    automaton_.start = 1;
    for (size_t s = 0; s < states.size(); ++s)
      for (uint32_t cls = 0; cls <= automaton_.classes; ++cls) {
        auto [list, matched] = advance(states[s], cls);
        auto [it, fresh] = numbers.try_emplace(list, uint32_t(states.size()));
        if (fresh)
          states.push_back(list);
        if (states.size() > kMaxStates)
          parser_.refuse("a pattern with so many states");
        automaton_.next.push_back(uint16_t(it->second | (matched ? Automaton::kMatched : 0)));
      }
  }

  Parser &parser_;
  std::vector<Step> program_;
  std::vector<CodeSet> sets_;
  std::vector<std::vector<bool>> members_; ///< [class][set]
  int start_ = 0;
  Automaton automaton_;
};

} // namespace

Automaton compilePattern(std::string_view pattern, bool isRegex) {
  std::string escaped;
  if (!isRegex)
    for (char c : pattern) {
      if (uint8_t(c) < 128 &&
          std::string_view("\\^$.|?*+()[]{}-&").find(c) != std::string_view::npos)
        escaped += '\\';
      escaped += c;
    }
  Parser parser(isRegex ? pattern : std::string_view(escaped));
  int root = parser.parse();
  return Compiler(parser).run(root);
}

Automaton compileSet(const CodeSet &set) {
  Parser parser("");
  parser.nodes.push_back({Node::Set, set, {}});
  return Compiler(parser).run(0);
}

size_t matchAt(const Automaton &automaton, std::span<const uint32_t> text, size_t begin) {
  size_t last = std::string::npos;
  uint32_t state = automaton.start;
  for (size_t i = begin;; ++i) {
    uint32_t cls = i < text.size() ? automaton.classOf[text[i]] : automaton.classes;
    uint16_t entry = automaton.next[state * (automaton.classes + 1) + cls];
    if (entry & Automaton::kMatched)
      last = i;
    state = entry & ~Automaton::kMatched;
    if (state == Automaton::kDead || i >= text.size())
      return last;
  }
}

} // namespace retort
