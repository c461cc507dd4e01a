// Jinja templates, as chat templates of Hugging Face models are written in them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <ctime>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace spd::jinja {

/// What a template may use up, and what it is told of the world.
struct RenderOptions {
  std::uint64_t most_steps = 20'000'000;            ///< nodes evaluated, characters touched
  std::size_t most_output = std::size_t{64} << 20;  ///< bytes
  std::time_t now = 0;                              ///< for strftime_now (local time)
};

/// A parsed template. Means what it means in Jinja2 3.1 as transformers configures it: an immutable
/// sandbox with trim_blocks, lstrip_blocks, loop controls, `{% generation %}`, tojson without HTML
/// escapes, raise_exception and strftime_now. What else Jinja2 has is refused, never guessed.
class Template {
 public:
  /// `name` begins messages. Throws input Error "NAME: line L, column C: what is wrong", whose
  /// remedy is to mend the template.
  static Template parse(std::string_view source, const std::string& name);

  /// Throws input Error, placed like those of parse, for what the template does wrong, for more
  /// than the options allow, and with the template's own words where it calls raise_exception:
  /// without remedy where what it was given may be what is wrong.
  /// `variables`: an object; the order of its keys is kept (for tojson and loops).
  std::string render(const nlohmann::ordered_json& variables,
                     const RenderOptions& options = {}) const;

 private:
  struct Parsed;
  explicit Template(std::shared_ptr<const Parsed> parsed) : parsed_(std::move(parsed)) {}
  std::shared_ptr<const Parsed> parsed_;
};

}  // namespace spd::jinja
