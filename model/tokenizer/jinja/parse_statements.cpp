#include <algorithm>

#include "model/tokenizer/jinja/parser.h"

namespace spd::jinja {
namespace {

std::string described(const Token& token) {
  switch (token.kind) {
    case Token::Kind::data:
      return "template data / text";
    case Token::Kind::block_begin:
      return "begin of statement block";
    case Token::Kind::block_end:
      return "end of statement block";
    case Token::Kind::variable_begin:
      return "begin of print statement";
    case Token::Kind::variable_end:
      return "end of print statement";
    case Token::Kind::end:
      return "end of template";
    default:
      return "'" + token.text + "'";
  }
}

bool can_assign(const Expression& target) {
  if (target.kind == Expression::Kind::tuple) {
    return std::all_of(target.parts.begin(), target.parts.end(),
                       [](const ExpressionPtr& part) { return can_assign(*part); });
  }
  return target.kind == Expression::Kind::name || target.kind == Expression::Kind::space;
}

unsigned deepest(const Statement& statement) {
  unsigned depth = 0;
  const auto expression = [&](const ExpressionPtr& part) {
    if (part != nullptr) depth = std::max(depth, part->depth);
  };
  const auto body = [&](const Statements& statements) {
    for (const auto& inner : statements) depth = std::max(depth, inner->depth);
  };
  for (const auto* parts : {&statement.expressions, &statement.targets, &statement.defaults}) {
    std::for_each(parts->begin(), parts->end(), expression);
  }
  for (const auto* part : {&statement.target, &statement.value, &statement.test}) expression(*part);
  for (const Branch& branch : statement.branches) {
    expression(branch.test);
    body(branch.body);
  }
  body(statement.body);
  body(statement.otherwise);
  return depth;
}

constexpr std::string_view kElsewhere[] = {"block", "extends", "include",
                                           "from",  "import",  "autoescape"};

}  // namespace

bool Parser::skip_name(std::string_view name) {
  if (!at_name(name)) return false;
  take();
  return true;
}

bool Parser::skip_sign(std::string_view sign) {
  if (!at_sign(sign)) return false;
  take();
  return true;
}

void Parser::expect_sign(std::string_view sign) {
  if (!skip_sign(sign)) unexpected("'" + std::string(sign) + "'");
}

const Token& Parser::expect(Kind kind, const char* what) {
  if (current().kind != kind) unexpected(what);
  return take();
}

void Parser::unexpected(const std::string& wanted) const {
  fail("expected " + wanted + ", got " + described(current()), current().place);
}

Statements Parser::parse() { return statements_until({}); }

/// Statements up to a tag of one of the names, which is the current token then; to the template's
/// end where there are none.
Statements Parser::statements_until(Ends ends) {
  const Level one_more = level();
  Statements made;
  while (current().kind != Kind::end) {
    if (current().kind != Kind::block_begin) {
      output(made);
      continue;
    }
    take();
    const bool over = current().kind == Kind::name &&
                      std::find(ends.begin(), ends.end(), current().text) != ends.end();
    if (over) return made;
    made.push_back(statement());
    expect(Kind::block_end, "end of statement block");
  }
  if (ends.size() != 0) {
    std::string names;
    for (const std::string_view name : ends)
      names += (names.empty() ? "'" : " or '") + std::string(name) + "'";
    fail("unexpected end of template, " + names + " is missing", current().place);
  }
  return made;
}

/// Text and print tags that follow each other.
void Parser::output(Statements& into) {
  auto made = make(Statement::Kind::output, current().place);
  for (;;) {
    if (current().kind == Kind::data) {
      const Token& token = take();
      ExpressionPtr text = node(Expression::Kind::data, token.place);
      text->value = std::make_shared<const Text>(Text{token.text, token.text.size()});
      made->expressions.push_back(std::move(text));
    } else if (current().kind == Kind::variable_begin) {
      take();
      made->expressions.push_back(tuple({}));
      expect(Kind::variable_end, "end of print statement");
    } else {
      break;
    }
  }
  made->depth = deepest(*made) + 1;
  into.push_back(std::move(made));
}

Statements Parser::body(Ends ends, bool drop_end) {
  skip_sign(":");
  expect(Kind::block_end, "end of statement block");
  Statements made = statements_until(ends);
  if (drop_end) take();
  return made;
}

std::unique_ptr<Statement> Parser::make(Statement::Kind kind, Place place) const {
  auto made = std::make_unique<Statement>();
  made->kind = kind;
  made->place = place;
  return made;
}

std::unique_ptr<Statement> Parser::statement() {
  const Level one_more = level();
  if (current().kind != Kind::name) unexpected("the name of a tag");
  const Token& tag = take();
  const Place place = tag.place;
  std::unique_ptr<Statement> made;
  if (tag.text == "set") {
    made = parse_set(place);
  } else if (tag.text == "for") {
    made = parse_for(place);
  } else if (tag.text == "if") {
    made = parse_if(place);
  } else if (tag.text == "macro") {
    made = parse_macro(place);
  } else if (tag.text == "call") {
    made = parse_call(place);
  } else if (tag.text == "filter") {
    made = parse_filter_block(place);
  } else if (tag.text == "with") {
    made = parse_with(place);
  } else if (tag.text == "print") {
    made = parse_print(place);
  } else if (tag.text == "break") {
    made = parse_leave(Statement::Kind::leave, place);
  } else if (tag.text == "continue") {
    made = parse_leave(Statement::Kind::next, place);
  } else if (tag.text == "generation") {
    made = make(Statement::Kind::generation, place);
    const unsigned loops = std::exchange(loops_, 0);
    made->body = body({"endgeneration"}, true);
    loops_ = loops;
  } else if (std::find(std::begin(kElsewhere), std::end(kElsewhere), tag.text) !=
             std::end(kElsewhere)) {
    fail("the tag '" + tag.text + "' is not supported", place);
  } else {
    fail("unknown tag '" + tag.text + "'", place);
  }
  made->depth = deepest(*made) + 1;
  if (made->depth > kMostSyntaxDepth) fail("nested too deeply", place);
  return made;
}

std::unique_ptr<Statement> Parser::parse_set(Place place) {
  ExpressionPtr target = assign_target(true, {});
  if (skip_sign("=")) {
    auto made = make(Statement::Kind::assign, place);
    made->target = std::move(target);
    made->value = tuple({});
    return made;
  }
  auto made = make(Statement::Kind::assign_block, place);
  made->target = std::move(target);
  made->value = filters(nullptr, false);
  made->body = body({"endset"}, true);
  return made;
}

std::unique_ptr<Statement> Parser::parse_for(Place place) {
  auto made = make(Statement::Kind::loop, place);
  made->target = assign_target(false, "in");
  if (!skip_name("in")) unexpected("'in'");
  TupleStyle style;
  style.with_condition = false;
  style.end = "recursive";
  made->value = tuple(style);
  if (skip_name("if")) made->test = expression();
  made->is_recursive = skip_name("recursive");
  ++loops_;
  made->body = body({"endfor", "else"}, false);
  --loops_;
  if (take().text != "else") return made;
  // A recursive loop is a function, which its else is within.
  const unsigned loops = made->is_recursive ? std::exchange(loops_, 0) : loops_;
  made->otherwise = body({"endfor"}, true);
  loops_ = loops;
  return made;
}

std::unique_ptr<Statement> Parser::parse_if(Place place) {
  auto made = make(Statement::Kind::condition, place);
  TupleStyle style;
  style.with_condition = false;
  for (;;) {
    ExpressionPtr test = tuple(style);
    Statements then = body({"elif", "else", "endif"}, false);
    made->branches.push_back({std::move(test), std::move(then)});
    const Token& end = take();
    if (end.text == "elif") continue;
    if (end.text == "else") made->otherwise = body({"endif"}, true);
    return made;
  }
}

void Parser::signature(Statement& statement) {
  expect_sign("(");
  while (!at_sign(")")) {
    if (!statement.parameters.empty()) expect_sign(",");
    const Place place = current().place;
    statement.parameters.push_back(name_target());
    for (std::size_t at = 0; at + 1 < statement.parameters.size(); ++at) {
      if (statement.parameters[at]->text == statement.parameters.back()->text) {
        fail("duplicate parameter '" + statement.parameters.back()->text + "'", place);
      }
    }
    if (skip_sign("=")) {
      statement.defaults.push_back(expression());
    } else if (!statement.defaults.empty()) {
      fail("non-default argument follows default argument", place);
    }
  }
  expect_sign(")");
}

std::unique_ptr<Statement> Parser::parse_macro(Place place) {
  auto made = make(Statement::Kind::macro, place);
  made->target = name_target();
  made->name = made->target->text;
  signature(*made);
  const unsigned loops = std::exchange(loops_, 0);
  made->body = body({"endmacro"}, true);
  loops_ = loops;
  return made;
}

std::unique_ptr<Statement> Parser::parse_call(Place place) {
  auto made = make(Statement::Kind::call_block, place);
  if (at_sign("(")) signature(*made);
  made->value = expression();
  if (made->value->kind != Expression::Kind::call) fail("expected call", place);
  const unsigned loops = std::exchange(loops_, 0);
  made->body = body({"endcall"}, true);
  loops_ = loops;
  return made;
}

std::unique_ptr<Statement> Parser::parse_filter_block(Place place) {
  auto made = make(Statement::Kind::filter_block, place);
  made->value = filters(nullptr, true);
  made->body = body({"endfilter"}, true);
  return made;
}

std::unique_ptr<Statement> Parser::parse_with(Place place) {
  auto made = make(Statement::Kind::with, place);
  while (current().kind != Kind::block_end) {
    if (!made->targets.empty()) expect_sign(",");
    made->targets.push_back(assign_target(false, {}));
    expect_sign("=");
    made->expressions.push_back(expression());
  }
  made->body = body({"endwith"}, true);
  return made;
}

std::unique_ptr<Statement> Parser::parse_print(Place place) {
  auto made = make(Statement::Kind::output, place);
  while (current().kind != Kind::block_end) {
    if (!made->expressions.empty()) expect_sign(",");
    made->expressions.push_back(expression());
  }
  return made;
}

std::unique_ptr<Statement> Parser::parse_leave(Statement::Kind kind, Place place) {
  if (loops_ == 0) fail("outside of a loop", place);
  return make(kind, place);
}

ExpressionPtr Parser::assign_target(bool with_space, std::string_view end) {
  const Place place = current().place;
  TupleStyle style;
  style.simplified = true;
  style.with_space = with_space;
  style.end = end;
  ExpressionPtr target = tuple(style);
  if (!can_assign(*target)) fail("cannot assign to this", place);
  return target;
}

ExpressionPtr Parser::name_target() {
  const Token& name = expect(Kind::name, "name");
  for (const std::string_view constant : {"true", "false", "none", "True", "False", "None"}) {
    if (name.text == constant) fail("cannot assign to '" + name.text + "'", name.place);
  }
  return node(Expression::Kind::name, name.place, {}, name.text);
}

}  // namespace spd::jinja
