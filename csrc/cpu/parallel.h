// A parallel loop. Work items write to places of their own and are combined afterwards in a fixed order, so that
// results do not depend on which thread took which item.
#pragma once

namespace legs4d {

using WorkItem = void (*)(const void* body, int item);

// Calls item(body, 0) … item(body, items - 1) on the calling thread and on up to threads - 1 helpers, which are kept from
// one loop to the next: starting a thread costs as much as small pictures take. The caller waits for items that helpers
// have begun, never for a helper to wake up. Throws what an item threw, when all that were begun are over.
void run_items(int items, int threads, WorkItem item, const void* body);

// What a loop's calling thread asks now and then, between items and at `go_on`: it throws to end the loop.
void set_interrupt(void (*look)());

// For long items to call every few milliseconds: throws when the loop is to end.
void go_on();

template <typename Body>
void parallel_for(int items, int threads, const Body& body) {
  if (threads > items) threads = items;
  if (threads > 1) {
    run_items(items, threads, [](const void* b, int i) { (*static_cast<const Body*>(b))(i); }, &body);
    return;
  }
  for (int i = 0; i < items; ++i) {
    go_on();
    body(i);
  }
}

}  // namespace legs4d
