#include "model/repair.h"

#include <fmt/format.h>

#include <cmath>
#include <utility>

#include "kernels/device/error.h"

namespace spd {
namespace {

class Installer {
 public:
  Installer(Operators& operators, const std::string& where)
      : operators_(operators), where_(where), stream_(operators.device().make_stream()) {}

  Weight weight(const char* tensor, const HostMatrix& matrix, DType dtype, std::int64_t rows,
                std::int64_t cols) {
    check(tensor, matrix, rows, cols);
    Weight weight = operators_.make_weight(dtype, rows, cols);
    const DType host = host_type(dtype);
    std::vector<std::byte> converted(matrix.values.size() * size_of(host));
    convert(matrix.values.data(), DType::f32, converted.data(), host, matrix.values.size());
    operators_.fill_rows(weight, 0, converted.data(), rows, cols, *stream_);
    stream_->synchronize();
    return weight;
  }

  DeviceVector vector(const char* tensor, const HostMatrix& matrix, std::int64_t size) {
    check(tensor, matrix, 1, size);
    DeviceVector vector{Buffer(operators_.device(), size * sizeof(float))};
    operators_.device().upload(vector.storage.data(), matrix.values.data(), size * sizeof(float),
                               *stream_);
    stream_->synchronize();
    return vector;
  }

  std::optional<PredictionWeights> prediction(const char* point,
                                              const std::optional<Prediction>& from,
                                              const Weight& first, const Weight& last) {
    if (!from) return std::nullopt;
    const std::int64_t hidden = first.cols, k = from->k();
    const auto name = [&](const char* part) { return fmt::format("{}.{}", point, part); };
    PredictionWeights weights;
    weights.level = from->level;
    if (k > 0) {
      // Made in the same passes as the sub-layer's own products, hence of types that go with
      // theirs.
      const DType input_type = prediction_type(first.dtype);
      const DType inner_type = prediction_type(last.dtype);
      if (!from->from_input.empty() || from->from_inner.empty()) {
        weights.from_input =
            weight(name("from_input").c_str(), from->from_input, input_type, k, hidden);
      }
      if (!from->from_inner.empty()) {
        weights.from_inner =
            weight(name("from_inner").c_str(), from->from_inner, inner_type, k, last.cols);
      }
      weights.to_hidden = weight(name("to_hidden").c_str(), from->to_hidden, inner_type, hidden, k);
    }
    weights.mean = vector(name("mean").c_str(), from->mean, hidden);
    return weights;
  }

  [[noreturn]] void fail(const std::string& tensor, const std::string& problem) const {
    throw Error(ErrorCode::input, fmt::format("{}.{}: {}", where_, tensor, problem),
                "make the repair again for this model and plan");
  }

 private:
  void check(const char* tensor, const HostMatrix& matrix, std::int64_t rows,
             std::int64_t cols) const {
    if (matrix.rows != rows || matrix.cols != cols) {
      fail(tensor, fmt::format("is [{}, {}], not [{}, {}]", matrix.rows, matrix.cols, rows, cols));
    }
    for (const float value : matrix.values) {
      if (!std::isfinite(value)) fail(tensor, "holds values that are not finite");
    }
  }

  Operators& operators_;
  const std::string& where_;
  std::unique_ptr<Stream> stream_;
};

// visit(name in repair files, member, what it was before a repair, elements of a vector) for what
// repairs may replace.
template <class F>
void for_weights(BlockWeights& block, F visit) {
  UnrepairedTensors& own = block.unrepaired;
  visit("qkv", block.qkv, own.qkv);
  visit("o", block.o, own.o);
  visit("up", block.gate_up, own.gate_up);
  visit("down", block.down, own.down);
}
template <class F>
void for_vectors(BlockWeights& block, F visit) {
  UnrepairedTensors& own = block.unrepaired;
  const std::int64_t hidden = block.qkv.cols;
  visit("qkv_bias", block.qkv_bias, own.qkv_bias, block.qkv.rows);
  visit("o_bias", block.o_bias, own.o_bias, hidden);
  visit("up_bias", block.gate_up_bias, own.gate_up_bias, block.gate_up.rows);
  visit("down_bias", block.down_bias, own.down_bias, hidden);
  visit("attn_norm", block.norm.attn.weight, own.norm.attn, hidden);
  visit("mlp_norm", block.norm.mlp.weight, own.norm.mlp, hidden);
}

template <class T>
void take_back(T& tensor, std::optional<T>& own) {
  if (own) tensor = std::move(*own);
  own.reset();
}

}  // namespace

void remove_repair(BlockWeights& block) {
  for_weights(block, [](const char*, Weight& weight, std::optional<Weight>& own) {
    take_back(weight, own);
  });
  for_vectors(block, [](const char*, DeviceVector& vector, std::optional<DeviceVector>& own,
                        std::int64_t) { take_back(vector, own); });
  block.prediction = {};
}

void install(const BlockRepair& repair, BlockWeights& block, Operators& operators,
             const std::string& where) {
  remove_repair(block);
  Installer installer(operators, where);
  for (const auto& [name, values] : repair.weights) {
    bool known = false;
    const auto is = [&, &key = name](const char* own) {
      known = known || key == own;
      return key == own;
    };
    for_weights(block, [&, &matrix = values](const char* tensor, Weight& weight,
                                             std::optional<Weight>& own) {
      if (!is(tensor)) return;
      Weight replacement = installer.weight(tensor, matrix, weight.dtype, weight.rows, weight.cols);
      own = std::exchange(weight, std::move(replacement));
    });
    for_vectors(block, [&, &matrix = values](const char* tensor, DeviceVector& vector,
                                             std::optional<DeviceVector>& own, std::int64_t size) {
      if (!is(tensor)) return;
      DeviceVector replacement = installer.vector(tensor, matrix, size);
      own = std::exchange(vector, std::move(replacement));
    });
    if (!known) installer.fail(name, "is no tensor of a block");
  }
  const auto& predictions = repair.prediction;
  block.prediction.attn = installer.prediction("attn", predictions.attn, block.qkv, block.o);
  block.prediction.mlp = installer.prediction("mlp", predictions.mlp, block.gate_up, block.down);
}

}  // namespace spd
