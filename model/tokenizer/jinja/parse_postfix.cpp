#include <algorithm>

#include "model/tokenizer/jinja/parser.h"

namespace spd::jinja {

using Node = Expression::Kind;

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
      return node(Node::attribute, name.place, of(std::move(made)), name.text);
    }
    if (name.kind != Kind::number || name.number.real() != nullptr) {
      fail("expected name or number", name.place);
    }
    ExpressionPtr key = node(Node::constant, name.place);
    key->value = name.number;
    return node(Node::item, opening.place, of(std::move(made), std::move(key)));
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
  return node(Node::item, opening.place, of(std::move(made), std::move(key)));
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
  return node(Node::slice, place, of(std::move(start), std::move(stop), std::move(step)));
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
  ExpressionPtr made = node(Node::call, current().place, of(std::move(callee)));
  call_arguments(*made);
  finish(*made);
  return made;
}

ExpressionPtr Parser::filters(ExpressionPtr subject, bool inline_start) {
  while (at_sign("|") || inline_start) {
    if (!inline_start) take();
    inline_start = false;
    const Token& name = expect(Kind::name, "name");
    ExpressionPtr made = node(Node::filter, name.place, of(std::move(subject)), name.text);
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
  ExpressionPtr made = node(Node::test, name.place, of(std::move(subject)), name.text);
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
  return negated ? node(Node::negation, place, of(std::move(made))) : std::move(made);
}

}  // namespace spd::jinja
