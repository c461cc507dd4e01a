// JSON from outside, parsed within bounds and with messages for people.
#pragma once

#include <nlohmann/json.hpp>

#include <string>
#include <string_view>

namespace spd {

/// Parses `text` as JSON of at most `max_depth` nested objects and arrays, refusing keys that come
/// twice in an object. NaN, Infinity and -Infinity are numbers, as Python's json writes them:
/// whoever takes a number checks that it is finite. Throws input Error that begins with `where` and
/// names line and column (in bytes, from 1); `remedy` closes it, empty: "mend the file, or replace
/// it by an undamaged copy".
nlohmann::json parse_json(std::string_view text, const std::string& where, int max_depth,
                          const std::string& remedy = "");
/// The same, keeping the order of the keys.
nlohmann::ordered_json parse_ordered_json(std::string_view text, const std::string& where,
                                          int max_depth);

/// What is wrong with a text that nlohmann's parser refuses, for its handlers: "not valid JSON:
/// line 1, column 2: ..., after `...`". `position`: as the parser counts, behind the last byte
/// read.
std::string json_problem(std::string_view text, std::size_t position,
                         const nlohmann::detail::exception& error);

/// `value` as JSON in at most some 60 characters of ASCII, for messages.
std::string shown_json(const nlohmann::json& value);

}  // namespace spd
