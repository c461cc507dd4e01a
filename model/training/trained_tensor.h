// A parameter under training: its f32 master, what products read instead, and what Adam keeps
// beside it.
#pragma once

#include "kernels/gradients.h"
#include "model/repair.h"

namespace spd {

/// A matrix, or a vector as one row. Gradient and moments exist only where it is trained.
class TrainedTensor {
 public:
  TrainedTensor() = default;
  /// Products read it as `operand`: f32, the master itself, or bf16, a copy rounded whenever the
  /// master changes.
  TrainedTensor(const HostMatrix& values, bool trained, DType operand, Operators& operators,
                Stream& stream);

  bool exists() const { return weight_.rows > 0; }
  bool trained() const { return gradient_.bytes() > 0; }
  const Weight& weight() const { return weight_; }
  /// What products read.
  const Weight& operand() const { return rounded_.rows > 0 ? rounded_ : weight_; }
  const float* data() const { return weight_.storage.as<const float>(); }
  /// Views of [rows, cols]; the gradient has no data where the tensor is not trained.
  Activations gradient() const { return view(gradient_); }

  /// y [tokens, rows] (+)= x [tokens, cols] times this, plus `bias` (device, [rows]; null: none).
  void multiply(ConstActivations x, const float* bias, bool accumulate, Activations y,
                Operators& operators, Stream& stream) const;
  /// Back through that: adds to the gradient, where it is trained; dx (+)= dy times this. dx may be
  /// x's memory.
  void multiply_back(ConstActivations dy, ConstActivations x, bool accumulate, Activations dx,
                     Gradients& gradients, Stream& stream) const;

  HostMatrix download(Device& device, Stream& stream) const;
  /// Zeros where it is not trained.
  HostMatrix download_gradient(Device& device, Stream& stream) const;
  /// Puts other values of the same shape in place; gradient and moments stay.
  void upload(const HostMatrix& values, Operators& operators, Stream& stream);

  double squared_gradient(Gradients& gradients, Stream& stream) const;
  /// Adam's step; rates and the like as in `adam`, whose pointers and count are ignored.
  void step(AdamArgs adam, Gradients& gradients, Stream& stream) const;

 private:
  Activations view(const Buffer& buffer) const {
    return {buffer.as<float>(), weight_.rows, weight_.cols, weight_.stride};
  }

  Weight weight_;
  Weight rounded_;                   // bf16, or none
  Buffer gradient_, mean_, square_;  // all of the weight's layout, padding included
};

/// A weight of any type as f32 on the host.
HostMatrix to_host(const Weight& weight, Device& device, Stream& stream);
/// A vector of `count` f32 on the device; null: no rows.
HostMatrix to_host(const float* vector, std::int64_t count, Device& device, Stream& stream);

}  // namespace spd
