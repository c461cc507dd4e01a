// A fork-join pool: the caller and its workers run one function, then meet again.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>
#include <type_traits>
#include <vector>

namespace spd {

/// Thread 0 is whoever calls run(). Workers that find nothing to do spin for a few tens of
/// microseconds, the usual gap between two operators, then sleep: ranks may outnumber cores.
class ThreadPool {
 public:
  /// Starts threads - 1 workers. Pins the calling thread to cores[0] and worker i to cores[i]; no
  /// pinning where `cores` is empty. Throws usage Error (too few cores, no threads), system Error
  /// (a core that this process may not use).
  ThreadPool(int threads, const std::vector<int>& cores);
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;
  ~ThreadPool();

  int size() const { return static_cast<int>(workers_.size()) + 1; }

  /// Calls task(thread) once on each thread, 0 <= thread < size(), and returns when all are done.
  /// The task must not throw and must not call run().
  template <class Task>
  void run(Task&& task) {
    if (workers_.empty()) {
      task(0);
      return;
    }
    using Bare = std::remove_reference_t<Task>;
    fork([](void* context, int thread) { (*static_cast<Bare*>(context))(thread); }, &task);
  }

  /// Blocks until every thread of a running task has called it as often.
  void barrier();

 private:
  using Function = void (*)(void* context, int thread);

  void fork(Function function, void* context);
  void work(int thread);
  void stop() noexcept;

  // What the caller writes and what the workers write lie on cache lines of their own.
  alignas(64) std::atomic<std::uint32_t> epoch_{0};  // counts forks
  Function function_ = nullptr;
  void* context_ = nullptr;
  bool stopping_ = false;
  alignas(64) std::atomic<std::uint32_t> running_{0};  // workers still at the present task
  alignas(64) std::atomic<std::uint32_t> arrived_{0};  // at the present barrier
  alignas(64) std::atomic<std::uint32_t> barriers_{0};
  std::vector<std::thread> workers_;
};

}  // namespace spd
