// spd tokenize: what generate runs a model on: rendered chats, ids and their pieces.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "kernels/device/error.h"
#include "kernels/device/log.h"
#include "kernels/device/printable.h"
#include "model/tokenizer/tokenizer.h"
#include "runtime/commands/command.h"
#include "runtime/inference/embedding_rows.h"
#include "runtime/inference/prompt_encoder.h"
#include "runtime/inference/prompt_input.h"
#include "runtime/inference/prompt_options.h"
#include "runtime/job/console.h"
#include "runtime/job/interrupt.h"
#include "runtime/job/user_input.h"
#include "runtime/report/output_file.h"

namespace spd {
namespace {

constexpr const char* kUsage =
    "spd tokenize: show what generate would run a model on: the chat as its template renders it, "
    "ids\nand pieces. Needs neither weights nor mpirun.\n\n"
    "  spd tokenize --model DIR --prompt TEXT [options]";
constexpr const char* kExamples =
    "A line a token: its place, its id, its piece as the vocabulary spells it (byte-level ones "
    "write a\nspace as \u0120, SentencePiece as \u2581), and * for special tokens.\n\n"
    "Examples:\n"
    "  spd tokenize -m models/smollm2-135m --prompt \"Gravity is\"\n"
    "  spd tokenize -m DIR --chat --system \"Be brief.\" --prompt Hi     as a user's message\n"
    "  spd tokenize -m DIR --prompts chats.jsonl --json ids.json       {\"messages\": [...]} a "
    "line\n"
    "  spd tokenize -m DIR --chat --prompt Hi --template-arg enable_thinking=false\n"
    "  echo '{\"messages\": [{\"role\": \"user\", \"content\": \"Hi\"}, {\"role\": \"assistant\", "
    "\"content\": \"Well\"}]}' |\n"
    "    spd tokenize -m DIR --prompts -          a reply that has begun is continued\n";

struct TokenizeOptions {
  PromptOptions input;
  NamedFiles files;
  std::string model;
  std::string json;

  void parse(const std::vector<std::string>& arguments) {
    po::options_description work("Model and output");
    work.add_options()                                                                 //
        ("model,m", po::value(&model)->value_name("DIR")->required(),                  //
         "Hugging Face directory; its tokenizer's files will do")                      //
        ("json", po::value(&json)->value_name("FILE"),                                 //
         "write texts, ids and pieces as JSON, too")                                   //
        ("config", po::value<std::string>()->value_name("FILE"),                       //
         "read options from a file of lines \"name = value\"; the command line wins")  //
        ("help,h", "this text");
    po::options_description all;
    all.add(input.describe()).add(work);
    files = parse_arguments(all, arguments, kUsage, kExamples);
    if (input.prompts.empty() && input.file.empty()) {
      throw Error(ErrorCode::usage, "there is nothing to tokenise",
                  "give --prompt TEXT or --prompts FILE");
    }
    input.check();
  }
};

// A piece on a line of its own, in ASCII where it would break it.
std::string piece_text(std::string_view piece) {
  std::string text;
  for (const char c : printable(piece)) {
    if (c == '\n' || c == '\t') {
      text += c == '\n' ? "\\n" : "\\t";
    } else {
      text += c;
    }
  }
  return text;
}

std::vector<std::string> pieces_of(const Tokenizer& tokenizer,
                                   const std::vector<std::int32_t>& ids) {
  std::vector<std::string> pieces;
  pieces.reserve(ids.size());
  for (const std::int32_t id : ids) pieces.emplace_back(tokenizer.token_text(id).value_or(""));
  return pieces;
}

void print_prompt(const Prompt& prompt, const EncodedPrompt& encoded, const Tokenizer& tokenizer) {
  say("{}: {} token{}\n", printable(prompt.origin), encoded.ids.size(),
      encoded.ids.size() == 1 ? "" : "s");
  if (encoded.is_chat) say("{}\n", printable(encoded.text));
  for (std::size_t i = 0; i < encoded.ids.size(); ++i) {
    const std::int32_t id = encoded.ids[i];
    say("{:>6} {:>7} {} {}\n", i, id, tokenizer.is_special(id) ? '*' : ' ',
        piece_text(tokenizer.token_text(id).value_or("")));
  }
}

nlohmann::json to_json(const Prompt& prompt, const EncodedPrompt& encoded,
                       const Tokenizer& tokenizer) {
  nlohmann::json json = {{"origin", prompt.origin},
                         {encoded.is_chat ? "rendered" : "text", encoded.text},
                         {"tokens", encoded.ids.size()},
                         {"ids", encoded.ids},
                         {"pieces", pieces_of(tokenizer, encoded.ids)}};
  if (!prompt.id.is_null()) json["id"] = prompt.id;
  return json;
}

// generate would end by this error; here all that was asked for can be shown.
void warn_of_rows(const TokenizeOptions& options, const Prompt& prompt,
                  const EncodedPrompt& encoded, std::int64_t rows, const Tokenizer& tokenizer) {
  try {
    check_embedding_rows(encoded.ids, rows, tokenizer, options.model, prompt.origin);
  } catch (const Error& error) {
    spdlog::warn("{}", error.what());
  }
}

std::vector<Prompt> read_input(const RankContext& context, const PromptOptions& input) {
  if (input.file.empty()) return input.from_command_line();
  return read_on_root<std::vector<Prompt>>(context.comms,
                                           [file = input.file] { return read_prompts(file); });
}

}  // namespace

void run_tokenize(RankContext& context, const std::vector<std::string>& arguments) {
  TokenizeOptions options;
  options.parse(arguments);
  nlohmann::json json = {{"schema", "spd.tokenize/1"},
                         {"version", SPD_VERSION},
                         {"model", {{"path", options.model}}},
                         {"prompts", nlohmann::json::array()}};
  check_apart(context, options.files);
  const OutputFile results = open_output(context, "--json", options.json);
  std::unique_ptr<Tokenizer> tokenizer;
  agree(context.comms, "reading the tokenizer", [&] {
    if (context.root()) tokenizer = Tokenizer::load(options.model);
  });
  agree(context.comms, "tokenising", [&] {
    const std::vector<Prompt> prompts = read_input(context, options.input);
    if (!context.root()) return;
    PromptEncoder encoder(options.model, options.input, *tokenizer);
    std::vector<EncodedPrompt> encoded;  // all, before anything is printed
    for (const Prompt& prompt : prompts) {
      stop_alone_if_interrupted(context.comms, "tokenising");
      encoded.push_back(encoder.encode(prompt));
    }
    const auto rows = said_embedding_rows(options.model);
    for (std::size_t i = 0; i < prompts.size(); ++i) {
      print_prompt(prompts[i], encoded[i], *tokenizer);
      if (rows) warn_of_rows(options, prompts[i], encoded[i], *rows, *tokenizer);
      if (!results) continue;
      json["prompts"].push_back(to_json(prompts[i], encoded[i], *tokenizer));
    }
  });
  write_json(context, results, json);
}

}  // namespace spd
