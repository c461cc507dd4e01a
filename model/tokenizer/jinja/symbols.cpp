#include "model/tokenizer/jinja/symbols.h"

namespace spd::jinja {
namespace {

/// How many functions out of `inner` the function `outer` is.
unsigned hops_between(const FunctionSlots* inner, const FunctionSlots* outer) {
  unsigned hops = 0;
  for (; inner != outer && inner != nullptr; inner = inner->outer) ++hops;
  return hops;
}

}  // namespace

unsigned Symbols::define(const std::string& name, LoadKind kind) {
  const unsigned slot = function_->slot(level_, name);
  slots_[name] = slot;
  loads_[slot] = {kind, name};
  return slot;
}

void Symbols::load(const std::string& name) {
  if (!find(name)) define(name, LoadKind::resolve);
}

void Symbols::store(const std::string& name) {
  stores_.insert(name);
  if (slots_.count(name) != 0) return;
  define(name, known_outside(name) ? LoadKind::alias : LoadKind::nothing);
}

unsigned Symbols::declare_parameter(const std::string& name) {
  stores_.insert(name);
  return define(name, LoadKind::parameter);
}

void Symbols::merge(const std::vector<Symbols>& branches) {
  std::set<std::string> stores;
  for (const Symbols& branch : branches) {
    for (const std::string& name : branch.stores_) {
      if (stores_.count(name) == 0) stores.insert(name);
    }
  }
  for (const Symbols& branch : branches) {
    for (const auto& [name, slot] : branch.slots_) slots_[name] = slot;
    for (const auto& [slot, loaded] : branch.loads_) loads_[slot] = loaded;
    stores_.insert(branch.stores_.begin(), branch.stores_.end());
  }
  // A branch that is not taken leaves the variable as it was outside.
  for (const std::string& name : stores) {
    loads_[slots_.at(name)] = {known_outside(name) ? LoadKind::alias : LoadKind::resolve, name};
  }
}

std::optional<Reference> Symbols::find(const std::string& name) const {
  for (const Symbols* scope = this; scope != nullptr; scope = scope->parent_) {
    const auto found = scope->slots_.find(name);
    if (found == scope->slots_.end()) continue;
    const auto loaded = scope->loads_.find(found->second);
    const bool is_parameter =
        loaded != scope->loads_.end() && loaded->second.kind == LoadKind::parameter;
    return Reference{hops_between(function_, scope->function_), found->second, is_parameter};
  }
  return std::nullopt;
}

Scope Symbols::scope() const {
  Scope made;
  for (const auto& [slot, loaded] : loads_) {
    made.own.push_back(slot);
    if (loaded.kind == LoadKind::parameter) continue;
    Load load{Load::Kind::nothing, slot, loaded.name};
    if (loaded.kind == LoadKind::resolve) load.kind = Load::Kind::resolve;
    if (loaded.kind == LoadKind::alias) {
      load.kind = Load::Kind::alias;
      load.from = *parent_->find(loaded.name);
      load.from.hops += hops_between(function_, parent_->function_);
    }
    made.loads.push_back(std::move(load));
  }
  return made;
}

}  // namespace spd::jinja
