// spd generate: prompts to completions, streaming or as JSON lines; chat.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <iostream>

#include "kernels/device/error.h"
#include "kernels/device/log.h"
#include "model/tokenizer/tokenizer.h"
#include "runtime/commands/command.h"
#include "runtime/inference/embedding_rows.h"
#include "runtime/inference/generator.h"
#include "runtime/inference/prompt_encoder.h"
#include "runtime/inference/prompt_input.h"
#include "runtime/inference/prompt_options.h"
#include "runtime/job/console.h"
#include "runtime/job/interrupt.h"
#include "runtime/job/user_input.h"

namespace spd {
namespace {

constexpr const char* kUsage =
    "spd generate: complete prompts with a tensor-parallel model.\n\n"
    "  mpirun -n R spd generate --model DIR --prompt TEXT [options]";
constexpr const char* kExamples =
    "Examples:\n"
    "  mpirun -n 3 spd generate -m models/smollm2-135m --prompt \"Gravity is\" --max-new-tokens "
    "64\n"
    "  mpirun -n 3 spd generate -m DIR --prompts in.jsonl --format jsonl > out.jsonl\n"
    "  mpirun -n 3 spd generate -m DIR --chat                       a conversation on stdin\n"
    "  mpirun -n 3 spd generate -m DIR --prompt Hi --drop attn:5-20 without 16 of the syncs\n"
    "  spd generate -m DIR --prompt Hi --virtual-ranks 8 --virtual-nodes 2 --node attn:all\n";

struct GenerateOptions {
  CommonOptions common;
  StartOptions start;  // parsed before; here so that --help shows them and they are accepted
  NamedFiles files;
  GenerationOptions generation;
  PromptOptions input;
  std::string format = "auto";
  bool ignore_eos = false;

  void parse(const std::vector<std::string>& arguments) {
    SamplingOptions& sampling = generation.sampling;
    po::options_description output("Output");
    output.add_options()                                 //
        ("format", po::value(&format)->value_name("F"),  //
         "text: stream the completion; jsonl: a line a prompt; default: text for a single "
         "--prompt, jsonl otherwise");
    po::options_description decoding("Decoding");
    decoding.add_options()                                                            //
        ("max-new-tokens,n", po::value(&generation.max_new_tokens)->value_name("N"),  //
         "tokens a completion has at most (default 128)")                             //
        ("temperature", po::value(&sampling.temperature)->value_name("T"),
         "0: greedy (default)")                                                                //
        ("top-k", po::value(&sampling.top_k)->value_name("K"), "sample from the K likeliest")  //
        ("top-p", po::value(&sampling.top_p)->value_name("P"),
         "sample from the likeliest that "
         "add up to P")                                                             //
        ("seed", po::value(&sampling.seed)->value_name("S"),                        //
         "the same seed draws the same tokens on any number of ranks (default 0)")  //
        ("batch", po::value(&generation.batch)->value_name("B"),                    //
         "prompts decoded together at most (default 8); without --exact some prompts (2 of 300) go "
         "on in another way in another batch, for sums are rounded in another order")  //
        ("ignore-eos", po::bool_switch(&ignore_eos), "go on past the end-of-sequence token");
    po::options_description all;
    all.add(input.describe())
        .add(output)
        .add(decoding)
        .add(common.describe())
        .add(start.describe());
    files = parse_arguments(all, arguments, kUsage, kExamples);
    generation.stop_at_eos = !ignore_eos;
    check();
  }

  void check() const {
    generation.sampling.validate();
    const auto at_least_one = [](const char* flag, std::int64_t value) {
      if (value < 1) {
        throw Error(ErrorCode::usage, fmt::format("{} {} is less than 1", flag, value),
                    "see spd generate --help");
      }
    };
    at_least_one("--max-new-tokens", generation.max_new_tokens);
    at_least_one("--batch", generation.batch);
    if (format != "auto" && format != "text" && format != "jsonl") {
      throw Error(ErrorCode::usage, fmt::format("--format {} is unknown", format),
                  "use text or jsonl");
    }
    if (input.prompts.empty() && input.file.empty() && !input.chat) {
      throw Error(ErrorCode::usage, "there is nothing to complete",
                  "give --prompt TEXT, --prompts FILE or --chat");
    }
    input.check();
  }

  bool streams() const {
    return format == "text" ||
           (format == "auto" && input.file.empty() && input.prompts.size() == 1);
  }
};

// Prompts as ids on every rank: lengths, then all ids in one piece.
std::vector<std::vector<std::int32_t>> share(
    const RankComms& comms, const std::vector<std::vector<std::int32_t>>& prompts) {
  std::vector<std::int32_t> lengths;
  std::vector<std::int32_t> flat;
  for (const auto& ids : prompts) {
    lengths.push_back(static_cast<std::int32_t>(ids.size()));
    flat.insert(flat.end(), ids.begin(), ids.end());
  }
  lengths = broadcast_ids(comms, std::move(lengths));
  flat = broadcast_ids(comms, std::move(flat));
  std::vector<std::vector<std::int32_t>> shared;
  std::int64_t next = 0;
  for (const std::int32_t length : lengths) {
    shared.emplace_back(flat.begin() + next, flat.begin() + next + length);
    next += length;
  }
  return shared;
}

nlohmann::json to_json(const Completion& completion, const Tokenizer& tokenizer, std::size_t index,
                       std::size_t prompt_tokens) {
  return {{"index", index},
          {"completion", tokenizer.decode(completion.ids, true)},
          {"ids", completion.ids},
          {"prompt_tokens", prompt_tokens},
          {"completion_tokens", completion.ids.size()},
          {"finish", !completion.whole    ? "interrupted"
                     : completion.stopped ? "stop"
                                          : "length"},
          {"context_full", completion.context_full},
          {"ttft_ms", completion.ttft_s * 1e3},
          {"tpot_ms", completion.ms_per_token()}};
}

std::int64_t context_limit(const ModelConfig& config, std::size_t longest,
                           const std::string& origin, std::int64_t new_tokens) {
  if (static_cast<std::int64_t>(longest) >= config.max_positions) {
    throw Error(ErrorCode::usage,
                fmt::format("{}: the prompt has {} tokens, the model's context is {}", origin,
                            longest, config.max_positions),
                "shorten the prompt");
  }
  return std::min<std::int64_t>(config.max_positions,
                                static_cast<std::int64_t>(longest) + new_tokens);
}

// Told apart from --max-new-tokens: "finish" is "length" for both, as elsewhere.
std::string context_is_full(const ModelConfig& config) {
  return fmt::format("the model's context of {} tokens is full", config.max_positions);
}

void warn_of_full_context(const ModelConfig& config, const std::vector<Completion>& completions) {
  const auto full = std::count_if(completions.begin(), completions.end(),
                                  [](const Completion& one) { return one.context_full; });
  if (full == 0) return;
  spdlog::warn("{} of {} completions ended early: {}", full, completions.size(),
               context_is_full(config));
}

// `messages`: a list of them as the template takes them.
void keep_conversation(Engine& engine, const nlohmann::ordered_json& messages,
                       const OutputFile& results) {
  if (!results) return;
  nlohmann::json json = result_header("conversation", engine);
  json["messages"] = messages;
  write_json(engine.context(), results, json);
}

// `tokenizer`, `encoder`: on rank 0.
void converse(Engine& engine, const GenerateOptions& options, const Tokenizer* tokenizer,
              PromptEncoder* encoder, const OutputFile& results) {
  RankContext& context = engine.context();
  const std::int64_t capacity = engine.config().max_positions;
  Generator generator(engine, options.generation, 1, capacity);
  Prompt chat;  // all that was said
  chat.origin = "chat";
  const auto add_message = [&](const char* role, const std::string& text) {
    chat.chat.messages.push_back(nlohmann::ordered_json{{"role", role}, {"content", text}});
  };
  while (true) {
    std::vector<std::int32_t> ids;
    agree(context.comms, "reading the conversation", [&] {
      if (context.root()) std::fputs("> ", stderr);
      const auto line = read_on_root<std::string>(context.comms, [] {
        std::string line;
        while (std::getline(std::cin, line) && line.empty()) {
        }
        return line;
      });
      if (line.empty()) return;  // another rank, or the end of input
      add_message("user", plain_line(line, chat.origin));
      ids = encoder->encode(chat).ids;
      check_embedding_rows(ids, engine.config().vocab, *tokenizer, options.common.engine.model,
                           chat.origin);
      if (static_cast<std::int64_t>(ids.size()) >= capacity) {
        throw Error(ErrorCode::input,
                    fmt::format("the conversation has reached the model's "
                                "context of {} tokens",
                                capacity),
                    "begin a new one");
      }
    });
    ids = broadcast_ids(context.comms, std::move(ids));
    if (ids.empty()) {
      if (!results.is_replaced()) keep_conversation(engine, chat.chat.messages, results);
      return;
    }
    std::optional<StreamDecoder> stream;
    std::string reply;
    if (context.root()) stream.emplace(*tokenizer);
    const auto print = [&](const std::string& piece) {
      reply += piece;
      say_text(piece);
      flush_stdout();
    };
    const Completion said = generator.continue_chat(ids, [&](std::size_t, std::int32_t token) {
      if (stream) print(stream->push(token));
    });
    if (stream) {
      print(stream->finish());
      say_text("\n");
      if (said.context_full) spdlog::warn("{}", context_is_full(engine.config()));
      add_message("assistant", reply);
    }
    if (results.is_replaced()) keep_conversation(engine, chat.chat.messages, results);
    if (generator.stopped()) {
      stop(*generator.stopped(),
           results ? fmt::format("kept: the conversation, in {}", options.common.json)
                   : "the conversation so far is on stdout",
           "the same command begins a new one");
    }
  }
}

}  // namespace

void run_generate(RankContext& context, const std::vector<std::string>& arguments) {
  const auto begin = std::chrono::steady_clock::now();
  GenerateOptions options;
  options.parse(arguments);

  check_apart(context, options.files);
  const OutputFile results = open_output(context, "--json", options.common.json);
  std::unique_ptr<Tokenizer> tokenizer;
  std::optional<PromptEncoder> encoder;
  std::vector<std::vector<std::int32_t>> prompts;
  std::vector<nlohmann::json> names;  // that the user gave the prompts, or null; on rank 0
  std::int64_t capacity = 0;
  ModelConfig config;
  agree(context.comms, "reading the tokenizer", [&] {
    config = load_config(options.common.engine);
    if (context.root()) tokenizer = Tokenizer::load(options.common.engine.model);
  });
  agree(context.comms, "reading prompts", [&] {
    std::vector<Prompt> input = options.input.from_command_line();
    if (!options.input.file.empty()) {
      input = read_on_root<std::vector<Prompt>>(
          context.comms, [file = options.input.file] { return read_prompts(file); });
    }
    if (!context.root()) return;
    encoder.emplace(options.common.engine.model, options.input, *tokenizer);
    if (options.input.converses()) encoder->load_template();  // before the user begins to type
    for (const Prompt& prompt : input) {
      stop_alone_if_interrupted(context.comms, "reading prompts");
      prompts.push_back(encoder->encode(prompt).ids);
      check_embedding_rows(prompts.back(), config.vocab, *tokenizer, options.common.engine.model,
                           prompt.origin);
      names.push_back(prompt.id);
      capacity = std::max(capacity, context_limit(config, prompts.back().size(), prompt.origin,
                                                  options.generation.max_new_tokens));
    }
  });
  if (options.input.converses()) {
    Engine engine(context, options.common.engine, 0);
    converse(engine, options, tokenizer.get(), encoder ? &*encoder : nullptr, results);
    return;
  }
  prompts = share(context.comms, prompts);
  capacity = broadcast_ids(context.comms, {static_cast<std::int32_t>(capacity)}).front();

  Engine engine(context, options.common.engine, capacity);
  const double ready_s =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  Generator generator(engine, options.generation, static_cast<std::int64_t>(prompts.size()),
                      capacity);
  const bool streams = options.streams();
  std::optional<StreamDecoder> decoder;  // of the one prompt that is streamed
  if (context.root() && streams && prompts.size() == 1) decoder.emplace(*tokenizer);
  const auto print = [](const std::string& piece) {
    say_text(piece);
    flush_stdout();
  };
  const auto on_token = [&](std::size_t, std::int32_t token) {
    if (decoder) print(decoder->push(token));
  };
  const auto result_of = [&](std::size_t prompt, const Completion& completion) {
    auto line = to_json(completion, *tokenizer, prompt, prompts[prompt].size());
    if (!names[prompt].is_null()) line["id"] = names[prompt];
    return line;
  };
  const auto on_done = [&](std::size_t prompt, const Completion& completion) {
    if (decoder) print(decoder->finish() + "\n");
    if (context.root() && !streams) {
      say_text(json_text(result_of(prompt, completion), -1) + '\n');
    }
  };
  if (decoder && !options.input.chat) print(tokenizer->decode(prompts.front(), true));
  const auto completions = generator.run(prompts, on_token, on_done);
  const auto whole = std::count_if(completions.begin(), completions.end(),
                                   [](const Completion& completion) { return completion.whole; });
  const bool complete = whole == static_cast<std::int64_t>(completions.size());

  if (context.root()) warn_of_full_context(engine.config(), completions);
  nlohmann::json json = result_header("generate", engine);
  json["ready_s"] = ready_s;
  json["weight_bytes"] = engine.transformer().weight_bytes();
  json["complete"] = complete;
  json["completions"] = nlohmann::json::array();
  for (std::size_t i = 0; i < completions.size() && context.root(); ++i) {
    const Completion& completion = completions[i];
    if (streams && prompts.size() > 1 && completion.whole) {
      print(fmt::format("[{}] {}{}\n", i, tokenizer->decode(prompts[i], true),
                        tokenizer->decode(completion.ids, true)));
    }
    json["completions"].push_back(result_of(i, completion));
    if (streams && completion.whole) {
      fmt::print(stderr,
                 "{} prompt tokens, {} new; ready {:.2f} s, first token {:.1f} ms, then {:.2f} "
                 "ms/token; {} rank(s); {}\n",
                 prompts[i].size(), completion.ids.size(), ready_s, completion.ttft_s * 1e3,
                 completion.ms_per_token(), context.ranks(), engine.plan().levels.describe());
    }
  }
  if (decoder && !complete) print(decoder->finish() + "\n");
  write_json(context, results, json);
  if (!complete) {
    const std::string kept =
        results ? fmt::format("{} of {} completions, in {}", whole, completions.size(),
                              options.common.json)
        : generator.stopped()->signal == 0
            ? "the completions before"
            : fmt::format("{} of {} completions, on stdout", whole, completions.size());
    stop(*generator.stopped(), "kept: " + kept, "give the prompts that lack a completion again");
  }
}

}  // namespace spd
