// A parallel loop. Work items write to places of their own and are combined afterwards in a fixed order, so that
// results do not depend on which thread took which item.
#pragma once
#include <atomic>
#include <thread>
#include <vector>

namespace legs4d {

template <typename Body>
void parallel_for(int items, int threads, const Body& body) {
  if (threads > items) threads = items;
  std::atomic<int> next{0};
  auto work = [&] {
    for (int i = next++; i < items; i = next++) body(i);
  };
  std::vector<std::thread> helpers;
  for (int t = 1; t < threads; ++t) helpers.emplace_back(work);
  work();
  for (auto& helper : helpers) helper.join();
}

}  // namespace legs4d
