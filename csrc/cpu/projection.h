// Perspective projection of 3D Gaussians to the image (EWA splatting: Zwicker et al. 2001), and its derivative.
#pragma once
#include <cstdint>
#include <vector>

namespace legs4d {

constexpr float kAlphaMin = 1.0f / 255.0f;       // weaker contributions do not count
constexpr float kAlphaMax = 0.999f;              // an opaque Gaussian still lets this little through
constexpr float kTransmittanceMin = 1e-4f;       // a ray ends before it would fall to this
constexpr float kFrustumMargin = 0.3f;           // share of the half image by which the linearisation point may leave it

struct View {
  float rotation[9], translation[3];  // world to camera, row-major
  float fx, fy, cx, cy;               // pixels
};

struct ImageSettings {
  int width, height;
  float near_plane;   // camera z in scene units; nearer Gaussians are dropped
  float blur;         // eps2d, added to both variances of the projected covariance, px²
  bool antialiased;   // scale opacity by sqrt(det before blur / det after)
};

// A Gaussian as one camera sees it.
struct Splat {
  float x, y;                 // centre, pixels
  float a, b, c;              // inverse covariance [[a, b], [b, c]], 1/px²
  float opacity;              // antialiasing compensation included
  float reach, determinant;   // (x - centre)ᵀ inverse (x - centre) up to which it counts; of the inverse covariance
  float depth;                // camera z
  int16_t x0, x1, y0, y1;     // pixels that it can reach, ends included, within the image
  int32_t gaussian;
};

struct SplatGradient {
  float x, y, a, b, c, opacity, depth;
};

// Symmetric 3×3: xx, xy, xz, yy, yz, zz.
struct Covariance {
  float m[6];
};

void world_covariances(const float* quats, const float* scales, int begin, int end, Covariance* out);

// Whether the Gaussian is seen; if so, fills `splat`.
bool project(const View& view, const ImageSettings& image, const float* mean, const Covariance& covariance, float opacity,
             Splat* splat);

// Adds the gradients of one splat to those of its Gaussian.
void project_backward(const View& view, const ImageSettings& image, const float* mean, const Covariance& covariance,
                      float opacity, const SplatGradient& gradient, float* mean_gradient, float* covariance_gradient,
                      float* opacity_gradient);

// From the gradient of the world covariance (full symmetric matrix in six numbers, off-diagonals counted once a side).
void world_covariance_backward(const float* quat, const float* scale, const float* covariance_gradient,
                               float* quat_gradient, float* scale_gradient);

}  // namespace legs4d
