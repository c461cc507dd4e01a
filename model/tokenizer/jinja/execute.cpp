#include "model/tokenizer/jinja/compare.h"
#include "model/tokenizer/jinja/interpreter.h"
#include "model/tokenizer/jinja/objects.h"
#include "model/tokenizer/jinja/operators.h"
#include "model/tokenizer/jinja/printing.h"

namespace spd::jinja {

using Kind = Statement::Kind;

Interpreter::Running::Running(Interpreter& interpreter, Activation& outer, unsigned slots)
    : interpreter_(interpreter), activation_(interpreter.activations_.emplace_back()) {
  interpreter.rendering_.step(4 + 2 * slots);
  activation_.outer = &outer;
  activation_.slots.resize(slots);
}

Interpreter::Running::~Running() {
  if (activation_.is_kept) return;
  activation_.slots.clear();
  if (&interpreter_.activations_.back() == &activation_) interpreter_.activations_.pop_back();
}

std::string Interpreter::run(const Program& program) {
  std::string printed;
  Activation& root = activations_.emplace_back();
  root.slots.resize(program.slots);
  capture(printed, [&] {
    enter(program.scope, root);
    return execute_body(program.body, root);
  });
  // What the variables hold may hold activations in turn.
  for (Activation& activation : activations_) activation.slots.clear();
  return printed;
}

Interpreter::Flow Interpreter::execute_body(const Statements& body, Activation& in) {
  for (const auto& statement : body) {
    const Flow flow = execute(*statement, in);
    if (flow != Flow::on) return flow;
  }
  return Flow::on;
}

Interpreter::Flow Interpreter::execute(const Statement& statement, Activation& in) {
  const Level one_more = rendering_.level();
  try {
    rendering_.step();
    switch (statement.kind) {
      case Kind::output:
        output(statement, in);
        return Flow::on;
      case Kind::condition:
        return condition(statement, in);
      case Kind::loop:
        return loop(statement, in);
      case Kind::assign:
        check_spaces(*statement.target, in);
        assign(*statement.target, evaluate(*statement.value, in), in);
        return Flow::on;
      case Kind::assign_block:
        return assign_block(statement, in);
      case Kind::macro:
        variable(statement.target->reference, in) = make_macro(statement, in);
        return Flow::on;
      case Kind::call_block:
      case Kind::generation:
        call_block(statement, in);
        return Flow::on;
      case Kind::filter_block:
        return filter_block(statement, in);
      case Kind::with:
        return with(statement, in);
      case Kind::leave:
        return Flow::leave;
      case Kind::next:
        return Flow::next;
    }
  } catch (Failure& failure) {
    if (failure.place.line == 0) failure.place = statement.place;
    throw;
  }
  return Flow::on;
}

void Interpreter::print(std::string_view text) {
  rendering_.touch(text.size());
  rendering_.check_size(out_->size() + text.size());
  out_->append(text);
}

void Interpreter::output(const Statement& statement, Activation& in) {
  for (const auto& expression : statement.expressions) {
    const Value value = evaluate(*expression, in);
    if (const Text* text = value.text()) {
      print(text->bytes);
      continue;
    }
    try {
      print(to_str(rendering_, value));
    } catch (Failure& failure) {
      if (failure.place.line == 0) failure.place = expression->place;
      throw;
    }
  }
}

Interpreter::Flow Interpreter::condition(const Statement& statement, Activation& in) {
  for (const Branch& branch : statement.branches) {
    if (truth(*branch.test, in)) return execute_body(branch.body, in);
  }
  return execute_body(statement.otherwise, in);
}

/// Jinja asks before it evaluates what is assigned.
void Interpreter::check_spaces(const Expression& target, Activation& in) {
  for (const auto& part : target.parts) check_spaces(*part, in);
  if (target.kind == Expression::Kind::space &&
      variable(target.reference, in).as<Namespace>() == nullptr) {
    fail("cannot assign attribute on non-namespace object", target.place);
  }
}

void Interpreter::assign(const Expression& target, const Value& value, Activation& in) {
  if (target.kind == Expression::Kind::name) {
    variable(target.reference, in) = value;
    return;
  }
  if (target.kind == Expression::Kind::space) {
    auto* space = variable(target.reference, in).as<Namespace>();
    if (space == nullptr) fail("cannot assign attribute on non-namespace object", target.place);
    return space->set(rendering_, target.value.text()->bytes, value);
  }
  // One item more than wanted tells that there are too many; the rest is not looked at.
  const Next next = try_iterate(rendering_, value);
  if (!next) fail("cannot unpack non-iterable " + type_name(value) + " object", target.place);
  std::vector<Value> items;
  for (Value item; items.size() <= target.parts.size() && next(item);) items.push_back(item);
  if (items.size() > target.parts.size()) {
    fail("too many values to unpack (expected " + std::to_string(target.parts.size()) + ")",
         target.place);
  }
  if (items.size() < target.parts.size()) {
    fail("not enough values to unpack (expected " + std::to_string(target.parts.size()) + ", got " +
             std::to_string(items.size()) + ")",
         target.place);
  }
  for (std::size_t at = 0; at < items.size(); ++at) assign(*target.parts[at], items[at], in);
}

Value Interpreter::resolve(const std::string& name) {
  if (const Value* value = variables_.find(name)) return *value;
  const auto found = global(rendering_, name);
  return found ? *found : Value();
}

void Interpreter::enter(const Scope& scope, Activation& in) {
  rendering_.step(scope.loads.size());
  for (const Load& load : scope.loads) {
    Value& slot = in.slots[load.slot];
    switch (load.kind) {
      case Load::Kind::resolve:
        slot = resolve(load.name);
        break;
      case Load::Kind::alias:
        slot = variable(load.from, in);
        break;
      case Load::Kind::nothing:
        slot = Value();
        break;
    }
  }
}

void Interpreter::leave(const Scope& scope, Activation& in) {
  for (const unsigned slot : scope.own) in.slots[slot] = Value();
}

Interpreter::Flow Interpreter::assign_block(const Statement& statement, Activation& in) {
  std::string printed;
  enter(statement.scope, in);
  const Flow flow = capture(printed, [&] { return execute_body(statement.body, in); });
  if (flow != Flow::on) return flow;
  Value value = rendering_.text(std::move(printed));
  if (statement.value != nullptr) value = filter(*statement.value, in, &value);
  assign(*statement.target, value, in);
  leave(statement.scope, in);
  return Flow::on;
}

Interpreter::Flow Interpreter::filter_block(const Statement& statement, Activation& in) {
  std::string printed;
  enter(statement.scope, in);
  const Flow flow = capture(printed, [&] { return execute_body(statement.body, in); });
  if (flow != Flow::on) return flow;
  const Value block = rendering_.text(std::move(printed));
  const Value value = filter(*statement.value, in, &block);
  // Jinja joins what blocks give without making text of it first.
  if (value.text() == nullptr) fail("a filter block gives a " + type_name(value) + ", not a str");
  print(value.text()->bytes);
  leave(statement.scope, in);
  return Flow::on;
}

Interpreter::Flow Interpreter::with(const Statement& statement, Activation& in) {
  enter(statement.scope, in);
  for (std::size_t at = 0; at < statement.targets.size(); ++at) {
    assign(*statement.targets[at], evaluate(*statement.expressions[at], in), in);
  }
  const Flow flow = execute_body(statement.body, in);
  if (flow == Flow::on) leave(statement.scope, in);
  return flow;
}

}  // namespace spd::jinja
