#include "runtime/distillation/logits_objective.h"

#include <algorithm>
#include <cmath>

namespace spd {
namespace {

constexpr CallSite kSite{"logits"};
// Rows of logits held at a time, a vocabulary wide each. Products of bf16 are so fast that reading
// the vocabulary projection for fewer of them costs as much again.
constexpr std::int64_t kRows = 128;
constexpr std::int64_t kBf16Rows = 256;

}  // namespace

LogitsObjective::LogitsObjective(Engine& engine, Transformer& teacher, Gradients& gradients,
                                 ConstActivations targets, std::int64_t window)
    : engine_(engine),
      teacher_(teacher),
      gradients_(gradients),
      targets_(targets),
      window_(window),
      rows_(gradients.operand_type() == DType::bf16 ? kBf16Rows : kRows) {
  Device& device = engine.operators().device();
  const Weight& head = teacher.shard().lm_head;
  if (head.dtype != gradients.operand_type()) {
    head_ = TrainedTensor(to_host(head, device, engine.stream()), false, gradients.operand_type(),
                          engine.operators(), engine.stream());
  }
  const std::int64_t local = teacher.vocab_range().count;
  teacher_logits_ = Buffer(device, rows_ * local * sizeof(float));
  student_logits_ = Buffer(device, rows_ * local * sizeof(float));
  dnormed_ = Buffer(device, window * targets.cols * sizeof(float));
}

std::vector<double> LogitsObjective::totals(ConstActivations logits, Stream& stream) {
  const auto shares = engine_.operators().log_sum_exp(logits, stream);
  const RankComms& comms = teacher_.comms();
  std::vector<LogSumExp> all(shares.size() * comms.ranks());
  comms.world->all_gather(shares.data(), all.data(), shares.size() * sizeof(LogSumExp), stream,
                          kSite);
  std::vector<double> result(shares.size());
  for (std::size_t i = 0; i < shares.size(); ++i) {
    float max = all[i].max;
    for (int r = 1; r < comms.ranks(); ++r) max = std::max(max, all[r * shares.size() + i].max);
    double sum = 0.0;
    for (int r = 0; r < comms.ranks(); ++r) {
      const LogSumExp& share = all[r * shares.size() + i];
      sum += share.sum * std::exp(static_cast<double>(share.max) - max);
    }
    result[i] = max + std::log(sum);
  }
  return result;
}

double LogitsObjective::loss(ConstActivations out, std::int64_t index, Activations* dout,
                             Stream& stream) {
  const std::int64_t local = teacher_.vocab_range().count;
  const ConstActivations target = targets_.row_range(index * window_, out.rows);
  double sum = 0.0;
  for (std::int64_t first = 0; first < out.rows; first += rows_) {
    const std::int64_t count = std::min(rows_, out.rows - first);
    const Activations p{teacher_logits_.as<float>(), count, local};
    const Activations q{student_logits_.as<float>(), count, local};
    teacher_.logits(target.row_range(first, count), p, stream);
    teacher_.logits(out.row_range(first, count), q, stream);
    const auto p_totals = totals(p, stream);
    const auto q_totals = totals(q, stream);
    sum += gradients_.divergence({.teacher = p,
                                  .student = q,
                                  .teacher_log_sum_exp = p_totals.data(),
                                  .student_log_sum_exp = q_totals.data(),
                                  .scale = 1.0f / static_cast<float>(out.rows),
                                  .dstudent = q},
                                 stream);
    if (!dout) continue;
    const Activations dnormed{dnormed_.as<float>(), out.rows, out.cols};
    gradients_.linear_input(q, head(), false, dnormed.row_range(first, count), stream);
  }
  const RankComms& comms = teacher_.comms();
  if (dout) {
    comms.world->all_reduce(dnormed_.as<float>(), out.rows * out.cols, stream, kSite);
    gradients_.norm({.x = out,
                     .norm = teacher_.shard().final_norm.view(),
                     .dy = {dnormed_.as<float>(), out.rows, out.cols},
                     .dx = *dout,
                     .accumulate = false,
                     .dweight = nullptr,
                     .dbias = nullptr},
                    stream);
  }
  std::vector<double> all(comms.ranks());
  comms.world->all_gather(&sum, all.data(), sizeof(sum), stream, kSite);
  double total = 0.0;
  for (const double one : all) total += one;
  return total / static_cast<double>(out.rows);
}

}  // namespace spd
