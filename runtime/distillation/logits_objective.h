// What a student's final residual stream loses against a teacher's, in the next token's
// distribution.
#pragma once

#include "kernels/gradients.h"
#include "model/training/trained_tensor.h"
#include "runtime/distillation/training.h"
#include "runtime/inference/engine.h"

namespace spd {

/// KL(teacher || student), mean over tokens, nats. The final norm and the vocabulary projection
/// stay as they are; each rank computes its rows of the vocabulary.
class LogitsObjective final : public Objective {
 public:
  /// `targets`: the teacher's final residual streams of all windows. References must outlive it.
  LogitsObjective(Engine& engine, Transformer& teacher, Gradients& gradients,
                  ConstActivations targets, std::int64_t window);

  double loss(ConstActivations out, std::int64_t index, Activations* dout, Stream& stream) override;

 private:
  /// The vocabulary projection as the gradient's product reads it.
  const Weight& head() const { return head_.exists() ? head_.operand() : teacher_.shard().lm_head; }
  std::vector<double> totals(ConstActivations logits, Stream& stream);

  Engine& engine_;
  Transformer& teacher_;
  Gradients& gradients_;
  ConstActivations targets_;
  std::int64_t window_;
  std::int64_t rows_;  // of logits held at a time
  TrainedTensor
      head_;  // not trained: [local vocabulary, hidden]; none where the teacher's own is it
  Buffer teacher_logits_, student_logits_, dnormed_;
};

}  // namespace spd
