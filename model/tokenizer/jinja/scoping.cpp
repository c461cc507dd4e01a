#include "model/tokenizer/jinja/scoping.h"

#include <algorithm>
#include <memory>

#include "model/tokenizer/jinja/filters.h"
#include "model/tokenizer/jinja/symbols.h"
#include "model/tokenizer/jinja/tests.h"
#include "model/tokenizer/jinja/undeclared.h"

namespace spd::jinja {
namespace {

using Node = Expression::Kind;
using Kind = Statement::Kind;

enum class Assigning { variable, parameter };

// What a scope reads and assigns to. Scopes within it are not looked into.

void note_reads(const ExpressionPtr& expression, Symbols& symbols) {
  if (expression == nullptr) return;
  if (expression->kind == Node::name) return symbols.load(expression->text);
  for (const auto& part : expression->parts) note_reads(part, symbols);
  for (const auto& [name, value] : expression->named) note_reads(value, symbols);
  note_reads(expression->rest, symbols);
  note_reads(expression->named_rest, symbols);
}

void note_target(const Expression& target, Symbols& symbols, Assigning as) {
  if (target.kind == Node::space) return symbols.load(target.text);
  if (target.kind == Node::name) {
    if (as == Assigning::variable) return symbols.store(target.text);
    symbols.declare_parameter(target.text);
    return;
  }
  for (const auto& part : target.parts) note_target(*part, symbols, as);
}

void note_body(const Statements& body, Symbols& symbols);

void note_condition(const Statement& statement, Symbols& symbols) {
  note_reads(statement.branches[0].test, symbols);
  Symbols then = symbols;
  note_body(statement.branches[0].body, then);
  Symbols others = symbols;
  for (std::size_t at = 1; at < statement.branches.size(); ++at) {
    note_reads(statement.branches[at].test, others);
    Symbols branch = others;
    note_body(statement.branches[at].body, branch);
    others.merge({branch, others, others});
  }
  Symbols otherwise = symbols;
  note_body(statement.otherwise, otherwise);
  symbols.merge({then, others, otherwise});
}

void note(const Statement& statement, Symbols& symbols) {
  switch (statement.kind) {
    case Kind::output:
    case Kind::with:
      for (const auto& expression : statement.expressions) note_reads(expression, symbols);
      return;
    case Kind::condition:
      return note_condition(statement, symbols);
    case Kind::assign:
      note_reads(statement.value, symbols);
      return note_target(*statement.target, symbols, Assigning::variable);
    case Kind::assign_block:
    case Kind::macro:
      return note_target(*statement.target, symbols, Assigning::variable);
    case Kind::loop:
    case Kind::call_block:
    case Kind::filter_block:
      return note_reads(statement.value, symbols);
    case Kind::generation:
    case Kind::leave:
    case Kind::next:
      return;
  }
}

void note_body(const Statements& body, Symbols& symbols) {
  for (const auto& statement : body) note(*statement, symbols);
}

// Every name is given what it means.

/// Where an expression or a statement stands.
struct Frame {
  Symbols& symbols;
  bool is_soft = false;  ///< in an if: a filter that there is not fails only where it is used
  const std::set<std::string>* unset_parameters = nullptr;
};

void bind(Expression& name, const Frame& frame) {
  const auto found = frame.symbols.find(name.text);
  if (!found) fail("a variable in this place is not supported", name.place);
  name.reference = *found;
  if (frame.unset_parameters != nullptr && frame.unset_parameters->count(name.text) != 0) {
    name.reference.is_parameter = false;
  }
}

void bind_reads(Expression* expression, const Frame& frame) {
  if (expression == nullptr) return;
  if (expression->kind == Node::name) return bind(*expression, frame);
  const bool is_filter = expression->kind == Node::filter;
  if ((is_filter && !is_filter_name(expression->text)) ||
      (expression->kind == Node::test && !is_test_name(expression->text))) {
    if (!frame.is_soft) {
      fail(std::string("No ") + (is_filter ? "filter" : "test") + " named '" + expression->text +
               "'",
           expression->place);
    }
  }
  const Frame inner{frame.symbols, frame.is_soft || expression->kind == Node::condition,
                    frame.unset_parameters};
  for (const auto& part : expression->parts) bind_reads(part.get(), inner);
  for (const auto& [name, value] : expression->named) bind_reads(value.get(), inner);
  bind_reads(expression->rest.get(), inner);
  bind_reads(expression->named_rest.get(), inner);
}

void bind_target(Expression& target, const Frame& frame) {
  if (target.kind == Node::name || target.kind == Node::space) return bind(target, frame);
  for (const auto& part : target.parts) bind_target(*part, frame);
}

void visit_body(Statements& body, const Frame& frame);

/// What Jinja makes a macro of: macros, call blocks, generation blocks.
void visit_macro(Statement& statement, const Frame& frame) {
  FunctionSlots function{&frame.symbols.function()};
  Symbols symbols(&frame.symbols, function);
  const auto analyze = [&] {
    for (const auto& parameter : statement.parameters) {
      note_target(*parameter, symbols, Assigning::parameter);
    }
    for (const auto& value : statement.defaults) note_reads(value, symbols);
    note_body(statement.body, symbols);
  };
  analyze();
  const auto special = undeclared(statement.body, {"caller", "kwargs", "varargs"});
  std::set<std::string> unset;
  for (std::size_t at = 0; at < statement.parameters.size(); ++at) {
    const Expression& parameter = *statement.parameters[at];
    unset.insert(parameter.text);
    const bool has_default = at + statement.defaults.size() >= statement.parameters.size();
    if (parameter.text == "caller" && special.count("caller") != 0 && !has_default) {
      fail("the special \"caller\" argument must be omitted or be given a default",
           parameter.place);
    }
  }
  const auto takes = [&](const char* name) {
    return special.count(name) != 0 && unset.count(name) == 0
               ? static_cast<int>(symbols.declare_parameter(name))
               : -1;
  };
  statement.caller_slot = takes("caller");
  statement.named_slot = takes("kwargs");
  statement.rest_slot = takes("varargs");
  analyze();
  const Frame inner{symbols, false};
  for (const auto& parameter : statement.parameters) bind(*parameter, inner);
  for (std::size_t at = 0; at < statement.defaults.size(); ++at) {
    const std::size_t of = at + statement.parameters.size() - statement.defaults.size();
    for (std::size_t set = 0; set < of; ++set) unset.erase(statement.parameters[set]->text);
    bind_reads(statement.defaults[at].get(), {symbols, false, &unset});
  }
  statement.scope = symbols.scope();
  visit_body(statement.body, inner);
  statement.slots = static_cast<unsigned>(function.slots.size());
}

void visit_loop_filter(Statement& loop, const Frame& frame) {
  FunctionSlots function{&frame.symbols.function()};
  Symbols symbols(&frame.symbols, function);
  note_target(*loop.target, symbols, Assigning::parameter);
  note_reads(loop.test, symbols);
  loop.test_scope = symbols.scope();
  bind_reads(loop.test.get(), {symbols, false});
  // The target has the same names in the loop's body, but its slots are the filter's here.
  loop.targets.push_back(std::make_unique<Expression>());
  const auto copy = [&](const auto& self, const Expression& from, Expression& to) -> void {
    to.kind = from.kind;
    to.place = from.place;
    to.text = from.text;
    for (const auto& part : from.parts) {
      to.parts.push_back(std::make_unique<Expression>());
      self(self, *part, *to.parts.back());
    }
  };
  copy(copy, *loop.target, *loop.targets.back());
  bind_target(*loop.targets.back(), {symbols, false});
  loop.test_slots = static_cast<unsigned>(function.slots.size());
}

void visit_loop(Statement& loop, const Frame& frame) {
  if (const Expression* assigned = assignment_to(loop, "loop")) {
    fail("Can't assign to special loop variable in for-loop target", assigned->place);
  }
  FunctionSlots recursive{&frame.symbols.function()};
  FunctionSlots& function = loop.is_recursive ? recursive : frame.symbols.function();
  Symbols symbols(&frame.symbols, function);
  loop.has_loop_variable = loop.is_recursive || undeclared(loop.body, {"loop"}).count("loop") != 0;
  if (loop.has_loop_variable) {
    loop.loop_variable = {0, symbols.declare_parameter("loop"), true};
  }
  note_target(*loop.target, symbols, Assigning::parameter);
  note_body(loop.body, symbols);
  Symbols else_symbols(&frame.symbols, function);
  note_body(loop.otherwise, else_symbols);
  if (loop.test != nullptr) visit_loop_filter(loop, frame);
  bind_reads(loop.value.get(), frame);
  bind_target(*loop.target, {symbols, false});
  loop.scope = symbols.scope();
  loop.else_scope = else_symbols.scope();
  visit_body(loop.body, {symbols, false});
  visit_body(loop.otherwise, {else_symbols, false});
  loop.slots = static_cast<unsigned>(recursive.slots.size());
}

/// A body with a scope of its own within the same function.
void visit_block(Statement& statement, const Frame& frame) {
  Symbols symbols(&frame.symbols, frame.symbols.function());
  for (const auto& target : statement.targets) {
    note_target(*target, symbols, Assigning::parameter);
  }
  note_body(statement.body, symbols);
  if (statement.kind == Kind::filter_block) note_reads(statement.value, symbols);
  const Frame inner{symbols, false};
  for (const auto& target : statement.targets) bind_target(*target, inner);
  for (const auto& value : statement.expressions) bind_reads(value.get(), frame);
  statement.scope = symbols.scope();
  visit_body(statement.body, inner);
  bind_reads(statement.value.get(), inner);
  if (statement.target != nullptr) bind_target(*statement.target, frame);
}

void visit(Statement& statement, const Frame& frame) {
  switch (statement.kind) {
    case Kind::output:
      for (const auto& expression : statement.expressions) bind_reads(expression.get(), frame);
      return;
    case Kind::condition: {
      const Frame soft{frame.symbols, true};
      for (Branch& branch : statement.branches) {
        bind_reads(branch.test.get(), soft);
        visit_body(branch.body, soft);
      }
      return visit_body(statement.otherwise, soft);
    }
    case Kind::loop:
      return visit_loop(statement, frame);
    case Kind::assign:
      bind_target(*statement.target, frame);
      return bind_reads(statement.value.get(), frame);
    case Kind::macro:
      bind(*statement.target, frame);
      return visit_macro(statement, frame);
    case Kind::call_block:
      visit_macro(statement, frame);
      return bind_reads(statement.value.get(), frame);
    case Kind::generation:
      return visit_macro(statement, frame);
    case Kind::assign_block:
    case Kind::filter_block:
    case Kind::with:
      return visit_block(statement, frame);
    case Kind::leave:
    case Kind::next:
      return;
  }
}

void visit_body(Statements& body, const Frame& frame) {
  for (const auto& statement : body) visit(*statement, frame);
}

}  // namespace

void scope(Program& program) {
  if (!undeclared(program.body, {"self"}).empty()) {
    fail("the variable 'self' is not supported", {1, 1});
  }
  FunctionSlots function;
  Symbols symbols(nullptr, function);
  note_body(program.body, symbols);
  program.scope = symbols.scope();
  visit_body(program.body, {symbols, false});
  program.slots = static_cast<unsigned>(function.slots.size());
}

}  // namespace spd::jinja
