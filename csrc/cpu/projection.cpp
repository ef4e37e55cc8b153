#include "projection.h"

#include <algorithm>
#include <cmath>

#include "rotation.h"

namespace legs4d {
namespace {

// Everything that projecting computes on the way and its derivative needs again.
struct Linearisation {
  float camera[3];        // mean in the camera
  float tx, ty;           // where the projection is linearised, camera units
  bool x_inside, y_inside;
  float t[6];             // 2×3: Jacobian · world-to-camera rotation
  float xx, xy, yy;       // covariance in the image before blur
  float determinant, determinant_blurred, compensation;
};

bool linearise(const View& view, const ImageSettings& image, const float* mean, const Covariance& covariance,
               Linearisation* out) {
  const float* r = view.rotation;
  for (int i = 0; i < 3; ++i)
    out->camera[i] = r[3 * i] * mean[0] + r[3 * i + 1] * mean[1] + r[3 * i + 2] * mean[2] + view.translation[i];
  const float x = out->camera[0], y = out->camera[1], z = out->camera[2];
  if (!(z > image.near_plane)) return false;
  const float iz = 1.0f / z;
  const float margin_x = kFrustumMargin * 0.5f * image.width / view.fx;
  const float margin_y = kFrustumMargin * 0.5f * image.height / view.fy;
  const float u = std::clamp(x * iz, -(view.cx / view.fx + margin_x), (image.width - view.cx) / view.fx + margin_x);
  const float v = std::clamp(y * iz, -(view.cy / view.fy + margin_y), (image.height - view.cy) / view.fy + margin_y);
  out->x_inside = u == x * iz;
  out->y_inside = v == y * iz;
  out->tx = u * z;
  out->ty = v * z;
  const float j00 = view.fx * iz, j02 = -view.fx * u * iz, j11 = view.fy * iz, j12 = -view.fy * v * iz;
  float* t = out->t;
  for (int k = 0; k < 3; ++k) {
    t[k] = j00 * r[k] + j02 * r[6 + k];
    t[3 + k] = j11 * r[3 + k] + j12 * r[6 + k];
  }
  const float* s = covariance.m;
  const float p0 = s[0] * t[0] + s[1] * t[1] + s[2] * t[2], p1 = s[1] * t[0] + s[3] * t[1] + s[4] * t[2],
              p2 = s[2] * t[0] + s[4] * t[1] + s[5] * t[2];
  const float q0 = s[0] * t[3] + s[1] * t[4] + s[2] * t[5], q1 = s[1] * t[3] + s[3] * t[4] + s[4] * t[5],
              q2 = s[2] * t[3] + s[4] * t[4] + s[5] * t[5];
  out->xx = t[0] * p0 + t[1] * p1 + t[2] * p2;
  out->xy = t[3] * p0 + t[4] * p1 + t[5] * p2;
  out->yy = t[3] * q0 + t[4] * q1 + t[5] * q2;
  const float bx = out->xx + image.blur, by = out->yy + image.blur;
  out->determinant = out->xx * out->yy - out->xy * out->xy;
  out->determinant_blurred = bx * by - out->xy * out->xy;
  if (!(out->determinant_blurred > 0.0f)) return false;
  out->compensation =
      image.antialiased ? std::sqrt(std::max(0.0f, out->determinant / out->determinant_blurred)) : 1.0f;
  return true;
}

}  // namespace

void world_covariances(const float* quats, const float* scales, int begin, int end, Covariance* out) {
  for (int n = begin; n < end; ++n) {
    const Rotation r = rotation_of(quats + 4 * n);
    const float* s = scales + 3 * n;
    float m[9];
    for (int i = 0; i < 9; ++i) m[i] = r.m[i] * s[i % 3];
    auto dot = [&](int i, int j) {
      return m[3 * i] * m[3 * j] + m[3 * i + 1] * m[3 * j + 1] + m[3 * i + 2] * m[3 * j + 2];
    };
    out[n] = {{dot(0, 0), dot(0, 1), dot(0, 2), dot(1, 1), dot(1, 2), dot(2, 2)}};
  }
}

bool project(const View& view, const ImageSettings& image, const float* mean, const Covariance& covariance, float opacity,
             Splat* splat) {
  Linearisation l;
  if (!linearise(view, image, mean, covariance, &l)) return false;
  const float effective = opacity * l.compensation;
  if (!(effective >= kAlphaMin)) return false;
  // Where opacity · exp(-d²/2) falls to kAlphaMin, d in standard deviations; a hair more against rounding.
  const float reach = std::sqrt(2.0f * std::log(effective / kAlphaMin)) * 1.0001f;
  const float x = view.fx * l.camera[0] / l.camera[2] + view.cx, y = view.fy * l.camera[1] / l.camera[2] + view.cy;
  const float bx = l.xx + image.blur, by = l.yy + image.blur;
  const float rx = reach * std::sqrt(bx), ry = reach * std::sqrt(by);
  // Pixel i has its centre at i + 0.5.
  const float x0 = std::max(0.0f, std::ceil(x - rx - 0.5f)), x1 = std::min(image.width - 1.0f, std::floor(x + rx - 0.5f));
  const float y0 = std::max(0.0f, std::ceil(y - ry - 0.5f)), y1 = std::min(image.height - 1.0f, std::floor(y + ry - 0.5f));
  if (!(x0 <= x1 && y0 <= y1)) return false;
  const float inverse = 1.0f / l.determinant_blurred;
  splat->x = x;
  splat->y = y;
  splat->a = by * inverse;
  splat->b = -l.xy * inverse;
  splat->c = bx * inverse;
  splat->opacity = effective;
  splat->reach = reach * reach;
  splat->determinant = inverse;
  splat->depth = l.camera[2];
  splat->x0 = static_cast<int16_t>(x0);
  splat->x1 = static_cast<int16_t>(x1);
  splat->y0 = static_cast<int16_t>(y0);
  splat->y1 = static_cast<int16_t>(y1);
  return true;
}

void project_backward(const View& view, const ImageSettings& image, const float* mean, const Covariance& covariance,
                      float opacity, const SplatGradient& g, float* mean_gradient, float* covariance_gradient,
                      float* opacity_gradient) {
  Linearisation l;
  linearise(view, image, mean, covariance, &l);
  const float bx = l.xx + image.blur, by = l.yy + image.blur;
  const float inverse = 1.0f / l.determinant_blurred;
  const float a = by * inverse, b = -l.xy * inverse, c = bx * inverse;

  // Inverse of a 2×2 matrix: dL/dΣ = -C (dL/dC) C; the parameter b stands for both off-diagonal entries.
  const float h = 0.5f * g.b;
  const float m00 = g.a * a + h * b, m01 = g.a * b + h * c, m10 = h * a + g.c * b, m11 = h * b + g.c * c;
  float v00 = -(a * m00 + b * m10), v01 = -(a * m01 + b * m11), v11 = -(b * m01 + c * m11);

  *opacity_gradient += g.opacity * l.compensation;
  if (image.antialiased && l.compensation > 0.0f) {
    const float v_compensation = g.opacity * opacity;
    const float v_before = v_compensation * 0.5f / (l.compensation * l.determinant_blurred);
    const float v_after = -v_compensation * 0.5f * l.compensation / l.determinant_blurred;
    v00 += v_before * l.yy + v_after * by;
    v11 += v_before * l.xx + v_after * bx;
    v01 += -(v_before + v_after) * l.xy;
  }

  // Σ2 = T Σ Tᵀ.
  const float* t = l.t;
  const float* s = covariance.m;
  float u[6];  // V T, 2×3
  for (int k = 0; k < 3; ++k) {
    u[k] = v00 * t[k] + v01 * t[3 + k];
    u[3 + k] = v01 * t[k] + v11 * t[3 + k];
  }
  auto outer = [&](int i, int j) { return t[i] * u[j] + t[3 + i] * u[3 + j]; };
  covariance_gradient[0] += outer(0, 0);
  covariance_gradient[1] += outer(0, 1);
  covariance_gradient[2] += outer(0, 2);
  covariance_gradient[3] += outer(1, 1);
  covariance_gradient[4] += outer(1, 2);
  covariance_gradient[5] += outer(2, 2);
  float v_t[6];  // 2 V T Σ
  for (int i = 0; i < 2; ++i) {
    const float* w = u + 3 * i;
    v_t[3 * i] = 2 * (w[0] * s[0] + w[1] * s[1] + w[2] * s[2]);
    v_t[3 * i + 1] = 2 * (w[0] * s[1] + w[1] * s[3] + w[2] * s[4]);
    v_t[3 * i + 2] = 2 * (w[0] * s[2] + w[1] * s[4] + w[2] * s[5]);
  }
  const float* r = view.rotation;
  auto jacobian = [&](int i, int j) {
    return v_t[3 * i] * r[3 * j] + v_t[3 * i + 1] * r[3 * j + 1] + v_t[3 * i + 2] * r[3 * j + 2];
  };
  const float v_j00 = jacobian(0, 0), v_j02 = jacobian(0, 2), v_j11 = jacobian(1, 1), v_j12 = jacobian(1, 2);

  const float x = l.camera[0], y = l.camera[1], iz = 1.0f / l.camera[2], iz2 = iz * iz;
  float cam[3];
  cam[0] = view.fx * iz * g.x;
  cam[1] = view.fy * iz * g.y;
  cam[2] = -(view.fx * x * g.x + view.fy * y * g.y) * iz2 + g.depth;
  cam[2] -= view.fx * iz2 * v_j00 + view.fy * iz2 * v_j11;
  // j02 = -fx · tx / z², where tx = x inside the frustum's margin and tx = limit · z outside.
  if (l.x_inside) {
    cam[0] -= view.fx * iz2 * v_j02;
    cam[2] += 2 * view.fx * l.tx * iz2 * iz * v_j02;
  } else {
    cam[2] += view.fx * l.tx * iz2 * iz * v_j02;
  }
  if (l.y_inside) {
    cam[1] -= view.fy * iz2 * v_j12;
    cam[2] += 2 * view.fy * l.ty * iz2 * iz * v_j12;
  } else {
    cam[2] += view.fy * l.ty * iz2 * iz * v_j12;
  }
  for (int k = 0; k < 3; ++k) mean_gradient[k] += r[k] * cam[0] + r[3 + k] * cam[1] + r[6 + k] * cam[2];
}

void world_covariance_backward(const float* quat, const float* scale, const float* v, float* quat_gradient,
                               float* scale_gradient) {
  const Rotation r = rotation_of(quat);
  const float full[9] = {v[0], v[1], v[2], v[1], v[3], v[4], v[2], v[4], v[5]};
  float g[9];  // gradient of the rotation matrix: (2 V M) S with M = R S
  for (int j = 0; j < 3; ++j) {
    scale_gradient[j] = 0;
    for (int i = 0; i < 3; ++i) {
      float v_m = 0;
      for (int k = 0; k < 3; ++k) v_m += 2 * full[3 * i + k] * r.m[3 * k + j] * scale[j];
      scale_gradient[j] += r.m[3 * i + j] * v_m;
      g[3 * i + j] = v_m * scale[j];
    }
  }
  rotation_backward(r, g, quat_gradient);
}

}  // namespace legs4d
