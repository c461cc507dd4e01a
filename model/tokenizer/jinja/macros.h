// A macro as a value.
#pragma once

#include <string>

#include "model/tokenizer/jinja/interpreter.h"

namespace spd::jinja {

class Macro : public Object {
 public:
  Macro(Interpreter& interpreter, const Statement& statement, Activation& outer)
      : interpreter_(interpreter), statement_(statement), outer_(outer) {}
  std::string type_name() const override { return "Macro"; }
  std::string repr(Rendering& rendering) const override;
  bool is_callable() const override { return true; }
  Value call(Rendering& rendering, Arguments& arguments) override;
  std::optional<Value> attribute(Rendering& rendering, const std::string& name) override;

 private:
  Interpreter& interpreter_;
  const Statement& statement_;
  Activation& outer_;
};

}  // namespace spd::jinja
