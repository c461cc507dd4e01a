#include "model/tokenizer/jinja/undeclared.h"

namespace spd::jinja {
namespace {

class Finder {
 public:
  explicit Finder(std::set<std::string> names) : names_(std::move(names)) {}

  void body(const Statements& statements) {
    for (const auto& inner : statements) statement(*inner);
  }
  std::set<std::string> take() { return std::move(found_); }

 private:
  void reads(const ExpressionPtr& expression) {
    if (expression == nullptr) return;
    if (expression->kind == Expression::Kind::name) {
      if (names_.count(expression->text) != 0) found_.insert(expression->text);
      return;
    }
    all(expression->parts);
    for (const auto& [name, value] : expression->named) reads(value);
    reads(expression->rest);
    reads(expression->named_rest);
  }

  void all(const std::vector<ExpressionPtr>& expressions) {
    for (const auto& expression : expressions) reads(expression);
  }

  void assigns(const ExpressionPtr& target) {
    if (target->kind == Expression::Kind::name) names_.erase(target->text);
    for (const auto& part : target->parts) assigns(part);
  }

  void statement(const Statement& of) {
    using Kind = Statement::Kind;
    if (of.target != nullptr && of.kind != Kind::macro) assigns(of.target);
    for (const auto& target : of.targets) assigns(target);
    if (of.kind == Kind::filter_block) body(of.body);
    reads(of.value);
    all(of.expressions);
    for (const auto& parameter : of.parameters) assigns(parameter);
    all(of.defaults);
    for (const Branch& branch : of.branches) {
      reads(branch.test);
      body(branch.body);
    }
    if (of.kind != Kind::filter_block) body(of.body);
    body(of.otherwise);
    reads(of.test);
  }

  std::set<std::string> names_;
  std::set<std::string> found_;
};

const Expression* name_in(const Expression& target, const std::string& name) {
  if (target.kind == Expression::Kind::name && target.text == name) return &target;
  for (const auto& part : target.parts) {
    if (const Expression* found = name_in(*part, name)) return found;
  }
  return nullptr;
}

}  // namespace

std::set<std::string> undeclared(const Statements& body, std::set<std::string> names) {
  Finder finder(std::move(names));
  finder.body(body);
  return finder.take();
}

const Expression* assignment_to(const Statement& statement, const std::string& name) {
  if (statement.target != nullptr && statement.kind != Statement::Kind::macro) {
    if (const Expression* found = name_in(*statement.target, name)) return found;
  }
  const auto within = [&](const Statements& body) -> const Expression* {
    for (const auto& inner : body) {
      if (const Expression* found = assignment_to(*inner, name)) return found;
    }
    return nullptr;
  };
  for (const Branch& branch : statement.branches) {
    if (const Expression* found = within(branch.body)) return found;
  }
  if (const Expression* found = within(statement.body)) return found;
  return within(statement.otherwise);
}

}  // namespace spd::jinja
