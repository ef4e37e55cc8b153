#include "motion.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "parallel.h"
#include "rotation.h"

namespace legs4d {
namespace {

constexpr float kTiny = 1e-20f;  // under square roots, so that their derivative at zero is finite
constexpr int kChunks = 8;       // each sums gradients of its own; fixed, so that sums keep their order

// Hamilton product, wxyz.
void multiply(const float* a, const float* b, float* out) {
  out[0] = a[0] * b[0] - a[1] * b[1] - a[2] * b[2] - a[3] * b[3];
  out[1] = a[0] * b[1] + a[1] * b[0] + a[2] * b[3] - a[3] * b[2];
  out[2] = a[0] * b[2] + a[2] * b[0] + a[3] * b[1] - a[1] * b[3];
  out[3] = a[0] * b[3] + a[3] * b[0] + a[1] * b[2] - a[2] * b[1];
}

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
      float rotation_gradient[9] = {}, own_mean[3] = {}, own_turn[4] = {};
      for (int k = 0; k < k_count; ++k) {
        const size_t pair = static_cast<size_t>(m) * k_count + k;
        const int64_t n = motion.index[pair];
        const float w = motion.weight[pair];
        const float *y = motion.means + 3 * n, *py = motion.previous_means + 3 * n, *u = &turned[4 * n];
        float offset[3], residual[3], offset_gradient[3] = {};
        for (int i = 0; i < 3; ++i) offset[i] = y[i] - x[i];

        float squared = 0;  // rigidity: Rᵀ offset against the previous offset
        for (int i = 0; i < 3; ++i) {
          const float back = r.m[i] * offset[0] + r.m[3 + i] * offset[1] + r.m[6 + i] * offset[2];
          residual[i] = back - (py[i] - px[i]);
          squared += residual[i] * residual[i];
        }
        const float rigid = std::sqrt(squared * w + kTiny);
        sums.losses[0] += rigid;
        for (int i = 0; i < 3; ++i) {
          const float v = rigid_factor * w * residual[i] / rigid;
          for (int j = 0; j < 3; ++j) {
            offset_gradient[j] += r.m[3 * j + i] * v;
            rotation_gradient[3 * j + i] += offset[j] * v;
          }
        }

        float difference[4], turn = 0;
        for (int i = 0; i < 4; ++i) {
          difference[i] = u[i] - t[i];
          turn += difference[i] * difference[i];
        }
        const float rotation = std::sqrt(turn * w + kTiny);
        sums.losses[1] += rotation;
        for (int i = 0; i < 4; ++i) {
          const float v = rotation_factor * w * difference[i] / rotation;
          sums.turned[4 * n + i] += v;
          own_turn[i] -= v;
        }

        const float length = std::sqrt(offset[0] * offset[0] + offset[1] * offset[1] + offset[2] * offset[2] + kTiny);
        const float stretch = length - motion.distance[pair];
        const float isometry = std::sqrt(stretch * stretch * w + kTiny);
        sums.losses[2] += isometry;
        const float v_length = isometry_factor * w * stretch / (isometry * length);
        for (int i = 0; i < 3; ++i) {
          const float v = offset_gradient[i] + v_length * offset[i];
          sums.means[3 * n + i] += v;
          own_mean[i] -= v;
        }
      }
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
