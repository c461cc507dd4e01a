#include "kernels/cpu/gemm.h"

#include <dlfcn.h>
#include <fmt/format.h>
#include <oneapi/dnnl/dnnl.h>

#include <array>
#include <map>

#include "kernels/cpu/gemm_kernels.h"
#include "kernels/cpu/scratch.h"
#include "kernels/device/error.h"

namespace spd {
namespace {

// oneDNN takes as many threads as OpenMP would give the calling one, and has no way to say how
// many. It brings the OpenMP runtime that it was built with: whichever that is, it has this
// function, by which a thread speaks for itself.
void use_one_thread() {
  using SetThreads = void (*)(int);
  static const auto set_threads =
      reinterpret_cast<SetThreads>(dlsym(RTLD_DEFAULT, "omp_set_num_threads"));
  thread_local const bool done = [] {
    if (set_threads) set_threads(1);
    return true;
  }();
  static_cast<void>(done);
}

void product(char transpose_a, char transpose_b, std::int64_t m, std::int64_t n, std::int64_t k,
             const float* a, std::int64_t a_stride, const float* b, std::int64_t b_stride,
             float beta, float* c, std::int64_t c_stride) {
  use_one_thread();
  const dnnl_status_t status = dnnl_sgemm(transpose_a, transpose_b, m, n, k, 1.0f, a, a_stride, b,
                                          b_stride, beta, c, c_stride);
  if (status != dnnl_success) {
    throw Error(ErrorCode::internal, fmt::format("oneDNN's product of {} x {} x {}: status {}", m,
                                                 n, k, static_cast<int>(status)));
  }
}

void check(dnnl_status_t status, const char* what) {
  if (status == dnnl_success) return;
  throw Error(ErrorCode::internal,
              fmt::format("oneDNN's bf16 product: {}: status {}", what, static_cast<int>(status)));
}

/// One of oneDNN's objects, destroyed by `destroy`.
template <class Handle, dnnl_status_t (*destroy)(Handle)>
class Owned {
 public:
  Owned() = default;
  Handle* out() { return &handle_; }
  Handle get() const { return handle_; }
  Owned(const Owned&) = delete;
  Owned& operator=(const Owned&) = delete;
  ~Owned() {
    if (handle_) destroy(handle_);
  }

 private:
  Handle handle_ = nullptr;
};
using Memory = Owned<dnnl_memory_t, dnnl_memory_destroy>;

/// What the library runs on: the processor, as it stands.
struct Processor {
  Processor() {
    check(dnnl_engine_create(engine.out(), dnnl_cpu, 0), "engine");
    check(dnnl_stream_create(stream.out(), engine.get(), dnnl_stream_default_flags), "stream");
  }
  Owned<dnnl_engine_t, dnnl_engine_destroy> engine;
  Owned<dnnl_stream_t, dnnl_stream_destroy> stream;
};

/// m, n, k, strides of a (row, column), of b (row, column) and of c (row), whether c is added to.
using Bf16Shape = std::array<std::int64_t, 9>;

/// A product of one shape, for one thread at a time.
class Bf16Product {
 public:
  Bf16Product(Processor& processor, const Bf16Shape& shape) : processor_(processor) {
    const auto [m, n, k, a_row, a_col, b_row, b_col, c_row, accumulate] = shape;
    const dnnl_memory_desc_t a = matrix(m, k, dnnl_bf16, a_row, a_col);
    const dnnl_memory_desc_t b = matrix(k, n, dnnl_bf16, b_row, b_col);
    const dnnl_memory_desc_t c = matrix(m, n, dnnl_f32, c_row, 1);
    dnnl_matmul_desc_t what;
    check(dnnl_matmul_desc_init(&what, &a, &b, nullptr, &c), "operation");
    Owned<dnnl_primitive_attr_t, dnnl_primitive_attr_destroy> how;
    Owned<dnnl_post_ops_t, dnnl_post_ops_destroy> then;
    check(dnnl_primitive_attr_create(how.out()), "attributes");
    check(dnnl_post_ops_create(then.out()), "sum");
    if (accumulate) check(dnnl_post_ops_append_sum(then.get(), 1.0f), "sum");
    check(dnnl_primitive_attr_set_post_ops(how.get(), then.get()), "sum");
    // The library's own would be made again for each thread that comes by.
    check(dnnl_primitive_attr_set_scratchpad_mode(how.get(), dnnl_scratchpad_mode_user), "memory");
    dnnl_engine_t engine = processor.engine.get();
    Owned<dnnl_primitive_desc_t, dnnl_primitive_desc_destroy> plan;
    check(dnnl_primitive_desc_create(plan.out(), &what, how.get(), engine, nullptr), "plan");
    check(dnnl_primitive_create(primitive_.out(), plan.get()), "code");
    const dnnl_memory_desc_t* room =
        dnnl_primitive_desc_query_md(plan.get(), dnnl_query_scratchpad_md, 0);
    room_bytes_ = dnnl_memory_desc_get_size(room);
    check(dnnl_memory_create(a_.out(), &a, engine, DNNL_MEMORY_NONE), "operand");
    check(dnnl_memory_create(b_.out(), &b, engine, DNNL_MEMORY_NONE), "operand");
    check(dnnl_memory_create(c_.out(), &c, engine, DNNL_MEMORY_NONE), "result");
    check(dnnl_memory_create(room_.out(), room, engine, DNNL_MEMORY_NONE), "memory");
  }

  void run(const void* a, const void* b, float* c, Scratch& scratch) {
    point(a_, a);
    point(b_, b);
    point(c_, c);
    point(room_, scratch.reserve<std::byte>(room_bytes_ + 1));
    const dnnl_exec_arg_t arguments[] = {{DNNL_ARG_SRC, a_.get()},
                                         {DNNL_ARG_WEIGHTS, b_.get()},
                                         {DNNL_ARG_DST, c_.get()},
                                         {DNNL_ARG_SCRATCHPAD, room_.get()}};
    check(dnnl_primitive_execute(primitive_.get(), processor_.stream.get(), 4, arguments), "run");
  }

 private:
  static dnnl_memory_desc_t matrix(std::int64_t rows, std::int64_t cols, dnnl_data_type_t type,
                                   std::int64_t row_stride, std::int64_t col_stride) {
    const dnnl_dims_t shape = {rows, cols};
    const dnnl_dims_t strides = {row_stride, col_stride};
    dnnl_memory_desc_t description;
    check(dnnl_memory_desc_init_by_strides(&description, 2, shape, type, strides), "layout");
    return description;
  }
  // The library takes no pointer to constants, but writes to the result and the memory only.
  static void point(const Memory& memory, const void* data) {
    check(dnnl_memory_set_data_handle(memory.get(), const_cast<void*>(data)), "pointer");
  }

  Processor& processor_;
  Owned<dnnl_primitive_t, dnnl_primitive_destroy> primitive_;
  Memory a_, b_, c_, room_;
  std::size_t room_bytes_ = 0;
};

/// A thread's own: no lock is needed.
struct Bf16Products {
  Processor processor;
  Scratch scratch;
  std::map<Bf16Shape, Bf16Product> by_shape;
};

}  // namespace

bool multiplies_bf16() { return bf16_gemm_kernels() != nullptr; }

void multiply_bf16(std::int64_t m, std::int64_t n, std::int64_t k, const Bf16Operand& a,
                   const Bf16Operand& b, bool accumulate, float* c, std::int64_t c_stride) {
  use_one_thread();
  thread_local Bf16Products products;
  const Bf16Shape shape = {m,
                           n,
                           k,
                           a.row_stride,
                           a.col_stride,
                           b.row_stride,
                           b.col_stride,
                           c_stride,
                           accumulate ? 1 : 0};
  auto found = products.by_shape.find(shape);
  if (found == products.by_shape.end()) {
    found = products.by_shape.try_emplace(shape, products.processor, shape).first;
  }
  found->second.run(a.data, b.data, c, products.scratch);
}

void multiply_transposed(std::int64_t m, std::int64_t n, std::int64_t k, const float* a,
                         std::int64_t a_stride, const float* b, std::int64_t b_stride, float beta,
                         float* c, std::int64_t c_stride) {
  product('N', 'T', m, n, k, a, a_stride, b, b_stride, beta, c, c_stride);
}

void multiply(std::int64_t m, std::int64_t n, std::int64_t k, const float* a, std::int64_t a_stride,
              const float* b, std::int64_t b_stride, float beta, float* c, std::int64_t c_stride) {
  product('N', 'N', m, n, k, a, a_stride, b, b_stride, beta, c, c_stride);
}

void multiply_left_transposed(std::int64_t m, std::int64_t n, std::int64_t k, const float* a,
                              std::int64_t a_stride, const float* b, std::int64_t b_stride,
                              float beta, float* c, std::int64_t c_stride) {
  product('T', 'N', m, n, k, a, a_stride, b, b_stride, beta, c, c_stride);
}

}  // namespace spd
