// Dynamic3DGS's losses on motion (Luiten et al. 2024, equations 5 to 8) and their derivatives.
#pragma once
#include <cstdint>

namespace legs4d {

// M moving Gaussians, each with K neighbours; row-major. Quaternions are unit, wxyz.
struct MotionArrays {
  int count, neighbours;
  const float *means, *quats, *previous_means, *previous_quats;  // [M,3] [M,4] [M,3] [M,4]
  const int64_t* index;                                          // [M,K]
  const float *weight, *distance;                                // [M,K]
};

constexpr int kMotionLosses = 3;  // rigidity, rotation similarity, isometry

// Writes the three losses, each a mean over all M·K pairs, and the gradients of Σ factor[i] · loss[i] by means and quats.
void motion_losses(const MotionArrays& motion, const float* factors, int threads, double* losses, float* mean_gradient,
                   float* quat_gradient);

}  // namespace legs4d
