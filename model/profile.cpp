#include "model/profile.h"

namespace spd {

const char* name(Work work) {
  switch (work) {
    case Work::embed:
      return "embed";
    case Work::qkv:
      return "qkv";
    case Work::attention:
      return "attention";
    case Work::o_proj:
      return "o_proj";
    case Work::mlp:
      return "mlp";
    case Work::sync_attn:
      return "sync_attn";
    case Work::sync_mlp:
      return "sync_mlp";
    case Work::residual:
      return "residual";
    case Work::lm_head:
      return "lm_head";
  }
  return "unknown";
}

}  // namespace spd
