#include "model/tokenizer/jinja/macros.h"

#include <algorithm>

#include "model/tokenizer/jinja/printing.h"

namespace spd::jinja {

std::string Macro::repr(Rendering&) const {
  return statement_.name.empty() ? "<Macro anonymous>"
                                 : "<Macro " + python_quoted(statement_.name) + ">";
}

Value Macro::call(Rendering&, Arguments& arguments) {
  return interpreter_.call_macro(statement_, outer_, arguments);
}

std::optional<Value> Macro::attribute(Rendering& rendering, const std::string& name) {
  if (name == "name") {
    return statement_.name.empty() ? Value(None{}) : rendering.text(statement_.name);
  }
  if (name == "arguments") {
    std::vector<Value> names;
    for (const auto& parameter : statement_.parameters)
      names.push_back(rendering.text(parameter->text));
    return rendering.tuple(std::move(names));
  }
  if (name == "catch_kwargs") return statement_.named_slot >= 0;
  if (name == "catch_varargs") return statement_.rest_slot >= 0;
  if (name == "caller") return statement_.caller_slot >= 0;
  return std::nullopt;
}

Value Interpreter::make_macro(const Statement& statement, Activation& in) {
  rendering_.step(8);
  in.is_kept = true;
  for (Activation* at = in.outer; at != nullptr; at = at->outer) at->is_kept = true;
  return std::shared_ptr<Object>(std::make_shared<Macro>(*this, statement, in));
}

Value Interpreter::call_macro(const Statement& statement, Activation& outer, Arguments& arguments) {
  Running running(*this, outer, statement.slots);
  std::string printed;
  capture(printed, [&] {
    bind_arguments(statement, *running, arguments);
    return execute_body(statement.body, *running);
  });
  return rendering_.text(std::move(printed));
}

namespace {

/// Takes a named argument out; nullopt where it is not given.
std::optional<Value> take(Arguments& arguments, const std::string& name) {
  const auto found = std::find_if(arguments.named.begin(), arguments.named.end(),
                                  [&](const auto& argument) { return argument.first == name; });
  if (found == arguments.named.end()) return std::nullopt;
  Value value = std::move(found->second);
  arguments.named.erase(found);
  return value;
}

}  // namespace

/// As Jinja's Macro: first by place, then by name, then the defaults, which see what is before
/// them.
void Interpreter::bind_arguments(const Statement& statement, Activation& in, Arguments& arguments) {
  const auto& parameters = statement.parameters;
  const std::string name = "macro '" + statement.name + "'";
  const std::size_t by_place = std::min(arguments.positional.size(), parameters.size());
  bool has_caller = false;
  for (std::size_t at = 0; at < parameters.size(); ++at) {
    Value value;
    if (at < by_place) {
      value = arguments.positional[at];
    } else if (auto named = take(arguments, parameters[at]->text)) {
      value = *named;
    }
    has_caller |= parameters[at]->text == "caller";
    in.slots[parameters[at]->reference.slot] = value;
  }
  if (statement.caller_slot >= 0 && !has_caller) {
    const auto caller = take(arguments, "caller");
    in.slots[static_cast<unsigned>(statement.caller_slot)] =
        caller && !caller->is_none() ? *caller : undefined("No caller defined");
  }
  if (statement.named_slot >= 0) {
    Dict named;
    for (const auto& [key, value] : arguments.named) named.set(rendering_.text(key), value);
    in.slots[static_cast<unsigned>(statement.named_slot)] = rendering_.dict(std::move(named));
  } else if (!arguments.named.empty()) {
    fail(name + " takes no keyword argument '" + arguments.named[0].first + "'");
  }
  if (statement.rest_slot >= 0) {
    in.slots[static_cast<unsigned>(statement.rest_slot)] =
        rendering_.tuple({arguments.positional.begin() + static_cast<std::ptrdiff_t>(by_place),
                          arguments.positional.end()});
  } else if (arguments.positional.size() > parameters.size()) {
    fail(name + " takes not more than " + std::to_string(parameters.size()) + " argument(s)");
  }
  enter(statement.scope, in);
  for (std::size_t at = 0; at < parameters.size(); ++at) {
    Value& slot = in.slots[parameters[at]->reference.slot];
    if (!slot.is_missing()) continue;
    const std::size_t first_default = parameters.size() - statement.defaults.size();
    if (at >= first_default) {
      Value value = evaluate(*statement.defaults[at - first_default], in);
      in.slots[parameters[at]->reference.slot] = std::move(value);
    } else {
      slot = undefined("parameter '" + parameters[at]->text + "' was not provided");
    }
  }
}

void Interpreter::call_block(const Statement& statement, Activation& in) {
  if (statement.kind == Statement::Kind::generation) {
    Arguments none;
    print(to_str(rendering_, call_macro(statement, in, none)));
    return;
  }
  const Value caller = make_macro(statement, in);
  const Value value = call(*statement.value, in, &caller);
  if (value.text() == nullptr) fail("a call block gives a " + type_name(value) + ", not a str");
  print(value.text()->bytes);
}

}  // namespace spd::jinja
