#include "model/tokenizer/jinja/attributes.h"
#include "model/tokenizer/jinja/compare.h"
#include "model/tokenizer/jinja/filters.h"
#include "model/tokenizer/jinja/interpreter.h"
#include "model/tokenizer/jinja/operators.h"
#include "model/tokenizer/jinja/printing.h"
#include "model/tokenizer/jinja/tests.h"

namespace spd::jinja {
namespace {

using Node = Expression::Kind;

bool compares(Rendering& rendering, const std::string& sign, const Value& left,
              const Value& right) {
  if (sign == "==") return equal(left, right);
  if (sign == "!=") return !equal(left, right);
  if (sign == "<") return less(left, right);
  if (sign == "<=") return less_or_equal(left, right);
  if (sign == ">") return less(right, left, ">");
  if (sign == ">=") return less_or_equal(right, left, ">=");
  return contains(rendering, right, left) == (sign == "in");
}

}  // namespace

Value Interpreter::evaluate(const Expression& expression, Activation& in) {
  const Level one_more = rendering_.level();
  try {
    rendering_.step();
    return evaluate_node(expression, in);
  } catch (Failure& failure) {
    if (failure.place.line == 0) failure.place = expression.place;
    throw;
  }
}

bool Interpreter::truth(const Expression& expression, Activation& in) {
  return is_true(rendering_, evaluate(expression, in));
}

Value Interpreter::evaluate_node(const Expression& expression, Activation& in) {
  const auto& parts = expression.parts;
  const auto all = [&] {
    std::vector<Value> values;
    values.reserve(parts.size());
    for (const auto& part : parts) values.push_back(evaluate(*part, in));
    return values;
  };
  switch (expression.kind) {
    case Node::constant:
    case Node::data:
      return expression.value;
    case Node::name:
      return read(expression, in);
    case Node::space:
      fail("not an expression");
    case Node::tuple:
      return rendering_.tuple(all());
    case Node::list:
      return rendering_.list(all());
    case Node::dict:
      return make_dict(expression, in);
    case Node::sign:
      return signed_value(expression.text, evaluate(*parts[0], in));
    case Node::negation:
      return !truth(*parts[0], in);
    case Node::binary: {
      const Value left = evaluate(*parts[0], in);
      return arithmetic(rendering_, expression.text, left, evaluate(*parts[1], in));
    }
    case Node::both: {
      Value left = evaluate(*parts[0], in);
      return is_true(rendering_, left) ? evaluate(*parts[1], in) : left;
    }
    case Node::either: {
      Value left = evaluate(*parts[0], in);
      return is_true(rendering_, left) ? left : evaluate(*parts[1], in);
    }
    case Node::compare:
      return compare(expression, in);
    case Node::concat:
      return concat(expression, in);
    case Node::condition:
      return condition(expression, in);
    case Node::attribute:
      return attribute_of(rendering_, evaluate(*parts[0], in), expression.text);
    case Node::item:
      return item(expression, in);
    case Node::slice:
      fail("a slice is no value");
    case Node::call:
      return call(expression, in);
    case Node::filter:
      return filter(expression, in);
    case Node::test: {
      const Value subject = evaluate(*parts[0], in);
      return apply_test(rendering_, expression.text, subject, arguments(expression, in));
    }
  }
  fail("unknown expression");
}

Value Interpreter::read(const Expression& name, Activation& in) {
  const Value& value = variable(name.reference, in);
  if (!value.is_missing()) return value;
  if (name.reference.is_parameter) fail("'" + name.text + "' is used outside of its loop");
  return undefined("'" + name.text + "' is undefined");
}

Value Interpreter::make_dict(const Expression& expression, Activation& in) {
  Dict dict;
  for (std::size_t at = 0; at < expression.parts.size(); at += 2) {
    const Value key = evaluate(*expression.parts[at], in);
    dict.set(key, evaluate(*expression.parts[at + 1], in));
  }
  return rendering_.dict(std::move(dict));
}

Value Interpreter::compare(const Expression& expression, Activation& in) {
  Value left = evaluate(*expression.parts[0], in);
  for (std::size_t at = 0; at < expression.signs.size(); ++at) {
    Value right = evaluate(*expression.parts[at + 1], in);
    if (left.text() != nullptr) rendering_.touch(left.text()->bytes.size());
    if (!compares(rendering_, expression.signs[at], left, right)) return false;
    left = std::move(right);
  }
  return true;
}

Value Interpreter::concat(const Expression& expression, Activation& in) {
  std::vector<Value> values;
  for (const auto& part : expression.parts) values.push_back(evaluate(*part, in));
  std::string joined;
  for (const Value& value : values) {
    joined += to_str(rendering_, value);
    rendering_.check_size(joined.size());
  }
  return rendering_.text(std::move(joined));
}

Value Interpreter::condition(const Expression& expression, Activation& in) {
  if (truth(*expression.parts[0], in)) return evaluate(*expression.parts[1], in);
  if (expression.parts.size() > 2) return evaluate(*expression.parts[2], in);
  return undefined("the inline if-expression on line " + std::to_string(expression.place.line) +
                   " evaluated to false and no else section was defined.");
}

Value Interpreter::item(const Expression& expression, Activation& in) {
  const Value object = evaluate(*expression.parts[0], in);
  const Expression& key = *expression.parts[1];
  if (key.kind != Node::slice) return item_of(rendering_, object, evaluate(key, in));
  const auto bound = [&](std::size_t at) {
    return key.parts[at] == nullptr ? Value(None{}) : evaluate(*key.parts[at], in);
  };
  const Value start = bound(0);
  const Value stop = bound(1);
  return slice_of(rendering_, object, start, stop, bound(2));
}

Arguments Interpreter::arguments(const Expression& expression, Activation& in) {
  Arguments made;
  for (std::size_t at = 1; at < expression.parts.size(); ++at) {
    made.positional.push_back(evaluate(*expression.parts[at], in));
  }
  for (const auto& [name, value] : expression.named) {
    made.named.emplace_back(name, evaluate(*value, in));
  }
  if (expression.rest != nullptr) {
    for (Value& value : items_of(rendering_, evaluate(*expression.rest, in))) {
      made.positional.push_back(std::move(value));
    }
  }
  if (expression.named_rest == nullptr) return made;
  const Value rest = evaluate(*expression.named_rest, in);
  if (rest.dict() == nullptr) fail("argument after ** must be a mapping, not " + type_name(rest));
  rendering_.step(rest.dict()->items.size());
  for (const auto& [key, value] : rest.dict()->items) {
    if (key.text() == nullptr) fail("keywords must be strings");
    for (const auto& [name, other] : expression.named) {
      if (name == key.text()->bytes)
        fail("got multiple values for keyword argument '" + name + "'");
    }
    made.named.emplace_back(key.text()->bytes, value);
  }
  return made;
}

Value Interpreter::call(const Expression& expression, Activation& in, const Value* caller) {
  const Value callee = evaluate(*expression.parts[0], in);
  Arguments given = arguments(expression, in);
  if (caller != nullptr) {
    for (const auto& [name, value] : given.named) {
      if (name == "caller") fail("got multiple values for keyword argument 'caller'");
    }
    given.named.emplace_back("caller", *caller);
  }
  if (callee.undefined() != nullptr) fail(callee.undefined()->message);
  if (callee.object() == nullptr) fail("'" + type_name(callee) + "' object is not callable");
  return callee.object()->call(rendering_, given);
}

Value Interpreter::filter(const Expression& expression, Activation& in, const Value* block) {
  const ExpressionPtr& of = expression.parts[0];
  Value subject;
  if (of == nullptr) {
    subject = *block;
  } else if (block != nullptr && of->kind == Node::filter) {
    subject = filter(*of, in, block);
  } else {
    subject = evaluate(*of, in);
  }
  try {
    return apply_filter(rendering_, expression.text, subject, arguments(expression, in));
  } catch (Failure& failure) {
    if (failure.place.line == 0) failure.place = expression.place;
    throw;
  }
}

}  // namespace spd::jinja
