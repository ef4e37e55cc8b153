// Nodes that move rigidly and carry the Gaussians around them: linear blend skinning, and its derivative.
#pragma once
#include <cstdint>

namespace legs4d {

// K nodes, each at one of M Gaussians, of which each hangs on B nodes; row-major. Quaternions are wxyz.
struct NodeArrays {
  int count, nodes, bindings;
  const int64_t *gaussian, *index;  // [K] where each node sits; [M,B] the nodes of each Gaussian
  const float* weight;              // [M,B]
  const float *means, *quats;       // [M,3] [M,4] before
  const float *shifts, *turns;      // [K,3] [K,4] of any length
};

// Writes where the Gaussians are after it: moved [M,3], turned [M,4] unit.
void carry(const NodeArrays& arrays, int threads, float* moved, float* turned);

// From gradients by `moved` and `turned` to those by the nodes' shifts [K,3] and turns [K,4].
void carry_backward(const NodeArrays& arrays, const float* moved_gradient, const float* turned_gradient, int threads,
                    float* shift_gradient, float* turn_gradient);

}  // namespace legs4d
