//===- ChatJinjaParse.cpp - Parsing chat templates ------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Tokenizer/ChatJinja.h"
#include "runtime/base/Error.h"
#include <algorithm>
#include <cctype>

namespace retort::jinja {
namespace {

constexpr size_t kMaxBytes = 1 << 18;
constexpr int kMaxDepth = 60;

bool isNameStart(char c) { return std::isalpha(uint8_t(c)) || c == '_'; }
bool isNameChar(char c) { return std::isalnum(uint8_t(c)) || c == '_'; }

/// A piece of a template: text, or the inside of {{ }} or {% %}.
struct Piece {
  enum Kind { Text, Output, Statement } kind;
  std::string text;
  size_t line;
};

struct Token {
  enum Kind { Name, Number, String, Op, End } kind;
  std::string text;
};

class Parser {
public:
  Parser(std::string_view text, const std::string &source) : text_(text), source_(source) {}

  std::vector<Node> run() {
    if (text_.size() > kMaxBytes)
      refuse("a template of more than " + std::to_string(kMaxBytes) + " bytes");
    cut();
    auto nodes = block({}, 0);
    if (at_ < pieces_.size())
      refuse("{% " + keyword_ + " %} here");
    return nodes;
  }

private:
  [[noreturn]] void refuse(const std::string &what) const {
    fail(ExitCode::Unsupported, source_ + ": chat template, line " + std::to_string(line_) + ": " +
                                    what + " is not known to Retort");
  }

  // -- pieces: delimiters and white space ------------------------------------------------------

  static void dropTrailing(std::string &text, std::string_view which) {
    size_t end = text.find_last_not_of(which);
    text.erase(end == std::string::npos ? 0 : end + 1);
  }

  /// Applies trim_blocks (a line's end after a statement goes) and lstrip_blocks (so does the space
  /// before a statement that starts a line), and the marks '-' and '+'.
  void cut() {
    size_t at = 0;
    bool stripNext = false, dropNewline = false;
    while (at < text_.size()) {
      size_t open = at;
      for (;; ++open) {
        open = text_.find('{', open);
        if (open == std::string_view::npos || open + 1 >= text_.size()) {
          open = std::string_view::npos;
          break;
        }
        if (std::string_view("{%#").find(text_[open + 1]) != std::string_view::npos)
          break;
      }
      std::string before(text_.substr(at, open - at));
      size_t gone = 0;
      if (stripNext)
        gone = std::min(before.find_first_not_of(" \t\r\n\v\f"), before.size());
      else if (dropNewline && before.starts_with("\n"))
        gone = 1;
      bool atLineStart = at == 0 || (gone > 0 && before[gone - 1] == '\n');
      before.erase(0, gone);
      line_ += std::count(text_.begin() + at, text_.begin() + at + gone, '\n');
      stripNext = dropNewline = false;
      if (open == std::string_view::npos) {
        if (before.ends_with("\n")) // Jinja drops one newline at the end of a template
          before.pop_back();
        push(Piece::Text, std::move(before));
        return;
      }
      char kind = text_[open + 1];
      size_t inside = open + 2;
      bool minus = inside < text_.size() && text_[inside] == '-';
      bool plus = inside < text_.size() && text_[inside] == '+';
      inside += minus || plus;
      if (minus) {
        dropTrailing(before, " \t\r\n\v\f");
      } else if (kind != '{' && !plus) {
        size_t lineStart = before.rfind('\n') + 1; // 0 if there is none
        if ((lineStart > 0 || atLineStart) &&
            before.find_first_not_of(" \t", lineStart) == std::string::npos)
          before.erase(lineStart);
      }
      push(Piece::Text, std::move(before));
      size_t close = closing(inside, kind);
      std::string body(text_.substr(inside, close - inside));
      bool closeMinus = body.ends_with("-"), closePlus = body.ends_with("+");
      if (closeMinus || closePlus)
        body.pop_back();
      if (kind != '#')
        push(kind == '{' ? Piece::Output : Piece::Statement, std::move(body));
      at = close + 2;
      line_ += std::count(text_.begin() + open, text_.begin() + at, '\n');
      stripNext = closeMinus;
      dropNewline = kind != '{' && !closePlus;
    }
  }

  /// Where "}}", "%}" or "#}" stands, past strings.
  size_t closing(size_t at, char kind) const {
    char first = kind == '{' ? '}' : kind;
    char quote = 0;
    for (; at + 1 < text_.size(); ++at) {
      char c = text_[at];
      if (quote) {
        if (c == '\\')
          ++at;
        else if (c == quote)
          quote = 0;
      } else if (kind != '#' && (c == '\'' || c == '"')) {
        quote = c;
      } else if (c == first && text_[at + 1] == '}') {
        return at;
      }
    }
    refuse("a tag that is not closed");
  }

  void push(Piece::Kind kind, std::string text) {
    if (kind == Piece::Text) {
      line_ += std::count(text.begin(), text.end(), '\n');
      if (text.empty())
        return;
    }
    pieces_.push_back({kind, std::move(text), line_});
  }

  // -- statements --------------------------------------------------------------------------------

  /// Reads up to a statement whose keyword is in `ends`, which is left to be read.
  std::vector<Node> block(const std::vector<std::string> &ends, int depth) {
    if (depth > kMaxDepth)
      refuse("nesting this deep");
    std::vector<Node> nodes;
    for (; at_ < pieces_.size(); ++at_) {
      const Piece &piece = pieces_[at_];
      line_ = piece.line;
      Node node;
      if (piece.kind == Piece::Text) {
        node.text = piece.text;
      } else if (piece.kind == Piece::Output) {
        lex(piece.text);
        node.kind = Node::Output;
        node.expr = expression();
        end();
      } else {
        lex(piece.text);
        keyword_ = take(Token::Name);
        if (std::find(ends.begin(), ends.end(), keyword_) != ends.end())
          return nodes;
        if (keyword_ == "if")
          node = ifNode(depth);
        else if (keyword_ == "for")
          node = forNode(depth);
        else if (keyword_ == "set")
          node = setNode();
        else if (keyword_ == "generation" || keyword_ == "endgeneration")
          continue; // marks what the assistant says, for training masks
        else if (ends.empty())
          return nodes; // reported by run()
        else
          refuse("{% " + keyword_ + " %}");
      }
      nodes.push_back(std::move(node));
    }
    if (!ends.empty())
      refuse("a block without its {% " + ends.back() + " %}");
    return nodes;
  }

  Node ifNode(int depth) {
    Node node;
    node.kind = Node::If;
    node.expr = expression();
    end();
    ++at_;
    node.body = block({"elif", "else", "endif"}, depth + 1);
    if (keyword_ == "elif") {
      node.otherwise.push_back(ifNode(depth + 1));
      return node;
    }
    if (keyword_ == "else") {
      end();
      ++at_;
      node.otherwise = block({"endif"}, depth + 1);
    }
    end();
    return node;
  }

  Node forNode(int depth) {
    Node node;
    node.kind = Node::For;
    node.text = take(Token::Name);
    if (takeOp(","))
      node.second = take(Token::Name);
    if (take(Token::Name) != "in")
      refuse("this 'for'");
    node.expr = orExpr();
    if (takeName("if"))
      node.filter = orExpr();
    end();
    ++at_;
    node.body = block({"else", "endfor"}, depth + 1);
    if (keyword_ == "else") {
      end();
      ++at_;
      node.otherwise = block({"endfor"}, depth + 1);
    }
    end();
    return node;
  }

  Node setNode() {
    Node node;
    node.kind = Node::Set;
    node.text = take(Token::Name);
    if (takeOp("."))
      node.text += "." + take(Token::Name);
    if (!takeOp("="))
      refuse("a 'set' without '='");
    node.expr = expression();
    end();
    return node;
  }

  // -- tokens ------------------------------------------------------------------------------------

  void lex(std::string_view text) {
    tokens_.clear();
    next_ = 0;
    for (size_t i = 0; i < text.size();) {
      char c = text[i];
      if (std::isspace(uint8_t(c))) {
        ++i;
      } else if (isNameStart(c)) {
        size_t begin = i;
        while (i < text.size() && isNameChar(text[i]))
          ++i;
        tokens_.push_back({Token::Name, std::string(text.substr(begin, i - begin))});
      } else if (std::isdigit(uint8_t(c))) {
        size_t begin = i;
        while (i < text.size() && std::isdigit(uint8_t(text[i])))
          ++i;
        if (i - begin > 9)
          refuse("a number this long");
        tokens_.push_back({Token::Number, std::string(text.substr(begin, i - begin))});
      } else if (c == '\'' || c == '"') {
        tokens_.push_back({Token::String, stringAt(text, i)});
      } else {
        static const std::string_view two[] = {"==", "!=", "<=", ">=", "//", "**"};
        auto it = std::find(std::begin(two), std::end(two), text.substr(i, 2));
        size_t length = it == std::end(two) ? 1 : 2;
        if (length == 1 &&
            std::string_view("+-*/%~<>=()[]{}.,:|").find(c) == std::string_view::npos)
          refuse(std::string("the character '") + c + "'");
        tokens_.push_back({Token::Op, std::string(text.substr(i, length))});
        i += length;
      }
    }
    tokens_.push_back({Token::End, ""});
  }

  std::string stringAt(std::string_view text, size_t &i) const {
    char quote = text[i++];
    std::string out;
    for (; i < text.size() && text[i] != quote; ++i) {
      if (text[i] != '\\') {
        out += text[i];
        continue;
      }
      if (++i >= text.size())
        break;
      switch (text[i]) {
      case 'n':
        out += '\n';
        break;
      case 't':
        out += '\t';
        break;
      case 'r':
        out += '\r';
        break;
      case '\\':
      case '\'':
      case '"':
        out += text[i];
        break;
      default:
        refuse(std::string("the escape \\") + text[i]);
      }
    }
    ++i;
    return out;
  }

  const Token &peek() const { return tokens_[next_]; }
  std::string take(Token::Kind kind) {
    if (peek().kind != kind)
      refuse("'" + peek().text + "' here");
    return tokens_[next_++].text;
  }
  bool takeOp(std::string_view op) {
    return peek().kind == Token::Op && peek().text == op && ++next_;
  }
  bool takeName(std::string_view name) {
    return peek().kind == Token::Name && peek().text == name && ++next_;
  }
  void needOp(std::string_view op) {
    if (!takeOp(op))
      refuse("'" + peek().text + "' here");
  }
  void end() const {
    if (peek().kind != Token::End)
      refuse("'" + peek().text + "' here");
  }

  // -- expressions, weakest operator first -------------------------------------------------------

  using Ptr = std::unique_ptr<Expr>;
  template <class... Kids> static Ptr make(Expr::Kind kind, std::string text, Kids... kids) {
    Ptr e = std::make_unique<Expr>();
    e->kind = kind;
    e->text = std::move(text);
    (e->kids.push_back(std::move(kids)), ...);
    return e;
  }
  static Ptr literal(Value value) {
    Ptr e = std::make_unique<Expr>();
    e->value = std::move(value);
    return e;
  }

  Ptr expression() {
    if (++depth_ > kMaxDepth)
      refuse("nesting this deep");
    Ptr value = orExpr();
    while (takeName("if")) {
      Ptr condition = orExpr();
      Ptr otherwise = takeName("else") ? expression() : literal({});
      value = make(Expr::Choice, "", std::move(value), std::move(condition), std::move(otherwise));
    }
    --depth_;
    return value;
  }
  Ptr orExpr() {
    Ptr left = andExpr();
    while (takeName("or"))
      left = make(Expr::Binary, "or", std::move(left), andExpr());
    return left;
  }
  Ptr andExpr() {
    Ptr left = notExpr();
    while (takeName("and"))
      left = make(Expr::Binary, "and", std::move(left), notExpr());
    return left;
  }
  Ptr notExpr() {
    int negations = 0;
    while (takeName("not"))
      ++negations;
    Ptr value = compare();
    for (; negations > 0; --negations)
      value = make(Expr::Unary, "not", std::move(value));
    return value;
  }
  Ptr compare() {
    Ptr left = sum();
    for (;;) {
      std::string op;
      if (takeName("in"))
        op = "in";
      else if (peek().kind == Token::Name && peek().text == "not" &&
               tokens_[next_ + 1].text == "in")
        next_ += 2, op = "not in";
      else
        for (const char *candidate : {"==", "!=", "<=", ">=", "<", ">"})
          if (op.empty() && takeOp(candidate))
            op = candidate;
      if (op.empty())
        return left;
      left = make(Expr::Binary, op, std::move(left), sum());
    }
  }
  Ptr sum() {
    Ptr left = product();
    for (;;) {
      std::string op = takeOp("+") ? "+" : takeOp("-") ? "-" : takeOp("~") ? "~" : "";
      if (op.empty())
        return left;
      left = make(Expr::Binary, op, std::move(left), product());
    }
  }
  Ptr product() {
    Ptr left = unary();
    for (;;) {
      std::string op = takeOp("*") ? "*" : takeOp("//") ? "//" : takeOp("%") ? "%" : "";
      if (op.empty())
        return left;
      left = make(Expr::Binary, op, std::move(left), unary());
    }
  }
  Ptr unary() {
    if (takeOp("-"))
      return make(Expr::Unary, "-", postfix(primary()));
    return postfix(primary());
  }

  Ptr primary() {
    Token token = tokens_[next_];
    if (token.kind == Token::End)
      refuse("an expression that ends here");
    ++next_;
    if (token.kind == Token::Number)
      return literal(Value::integer(std::stoll(token.text)));
    if (token.kind == Token::String) {
      while (peek().kind == Token::String) // neighbours join
        token.text += tokens_[next_++].text;
      return literal(Value::string(token.text));
    }
    if (token.kind == Token::Name) {
      if (token.text == "true" || token.text == "True")
        return literal(Value::boolean(true));
      if (token.text == "false" || token.text == "False")
        return literal(Value::boolean(false));
      if (token.text == "none" || token.text == "None")
        return literal(Value::none());
      return make(Expr::Name, token.text);
    }
    if (token.text == "(") {
      Ptr inner = expression();
      needOp(")");
      return inner;
    }
    if (token.text == "[" || token.text == "{") {
      Ptr e = make(token.text == "[" ? Expr::ListOf : Expr::DictOf, "");
      std::string_view close = token.text == "[" ? "]" : "}";
      while (!takeOp(close)) {
        if (!e->kids.empty())
          needOp(",");
        if (takeOp(close))
          break;
        e->kids.push_back(expression());
        if (e->kind == Expr::DictOf) {
          needOp(":");
          e->kids.push_back(expression());
        }
      }
      return e;
    }
    --next_;
    refuse("'" + token.text + "' here");
  }

  void arguments(Expr &call) {
    while (!takeOp(")")) {
      if (!call.names.empty())
        needOp(",");
      std::string name;
      if (peek().kind == Token::Name && tokens_[next_ + 1].kind == Token::Op &&
          tokens_[next_ + 1].text == "=") {
        name = peek().text;
        next_ += 2;
      }
      call.kids.push_back(expression());
      call.names.push_back(name);
    }
  }

  Ptr postfix(Ptr value) {
    for (int count = 0;; ++count) {
      if (count > kMaxDepth * 4)
        refuse("an expression this long");
      if (takeOp(".")) {
        value = make(Expr::Attr, take(Token::Name), std::move(value));
      } else if (takeOp("[")) {
        value = subscript(std::move(value));
      } else if (takeOp("(")) {
        value = make(Expr::Call, "", std::move(value));
        arguments(*value);
      } else if (takeOp("|")) {
        value = make(Expr::Filter, take(Token::Name), std::move(value));
        if (takeOp("("))
          arguments(*value);
      } else if (takeName("is")) {
        bool negated = takeName("not");
        std::string test = peek().text;
        ++next_;
        if (test != "none" && test != "None" && !isNameStart(test.empty() ? ' ' : test[0]))
          refuse("'" + test + "' here");
        value = make(Expr::Test, test, std::move(value));
        if (takeOp("("))
          arguments(*value);
        if (negated)
          value = make(Expr::Unary, "not", std::move(value));
      } else {
        return value;
      }
    }
  }

  Ptr subscript(Ptr value) {
    Ptr parts[3];
    int colons = 0;
    for (int i = 0; i < 3; ++i) {
      if (!(peek().kind == Token::Op && (peek().text == ":" || peek().text == "]")))
        parts[i] = expression();
      if (takeOp("]"))
        break;
      needOp(":");
      ++colons;
      if (i == 2)
        refuse("this slice");
    }
    if (colons == 0 && parts[0])
      return make(Expr::Index, "", std::move(value), std::move(parts[0]));
    if (colons == 0)
      refuse("an empty index");
    return make(Expr::Slice, "", std::move(value), std::move(parts[0]), std::move(parts[1]),
                std::move(parts[2]));
  }

  std::string_view text_;
  const std::string &source_;
  std::vector<Piece> pieces_;
  size_t at_ = 0, line_ = 1;
  std::string keyword_;
  std::vector<Token> tokens_;
  size_t next_ = 0;
  int depth_ = 0;
};

} // namespace

std::vector<Node> parse(std::string_view text, const std::string &source) {
  return Parser(text, source).run();
}

} // namespace retort::jinja
