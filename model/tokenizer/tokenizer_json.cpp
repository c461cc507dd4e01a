#include "model/tokenizer/tokenizer_json.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "kernels/device/error.h"
#include "model/tokenizer/added_token_list.h"
#include "model/tokenizer/pipeline_tokenizer.h"
#include "model/tokenizer/tokenizer_json_reader.h"

namespace spd {
namespace {

BpeOptions read_bpe_options(const JsonComponent& model) {
  // Files written before the library had several models name no type.
  if (model.string_or("type", "BPE") != "BPE") model.not_supported("tokenizer model");
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    if (!model.string_or(key, "").empty())
      model.fail(fmt::format("\"{}\" is not supported", key),
                 "use a model whose tokenizer does without it");
  }
  if (model.has("dropout") && model.value()["dropout"] != 0) {
    model.fail("\"dropout\" is not supported", "set it to null");
  }
  BpeOptions options;
  if (model.has("unk_token")) options.unk_token = model.string("unk_token");
  options.fuse_unk = model.boolean_or("fuse_unk", false);
  options.byte_fallback = model.boolean_or("byte_fallback", false);
  options.ignore_merges = model.boolean_or("ignore_merges", false);
  return options;
}

void read_added_tokens(const JsonComponent& root, AddedTokenList& list) {
  if (!root.has("added_tokens")) return;
  for (const JsonComponent& spec : root.objects("added_tokens")) {
    AddedToken token;
    token.content = spec.string("content");
    const std::int64_t id = spec.integer("id");
    if (id < 0 || id > Vocabulary::kMaxId) spec.fail(fmt::format("the id {} is out of range", id));
    token.special = spec.boolean_or("special", false);
    token.single_word = spec.boolean_or("single_word", false);
    token.lstrip = spec.boolean_or("lstrip", false);
    token.rstrip = spec.boolean_or("rstrip", false);
    token.normalized = spec.boolean_or("normalized", !token.special);
    list.add(std::move(token), static_cast<TokenId>(id));
  }
}

// Marks before every stretch and in the place of spaces, as LLaMA 2's files have it.
bool marks_every_stretch(const JsonComponent& root) {
  const nlohmann::json llama = {
      {"type", "Sequence"},
      {"normalizers",
       {{{"type", "Prepend"}, {"prepend", "\xE2\x96\x81"}},
        {{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", "\xE2\x96\x81"}}}}};
  return root.has("normalizer") && root.object("normalizer").value() == llama &&
         !root.has("pre_tokenizer");
}

}  // namespace

std::unique_ptr<Tokenizer> load_tokenizer_json(const std::filesystem::path& file,
                                               const TokenizerConfig& config) {
  TokenizerDocument document = read_tokenizer_json(file);
  const JsonComponent root(file.string(), document.rest);
  const JsonComponent model = root.object("model");
  BpeOptions options = read_bpe_options(model);
  if (document.problem) root.fail(*document.problem, "fetch the file again");
  PipelineTokenizer::Parts parts;
  if (config.is_llama() && config.marks_only_first() && marks_every_stretch(root)) {
    parts.pre_tokenizer = make_llama_pre_tokenizer();
  } else if (root.has("normalizer")) {
    parts.normalizer = make_normalizer(root.object("normalizer"));
  }
  if (root.has("pre_tokenizer")) {
    parts.pre_tokenizer = make_pre_tokenizer(root.object("pre_tokenizer"));
  }
  if (root.has("decoder")) parts.decoder = make_decoder(root.object("decoder"));
  AddedTokenList added(document.vocabulary);
  read_added_tokens(root, added);
  config.add_to(added);
  parts.added_tokens = added.take();
  try {
    parts.bpe =
        std::make_unique<Bpe>(std::move(document.vocabulary), document.merges, std::move(options));
  } catch (const Error& error) {
    model.fail(error.message(), "fetch the file again");
  }
  std::int64_t vocab_size = parts.bpe->vocabulary().size();
  for (const AddedToken& token : parts.added_tokens) {
    vocab_size = std::max<std::int64_t>(vocab_size, token.id + 1);
  }
  if (vocab_size == 0) model.fail("the vocabulary is empty", "fetch the file again");
  if (root.has("post_processor")) {
    parts.post_processor = make_post_processor(root.object("post_processor"), vocab_size);
  }
  return std::make_unique<PipelineTokenizer>(std::move(parts));
}

}  // namespace spd
