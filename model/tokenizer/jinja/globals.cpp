// The global functions of templates.
#include <array>
#include <ctime>

#include "model/tokenizer/jinja/arguments.h"
#include "model/tokenizer/jinja/objects.h"
#include "model/tokenizer/jinja/operators.h"
#include "model/tokenizer/jinja/printing.h"

namespace spd::jinja {
namespace {

Value range(Rendering& rendering, Arguments& arguments) {
  rendering.step(4);
  if (arguments.positional.size() == 0) fail("range expected at least 1 argument, got 0");
  const Bound bound("range", arguments, {"/start", "/stop", "/step"}, 1);
  if (!arguments.named.empty()) fail("range() takes no keyword arguments");
  const std::int64_t first = bound.integer(0, 0);
  const bool alone = !bound.has(1);
  auto made = std::make_shared<Range>(alone ? 0 : first, alone ? first : bound.integer(1, 0),
                                      bound.integer(2, 1));
  if (*made->length(rendering) > kMostRange) {
    fail("Range too big. The sandbox blocks ranges larger than MAX_RANGE (100000).");
  }
  return std::shared_ptr<Object>(std::move(made));
}

void add_pairs(Rendering& rendering, Dict& to, const Value& from) {
  if (const Dict* dict = from.dict()) {
    for (const auto& [key, value] : dict->items) to.set(key, value);
    return;
  }
  const Next next = iterate(rendering, from);
  for (Value item; next(item);) {
    std::vector<Value> pair = items_of(rendering, item);
    if (pair.size() != 2) {
      fail("dictionary update sequence element has length " + std::to_string(pair.size()) +
           "; 2 is required");
    }
    to.set(pair[0], std::move(pair[1]));
  }
}

Dict make_dict(Rendering& rendering, const char* function, const Arguments& arguments) {
  if (arguments.positional.size() > 1) {
    fail(std::string(function) + " expected at most 1 argument, got " +
         std::to_string(arguments.positional.size()));
  }
  Dict made;
  if (!arguments.positional.empty()) add_pairs(rendering, made, arguments.positional[0]);
  for (const auto& [name, value] : arguments.named) made.set(rendering.text(name), value);
  return made;
}

Value dict(Rendering& rendering, Arguments& arguments) {
  return rendering.dict(make_dict(rendering, "dict", arguments));
}

Value name_space(Rendering& rendering, Arguments& arguments) {
  Dict attributes = make_dict(rendering, "namespace", arguments);
  for (const auto& [key, value] : attributes.items) {
    if (key.text() != nullptr && key.text()->bytes.starts_with('_')) {
      fail("a namespace has no attributes that start with an underscore: '" + key.text()->bytes +
           "'");
    }
  }
  return rendering.space(std::make_shared<Namespace>(std::move(attributes)));
}

/// `cycler(...)`: its items one by one, over and over.
class Cycler : public Object {
 public:
  explicit Cycler(std::vector<Value> items) : items_(std::move(items)) {}
  std::string type_name() const override { return "Cycler"; }
  unsigned depth() const override {
    unsigned deepest = 0;
    for (const Value& item : items_) deepest = std::max(deepest, depth_of(item));
    return deepest + 1;
  }

  std::optional<Value> attribute(Rendering& rendering, const std::string& name) override {
    if (name == "current") return items_[at_];
    if (name == "pos") return static_cast<std::int64_t>(at_);
    if (name == "items") return rendering.tuple(items_);
    if (name != "next" && name != "reset") return std::nullopt;
    auto self = std::static_pointer_cast<Cycler>(shared_from_this());
    return std::shared_ptr<Object>(std::make_shared<Function>(
        "method",
        [self, goes_on = name == "next"](Rendering&, Arguments& arguments) -> Value {
          const Bound none("cycler method", arguments, {});
          const std::size_t at = self->at_;
          self->at_ = goes_on ? (at + 1) % self->items_.size() : 0;
          return goes_on ? self->items_[at] : Value(None{});
        },
        depth() + 1));
  }

 private:
  std::vector<Value> items_;
  std::size_t at_ = 0;
};

Value cycler(Rendering& rendering, Arguments& arguments) {
  if (!arguments.named.empty()) fail("cycler() takes no keyword arguments");
  if (arguments.positional.empty()) fail("at least one item has to be provided");
  // Made a tuple first: that counts, and bounds the nesting.
  const Value items = rendering.tuple(std::move(arguments.positional));
  return std::shared_ptr<Object>(std::make_shared<Cycler>(items.tuple()->items));
}

Value joiner(Rendering& rendering, Arguments& arguments) {
  const Bound bound("joiner", arguments, {"sep"});
  const Value separator = bound.get(0, rendering.text(", "));
  return std::shared_ptr<Object>(std::make_shared<Function>(
      "Joiner",
      [separator, used = false](Rendering& running, Arguments& none) mutable {
        const Bound bound_none("joiner", none, {});
        return std::exchange(used, true) ? separator : running.text("");
      },
      depth_of(separator) + 1));
}

Value raise_exception(Rendering& rendering, Arguments& arguments) {
  const Bound bound("raise_exception", arguments, {"message"}, 1);
  fail(to_str(rendering, bound[0]));
}

/// What time.strftime does not know but datetime.strftime does: no zone, no fractions of a second.
std::string without_python_only(std::string_view format) {
  std::string plain;
  for (std::size_t at = 0; at < format.size(); ++at) {
    if (format[at] != '%' || at + 1 == format.size()) {
      plain += format[at];
      continue;
    }
    const char letter = format[++at];
    if (letter == 'f') {
      plain += "000000";
    } else if (letter != 'z' && letter != 'Z') {
      plain += std::string("%") + letter;
    }
  }
  return plain;
}

Value strftime_now(Rendering& rendering, Arguments& arguments) {
  const Bound bound("strftime_now", arguments, {"format"}, 1);
  const std::string format = without_python_only(bound.text(0).bytes);
  constexpr std::size_t kMostFormat = 1'000;
  if (format.size() > kMostFormat) fail("strftime_now of so long a format is not supported");
  const std::time_t now = rendering.now();
  std::tm local{};
  localtime_r(&now, &local);
  // A format may print nothing: with a character before it, no size of 0 is a failure.
  std::array<char, 32'768> buffer{};
  const std::size_t size =
      std::strftime(buffer.data(), buffer.size(), ("." + format).c_str(), &local);
  if (size == 0) fail("strftime_now printed too much");
  return rendering.text(std::string(buffer.data() + 1, size - 1));
}

Value lipsum(Rendering&, Arguments&) { fail("lipsum is not supported"); }

struct Named {
  std::string_view name;
  Value (*function)(Rendering&, Arguments&);
};

constexpr auto kGlobals = std::to_array<Named>({
    {"range", range},
    {"dict", dict},
    {"namespace", name_space},
    {"cycler", cycler},
    {"joiner", joiner},
    {"raise_exception", raise_exception},
    {"strftime_now", strftime_now},
    {"lipsum", lipsum},
});

}  // namespace

std::optional<Value> global(Rendering& rendering, const std::string& name) {
  for (const Named& entry : kGlobals) {
    if (entry.name != name) continue;
    rendering.step();
    return std::shared_ptr<Object>(std::make_shared<Function>("function", entry.function));
  }
  return std::nullopt;
}

}  // namespace spd::jinja
