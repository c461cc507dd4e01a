#include "model/tokenizer/jinja/level.h"

#include "kernels/device/host_stack.h"

namespace spd::jinja {

Level::Level(unsigned& levels, unsigned most, Place place) : levels_(levels) {
  const HostStack stack = host_stack();
  if (levels >= most || stack.left < stack.size / 2) {
    throw Failure{"nested too deeply: the template takes more levels than a template may", place,
                  true};
  }
  ++levels;
}

}  // namespace spd::jinja
