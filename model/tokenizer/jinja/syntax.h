// A template as it is read: expressions and statements, and where their variables live.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "model/tokenizer/jinja/failure.h"
#include "model/tokenizer/jinja/value.h"

namespace spd::jinja {

/// A variable: a slot of the function that is running, or of one around it.
struct Reference {
  unsigned hops = 0;  ///< functions outwards
  unsigned slot = 0;
  bool is_parameter = false;  ///< always assigned to while it can be seen
};

struct Expression;
using ExpressionPtr = std::unique_ptr<Expression>;

struct Expression {
  enum class Kind {
    constant,   // value
    data,       // value: text between the tags
    name,       // text, reference
    space,      // target `text.parts`: text is the name, value the attribute
    tuple,      // parts
    list,       // parts
    dict,       // parts: key, value, key, value, ...
    sign,       // text (+ or -), parts: operand
    negation,   // parts: operand
    binary,     // text, parts: left, right
    both,       // and; parts: left, right
    either,     // or; parts: left, right
    compare,    // signs, parts: first, second, ...
    concat,     // parts
    condition,  // parts: test, then[, else]
    attribute,  // text, parts: object
    item,       // parts: object, key
    slice,      // parts: start, stop, step; each may be nullptr
    call,       // parts: callee, arguments; named, rest, named_rest
    filter,     // text; parts: subject (nullptr in a filter block), arguments; ...
    test,       // text; the same
  };

  Kind kind;
  Place place;
  unsigned depth = 1;
  std::string text;
  Value value;
  std::vector<ExpressionPtr> parts;
  std::vector<std::string> signs;
  std::vector<std::pair<std::string, ExpressionPtr>> named;
  ExpressionPtr rest;        ///< *arguments
  ExpressionPtr named_rest;  ///< **arguments
  Reference reference;
};

/// What a scope's variables are when it is entered.
struct Load {
  enum class Kind { resolve, alias, nothing };
  Kind kind;
  unsigned slot;
  std::string name;     ///< resolve: of the template's variables and globals
  Reference from = {};  ///< alias
};

struct Scope {
  std::vector<Load> loads;
  std::vector<unsigned> own;  ///< slots that are emptied when it is left
};

struct Statement;
using Statements = std::vector<std::unique_ptr<Statement>>;

struct Branch {
  ExpressionPtr test;
  Statements body;
};

struct Statement {
  enum class Kind {
    output,        // expressions
    condition,     // branches, otherwise
    loop,          // target, value, test, is_recursive, body, otherwise
    assign,        // target, value
    assign_block,  // target, value (filters or nullptr), body
    macro,         // name, parameters, defaults, body, target (the name)
    call_block,    // parameters, defaults, value (the call), body
    generation,    // body
    filter_block,  // value (filters), body
    with,          // targets, expressions (their values), body
    leave,         // break
    next,          // continue
  };

  Kind kind;
  Place place;
  unsigned depth = 1;
  std::string name;
  ExpressionPtr target;
  ExpressionPtr value;
  ExpressionPtr test;
  bool is_recursive = false;
  std::vector<ExpressionPtr> expressions;
  std::vector<ExpressionPtr> targets;
  std::vector<ExpressionPtr> parameters;
  std::vector<ExpressionPtr> defaults;  ///< of the last parameters
  std::vector<Branch> branches;
  Statements body;
  Statements otherwise;

  // Filled in by the scoping.
  Scope scope;       ///< of the body
  Scope else_scope;  ///< of a loop's else
  Scope test_scope;  ///< of a loop's filter, a function of its own
  bool has_loop_variable = false;
  Reference loop_variable = {};
  unsigned slots = 0;       ///< of the function that a macro, a call block or a recursive loop is
  unsigned test_slots = 0;  ///< of the function that a loop's filter is
  /// Slots of what a macro takes besides its parameters; -1: does not.
  int caller_slot = -1, named_slot = -1, rest_slot = -1;
};

/// A whole template.
struct Program {
  Statements body;
  Scope scope;
  unsigned slots = 0;
};

}  // namespace spd::jinja
