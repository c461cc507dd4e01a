#include <algorithm>

#include "model/tokenizer/jinja/characters.h"
#include "model/tokenizer/jinja/parser.h"

namespace spd::jinja {

using Node = Expression::Kind;

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

ExpressionPtr Parser::unary(bool with_filter) {
  const Level one_more = level();
  ExpressionPtr made;
  if (at_sign("-") || at_sign("+")) {
    const Token& sign = take();
    made = node(Node::sign, sign.place, parts_of(unary(false)), sign.text);
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
  const Level one_more = level();
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

ExpressionPtr Parser::postfix(ExpressionPtr made) {
  for (;;) {
    if (at_sign(".") || at_sign("[")) {
      made = subscript(std::move(made));
    } else if (at_sign("(")) {
      made = call(std::move(made));
    } else {
      return made;
    }
  }
}

ExpressionPtr Parser::filters_and_tests(ExpressionPtr made) {
  for (;;) {
    if (at_sign("|")) {
      made = filters(std::move(made), false);
    } else if (at_name("is")) {
      made = test(std::move(made));
    } else if (at_sign("(")) {
      made = call(std::move(made));
    } else {
      return made;
    }
  }
}

ExpressionPtr Parser::subscript(ExpressionPtr made) {
  const Token& opening = take();
  if (opening.text == ".") {
    const Token& name = take();
    if (name.kind == Kind::name) {
      return node(Node::attribute, name.place, parts_of(std::move(made)), name.text);
    }
    if (name.kind != Kind::number || name.number.real() != nullptr) {
      fail("expected name or number", name.place);
    }
    ExpressionPtr key = node(Node::constant, name.place);
    key->value = name.number;
    return node(Node::item, opening.place, parts_of(std::move(made), std::move(key)));
  }
  std::vector<ExpressionPtr> keys;
  while (!at_sign("]")) {
    if (!keys.empty()) expect_sign(",");
    keys.push_back(subscribed());
  }
  expect_sign("]");
  const bool is_slice = keys.size() == 1 && keys[0]->kind == Node::slice;
  const bool has_slice = std::any_of(
      keys.begin(), keys.end(), [](const ExpressionPtr& key) { return key->kind == Node::slice; });
  if (has_slice && !is_slice) fail("a slice among several keys is not supported", opening.place);
  ExpressionPtr key =
      keys.size() == 1 ? std::move(keys[0]) : node(Node::tuple, opening.place, std::move(keys));
  return node(Node::item, opening.place, parts_of(std::move(made), std::move(key)));
}

ExpressionPtr Parser::subscribed() {
  const Place place = current().place;
  const auto bound = [&]() -> ExpressionPtr {
    return at_sign(":") || at_sign("]") || at_sign(",") ? nullptr : expression();
  };
  ExpressionPtr start = at_sign(":") ? nullptr : expression();
  if (!skip_sign(":")) return start;
  ExpressionPtr stop = bound();
  ExpressionPtr step = skip_sign(":") ? bound() : nullptr;
  return node(Node::slice, place, parts_of(std::move(start), std::move(stop), std::move(step)));
}

void Parser::call_arguments(Expression& into) {
  const Place place = current().place;
  const auto ensure = [&](bool holds) {
    if (!holds) fail("invalid syntax for function call expression", place);
  };
  expect_sign("(");
  bool first = true;
  while (!at_sign(")")) {
    if (!first) {
      expect_sign(",");
      if (at_sign(")")) break;
    }
    first = false;
    if (skip_sign("*")) {
      ensure(into.rest == nullptr && into.named_rest == nullptr);
      into.rest = expression();
    } else if (skip_sign("**")) {
      ensure(into.named_rest == nullptr);
      into.named_rest = expression();
    } else if (current().kind == Kind::name && ahead().is(Kind::sign, "=")) {
      ensure(into.named_rest == nullptr);
      const std::string name = take().text;
      take();
      for (const auto& [other, value] : into.named) {
        if (other == name) fail("keyword argument repeated: " + name, place);
      }
      into.named.emplace_back(name, expression());
    } else {
      ensure(into.rest == nullptr && into.named_rest == nullptr && into.named.empty());
      into.parts.push_back(expression());
    }
  }
  expect_sign(")");
}

ExpressionPtr Parser::call(ExpressionPtr callee) {
  ExpressionPtr made = node(Node::call, current().place, parts_of(std::move(callee)));
  call_arguments(*made);
  finish(*made);
  return made;
}

ExpressionPtr Parser::filters(ExpressionPtr subject, bool inline_start) {
  while (at_sign("|") || inline_start) {
    if (!inline_start) take();
    inline_start = false;
    const Token& name = expect(Kind::name, "name");
    ExpressionPtr made = node(Node::filter, name.place, parts_of(std::move(subject)), name.text);
    while (skip_sign(".")) made->text += "." + expect(Kind::name, "name").text;
    if (at_sign("(")) call_arguments(*made);
    finish(*made);
    subject = std::move(made);
  }
  return subject;
}

ExpressionPtr Parser::test(ExpressionPtr subject) {
  const Place place = take().place;
  const bool negated = skip_name("not");
  const Token& name = expect(Kind::name, "name");
  ExpressionPtr made = node(Node::test, name.place, parts_of(std::move(subject)), name.text);
  while (skip_sign(".")) made->text += "." + expect(Kind::name, "name").text;
  const Token& next = current();
  const bool starts =
      next.kind == Kind::string || next.kind == Kind::number || at_sign("[") || at_sign("{") ||
      (next.kind == Kind::name && next.text != "else" && next.text != "or" && next.text != "and");
  if (at_sign("(")) {
    call_arguments(*made);
  } else if (starts) {
    if (at_name("is")) fail("You cannot chain multiple tests with is", next.place);
    made->parts.push_back(postfix(primary()));
  }
  finish(*made);
  return negated ? node(Node::negation, place, parts_of(std::move(made))) : std::move(made);
}

}  // namespace spd::jinja
