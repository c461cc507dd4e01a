#include <cmath>
#include <functional>
#include <random>
#include <vector>

#include "model/checkpoint/tensor_names.h"
#include "model/checkpoint/weight_source.h"

namespace spd {
namespace {

// Rows are windows into one table of noise: any row of any matrix costs nothing to make.
class NoiseTable {
 public:
  NoiseTable(DType dtype, std::int64_t longest_row, float scale, std::uint64_t seed)
      : dtype_(dtype), bytes_((longest_row + kShifts) * size_of(dtype)) {
    std::mt19937_64 engine(seed);
    std::normal_distribution<float> normal(0.0f, scale);
    std::vector<float> values(longest_row + kShifts);
    for (float& value : values) value = normal(engine);
    convert(values.data(), DType::f32, bytes_.data(), dtype, values.size());
  }
  const std::byte* row(std::size_t key) const {
    return bytes_.data() + key * 0x9e3779b97f4a7c15u % kShifts * size_of(dtype_);
  }
  DType dtype() const { return dtype_; }

 private:
  static constexpr std::size_t kShifts = 65'521;
  DType dtype_;
  std::vector<std::byte> bytes_;
};

class NoiseReader final : public RowReader {
 public:
  NoiseReader(const NoiseTable& table, std::size_t key) : table_(table), key_(key) {}
  DType dtype() const override { return table_.dtype(); }
  const std::byte* row(std::int64_t row) override {
    return table_.row(key_ + static_cast<std::size_t>(row));
  }

 private:
  const NoiseTable& table_;
  std::size_t key_;
};

class RandomSource final : public WeightSource {
 public:
  RandomSource(const ModelConfig& config, std::uint64_t seed)
      : seed_(seed),
        // The embedding is both.
        missing_(config.tied_embeddings ? tensor_names(config).lm_head + ".weight" : ""),
        noise_(
            config.dtype,
            std::max({config.hidden, config.mlp, config.q_heads * config.head_dim, config.vocab}),
            1.0f / std::sqrt(static_cast<float>(config.hidden)), seed) {}

  bool contains(const std::string& name) const override { return name != missing_; }

  std::unique_ptr<RowReader> open(const std::string& name, std::int64_t, std::int64_t) override {
    return std::make_unique<NoiseReader>(noise_, key(name));
  }

  HostTable table(const std::string& name, std::int64_t rows, std::int64_t cols) override {
    // Made in full, since a table is addressed as memory; a vocabulary is at most a few GB.
    auto& memory = tables_.emplace_back(rows * cols * size_of(noise_.dtype()));
    const std::size_t row_bytes = cols * size_of(noise_.dtype());
    for (std::int64_t row = 0; row < rows; ++row) {
      const std::byte* from = noise_.row(key(name) + static_cast<std::size_t>(row));
      std::copy(from, from + row_bytes, memory.data() + row * row_bytes);
    }
    return {memory.data(), noise_.dtype(), rows, cols};
  }

 private:
  std::size_t key(const std::string& name) const { return std::hash<std::string>{}(name) ^ seed_; }

  std::uint64_t seed_;
  std::string missing_;
  NoiseTable noise_;
  std::vector<std::vector<std::byte>> tables_;
};

}  // namespace

std::unique_ptr<WeightSource> make_random_source(const ModelConfig& config, std::uint64_t seed) {
  return std::make_unique<RandomSource>(config, seed);
}

}  // namespace spd
