#include "motion.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "parallel.h"
#include "rotation.h"
#include "simd.h"

namespace legs4d {
namespace {

constexpr float kTiny = 1e-20f;  // under square roots, so that their derivative at zero is finite
constexpr int kChunks = 8;       // each sums gradients of its own; fixed, so that sums keep their order

}  // namespace

void motion_losses(const MotionArrays& motion, const float* factors, int threads, double* losses, float* mean_gradient,
                   float* quat_gradient) {
  const int count = motion.count, k_count = motion.neighbours;
  // How each Gaussian has turned since the previous frame.
  std::vector<float> turned(4 * static_cast<size_t>(count));
  for (int m = 0; m < count; ++m) {
    const float* p = motion.previous_quats + 4 * m;
    const float conjugate[4] = {p[0], -p[1], -p[2], -p[3]};
    multiply(motion.quats + 4 * m, conjugate, &turned[4 * m]);
  }
  struct Sums {
    std::vector<float> means, turned;
    double losses[kMotionLosses] = {};
  };
  std::vector<Sums> chunks(kChunks);
  const float share = 1.0f / (static_cast<float>(count) * k_count);
  const float rigid_factor = factors[0] * share, rotation_factor = factors[1] * share, isometry_factor = factors[2] * share;
  parallel_for(kChunks, threads, [&](int chunk) {
    Sums& sums = chunks[chunk];
    sums.means.assign(3 * static_cast<size_t>(count), 0.0f);
    sums.turned.assign(4 * static_cast<size_t>(count), 0.0f);
    for (int m = static_cast<int>(static_cast<int64_t>(count) * chunk / kChunks);
         m < static_cast<int64_t>(count) * (chunk + 1) / kChunks; ++m) {
      const Rotation r = rotation_of(&turned[4 * m]);
      const float *x = motion.means + 3 * m, *px = motion.previous_means + 3 * m, *t = &turned[4 * m];
      floatv by_rotation[9] = {}, by_own_mean[3] = {}, by_own_turn[4] = {}, rigids{}, rotations{}, isometries{};
      for (int first = 0; first < k_count; first += kLanes) {
        // Neighbours side by side; where there are no more, the Gaussian itself with weight 0, which adds nothing.
        const int lanes = std::min(kLanes, k_count - first);
        const size_t pair = static_cast<size_t>(m) * k_count + first;
        int64_t neighbour[kLanes];
        floatv w{}, distance{}, counts{}, offset[3], before[3], difference[4];
        for (int l = 0; l < kLanes; ++l) {
          const int64_t n = neighbour[l] = l < lanes ? motion.index[pair + l] : m;
          if (l < lanes) w[l] = motion.weight[pair + l], distance[l] = motion.distance[pair + l], counts[l] = 1;
          for (int i = 0; i < 3; ++i) offset[i][l] = motion.means[3 * n + i], before[i][l] = motion.previous_means[3 * n + i];
          for (int i = 0; i < 4; ++i) difference[i][l] = turned[4 * n + i];
        }
        for (int i = 0; i < 3; ++i) offset[i] -= x[i], before[i] -= px[i];
        for (int i = 0; i < 4; ++i) difference[i] -= t[i];

        floatv residual[3], offset_gradient[3] = {}, squared{};  // rigidity: Rᵀ offset against the previous offset
        for (int i = 0; i < 3; ++i) {
          residual[i] = r.m[i] * offset[0] + r.m[3 + i] * offset[1] + r.m[6 + i] * offset[2] - before[i];
          squared += residual[i] * residual[i];
        }
        const floatv rigid = sqrt(squared * w + kTiny), by_residual = rigid_factor * w / rigid;
        rigids += counts * rigid;
        for (int i = 0; i < 3; ++i) {
          const floatv v = by_residual * residual[i];
          for (int j = 0; j < 3; ++j) {
            offset_gradient[j] += r.m[3 * j + i] * v;
            by_rotation[3 * j + i] += offset[j] * v;
          }
        }

        floatv turn{};
        for (int i = 0; i < 4; ++i) turn += difference[i] * difference[i];
        const floatv rotation = sqrt(turn * w + kTiny), by_difference = rotation_factor * w / rotation;
        rotations += counts * rotation;

        const floatv length = sqrt(offset[0] * offset[0] + offset[1] * offset[1] + offset[2] * offset[2] + kTiny);
        const floatv stretch = length - distance, isometry = sqrt(stretch * stretch * w + kTiny);
        isometries += counts * isometry;
        const floatv v_length = isometry_factor * w * stretch / (isometry * length);
        for (int i = 0; i < 3; ++i) by_own_mean[i] -= offset_gradient[i] += v_length * offset[i];
        for (int i = 0; i < 4; ++i) by_own_turn[i] -= difference[i] *= by_difference;
        for (int l = 0; l < lanes; ++l) {
          for (int i = 0; i < 3; ++i) sums.means[3 * neighbour[l] + i] += offset_gradient[i][l];
          for (int i = 0; i < 4; ++i) sums.turned[4 * neighbour[l] + i] += difference[i][l];
        }
      }
      sums.losses[0] += sum(rigids), sums.losses[1] += sum(rotations), sums.losses[2] += sum(isometries);
      float rotation_gradient[9], own_mean[3], own_turn[4];
      for (int i = 0; i < 9; ++i) rotation_gradient[i] = sum(by_rotation[i]);
      for (int i = 0; i < 3; ++i) own_mean[i] = sum(by_own_mean[i]);
      for (int i = 0; i < 4; ++i) own_turn[i] = sum(by_own_turn[i]);
      for (int i = 0; i < 3; ++i) sums.means[3 * m + i] += own_mean[i];
      float by_turn[4];
      rotation_backward(r, rotation_gradient, by_turn);
      for (int i = 0; i < 4; ++i) sums.turned[4 * m + i] += own_turn[i] + by_turn[i];
    }
  });
  for (int i = 0; i < kMotionLosses; ++i) {
    losses[i] = 0;
    for (const Sums& sums : chunks) losses[i] += sums.losses[i] * share;
  }
  for (int m = 0; m < count; ++m) {
    for (int i = 0; i < 3; ++i) {
      float total = 0;
      for (const Sums& sums : chunks) total += sums.means[3 * m + i];
      mean_gradient[3 * m + i] = total;
    }
    float v_turned[4] = {};
    for (const Sums& sums : chunks)
      for (int i = 0; i < 4; ++i) v_turned[i] += sums.turned[4 * m + i];
    // turned = quat ⊗ conj(previous), and multiplying by a unit quaternion is orthogonal.
    multiply(v_turned, motion.previous_quats + 4 * m, quat_gradient + 4 * m);
  }
}

}  // namespace legs4d
