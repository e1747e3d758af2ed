//===- Vocabulary.h - Tokens by their bytes ---------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "runtime/src/grammar/Automaton.h"
#include <string>
#include <string_view>
#include <unordered_map>

namespace retort::grammar {

/// Texts that tokens add, as a trie in the order of a walk from its root: what begins alike is read once.
class Trie {
public:
  struct Node {
    uint8_t byte;
    uint32_t depth;      ///< bytes from the root
    uint32_t next;       ///< the first node that is not below this one
    uint32_t firstToken; ///< tokens that end here, up to endToken
    uint32_t endToken;
  };
  Trie() = default;
  explicit Trie(std::vector<std::pair<std::string_view, int32_t>> texts); ///< none is empty

  const std::vector<Node> &nodes() const { return nodes_; }
  /// Tokens in the order of the walk: those below a node follow its own.
  const std::vector<int32_t> &tokens() const { return tokens_; }
  uint32_t longest() const { return longest_; }
  /// Behind the last token at or below a node.
  uint32_t endBelow(size_t node) const {
    const uint32_t next = nodes_[node].next;
    return next < nodes_.size() ? nodes_[next].firstToken : uint32_t(tokens_.size());
  }

private:
  std::vector<Node> nodes_;
  std::vector<int32_t> tokens_;
  uint32_t longest_ = 0;
};

/// What a grammar needs to know of a model's tokens. Immutable.
class Vocabulary {
public:
  struct Token {
    std::string text;  ///< that it adds; empty: none, and no answer may hold it
    std::string first; ///< that it adds as an answer's first token
    bool stop = false; ///< it ends an answer
    /// It has a name and no text: `text` and `first` are its name until it is in a vocabulary, and then
    /// bytes that stand for it in automata, of which UTF-8 has none.
    bool special = false;
  };
  explicit Vocabulary(std::vector<Token> tokens);

  size_t size() const { return tokens_.size(); }
  const Token &token(int32_t id) const { return tokens_[size_t(id)]; }
  const std::vector<int32_t> &stops() const { return stops_; }
  /// The bytes that stand for the special token of that name; empty: there is none, or it ends answers.
  std::string_view special(const std::string &name) const;
  const Trie &trie() const { return trie_; }
  /// Of what tokens add when they are first; null: the same.
  const Trie *firstTrie() const { return first_.nodes().empty() ? nullptr : &first_; }
  /// Bytes that are tokens alone. A text of these can always be written, however it is cut into tokens.
  const ByteSet &alphabet() const { return alphabet_; }

private:
  std::vector<Token> tokens_;
  std::vector<int32_t> stops_;
  std::unordered_map<std::string, int32_t> specials_; ///< by name
  Trie trie_, first_;
  ByteSet alphabet_;
};

} // namespace retort::grammar
