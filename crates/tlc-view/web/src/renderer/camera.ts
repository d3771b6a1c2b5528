// A camera for both kinds of map. World units: the layout's box, centred, its longest side 2.
// One number `h` (half the height seen at the target) means zoom in 2-D and in 3-D.

export interface Camera { x: number; y: number; z: number; h: number; theta: number; phi: number }
/** Tools, legend and pickers cover parts: `room` and `tall` are the width and height left, `shift` and `sink` how far their middle lies beside and below the rectangle's. */
export interface Rect { x: number; y: number; width: number; height: number; shift: number; room: number; sink: number; tall: number }
/** From a layout's normalised coordinates (0..1) to world coordinates. */
export interface Box { scale: [number, number, number]; shift: [number, number, number]; unit: number }

const FOV = Math.PI / 5;
export const eyeDistance = (camera: Camera) => camera.h / Math.tan(FOV / 2);

export function layoutBox(min: number[], max: number[], dims: number): Box {
  const size = [0, 1, 2].map((c) => (c < dims ? Math.max(0, (max[c] ?? 0) - (min[c] ?? 0)) : 0));
  const longest = Math.max(...size) || 1;
  const scale = size.map((v) => (2 * v) / longest) as [number, number, number];
  return { scale, shift: scale.map((v) => -v / 2) as [number, number, number], unit: longest / 2 };
}

export const startCamera = (): Camera => ({ x: 0, y: 0, z: 0, h: 1.1, theta: 0.6, phi: 0.35 });

interface Axes { right: number[]; up: number[]; forward: number[] }

export function axes(camera: Camera): Axes {
  const ct = Math.cos(camera.theta), st = Math.sin(camera.theta), cp = Math.cos(camera.phi), sp = Math.sin(camera.phi);
  return { right: [ct, 0, -st], up: [-st * sp, cp, -ct * sp], forward: [-st * cp, -sp, -ct * cp] };
}

/** Column-major matrix from normalised coordinates to clip space. */
export function matrix(camera: Camera, box: Box, dims: number, rect: Rect): Float32Array {
  const aspect = rect.width / Math.max(1, rect.height);
  const world = new Float64Array(16);
  if (dims === 2) {
    world[0] = 1 / (camera.h * aspect);
    world[5] = 1 / camera.h;
    world[12] = -camera.x / (camera.h * aspect);
    world[13] = -camera.y / camera.h;
    world[15] = 1;
  } else {
    const { right, up, forward } = axes(camera);
    const d = eyeDistance(camera), f = 1 / Math.tan(FOV / 2);
    const near = Math.max(0.002, d - 6), far = d + 6;
    const target = [camera.x, camera.y, camera.z];
    const dot = (a: number[]) => a[0]! * target[0]! + a[1]! * target[1]! + a[2]! * target[2]!;
    const q = (far + near) / (far - near), r = (-2 * far * near) / (far - near);
    for (let c = 0; c < 3; c++) {
      world[4 * c] = (right[c]! * f) / aspect;
      world[4 * c + 1] = up[c]! * f;
      world[4 * c + 2] = forward[c]! * q;
      world[4 * c + 3] = forward[c]!;
    }
    const depth = d - dot(forward); // w = forward · p + depth
    world[12] = (-dot(right) * f) / aspect;
    world[13] = -dot(up) * f;
    world[14] = depth * q + r;
    world[15] = depth;
  }
  const shift = (2 * rect.shift) / Math.max(1, rect.width), sink = (2 * rect.sink) / Math.max(1, rect.height);
  for (let c = 0; c < 4; c++) {
    world[4 * c]! += shift * world[4 * c + 3]!;
    world[4 * c + 1]! -= sink * world[4 * c + 3]!;
  }
  const out = new Float32Array(16);
  for (let row = 0; row < 4; row++) {
    let last = world[12 + row]!;
    for (let c = 0; c < 3; c++) {
      out[4 * c + row] = world[4 * c + row]! * box.scale[c]!;
      last += world[4 * c + row]! * box.shift[c]!;
    }
    out[12 + row] = last;
  }
  return out;
}

export function pan(camera: Camera, dims: number, dx: number, dy: number, height: number): void {
  const step = (2 * camera.h) / height;
  if (dims === 2) {
    camera.x -= dx * step;
    camera.y += dy * step;
    return;
  }
  const { right, up } = axes(camera);
  camera.x += (-dx * right[0]! + dy * up[0]!) * step;
  camera.y += (-dx * right[1]! + dy * up[1]!) * step;
  camera.z += (-dx * right[2]! + dy * up[2]!) * step;
}

export function orbit(camera: Camera, dx: number, dy: number): void {
  camera.theta -= dx * 0.008;
  camera.phi = Math.min(1.5, Math.max(-1.5, camera.phi + dy * 0.008));
}

/** Zooms so that what is at the pixel (px, py) of the view stays there. */
export function zoom(camera: Camera, dims: number, factor: number, px: number, py: number, rect: Rect): void {
  const h = Math.min(40, Math.max(1e-4, camera.h * factor));
  const move = 1 - h / camera.h;
  pan(camera, dims, -(px - rect.width / 2 - rect.shift) * move, -(py - rect.height / 2 - rect.sink) * move, rect.height);
  camera.h = h;
}

/** Where the camera must be so that the given world points fill the room of the view; `size` is half the extent of each axis. */
export function fitted(camera: Camera, dims: number, centre: number[], size: number[], rect: Rect): Camera {
  const aspect = rect.room / rect.tall;
  const radius = dims === 2 ? Math.max(size[1]!, size[0]! / aspect) * 1.08 : Math.hypot(size[0]!, size[1]!, size[2]!) * Math.max(1, 1 / aspect) * 0.84;
  return { ...camera, x: centre[0]!, y: centre[1]!, z: dims === 2 ? 0 : centre[2]!, h: Math.min(40, Math.max(0.004, (radius * rect.height) / rect.tall)) };
}

export function between(a: Camera, b: Camera, t: number): Camera {
  const mix = (p: number, q: number) => p + (q - p) * t;
  return { x: mix(a.x, b.x), y: mix(a.y, b.y), z: mix(a.z, b.z), h: Math.exp(mix(Math.log(a.h), Math.log(b.h))), theta: mix(a.theta, b.theta), phi: mix(a.phi, b.phi) };
}
