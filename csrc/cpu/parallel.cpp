#include "parallel.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif

namespace legs4d {
namespace {

constexpr std::chrono::milliseconds kBetweenLooks(50);

void (*look)() = nullptr;

// In a helper: set when an item of its loop has thrown.
thread_local const std::atomic<bool>* helping = nullptr;

struct Ended {};  // what a helper throws then; the caller throws the reason

struct Loop {
  int items;
  WorkItem item;
  const void* body;  // the caller's: not to be touched once all items are over
  int seats;         // helpers that may still join; the pool's mutex guards it
  std::atomic<int> next{0};
  std::atomic<bool> ended{false};  // an item has thrown: the rest need not be done
  std::mutex mutex;  // of what follows
  std::condition_variable over;
  int done = 0;
  std::exception_ptr thrown;

  void work() {
    int finished = 0;
    std::exception_ptr problem;
    for (int i = next++; i < items; i = next++, ++finished) {
      if (ended) continue;
      try {
        go_on();
        item(body, i);
      } catch (const Ended&) {
      } catch (...) {
        problem = std::current_exception();
        ended = true;
      }
    }
    if (!finished) return;
    std::lock_guard<std::mutex> lock(mutex);
    if (problem && !thrown) thrown = problem;
    if ((done += finished) == items) over.notify_one();
  }

  void wait() {
    std::unique_lock<std::mutex> lock(mutex);
    over.wait(lock, [&] { return done == items; });
    if (thrown) std::rethrow_exception(thrown);
  }
};

class Pool {
 public:
  void run(const std::shared_ptr<Loop>& loop) {
    const int wanted = loop->seats;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      loops_.push_back(loop);
      for (; helpers_ < wanted; ++helpers_) std::thread([this] { help(); }).detach();
    }
    for (int i = 0; i < wanted; ++i) wake_.notify_one();
    loop->work();
    {
      std::lock_guard<std::mutex> lock(mutex_);
      loops_.erase(std::remove(loops_.begin(), loops_.end(), loop), loops_.end());
    }
    loop->wait();
  }

 private:
  void help() {
    for (;;) {
      std::shared_ptr<Loop> loop;
      {
        std::unique_lock<std::mutex> lock(mutex_);
        wake_.wait(lock, [&] { return !loops_.empty(); });
        loop = loops_.front();
        if (--loop->seats == 0) loops_.pop_front();
      }
      helping = &loop->ended;
      loop->work();
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::shared_ptr<Loop>> loops_;  // those that helpers may still join
  int helpers_ = 0;
};

// Never destroyed: helpers wait in it until the process is over. A forked child has none of them and gets its own.
Pool* pool = [] {
#if defined(__unix__) || defined(__APPLE__)
  pthread_atfork(nullptr, nullptr, [] { pool = new Pool; });
#endif
  return new Pool;
}();

}  // namespace

void run_items(int items, int threads, WorkItem item, const void* body) {
  auto loop = std::make_shared<Loop>();
  loop->items = items, loop->item = item, loop->body = body, loop->seats = threads - 1;
  pool->run(loop);
}

void set_interrupt(void (*asked)()) { look = asked; }

void go_on() {
  if (helping) {
    if (*helping) throw Ended{};
    return;
  }
  thread_local auto last = std::chrono::steady_clock::now();
  if (!look) return;
  const auto now = std::chrono::steady_clock::now();
  if (now - last < kBetweenLooks) return;
  last = now;
  look();
}

}  // namespace legs4d
