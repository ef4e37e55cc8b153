// Quaternions: products, and rotation matrices with their derivative.
#pragma once
#include <algorithm>
#include <cmath>

namespace legs4d {

struct Rotation {
  float m[9];              // row-major
  float w, x, y, z, norm;  // the unit quaternion, and the length it had
};

inline float norm(const float* quat) {
  return std::sqrt(quat[0] * quat[0] + quat[1] * quat[1] + quat[2] * quat[2] + quat[3] * quat[3]);
}

// Hamilton product, wxyz.
inline void multiply(const float* a, const float* b, float* out) {
  out[0] = a[0] * b[0] - a[1] * b[1] - a[2] * b[2] - a[3] * b[3];
  out[1] = a[0] * b[1] + a[1] * b[0] + a[2] * b[3] - a[3] * b[2];
  out[2] = a[0] * b[2] + a[2] * b[0] + a[3] * b[1] - a[1] * b[3];
  out[3] = a[0] * b[3] + a[3] * b[0] + a[1] * b[2] - a[2] * b[1];
}

inline Rotation rotation_of(const float* quat) {
  Rotation r;
  r.norm = norm(quat);
  const float inverse = 1.0f / std::max(r.norm, 1e-12f);
  const float w = r.w = quat[0] * inverse, x = r.x = quat[1] * inverse, y = r.y = quat[2] * inverse,
              z = r.z = quat[3] * inverse;
  const float m[9] = {1 - 2 * (y * y + z * z), 2 * (x * y - w * z),     2 * (x * z + w * y),
                      2 * (x * y + w * z),     1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
                      2 * (x * z - w * y),     2 * (y * z + w * x),     1 - 2 * (x * x + y * y)};
  std::copy(m, m + 9, r.m);
  return r;
}

// From the gradient g of the matrix to that of the quaternion as given, its length included.
inline void rotation_backward(const Rotation& r, const float* g, float* quat_gradient) {
  const float w = r.w, x = r.x, y = r.y, z = r.z;
  const float unit[4] = {
      2 * (-z * g[1] + y * g[2] + z * g[3] - x * g[5] - y * g[6] + x * g[7]),
      2 * (y * (g[1] + g[3]) + z * (g[2] + g[6]) - 2 * x * (g[4] + g[8]) + w * (g[7] - g[5])),
      2 * (x * (g[1] + g[3]) + z * (g[5] + g[7]) - 2 * y * (g[0] + g[8]) + w * (g[2] - g[6])),
      2 * (x * (g[2] + g[6]) + y * (g[5] + g[7]) - 2 * z * (g[0] + g[4]) + w * (g[3] - g[1]))};
  const float q[4] = {w, x, y, z};
  const float along = q[0] * unit[0] + q[1] * unit[1] + q[2] * unit[2] + q[3] * unit[3];
  const float inverse = 1.0f / std::max(r.norm, 1e-12f);
  for (int k = 0; k < 4; ++k) quat_gradient[k] = (unit[k] - q[k] * along) * inverse;
}

}  // namespace legs4d
