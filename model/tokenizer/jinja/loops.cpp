#include "model/tokenizer/jinja/compare.h"
#include "model/tokenizer/jinja/interpreter.h"
#include "model/tokenizer/jinja/loop_state.h"
#include "model/tokenizer/jinja/operators.h"

namespace spd::jinja {

Interpreter::Flow Interpreter::loop(const Statement& statement, Activation& in) {
  const Value over = evaluate(*statement.value, in);
  if (!statement.is_recursive) return run_loop(statement, in, in, over, 0);
  const Value printed = recurse(statement, in, over, 0);
  print(printed.text()->bytes);
  return Flow::on;
}

Value Interpreter::recurse(const Statement& statement, Activation& outer, const Value& over,
                           std::size_t depth) {
  const Level one_more = rendering_.level();
  for (Activation* at = &outer; at != nullptr; at = at->outer) at->is_kept = true;
  Running running(*this, outer, statement.slots);
  std::string printed;
  capture(printed, [&] { return run_loop(statement, *running, outer, over, depth); });
  return rendering_.text(std::move(printed));
}

/// `in` has the loop's variables; `outer` is the function that the loop stands in.
Interpreter::Flow Interpreter::run_loop(const Statement& statement, Activation& in,
                                        Activation& outer, const Value& over, std::size_t depth) {
  const Value items = statement.test == nullptr ? over : filtered(statement, outer, over);
  LoopState::Recurse again;
  if (statement.is_recursive) {
    again = [this, &statement, &outer](const Value& inner, std::size_t at_depth) {
      return recurse(statement, outer, inner, at_depth);
    };
  }
  const auto state = std::make_shared<LoopState>(rendering_, items, std::move(again), depth);
  bool none_done = true;
  Flow flow = Flow::on;
  for (Value item; flow != Flow::leave && state->advance(item);) {
    rendering_.step();
    assign(*statement.target, item, in);
    if (statement.has_loop_variable) {
      variable(statement.loop_variable, in) = std::shared_ptr<Object>(state);
    }
    enter(statement.scope, in);
    flow = execute_body(statement.body, in);
    // Only a pass that was neither broken off nor continued early counts, as in Jinja.
    if (flow == Flow::on) none_done = false;
  }
  leave(statement.scope, in);
  if (!none_done || statement.otherwise.empty()) return Flow::on;
  enter(statement.else_scope, in);
  flow = execute_body(statement.otherwise, in);
  leave(statement.else_scope, in);
  return flow;
}

/// The items that pass the loop's filter, which is a generator as in Jinja: it is asked when its
/// items are.
Value Interpreter::filtered(const Statement& statement, Activation& outer, const Value& over) {
  for (Activation* at = &outer; at != nullptr; at = at->outer) at->is_kept = true;
  auto own = std::make_shared<Activation>();
  rendering_.step(4 + 2 * statement.test_slots);
  own->outer = &outer;
  own->slots.resize(statement.test_slots);
  Next next = iterate(rendering_, over);
  const Expression& target = *statement.targets[0];
  return rendering_.iterator(
      "generator",
      [this, &statement, &target, own, next = std::move(next),
       entered = false](Value& item) mutable {
        if (!std::exchange(entered, true)) enter(statement.test_scope, *own);
        for (Value candidate; next(candidate);) {
          rendering_.step();
          assign(target, candidate, *own);
          if (!truth(*statement.test, *own)) continue;
          item = value_of_target(target, *own);
          return true;
        }
        return false;
      },
      depth_of(over));
}

Value Interpreter::value_of_target(const Expression& target, Activation& in) {
  if (target.kind == Expression::Kind::name) return variable(target.reference, in);
  std::vector<Value> parts;
  for (const auto& part : target.parts) parts.push_back(value_of_target(*part, in));
  return rendering_.tuple(std::move(parts));
}

}  // namespace spd::jinja
