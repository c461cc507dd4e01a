// The few character classes that tokenizers speak of.
#pragma once

namespace spd {

/// Unicode's White_Space.
bool is_space(char32_t code_point);
/// General category Nd, Nl or No.
bool is_numeric(char32_t code_point);
/// General category P*, or any ASCII punctuation or symbol.
bool is_punctuation(char32_t code_point);
/// What \w stands for: letters, marks, decimal digits, connectors, letter numbers, joiners.
bool is_word(char32_t code_point);

}  // namespace spd
