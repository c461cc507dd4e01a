// Shape checks that every implementation of Operators shares. Each throws internal Error naming the
// operator and the two things that do not fit together.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/gradients.h"
#include "kernels/operators.h"

namespace spd {

void check_same_shape(const char* op, ConstActivations a, ConstActivations b);
/// A null bias of a layer norm is allowed, a null weight is not.
void check_norm(const char* op, std::int64_t features, const Norm& norm);
void check_linear(const LinearArgs& args);
void check_rows(const Weight& weight, std::int64_t first, std::int64_t count,
                std::int64_t host_stride);
void check_store_kv(const StoreKvArgs& args);
void check_attention(const AttentionArgs& args);
void check_gather(const HostTable& table, std::span<const std::int32_t> ids, ConstActivations out);
void check_top_k(ConstActivations logits, std::int64_t k);

// Of Gradients.
void check_activation(const char* op, Epilogue epilogue, ConstActivations pre, ConstActivations y);
void check_linear_input(ConstActivations dy, const Weight& weight, ConstActivations dx);
void check_linear_weight(ConstActivations dy, ConstActivations x, ConstActivations dweight);
void check_attention_gradient(const AttentionGradientArgs& args);
void check_store_kv_gradient(const StoreKvGradientArgs& args);

}  // namespace spd
