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
  /// `text`: valid UTF-8.
  virtual void apply(std::string& text) const = 0;
};

/// NFC, NFD, NFKC, NFKD, Lowercase, Prepend, Replace, Strip, Sequence. Throws input Error for any
/// other.
std::unique_ptr<Normalizer> make_normalizer(const JsonComponent& spec);

}  // namespace spd
