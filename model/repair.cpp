#include "model/repair.h"

#include <fmt/format.h>

#include <cmath>

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
    std::vector<std::byte> converted(matrix.values.size() * size_of(dtype));
    convert(matrix.values.data(), DType::f32, converted.data(), dtype, matrix.values.size());
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
      // Made in the same passes as the sub-layer's own products, hence of their types.
      if (!from->from_input.empty() || from->from_inner.empty()) {
        weights.from_input =
            weight(name("from_input").c_str(), from->from_input, first.dtype, k, hidden);
      }
      if (!from->from_inner.empty()) {
        weights.from_inner =
            weight(name("from_inner").c_str(), from->from_inner, last.dtype, k, last.cols);
      }
      weights.to_hidden = weight(name("to_hidden").c_str(), from->to_hidden, last.dtype, hidden, k);
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

}  // namespace

void install(const BlockRepair& repair, BlockWeights& block, Operators& operators,
             const std::string& where) {
  Installer installer(operators, where);
  const std::int64_t hidden = block.qkv.cols;
  for (const auto& [name, matrix] : repair.weights) {
    const auto replace = [&, &key = name, &values = matrix](const char* own, Weight& weight) {
      if (key != own) return false;
      weight = installer.weight(own, values, weight.dtype, weight.rows, weight.cols);
      return true;
    };
    const auto replace_vector = [&, &key = name, &values = matrix](
                                    const char* own, DeviceVector& vector, std::int64_t size) {
      if (key != own) return false;
      vector = installer.vector(own, values, size);
      return true;
    };
    const bool known = replace("qkv", block.qkv) || replace("o", block.o) ||
                       replace("up", block.up) || replace("down", block.down) ||
                       replace_vector("qkv_bias", block.qkv_bias, block.qkv.rows) ||
                       replace_vector("o_bias", block.o_bias, hidden) ||
                       replace_vector("up_bias", block.up_bias, block.up.rows) ||
                       replace_vector("down_bias", block.down_bias, hidden) ||
                       replace_vector("attn_norm", block.attn_norm.weight, hidden) ||
                       replace_vector("mlp_norm", block.mlp_norm.weight, hidden);
    if (!known) installer.fail(name, "is no tensor of a block");
  }
  block.attn_prediction = installer.prediction("attn", repair.attn, block.qkv, block.o);
  block.mlp_prediction = installer.prediction("mlp", repair.mlp, block.up, block.down);
}

}  // namespace spd
