#include "kernels/cpu/attention_kernels.h"

#include <algorithm>
#include <limits>

#include "kernels/device/simd_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/attention_kernels.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h.
#include "kernels/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace spd {
namespace HWY_NAMESPACE {

template <DType type>
void attend_typed(const AttendArgs& args) {
  const F32 d;
  const auto* keys = static_cast<const Element<type>*>(args.keys);
  const auto* values = static_cast<const Element<type>*>(args.values);
  const std::size_t whole = args.head_dim / kLanes * kLanes;
  const std::size_t rest = args.head_dim - whole;
  float max = -std::numeric_limits<float>::infinity();
  for (std::size_t p = 0; p < args.count; ++p) {
    const Element<type>* key = keys + p * args.head_dim;
    Vec sum = hn::Zero(d);
    for (std::size_t i = 0; i < whole; i += kLanes) {
      sum = hn::MulAdd(hn::LoadU(d, args.q + i), load_f32<type>(key + i), sum);
    }
    if (rest > 0) {
      sum = hn::MulAdd(load_f32_n<DType::f32>(args.q + whole, rest),
                       load_f32_n<type>(key + whole, rest), sum);
    }
    args.scores[p] = sum_of(sum) * args.scale;
    max = std::max(max, args.scores[p]);
  }
  float total = 0.0f;
  for (std::size_t p = 0; p < args.count; ++p) {
    args.scores[p] = hn::GetLane(exp_negative(hn::Set(d, args.scores[p] - max)));
    total += args.scores[p];
  }
  const Vec inverse = hn::Set(d, 1.0f / total);
  for (std::size_t i = 0; i < args.head_dim; i += kLanes) {
    Vec sum = hn::Zero(d);
    for (std::size_t p = 0; p < args.count; ++p) {
      const Element<type>* value = values + p * args.head_dim + i;
      const Vec v = i < whole ? load_f32<type>(value) : load_f32_n<type>(value, rest);
      sum = hn::MulAdd(hn::Set(d, args.scores[p]), v, sum);
    }
    sum = hn::Mul(sum, inverse);
    if (i < whole) {
      hn::StoreU(sum, d, args.out + i);
    } else {
      store_f32_n<DType::f32>(sum, args.out + i, rest);
    }
  }
}

void Attend(const AttendArgs& args) {
  switch (args.dtype) {
    case DType::f32:
      return attend_typed<DType::f32>(args);
    case DType::bf16:
      return attend_typed<DType::bf16>(args);
    case DType::f16:
      return attend_typed<DType::f16>(args);
    case DType::i8:  // of weights only
      return;
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace spd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace spd {

HWY_EXPORT(Attend);

void attend(const AttendArgs& args) { HWY_DYNAMIC_DISPATCH(Attend)(args); }

}  // namespace spd
#endif  // HWY_ONCE
