// Projection on CUDA: the formulas of csrc/cpu/projection.cpp, one thread per Gaussian, which it takes to every camera.
#include "check.h"
#include "lift.h"

namespace legs4d::cuda {
namespace {

__device__ Covariance world_covariance(const float* quat, const float* scale) {
  const float norm = rsqrtf(quat[0] * quat[0] + quat[1] * quat[1] + quat[2] * quat[2] + quat[3] * quat[3]);
  const float w = quat[0] * norm, x = quat[1] * norm, y = quat[2] * norm, z = quat[3] * norm;
  const float r[9] = {1 - 2 * (y * y + z * z), 2 * (x * y - w * z),     2 * (x * z + w * y),
                      2 * (x * y + w * z),     1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
                      2 * (x * z - w * y),     2 * (y * z + w * x),     1 - 2 * (x * x + y * y)};
  float m[9];
  for (int i = 0; i < 9; ++i) m[i] = r[i] * scale[i % 3];
  auto dot = [&](int i, int j) { return m[3 * i] * m[3 * j] + m[3 * i + 1] * m[3 * j + 1] + m[3 * i + 2] * m[3 * j + 2]; };
  return {{dot(0, 0), dot(0, 1), dot(0, 2), dot(1, 1), dot(1, 2), dot(2, 2)}};
}

// Whether the camera (rows of its 4×4 and 3×3 matrices) has the Gaussian in its image; if so, fills `splat`.
__device__ bool project_one(const float* m, const float* k, const Image& image, float near_plane, float blur,
                            const float* mean, const Covariance& covariance, float opacity, Splat* splat) {
  const float x = m[0] * mean[0] + m[1] * mean[1] + m[2] * mean[2] + m[3];
  const float y = m[4] * mean[0] + m[5] * mean[1] + m[6] * mean[2] + m[7];
  const float z = m[8] * mean[0] + m[9] * mean[1] + m[10] * mean[2] + m[11];
  if (!(z > near_plane) || !(opacity >= kAlphaMin)) return false;
  const float fx = k[0], fy = k[4], cx = k[2], cy = k[5], iz = 1.0f / z;
  const float margin_x = kFrustumMargin * 0.5f * image.width / fx, margin_y = kFrustumMargin * 0.5f * image.height / fy;
  const float u = fminf(fmaxf(x * iz, -(cx / fx + margin_x)), (image.width - cx) / fx + margin_x);
  const float v = fminf(fmaxf(y * iz, -(cy / fy + margin_y)), (image.height - cy) / fy + margin_y);
  const float j00 = fx * iz, j02 = -fx * u * iz, j11 = fy * iz, j12 = -fy * v * iz;
  float s[3], t[3];  // Jacobian · world-to-camera rotation
  for (int i = 0; i < 3; ++i) {
    s[i] = j00 * m[i] + j02 * m[8 + i];
    t[i] = j11 * m[4 + i] + j12 * m[8 + i];
  }
  const float* c = covariance.m;
  const float p0 = c[0] * s[0] + c[1] * s[1] + c[2] * s[2], p1 = c[1] * s[0] + c[3] * s[1] + c[4] * s[2],
              p2 = c[2] * s[0] + c[4] * s[1] + c[5] * s[2];
  const float q0 = c[0] * t[0] + c[1] * t[1] + c[2] * t[2], q1 = c[1] * t[0] + c[3] * t[1] + c[4] * t[2],
              q2 = c[2] * t[0] + c[4] * t[1] + c[5] * t[2];
  const float bx = s[0] * p0 + s[1] * p1 + s[2] * p2 + blur, by = t[0] * q0 + t[1] * q1 + t[2] * q2 + blur;
  const float xy = t[0] * p0 + t[1] * p1 + t[2] * p2;
  const float determinant = bx * by - xy * xy;
  if (!(determinant > 0.0f)) return false;
  const float reach = sqrtf(2.0f * logf(opacity / kAlphaMin)) * 1.0001f;
  const float px = fx * x / z + cx, py = fy * y / z + cy, rx = reach * sqrtf(bx), ry = reach * sqrtf(by);
  const float x0 = fmaxf(0.0f, ceilf(px - rx - 0.5f)), x1 = fminf(image.width - 1.0f, floorf(px + rx - 0.5f));
  const float y0 = fmaxf(0.0f, ceilf(py - ry - 0.5f)), y1 = fminf(image.height - 1.0f, floorf(py + ry - 0.5f));
  if (!(x0 <= x1 && y0 <= y1)) return false;
  const float inverse = 1.0f / determinant;
  *splat = {px,
            py,
            by * inverse,
            -xy * inverse,
            bx * inverse,
            opacity,
            reach * reach,
            inverse,
            z,
            static_cast<int16_t>(x0),
            static_cast<int16_t>(x1),
            static_cast<int16_t>(y0),
            static_cast<int16_t>(y1),
            0};
  return true;
}

__global__ void project_kernel(int count, const float* means, const float* quats, const float* scales,
                               const float* opacities, const float* viewmats, const float* intrinsics, Image image,
                               float near_plane, float blur, Splat* splats, uint64_t* keys, int32_t* counter) {
  const int n = blockIdx.x * blockDim.x + threadIdx.x, lane = threadIdx.x % 32;
  const bool exists = n < count;
  Covariance covariance{};
  float mean[3] = {}, opacity = 0.0f;
  if (exists) {
    covariance = world_covariance(quats + 4 * static_cast<size_t>(n), scales + 3 * static_cast<size_t>(n));
    for (int i = 0; i < 3; ++i) mean[i] = means[3 * static_cast<size_t>(n) + i];
    opacity = opacities[n];
  }
  for (int camera = 0; camera < image.cameras; ++camera) {
    Splat splat;
    const bool seen = exists && project_one(viewmats + 16 * camera, intrinsics + 9 * camera, image, near_plane, blur, mean,
                                            covariance, opacity, &splat);
    // A warp asks for its places at once.
    const unsigned voters = __ballot_sync(~0u, seen);
    if (!voters) continue;
    const int leader = __ffs(voters) - 1;
    int base = 0;
    if (lane == leader) base = atomicAdd(counter, __popc(voters));
    base = __shfl_sync(~0u, base, leader);
    if (!seen) continue;
    const int place = base + __popc(voters & ((1u << lane) - 1));
    splat.gaussian = n;
    splats[place] = splat;
    // Positive floats sort as their bits do.
    keys[place] = static_cast<uint64_t>(camera) << 32 | __float_as_uint(splat.depth);
  }
}

}  // namespace

void project_all(int count, const float* means, const float* quats, const float* scales, const float* opacities,
                 const float* viewmats, const float* intrinsics, Image image, float near_plane, float blur, Splat* splats,
                 uint64_t* keys, int32_t* counter, cudaStream_t stream) {
  if (!count) return;
  project_kernel<<<blocks_for(count, 128), 128, 0, stream>>>(count, means, quats, scales, opacities, viewmats, intrinsics,
                                                             image, near_plane, blur, splats, keys, counter);
  check(cudaGetLastError(), "projecting Gaussians");
}

}  // namespace legs4d::cuda
