// The bound on recursion: of the parser, of what is evaluated, and of values that hold values.
#pragma once

#include "model/tokenizer/jinja/failure.h"

namespace spd::jinja {

/// One level of a recursion, as long as it lives. Fails beyond `most` levels, so that a template is
/// refused on all machines or on none; and where half of the thread's stack is used up, which comes
/// first where frames are large (sanitizers) or the stack is small (ulimit -s). The other half is
/// for what cannot fail, such as taking apart what nests.
class Level {
 public:
  Level(unsigned& levels, unsigned most, Place place = {});
  Level(const Level&) = delete;
  Level& operator=(const Level&) = delete;
  ~Level() { --levels_; }

 private:
  unsigned& levels_;
};

}  // namespace spd::jinja
