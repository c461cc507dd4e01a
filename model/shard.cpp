#include "model/shard.h"

#include <fmt/format.h>

#include <cstring>

#include "kernels/device/error.h"
#include "model/checkpoint/tensor_names.h"
#include "model/checkpoint/weight_check.h"

namespace spd {
namespace {

using Indices = std::vector<std::int32_t>;

// Elements [head * size, head * size + size) of every head, in order.
Indices elements_of_heads(const Indices& heads, std::int64_t size) {
  Indices elements;
  for (const std::int32_t head : heads) {
    for (std::int64_t i = 0; i < size; ++i) {
      elements.push_back(static_cast<std::int32_t>(head * size + i));
    }
  }
  return elements;
}

class ShardLoader {
 public:
  ShardLoader(const ModelConfig& config, WeightSource& source, Operators& operators)
      : config_(config),
        source_(source),
        operators_(operators),
        stream_(operators.device().make_stream()) {}

  BlockWeights block(std::int64_t index, const BlockShard& shard) {
    const BlockNames names = block_names(config_, index);
    const std::int64_t hd = config_.head_dim;
    const Indices kv = shard.kv_heads(config_);
    const Indices q_rows = elements_of_heads(shard.q_heads, hd);
    const Indices kv_rows = elements_of_heads(kv, hd);

    BlockWeights block;
    block.kv_head_of = shard.kv_head_of(config_);
    block.q_heads = static_cast<std::int64_t>(shard.q_heads.size());
    block.kv_heads = static_cast<std::int64_t>(kv.size());
    block.neurons = static_cast<std::int64_t>(shard.neurons.size());
    block.norm.attn = norm(names.attn_norm, config_.hidden, config_.norm);
    block.norm.mlp = norm(names.mlp_norm, config_.hidden, config_.norm);
    if (config_.qk_norm) {
      block.q_norm = norm(names.q_norm, hd, NormKind::rms);
      block.k_norm = norm(names.k_norm, hd, NormKind::rms);
    }
    const std::int64_t q_total = config_.q_heads * hd;
    const std::int64_t kv_total = config_.kv_heads * hd;
    const std::vector<RowSelection> qkv{
        {names.q, q_total, q_rows}, {names.k, kv_total, kv_rows}, {names.v, kv_total, kv_rows}};
    block.qkv = rows(qkv);
    if (config_.qkv_bias) block.qkv_bias = elements(qkv);
    block.o = columns(names.o, q_total, q_rows);
    if (config_.o_bias) block.o_bias = vector(names.o + ".bias", config_.hidden);

    std::vector<RowSelection> gate_up;
    if (config_.gated_mlp) gate_up.push_back({names.gate, config_.mlp, shard.neurons});
    gate_up.push_back({names.up, config_.mlp, shard.neurons});
    block.gate_up = rows(gate_up);
    block.down = columns(names.down, config_.mlp, shard.neurons);
    if (config_.mlp_bias) {
      block.gate_up_bias = elements(gate_up);
      block.down_bias = vector(names.down + ".bias", config_.hidden);
    }
    return block;
  }

  NormWeights norm(const std::string& module, std::int64_t size, NormKind kind) {
    NormWeights norm;
    norm.kind = kind;
    norm.epsilon = config_.norm_epsilon;
    norm.weight = vector(module + ".weight", size);
    if (kind == NormKind::layer) norm.bias = vector(module + ".bias", size);
    return norm;
  }

  Weight vocabulary_rows(const std::string& name, VocabRange range) {
    const auto reader = source_.open(name, config_.vocab, config_.hidden);
    Weight weight = operators_.make_weight(reader->dtype(), range.count, config_.hidden);
    for (std::int64_t i = 0; i < range.count; ++i) {
      operators_.fill_rows(weight, i, reader->row(range.first + i), 1, config_.hidden, *stream_);
    }
    stream_->synchronize();
    return weight;
  }

 private:
  // Rows (or elements of the bias) of one module's weight, [total, hidden].
  struct RowSelection {
    std::string module;
    std::int64_t total = 0;
    Indices rows;
  };

  // The selections' rows, stacked into one column-parallel weight [sum of rows, hidden].
  Weight rows(const std::vector<RowSelection>& selections) {
    std::int64_t count = 0;
    for (const auto& selection : selections)
      count += static_cast<std::int64_t>(selection.rows.size());
    Weight weight;
    std::int64_t next = 0;
    for (const auto& selection : selections) {
      const auto reader =
          source_.open(selection.module + ".weight", selection.total, config_.hidden);
      if (next == 0) weight = operators_.make_weight(reader->dtype(), count, config_.hidden);
      std::vector<std::byte> converted(config_.hidden * size_of(weight.dtype));
      for (const std::int32_t row : selection.rows) {
        const std::byte* data = reader->row(row);
        if (reader->dtype() != weight.dtype) {  // products are fused, so their types must agree
          convert(data, reader->dtype(), converted.data(), weight.dtype, config_.hidden);
          data = converted.data();
        }
        operators_.fill_rows(weight, next++, data, 1, config_.hidden, *stream_);
      }
    }
    stream_->synchronize();
    return weight;
  }

  // Columns of a row-parallel weight [hidden, total].
  Weight columns(const std::string& module, std::int64_t total, const Indices& selected) {
    const auto reader = source_.open(module + ".weight", config_.hidden, total);
    const auto count = static_cast<std::int64_t>(selected.size());
    const std::size_t size = size_of(reader->dtype());
    Weight weight = operators_.make_weight(reader->dtype(), config_.hidden, count);
    std::vector<std::byte> row(count * size);
    for (std::int64_t i = 0; i < config_.hidden; ++i) {
      const std::byte* data = reader->row(i);
      for (std::int64_t j = 0; j < count;) {  // copy runs of neighbours at once
        std::int64_t end = j + 1;
        while (end < count && selected[end] == selected[end - 1] + 1) ++end;
        std::memcpy(row.data() + j * size, data + selected[j] * size, (end - j) * size);
        j = end;
      }
      operators_.fill_rows(weight, i, row.data(), 1, count, *stream_);
    }
    stream_->synchronize();
    return weight;
  }

  std::vector<float> host_vector(const std::string& name, std::int64_t size) {
    const auto reader = source_.open(name, size, 0);
    std::vector<float> values(size);
    convert(reader->row(0), reader->dtype(), values.data(), DType::f32, values.size());
    return values;
  }

  DeviceVector upload(const std::vector<float>& values) {
    const std::size_t bytes = values.size() * sizeof(float);
    DeviceVector vector{Buffer(operators_.device(), bytes)};
    operators_.device().upload(vector.storage.data(), values.data(), bytes, *stream_);
    stream_->synchronize();
    return vector;
  }

  DeviceVector vector(const std::string& name, std::int64_t size) {
    return upload(host_vector(name, size));
  }

  // The selections' elements of the modules' biases, one after the other.
  DeviceVector elements(const std::vector<RowSelection>& selections) {
    std::vector<float> values;
    for (const auto& selection : selections) {
      const auto bias = host_vector(selection.module + ".bias", selection.total);
      for (const std::int32_t row : selection.rows) values.push_back(bias[row]);
    }
    return upload(values);
  }

  const ModelConfig& config_;
  WeightSource& source_;
  Operators& operators_;
  std::unique_ptr<Stream> stream_;
};

}  // namespace

SubLayerWeights BlockWeights::sub_layer(SyncPoint point, bool whole) const {
  const auto pick = [whole](const auto& repaired, const auto& own) -> const auto& {
    return whole && own ? *own : repaired;
  };
  SubLayerWeights weights;
  weights.norm = norm[point].view();
  weights.norm.weight = pick(norm[point].weight, unrepaired.norm[point]).data();
  if (point == SyncPoint::attn) {
    weights.in = &pick(qkv, unrepaired.qkv);
    weights.in_bias = pick(qkv_bias, unrepaired.qkv_bias).data();
    weights.out = &pick(o, unrepaired.o);
    weights.shared_bias = pick(o_bias, unrepaired.o_bias).data();
  } else {
    weights.in = &pick(gate_up, unrepaired.gate_up);
    weights.in_bias = pick(gate_up_bias, unrepaired.gate_up_bias).data();
    weights.out = &pick(down, unrepaired.down);
    weights.shared_bias = pick(down_bias, unrepaired.down_bias).data();
  }
  if (prediction[point]) weights.prediction = &*prediction[point];
  return weights;
}

BlockWeights load_block(const ModelConfig& config, std::int64_t block, const BlockShard& shard,
                        WeightSource& source, Operators& operators) {
  return ShardLoader(config, source, operators).block(block, shard);
}

Shard load_shard(const ModelConfig& config, const Partition& partition, int rank,
                 WeightSource& source, Operators& operators,
                 const std::function<void(std::int64_t, std::int64_t)>& progress) {
  const TensorNames names = tensor_names(config);
  ShardLoader loader(config, source, operators);
  Shard shard;
  for (std::int64_t block = 0; block < config.blocks; ++block) {
    if (progress) progress(block, config.blocks);
    shard.blocks.push_back(loader.block(block, partition.blocks.at(block).at(rank)));
  }
  shard.final_norm = loader.norm(names.final_norm, config.hidden, config.norm);
  const VocabularyTensors vocabulary = vocabulary_tensors(config, source);
  shard.lm_head = loader.vocabulary_rows(vocabulary.projection, partition.vocab.at(rank));
  shard.embedding = source.table(vocabulary.embedding, config.vocab, config.hidden);
  if (config.learned_positions) {
    shard.positions = source.table(names.positions + ".weight",
                                   config.max_positions + config.position_offset, config.hidden);
  }
  source.check_unchanged();
  if (progress) progress(config.blocks, config.blocks);
  return shard;
}

}  // namespace spd
