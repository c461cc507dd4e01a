// The interpreter of templates: evaluates expressions, executes statements.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "model/tokenizer/jinja/rendering.h"
#include "model/tokenizer/jinja/syntax.h"

namespace spd::jinja {

class LoopState;

/// The variables of a function that runs, or that something still refers to.
struct Activation {
  Activation* outer = nullptr;
  std::vector<Value> slots;
  bool is_kept = false;  ///< a macro or a loop may come back to it
};

class Interpreter {
 public:
  Interpreter(Rendering& rendering, const Dict& variables)
      : rendering_(rendering), variables_(variables) {}
  std::string run(const Program& program);

 private:
  friend class Macro;
  enum class Flow { on, leave, next };

  // Expressions (evaluate.cpp).
  Value evaluate(const Expression& expression, Activation& in);
  Value evaluate_node(const Expression& expression, Activation& in);
  Value read(const Expression& name, Activation& in);
  Value make_dict(const Expression& expression, Activation& in);
  Value compare(const Expression& expression, Activation& in);
  Value concat(const Expression& expression, Activation& in);
  Value condition(const Expression& expression, Activation& in);
  Value item(const Expression& expression, Activation& in);
  Value call(const Expression& expression, Activation& in, const Value* caller = nullptr);
  Arguments arguments(const Expression& expression, Activation& in);
  /// Filters around what a block printed.
  Value filter(const Expression& expression, Activation& in, const Value* block = nullptr);
  bool truth(const Expression& expression, Activation& in);

  // Statements (execute.cpp).
  Flow execute(const Statement& statement, Activation& in);
  Flow execute_body(const Statements& body, Activation& in);
  Flow condition(const Statement& statement, Activation& in);
  Flow assign_block(const Statement& statement, Activation& in);
  Flow filter_block(const Statement& statement, Activation& in);
  Flow with(const Statement& statement, Activation& in);
  void output(const Statement& statement, Activation& in);
  void print(std::string_view text);
  void assign(const Expression& target, const Value& value, Activation& in);
  void check_spaces(const Expression& target, Activation& in);
  void enter(const Scope& scope, Activation& in);
  static void leave(const Scope& scope, Activation& in);
  /// What `body` prints.
  template <class Body>
  Flow capture(std::string& into, Body body);
  Value resolve(const std::string& name);

  // Loops (loops.cpp).
  Flow loop(const Statement& statement, Activation& in);
  Flow run_loop(const Statement& statement, Activation& in, Activation& outer, const Value& over,
                std::size_t depth);
  Value recurse(const Statement& statement, Activation& outer, const Value& over,
                std::size_t depth);
  Value filtered(const Statement& statement, Activation& outer, const Value& over);
  Value value_of_target(const Expression& target, Activation& in);

  // Macros (macros.cpp).
  Value make_macro(const Statement& statement, Activation& in);
  Value call_macro(const Statement& statement, Activation& outer, Arguments& arguments);
  void bind_arguments(const Statement& statement, Activation& in, Arguments& arguments);
  void call_block(const Statement& statement, Activation& in);

  Value& variable(const Reference& reference, Activation& in) {
    Activation* at = &in;
    for (unsigned hops = reference.hops; hops > 0; --hops) at = at->outer;
    return at->slots[reference.slot];
  }

  /// The activation of a function that runs now; it goes when the function is done, unless kept.
  class Running {
   public:
    Running(Interpreter& interpreter, Activation& outer, unsigned slots);
    Running(const Running&) = delete;
    Running& operator=(const Running&) = delete;
    ~Running();
    Activation& operator*() { return activation_; }

   private:
    Interpreter& interpreter_;
    Activation& activation_;
  };

  Rendering& rendering_;
  const Dict& variables_;
  std::deque<Activation> activations_;
  std::string* out_ = nullptr;
};

template <class Body>
Interpreter::Flow Interpreter::capture(std::string& into, Body body) {
  std::string* const before = out_;
  out_ = &into;
  try {
    const Flow flow = body();
    out_ = before;
    return flow;
  } catch (...) {
    out_ = before;
    throw;
  }
}

}  // namespace spd::jinja
