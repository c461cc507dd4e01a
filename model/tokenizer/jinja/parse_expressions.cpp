#include <algorithm>

#include "model/tokenizer/jinja/characters.h"
#include "model/tokenizer/jinja/parser.h"

namespace spd::jinja {

using Node = Expression::Kind;

Parser::Level::Level(Parser& parser) : parser_(parser) {
  constexpr unsigned kMostLevels = 200;
  if (++parser_.depth_ > kMostLevels) {
    --parser_.depth_;
    fail("nested too deeply", parser_.current().place);
  }
}

void Parser::finish(Expression& expression) {
  unsigned depth = 0;
  const auto count = [&](const ExpressionPtr& part) {
    if (part != nullptr) depth = std::max(depth, part->depth);
  };
  std::for_each(expression.parts.begin(), expression.parts.end(), count);
  for (const auto& [name, value] : expression.named) count(value);
  count(expression.rest);
  count(expression.named_rest);
  expression.depth = depth + 1;
  if (expression.depth > kMostSyntaxDepth) fail("nested too deeply", expression.place);
}

ExpressionPtr Parser::node(Expression::Kind kind, Place place, std::vector<ExpressionPtr> parts,
                           std::string text) {
  auto made = std::make_unique<Expression>();
  made->kind = kind;
  made->place = place;
  made->text = std::move(text);
  made->parts = std::move(parts);
  finish(*made);
  return made;
}

ExpressionPtr Parser::expression(bool with_condition) {
  return with_condition ? condition() : either();
}

ExpressionPtr Parser::condition() {
  const Level level(*this);
  const Place place = current().place;
  ExpressionPtr then = either();
  while (skip_name("if")) {
    ExpressionPtr test = either();
    std::vector<ExpressionPtr> parts = of(std::move(test), std::move(then));
    if (skip_name("else")) parts.push_back(condition());
    then = node(Node::condition, place, std::move(parts));
  }
  return then;
}

ExpressionPtr Parser::either() {
  ExpressionPtr left = both();
  while (at_name("or")) {
    const Place place = take().place;
    ExpressionPtr right = both();
    left = node(Node::either, place, of(std::move(left), std::move(right)));
  }
  return left;
}

ExpressionPtr Parser::both() {
  ExpressionPtr left = negation();
  while (at_name("and")) {
    const Place place = take().place;
    ExpressionPtr right = negation();
    left = node(Node::both, place, of(std::move(left), std::move(right)));
  }
  return left;
}

ExpressionPtr Parser::negation() {
  if (!at_name("not")) return compare();
  const Level level(*this);
  const Place place = take().place;
  return node(Node::negation, place, of(negation()));
}

ExpressionPtr Parser::compare() {
  constexpr std::string_view kSigns[] = {"==", "!=", "<", "<=", ">", ">="};
  const Place place = current().place;
  std::vector<ExpressionPtr> parts = of(sum());
  std::vector<std::string> signs;
  for (;;) {
    const bool order =
        current().kind == Kind::sign &&
        std::find(std::begin(kSigns), std::end(kSigns), current().text) != std::end(kSigns);
    if (order) {
      signs.push_back(take().text);
    } else if (skip_name("in")) {
      signs.emplace_back("in");
    } else if (at_name("not") && ahead().is(Kind::name, "in")) {
      take();
      take();
      signs.emplace_back("not in");
    } else {
      break;
    }
    parts.push_back(sum());
  }
  if (signs.empty()) return std::move(parts.front());
  ExpressionPtr made = node(Node::compare, place, std::move(parts));
  made->signs = std::move(signs);
  return made;
}

ExpressionPtr Parser::sum() {
  ExpressionPtr left = concat();
  while (at_sign("+") || at_sign("-")) {
    const Token& sign = take();
    ExpressionPtr right = concat();
    left = node(Node::binary, sign.place, of(std::move(left), std::move(right)), sign.text);
  }
  return left;
}

ExpressionPtr Parser::concat() {
  const Place place = current().place;
  std::vector<ExpressionPtr> parts = of(product());
  while (skip_sign("~")) parts.push_back(product());
  if (parts.size() == 1) return std::move(parts.front());
  return node(Node::concat, place, std::move(parts));
}

ExpressionPtr Parser::product() {
  ExpressionPtr left = power();
  while (at_sign("*") || at_sign("/") || at_sign("//") || at_sign("%")) {
    const Token& sign = take();
    ExpressionPtr right = power();
    left = node(Node::binary, sign.place, of(std::move(left), std::move(right)), sign.text);
  }
  return left;
}

ExpressionPtr Parser::power() {
  ExpressionPtr left = unary();
  while (at_sign("**")) {
    const Token& sign = take();
    ExpressionPtr right = unary();
    left = node(Node::binary, sign.place, of(std::move(left), std::move(right)), sign.text);
  }
  return left;
}

ExpressionPtr Parser::unary(bool with_filter) {
  const Level level(*this);
  ExpressionPtr made;
  if (at_sign("-") || at_sign("+")) {
    const Token& sign = take();
    made = node(Node::sign, sign.place, of(unary(false)), sign.text);
  } else {
    made = primary();
  }
  made = postfix(std::move(made));
  return with_filter ? filters_and_tests(std::move(made)) : std::move(made);
}

ExpressionPtr Parser::primary(bool with_space) {
  const Token& token = current();
  const auto constant = [&](Value value) {
    ExpressionPtr made = node(Node::constant, token.place);
    made->value = std::move(value);
    return made;
  };
  if (token.kind == Kind::name) {
    take();
    if (token.text == "true" || token.text == "True") return constant(true);
    if (token.text == "false" || token.text == "False") return constant(false);
    if (token.text == "none" || token.text == "None") return constant(None{});
    if (with_space && skip_sign(".")) {
      ExpressionPtr made = node(Node::space, token.place, {}, token.text);
      const std::string& attribute = expect(Kind::name, "name").text;
      made->value = std::make_shared<const Text>(Text{attribute, attribute.size()});
      return made;
    }
    return node(Node::name, token.place, {}, token.text);
  }
  if (token.kind == Kind::string) {
    std::string joined;
    while (current().kind == Kind::string) joined += take().text;
    Text text{joined, code_points(joined)};
    return constant(std::make_shared<const Text>(std::move(text)));
  }
  if (token.kind == Kind::number) return constant(take().number);
  if (skip_sign("(")) {
    TupleStyle style;
    style.in_parentheses = true;
    ExpressionPtr made = tuple(style);
    expect_sign(")");
    return made;
  }
  if (at_sign("[")) return list();
  if (at_sign("{")) return dict();
  unexpected("an expression");
}

ExpressionPtr Parser::tuple(const TupleStyle& style) {
  const Level level(*this);
  const Place place = current().place;
  std::vector<ExpressionPtr> parts;
  bool is_tuple = false;
  for (;;) {
    if (!parts.empty()) expect_sign(",");
    const bool over = current().kind == Kind::variable_end || current().kind == Kind::block_end ||
                      at_sign(")") || (!style.end.empty() && at_name(style.end));
    if (over) break;
    parts.push_back(style.simplified ? primary(style.with_space)
                                     : expression(style.with_condition));
    if (!at_sign(",")) break;
    is_tuple = true;
  }
  if (!is_tuple) {
    if (!parts.empty()) return std::move(parts.front());
    if (!style.in_parentheses) unexpected("an expression");
  }
  return node(Node::tuple, place, std::move(parts));
}

ExpressionPtr Parser::list() {
  const Place place = take().place;
  std::vector<ExpressionPtr> parts;
  while (!at_sign("]")) {
    if (!parts.empty()) expect_sign(",");
    if (at_sign("]")) break;
    parts.push_back(expression());
  }
  expect_sign("]");
  return node(Node::list, place, std::move(parts));
}

ExpressionPtr Parser::dict() {
  const Place place = take().place;
  std::vector<ExpressionPtr> parts;
  while (!at_sign("}")) {
    if (!parts.empty()) expect_sign(",");
    if (at_sign("}")) break;
    parts.push_back(expression());
    expect_sign(":");
    parts.push_back(expression());
  }
  expect_sign("}");
  return node(Node::dict, place, std::move(parts));
}

}  // namespace spd::jinja
