// The names that one scope of a template knows, after Jinja's own analysis of its templates.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "model/tokenizer/jinja/syntax.h"

namespace spd::jinja {

/// What has slots of its own: the template, a macro, a recursive loop, a loop's filter.
struct FunctionSlots {
  const FunctionSlots* outer = nullptr;
  std::map<std::pair<unsigned, std::string>, unsigned> slots = {};  ///< by level and name

  unsigned slot(unsigned level, const std::string& name) {
    return slots.try_emplace({level, name}, static_cast<unsigned>(slots.size())).first->second;
  }
};

class Symbols {
 public:
  Symbols(const Symbols* parent, FunctionSlots& function)
      : parent_(parent), function_(&function), level_(parent == nullptr ? 0 : parent->level_ + 1) {}

  /// A name that is read: of a scope around, else one of the template's variables.
  void load(const std::string& name);
  /// A name that is assigned to, here and not in the scopes around.
  void store(const std::string& name);
  unsigned declare_parameter(const std::string& name);
  /// After an if, whose branches were looked at one by one.
  void merge(const std::vector<Symbols>& branches);

  /// The variable that `name` means; nullopt where the scope has never heard of it.
  std::optional<Reference> find(const std::string& name) const;
  /// What to do when the scope is entered and left.
  Scope scope() const;
  FunctionSlots& function() const { return *function_; }

 private:
  enum class LoadKind { parameter, resolve, alias, nothing };
  struct Loaded {
    LoadKind kind;
    std::string name;
  };

  unsigned define(const std::string& name, LoadKind kind);
  bool known_outside(const std::string& name) const {
    return parent_ != nullptr && parent_->find(name).has_value();
  }

  const Symbols* parent_;
  FunctionSlots* function_;
  unsigned level_;
  std::map<std::string, unsigned> slots_ = {};
  std::map<unsigned, Loaded> loads_ = {};
  std::set<std::string> stores_ = {};
};

}  // namespace spd::jinja
