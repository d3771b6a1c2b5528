// The two programs: points (2-D and 3-D alike; only the matrix differs) and trails.

const COMMON = `#version 300 es
precision highp float;
precision highp int;
uniform mat4 u_m;
uniform sampler2D u_palette;
uniform vec3 u_background;
uniform float u_depth; // distance of the target; 0 in 2-D
uniform int u_highlight; // code to stand out, -1 for none

vec3 paletteColour(uint code) { return texelFetch(u_palette, ivec2(int(code & 255u), int(code >> 8u)), 0).rgb; }

// 1 at the front of the cloud, 0 far behind: depth as haze.
float nearness(float w) { return u_depth == 0.0 ? 1.0 : clamp(1.0 - (w - u_depth * 0.72) / (u_depth * 0.85), 0.0, 1.0); }
`;

export const POINT_VERTEX = `${COMMON}
in vec4 a_p0;
in vec4 a_p1;
in uint a_code;
in uint a_state;
uniform float u_t;
uniform float u_size;
uniform float u_ratio;
uniform float u_opacity;
uniform vec3 u_grey;
uniform int u_pass; // 0 all, 1 the selected on top, 2 ghost
uniform bool u_selection;
uniform bool u_ood;
uniform float u_far;
uniform float u_rim;
flat out vec4 v_colour;
flat out float v_radius;
flat out float v_total;
flat out int v_kind; // 0 disc, 1 hollow, 2 disc with ring, 3 hollow with ring

void main() {
  bool in0 = a_p0.w > 0.0, in1 = a_p1.w > 0.0;
  float fade = in0 && in1 ? 1.0 : in0 ? 1.0 - u_t : in1 ? u_t : 0.0;
  bool visible = (a_state & 1u) == 1u, selected = (a_state & 2u) == 2u;
  if (fade <= 0.0 || !visible || (u_pass == 0 && u_selection && selected)) {
    gl_Position = vec4(2.0, 2.0, 2.0, 1.0);
    gl_PointSize = 1.0;
    return;
  }
  vec4 p = in0 && in1 ? mix(a_p0, a_p1, u_t) : in0 ? a_p0 : a_p1;
  gl_Position = u_m * vec4(p.xyz, 1.0);
  float near = nearness(gl_Position.w);
  float size = u_size * (u_depth == 0.0 ? 1.0 : clamp(u_depth / gl_Position.w, 0.3, 3.0));
  bool hollow = u_ood && p.w > u_far;

  vec3 colour = paletteColour(a_code);
  float alpha = u_opacity;
  v_kind = hollow ? 1 : 0;
  if (u_pass == 2) { colour = u_grey; alpha = 0.28; size *= 0.8; v_kind = 0; }
  else if (u_pass == 1) { alpha = 1.0; v_kind += 2; size = max(size * (1.0 + 0.2 * u_rim), (1.8 + 1.7 * min(u_rim, 1.0)) * u_ratio); }
  else if (u_selection) { colour = u_grey; alpha *= 0.38; }
  if (u_highlight >= 0 && u_pass != 2) {
    if (int(a_code) == u_highlight) { size *= 1.2; alpha = 1.0; } else { colour = mix(colour, u_grey, 0.75); alpha *= 0.25; }
  }
  colour = mix(u_background, colour, 0.35 + 0.65 * near);
  v_colour = vec4(colour, alpha * fade);
  if (v_kind % 2 == 1) size = max(size, 4.0 * u_ratio);
  v_radius = size * 0.5;
  v_total = size + (v_kind >= 2 ? 5.0 * u_ratio : 2.0);
  gl_PointSize = v_total;
}`;

export const POINT_FRAGMENT = `#version 300 es
precision highp float;
flat in vec4 v_colour;
flat in float v_radius;
flat in float v_total;
flat in int v_kind;
uniform vec3 u_ring;
uniform vec3 u_background;
uniform float u_ratio;
uniform bool u_diamond;
uniform float u_rim; // width of the ring in CSS pixels
uniform float u_depth;
out vec4 o_colour;

void main() {
  vec2 q = (gl_PointCoord - 0.5) * v_total;
  float d = u_diamond ? (abs(q.x) + abs(q.y)) * 0.8 : length(q);
  float inside = clamp(v_radius - d + 0.5, 0.0, 1.0);
  vec3 colour = v_colour.rgb;
  float alpha = inside;
  if (v_kind % 2 == 1) {
    float stroke = clamp(d - (v_radius - 1.3 * u_ratio) + 0.5, 0.0, 1.0);
    alpha = inside * mix(0.1, 1.0, stroke);
  } else if (v_radius > 2.6 * u_ratio) {
    // A hairline in the page's colour keeps neighbours apart.
    colour = mix(colour, u_background, 0.55 * clamp(d - (v_radius - u_ratio) + 0.5, 0.0, 1.0));
  }
  if (v_kind >= 2) {
    float ring = clamp(v_radius + u_rim * u_ratio - d + 0.5, 0.0, 1.0) * (1.0 - inside);
    colour = mix(colour, u_ring, ring);
    alpha = max(alpha, ring * 0.95);
  }
  alpha *= v_colour.a;
  if (alpha < (u_depth > 0.0 ? 0.06 : 0.004)) discard;
  o_colour = vec4(colour * alpha, alpha);
}`;

export const TRAIL_VERTEX = `${COMMON}
in vec4 a_a;
in vec4 a_b;
in uint a_code;
in uint a_step;
uniform float u_now;
uniform float u_steps;
uniform vec2 u_pixels;
uniform float u_width;
uniform float u_strength;
out vec4 v_colour;
out float v_side;

void main() {
  vec4 a = u_m * vec4(a_a.xyz, 1.0), b = u_m * vec4(a_b.xyz, 1.0);
  if (a.w <= 0.0 || b.w <= 0.0) { gl_Position = vec4(2.0, 2.0, 2.0, 1.0); return; }
  float end = float(gl_VertexID & 1), side = float(gl_VertexID >> 1) * 2.0 - 1.0;
  vec2 along = (b.xy / b.w - a.xy / a.w) * u_pixels;
  float len = length(along);
  vec2 normal = len > 0.0 ? vec2(-along.y, along.x) / len : vec2(0.0);
  vec4 p = end == 0.0 ? a : b;
  p.xy += normal * side * (u_width + 1.0) * p.w / u_pixels;
  gl_Position = p;
  // What was is solid, what will be is faint; older is fainter.
  float at = float(a_step) + end;
  float age = at - u_now;
  float strength = age > 0.001 ? 0.16 : mix(0.35, 0.95, clamp(1.0 + age / max(u_steps, 1.0), 0.0, 1.0));
  bool dim = u_highlight >= 0 && int(a_code) != u_highlight;
  float near = nearness(p.w);
  v_colour = vec4(mix(u_background, paletteColour(a_code), 0.35 + 0.65 * near), u_strength * (dim ? strength * 0.2 : strength));
  v_side = side * (u_width + 1.0);
}`;

export const TRAIL_FRAGMENT = `#version 300 es
precision highp float;
in vec4 v_colour;
in float v_side;
uniform float u_width;
out vec4 o_colour;
void main() {
  float alpha = v_colour.a * clamp(u_width - abs(v_side) + 0.5, 0.0, 1.0);
  o_colour = vec4(v_colour.rgb * alpha, alpha);
}`;
