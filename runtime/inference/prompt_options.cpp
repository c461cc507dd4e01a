#include "runtime/inference/prompt_options.h"

#include <fmt/format.h>

#include <charconv>

#include "kernels/device/error.h"
#include "kernels/device/printable.h"
#include "kernels/device/utf8.h"
#include "model/json_text.h"

namespace spd {
namespace {

namespace po = boost::program_options;
using Json = nlohmann::ordered_json;

constexpr int kMaxDepth = 64;

void add_argument(const std::string& given, Json& arguments) {
  const std::string flag = fmt::format("--template-arg {}", printable(given));
  const std::size_t sign = given.find('=');
  const std::string remedy =
      "give NAME=JSON: enable_thinking=false, or a text in quotes of its own, 'name=\"text\"'";
  if (sign == std::string::npos || sign == 0) {
    throw Error(ErrorCode::usage, fmt::format("{} has no name and value", flag), remedy);
  }
  const std::string name = given.substr(0, sign);
  try {
    arguments[name] = parse_ordered_json(given.substr(sign + 1), flag, kMaxDepth);
  } catch (const Error&) {
    throw Error(ErrorCode::usage, fmt::format("{}: the value is not JSON", flag), remedy);
  }
  try {
    check_template_arguments(arguments, "--template-arg");
  } catch (const Error& error) {
    throw Error(ErrorCode::usage, error.what());
  }
}

// Noon of the day in local time, which is what templates are told.
std::time_t parse_date(const std::string& text) {
  int parts[3] = {};  // year, month, day
  const char* at = text.data();
  const char* const end = at + text.size();
  bool good = text.size() == 10 && text[4] == '-' && text[7] == '-';
  for (int i = 0; i < 3 && good; ++i) {
    const auto [stop, error] = std::from_chars(at, end, parts[i]);
    good = error == std::errc() && (stop == end || *stop == '-');
    at = stop == end ? stop : stop + 1;
  }
  std::tm day{};
  day.tm_year = parts[0] - 1900;
  day.tm_mon = parts[1] - 1;
  day.tm_mday = parts[2];
  day.tm_hour = 12;
  day.tm_isdst = -1;
  const std::tm asked = day;
  const std::time_t noon = good && parts[0] >= 1900 ? std::mktime(&day) : -1;
  if (noon == -1 || day.tm_mon != asked.tm_mon || day.tm_mday != asked.tm_mday) {
    throw Error(ErrorCode::usage, fmt::format("--date {} is not a date", printable(text)),
                "give YYYY-MM-DD, such as 2025-01-31");
  }
  return noon;
}

void check_utf8(const std::string& flag, const std::string& text) {
  const std::size_t bad = invalid_utf8_at(text);
  if (bad == std::string::npos) return;
  throw Error(ErrorCode::usage, fmt::format("{}: byte {} is not UTF-8", flag, bad + 1),
              "check the terminal's locale, or give the text in a UTF-8 file by --prompts");
}

}  // namespace

po::options_description PromptOptions::describe() {
  now = std::time(nullptr);
  po::options_description options("Prompts");
  options.add_options()  //
      ("prompt,p", po::value(&prompts)->value_name("TEXT")->composing(),
       "a prompt, repeatable")                           //
      ("prompts", po::value(&file)->value_name("FILE"),  //
       "prompts from a file (- is stdin): a text a line, or JSON: {\"prompt\": ...} or "
       "{\"messages\": [...]} a line, or one list of them; beside these, \"tools\", \"documents\", "
       "\"chat_template_kwargs\" and \"id\"")  //
      ("chat", po::bool_switch(&chat),         //
       "put plain prompts through the model's chat template, as a user's messages; \"messages\" "
       "always are")                                      //
      ("system", po::value(&system)->value_name("TEXT"),  //
       "system message for chats that have none")         //
      ("template-arg",
       po::value<std::vector<std::string>>()->value_name("N=JSON")->composing()->notifier(
           [this](const std::vector<std::string>& all) {
             for (const std::string& given : all) add_argument(given, template_arguments);
           }),
       "variable for the chat template, repeatable: enable_thinking=false")  //
      ("date",
       po::value<std::string>()->value_name("DAY")->notifier(
           [this](const std::string& text) { now = parse_date(text); }),
       "YYYY-MM-DD for chat templates that print today's date (default: today, so that such "
       "prompts differ from day to day)");
  return options;
}

void PromptOptions::check() const {
  if (!prompts.empty() && !file.empty()) {
    throw Error(ErrorCode::usage, "--prompt and --prompts are both given", "use one of them");
  }
  for (const std::string& text : prompts) check_utf8("--prompt", text);
  check_utf8("--system", system);
}

std::vector<Prompt> PromptOptions::from_command_line() const {
  std::vector<Prompt> given;
  for (const std::string& text : prompts) {
    Prompt prompt;
    prompt.text = text;
    prompt.origin = "--prompt";
    given.push_back(std::move(prompt));
  }
  return given;
}

}  // namespace spd
