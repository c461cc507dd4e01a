// The backward operators of a decoder block, and the optimiser's step: what training one needs
// beside Operators.
//
// Conventions as in operators.h. Trained weights are f32 (masters) and unfused: a block that is
// trained computes its products with Epilogue::none and its activations with `activate`, so that
// what the backward pass needs is there. Gradients of parameters are added to what is there (a
// minibatch may come in pieces), those of activations replace it unless said otherwise. Results do
// not depend on the number of threads. One instance serves one rank. Shapes that do not fit throw
// internal Error.
//
// Mixed precision (Micikevicius et al., arXiv 1710.03740; Kalamkar et al., arXiv 1905.12322): where
// operand_type() is bf16 both factors of a product are rounded to bf16 and summed in f32. Masters,
// gradients and Adam stay f32; masters are rounded once a step, by `adam`, into copies that the
// products read.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "kernels/operators.h"

namespace spd {

struct NormGradientArgs {
  ConstActivations x;  ///< what the norm was applied to, [tokens, features]
  Norm norm;
  ConstActivations dy;
  Activations dx;            ///< += where `accumulate`; no data: not wanted; may be dy
  bool accumulate = false;   ///< dx += instead of dx =
  float* dweight = nullptr;  ///< device, [features], +=; null: not wanted
  float* dbias = nullptr;    ///< the same, of a layer norm with a bias
};

/// Of causal attention over whole sequences: every segment begins at position 0 and the cache holds
/// nothing else of its slot.
struct AttentionGradientArgs {
  ConstActivations q;  ///< as given to Operators::attention, [tokens, q_heads * head_dim]
  std::span<const Segment> segments;
  std::span<const std::int32_t> kv_head_of;  ///< host, [q_heads]
  float scale = 1.0f;
  std::int64_t window = 0;
  KvLayer cache;         ///< f32
  ConstActivations out;  ///< what attention returned, [tokens, q_heads * head_dim]
  ConstActivations dout;
  Activations dqkv;  ///< [tokens, (q_heads + 2 * kv_heads) * head_dim], as StoreKvArgs::qkv
};

/// Back through what Operators::store_kv did to q and k: the rotation, then the heads' norms.
struct StoreKvGradientArgs {
  Activations dqkv;      ///< of rotated q and k in, of the product's results out
  ConstActivations qkv;  ///< the product's results; read only where heads have norms
  std::int64_t q_heads = 0;
  std::int64_t kv_heads = 0;
  std::int64_t head_dim = 0;
  const Norm* q_norm = nullptr;
  const Norm* k_norm = nullptr;
  float* dq_norm = nullptr;  ///< device, [head_dim], +=
  float* dk_norm = nullptr;
  const RopeTable* rope = nullptr;
  std::span<const Segment> segments;
};

/// One step of Adam (Kingma and Ba, arXiv 1412.6980) with decoupled weight decay, on `count`
/// parameters anywhere in memory. Device pointers.
struct AdamArgs {
  float* weight = nullptr;
  float* gradient = nullptr;  ///< set to zero afterwards, for the next minibatch
  float* mean = nullptr;
  float* square = nullptr;
  std::uint16_t* rounded = nullptr;  ///< the new weights in bf16; null: not wanted
  std::int64_t count = 0;
  float rate = 0.0f;
  float beta1 = 0.9f;
  float beta2 = 0.999f;
  float epsilon = 1e-8f;
  float decay = 0.0f;
  float gradient_scale = 1.0f;  ///< what gradients are multiplied with first (clipping)
  std::int64_t step = 1;        ///< counted from 1, for the bias correction
};

/// With r[t] = weight[t] * |a[t] - b[t]|^2 the loss is the sum over tokens of r or, where `damped`,
/// of log(1 + r): a token that cannot be met then pulls no more than others.
struct DifferenceArgs {
  ConstActivations a;
  ConstActivations b;
  const float* weight = nullptr;  ///< device, [tokens]; null: ones
  bool damped = false;
  float scale = 1.0f;
  Activations diff;  ///< scale / 2 * the loss's gradient by a; may be a's or b's memory
};

/// What a student's logits lose against a teacher's, on one rank's shard of the vocabulary.
struct DivergenceGradientArgs {
  ConstActivations teacher;  ///< logits, [rows, local vocabulary]
  ConstActivations student;
  const double* teacher_log_sum_exp;  ///< host, [rows], over the whole vocabulary
  const double* student_log_sum_exp;
  float scale = 1.0f;
  Activations dstudent;  ///< scale * (softmax(student) - softmax(teacher)); may be either's memory
};

class Gradients {
 public:
  Gradients() = default;
  Gradients(const Gradients&) = delete;
  Gradients& operator=(const Gradients&) = delete;
  virtual ~Gradients() = default;

  /// The type of weight that products go fastest with, of those allowed: f32 or bf16.
  virtual DType operand_type() const = 0;

  /// y = epilogue(pre): what Operators::linear does to its products, on its own.
  /// pre [tokens, n], gated [tokens, 2n] with the gate first; y [tokens, n].
  virtual void activate(Epilogue epilogue, ConstActivations pre, Activations y, Stream&) = 0;
  /// dpre, of pre's shape, from dy; may be pre's memory.
  virtual void activation(Epilogue epilogue, ConstActivations pre, ConstActivations dy,
                          Activations dpre, Stream&) = 0;

  /// dx (+)= dy * weight, the product's gradient by its input; weight [out, in], f32, or bf16: then
  /// dy is rounded, too.
  virtual void linear_input(ConstActivations dy, const Weight& weight, bool accumulate,
                            Activations dx, Stream&) = 0;
  /// dweight [out, in] += dy^T * x, both rounded where operand_type() is bf16.
  virtual void linear_weight(ConstActivations dy, ConstActivations x, Activations dweight,
                             Stream&) = 0;
  /// dbias [features] += sum over tokens of dy.
  virtual void bias(ConstActivations dy, float* dbias, Stream&) = 0;

  virtual void norm(const NormGradientArgs& args, Stream&) = 0;
  virtual void attention(const AttentionGradientArgs& args, Stream&) = 0;
  virtual void store_kv(const StoreKvGradientArgs& args, Stream&) = 0;

  /// A squared error and half its gradient by a: see DifferenceArgs.
  virtual double difference(const DifferenceArgs& args, Stream&) = 0;
  /// Returns this shard's part of the sum over rows of KL(teacher || student), nats.
  virtual double divergence(const DivergenceGradientArgs& args, Stream&) = 0;

  virtual double sum_of_squares(const float* values, std::int64_t count, Stream&) = 0;
  virtual void adam(const AdamArgs& args, Stream&) = 0;
};

/// On the CPU. `options.products`: f32, or bf16 where the processor multiplies that (in tiles or in
/// pairs, as the library finds best).
std::unique_ptr<Gradients> make_cpu_gradients(const CpuOptions& options);

}  // namespace spd
