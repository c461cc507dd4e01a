// Normalizers: what is done to a text before it is cut up.
#pragma once

#include <memory>
#include <string>

#include "model/tokenizer/json_component.h"

namespace spd {

class Normalizer {
 public:
  Normalizer() = default;
  Normalizer(const Normalizer&) = delete;
  Normalizer& operator=(const Normalizer&) = delete;
  virtual ~Normalizer() = default;
  /// `text`: valid UTF-8. Throws input Error where it would grow beyond what texts need: 64 times
  /// its size and a MiB.
  void apply(std::string& text) const {
    apply_within(text, (std::size_t{1} << 20) + 64 * text.size());
  }
  /// The same with a limit in bytes.
  virtual void apply_within(std::string& text, std::size_t most) const = 0;
};

/// NFC, NFD, NFKC, NFKD, Lowercase, Prepend, Replace, Strip, Sequence. Throws input Error for any
/// other.
std::unique_ptr<Normalizer> make_normalizer(const JsonComponent& spec);

}  // namespace spd
