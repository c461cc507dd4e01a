// From a template's tokens to its expressions and statements, by Jinja's grammar.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "model/tokenizer/jinja/level.h"
#include "model/tokenizer/jinja/lexer.h"
#include "model/tokenizer/jinja/syntax.h"

namespace spd::jinja {

/// Reads one template. Throws Failure with its place.
class Parser {
 public:
  Parser(Rendering& rendering, std::string_view source) : tokens_(tokenize(rendering, source)) {}
  Statements parse();

 private:
  using Kind = Token::Kind;

  // Tokens.
  const Token& current() const { return tokens_[at_]; }
  const Token& ahead() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  const Token& take() { return tokens_[at_ + 1 < tokens_.size() ? at_++ : at_]; }
  bool at_name(std::string_view name) const { return current().is(Kind::name, name); }
  bool at_sign(std::string_view sign) const { return current().is(Kind::sign, sign); }
  bool skip_name(std::string_view name);
  bool skip_sign(std::string_view sign);
  void expect_sign(std::string_view sign);
  const Token& expect(Kind kind, const char* what);
  [[noreturn]] void unexpected(const std::string& wanted) const;

  // Statements (parse_statements.cpp).
  using Ends = std::initializer_list<std::string_view>;
  Statements statements_until(Ends ends);
  Statements body(Ends ends, bool drop_end);
  void output(Statements& into);
  std::unique_ptr<Statement> statement();
  std::unique_ptr<Statement> make(Statement::Kind kind, Place place) const;
  std::unique_ptr<Statement> parse_set(Place place);
  std::unique_ptr<Statement> parse_for(Place place);
  std::unique_ptr<Statement> parse_if(Place place);
  std::unique_ptr<Statement> parse_macro(Place place);
  std::unique_ptr<Statement> parse_call(Place place);
  std::unique_ptr<Statement> parse_filter_block(Place place);
  std::unique_ptr<Statement> parse_with(Place place);
  std::unique_ptr<Statement> parse_print(Place place);
  std::unique_ptr<Statement> parse_leave(Statement::Kind kind, Place place);
  void signature(Statement& statement);
  ExpressionPtr assign_target(bool with_space, std::string_view end);
  ExpressionPtr name_target();

  // Operators, from the loosest to the tightest (parse_operators.cpp).
  ExpressionPtr condition();
  ExpressionPtr either();
  ExpressionPtr both();
  ExpressionPtr negation();
  ExpressionPtr compare();
  ExpressionPtr sum();
  ExpressionPtr concat();
  ExpressionPtr product();
  ExpressionPtr power();

  // Other expressions (parse_expressions.cpp).
  struct TupleStyle {
    bool simplified = false, with_condition = true, in_parentheses = false, with_space = false;
    std::string_view end = {};  ///< a name that ends it
  };
  template <class... Parts>
  static std::vector<ExpressionPtr> parts_of(Parts... parts) {
    std::vector<ExpressionPtr> all;
    (all.push_back(std::move(parts)), ...);
    return all;
  }
  ExpressionPtr node(Expression::Kind kind, Place place, std::vector<ExpressionPtr> parts = {},
                     std::string text = {});
  ExpressionPtr expression(bool with_condition = true);
  ExpressionPtr unary(bool with_filter = true);
  ExpressionPtr primary(bool with_space = false);
  ExpressionPtr tuple(const TupleStyle& style);
  ExpressionPtr list();
  ExpressionPtr dict();
  ExpressionPtr postfix(ExpressionPtr of);
  ExpressionPtr filters_and_tests(ExpressionPtr of);
  ExpressionPtr subscript(ExpressionPtr of);
  ExpressionPtr subscribed();
  void call_arguments(Expression& into);
  ExpressionPtr call(ExpressionPtr callee);
  /// Filters after `subject`, nullptr in a block; the first without its "|" where `inline_start`.
  ExpressionPtr filters(ExpressionPtr subject, bool inline_start);
  ExpressionPtr test(ExpressionPtr of);
  static void finish(Expression& expression);

  /// One level of recursion; templates are nested by people, not by thousands.
  Level level() { return {depth_, kMostLevels, current().place}; }

  static constexpr unsigned kMostLevels = 200;
  std::vector<Token> tokens_;
  std::size_t at_ = 0;
  unsigned depth_ = 0;
  unsigned loops_ = 0;  ///< around, within the same function
};

/// Expressions within expressions, statements within statements.
constexpr unsigned kMostSyntaxDepth = 400;

}  // namespace spd::jinja
