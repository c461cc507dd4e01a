#include <algorithm>

#include "model/tokenizer/jinja/parser.h"

namespace spd::jinja {

using Node = Expression::Kind;

ExpressionPtr Parser::condition() {
  const Level one_more = level();
  const Place place = current().place;
  ExpressionPtr then = either();
  while (skip_name("if")) {
    ExpressionPtr test = either();
    std::vector<ExpressionPtr> parts = parts_of(std::move(test), std::move(then));
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
    left = node(Node::either, place, parts_of(std::move(left), std::move(right)));
  }
  return left;
}

ExpressionPtr Parser::both() {
  ExpressionPtr left = negation();
  while (at_name("and")) {
    const Place place = take().place;
    ExpressionPtr right = negation();
    left = node(Node::both, place, parts_of(std::move(left), std::move(right)));
  }
  return left;
}

ExpressionPtr Parser::negation() {
  if (!at_name("not")) return compare();
  const Level one_more = level();
  const Place place = take().place;
  return node(Node::negation, place, parts_of(negation()));
}

ExpressionPtr Parser::compare() {
  constexpr std::string_view kSigns[] = {"==", "!=", "<", "<=", ">", ">="};
  const Place place = current().place;
  std::vector<ExpressionPtr> parts = parts_of(sum());
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
    left = node(Node::binary, sign.place, parts_of(std::move(left), std::move(right)), sign.text);
  }
  return left;
}

ExpressionPtr Parser::concat() {
  const Place place = current().place;
  std::vector<ExpressionPtr> parts = parts_of(product());
  while (skip_sign("~")) parts.push_back(product());
  if (parts.size() == 1) return std::move(parts.front());
  return node(Node::concat, place, std::move(parts));
}

ExpressionPtr Parser::product() {
  ExpressionPtr left = power();
  while (at_sign("*") || at_sign("/") || at_sign("//") || at_sign("%")) {
    const Token& sign = take();
    ExpressionPtr right = power();
    left = node(Node::binary, sign.place, parts_of(std::move(left), std::move(right)), sign.text);
  }
  return left;
}

ExpressionPtr Parser::power() {
  ExpressionPtr left = unary();
  while (at_sign("**")) {
    const Token& sign = take();
    ExpressionPtr right = unary();
    left = node(Node::binary, sign.place, parts_of(std::move(left), std::move(right)), sign.text);
  }
  return left;
}

}  // namespace spd::jinja
