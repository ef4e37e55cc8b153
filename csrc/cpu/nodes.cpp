#include "nodes.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "parallel.h"
#include "rotation.h"

namespace legs4d {
namespace {

constexpr int kChunks = 8;  // each sums gradients of its own; fixed, so that sums keep their order
constexpr float kShortest = 1e-12f;

template <typename Body>
void for_each_gaussian(int count, int chunk, const Body& body) {
  const int end = static_cast<int>(static_cast<int64_t>(count) * (chunk + 1) / kChunks);
  for (int m = static_cast<int>(static_cast<int64_t>(count) * chunk / kChunks); m < end; ++m) body(m);
}

std::vector<Rotation> rotations(const NodeArrays& arrays) {
  std::vector<Rotation> out(arrays.nodes);
  for (int k = 0; k < arrays.nodes; ++k) out[k] = rotation_of(arrays.turns + 4 * k);
  return out;
}

// How a Gaussian turns: the blend of its nodes' unit quaternions, then the product with its own.
struct Turn {
  float blend[4], blend_norm;  // unit
  float out[4], out_norm;      // unit
};

Turn turn_of(const NodeArrays& arrays, const std::vector<Rotation>& nodes, int m) {
  Turn t{};
  for (int b = 0; b < arrays.bindings; ++b) {
    const size_t pair = static_cast<size_t>(m) * arrays.bindings + b;
    const Rotation& r = nodes[arrays.index[pair]];
    const float w = arrays.weight[pair], unit[4] = {r.w, r.x, r.y, r.z};
    for (int i = 0; i < 4; ++i) t.blend[i] += w * unit[i];
  }
  t.blend_norm = std::max(norm(t.blend), kShortest);
  for (float& value : t.blend) value /= t.blend_norm;
  multiply(t.blend, arrays.quats + 4 * m, t.out);
  t.out_norm = std::max(norm(t.out), kShortest);
  for (float& value : t.out) value /= t.out_norm;
  return t;
}

// The gradient by a vector, from that by the unit vector it was made into.
void normalise_backward(const float* unit, float norm, const float* gradient, float* out) {
  const float along = unit[0] * gradient[0] + unit[1] * gradient[1] + unit[2] * gradient[2] + unit[3] * gradient[3];
  for (int i = 0; i < 4; ++i) out[i] = (gradient[i] - unit[i] * along) / norm;
}

}  // namespace

void carry(const NodeArrays& arrays, int threads, float* moved, float* turned) {
  const std::vector<Rotation> nodes = rotations(arrays);
  parallel_for(kChunks, threads, [&](int chunk) {
    for_each_gaussian(arrays.count, chunk, [&](int m) {
      const float* x = arrays.means + 3 * m;
      float to[3] = {};
      for (int b = 0; b < arrays.bindings; ++b) {
        const size_t pair = static_cast<size_t>(m) * arrays.bindings + b;
        const int64_t k = arrays.index[pair];
        const float *anchor = arrays.means + 3 * arrays.gaussian[k], *r = nodes[k].m, w = arrays.weight[pair];
        const float offset[3] = {x[0] - anchor[0], x[1] - anchor[1], x[2] - anchor[2]};
        for (int i = 0; i < 3; ++i)
          to[i] += w * (r[3 * i] * offset[0] + r[3 * i + 1] * offset[1] + r[3 * i + 2] * offset[2] + anchor[i] +
                        arrays.shifts[3 * k + i]);
      }
      std::copy(to, to + 3, moved + 3 * m);
      const Turn t = turn_of(arrays, nodes, m);
      std::copy(t.out, t.out + 4, turned + 4 * m);
    });
  });
}

void carry_backward(const NodeArrays& arrays, const float* moved_gradient, const float* turned_gradient, int threads,
                    float* shift_gradient, float* turn_gradient) {
  const std::vector<Rotation> nodes = rotations(arrays);
  constexpr int kShift = 0, kMatrix = 3, kUnit = 12, kSums = 16;  // of a node: by its shift, rotation matrix, quaternion
  std::vector<std::vector<float>> chunks(kChunks);
  parallel_for(kChunks, threads, [&](int chunk) {
    std::vector<float>& sums = chunks[chunk];
    sums.assign(static_cast<size_t>(arrays.nodes) * kSums, 0.0f);
    for_each_gaussian(arrays.count, chunk, [&](int m) {
      const float *x = arrays.means + 3 * m, *g = moved_gradient + 3 * m, *q = arrays.quats + 4 * m;
      const Turn t = turn_of(arrays, nodes, m);
      float by_product[4], by_blend_unit[4], by_blend[4];
      normalise_backward(t.out, t.out_norm, turned_gradient + 4 * m, by_product);
      const float conjugate[4] = {q[0], -q[1], -q[2], -q[3]};
      multiply(by_product, conjugate, by_blend_unit);
      normalise_backward(t.blend, t.blend_norm, by_blend_unit, by_blend);
      for (int b = 0; b < arrays.bindings; ++b) {
        const size_t pair = static_cast<size_t>(m) * arrays.bindings + b;
        const int64_t k = arrays.index[pair];
        const float *anchor = arrays.means + 3 * arrays.gaussian[k], w = arrays.weight[pair];
        float* sum = sums.data() + k * kSums;
        for (int i = 0; i < 3; ++i) {
          sum[kShift + i] += w * g[i];
          for (int j = 0; j < 3; ++j) sum[kMatrix + 3 * i + j] += w * g[i] * (x[j] - anchor[j]);
        }
        for (int i = 0; i < 4; ++i) sum[kUnit + i] += w * by_blend[i];
      }
    });
  });
  for (int k = 0; k < arrays.nodes; ++k) {
    float sum[kSums] = {};
    for (const std::vector<float>& sums : chunks)
      for (int i = 0; i < kSums; ++i) sum[i] += sums[static_cast<size_t>(k) * kSums + i];
    std::copy(sum + kShift, sum + kMatrix, shift_gradient + 3 * k);
    const Rotation& r = nodes[k];
    const float unit[4] = {r.w, r.x, r.y, r.z};
    float by_matrix[4], by_unit[4];
    rotation_backward(r, sum + kMatrix, by_matrix);
    normalise_backward(unit, std::max(r.norm, kShortest), sum + kUnit, by_unit);
    for (int i = 0; i < 4; ++i) turn_gradient[4 * k + i] = by_matrix[i] + by_unit[i];
  }
}

}  // namespace legs4d
