// WebGL2 set-up: context, programs, and buffers with a limit on their bytes.

export interface Program { program: WebGLProgram; uniform: (name: string) => WebGLUniformLocation | null; attribute: (name: string) => number }

export function makeContext(canvas: HTMLCanvasElement): WebGL2RenderingContext | null {
  // The sprites smooth their own edges. Kept pixels let tests and screenshots read the picture at any time.
  return canvas.getContext("webgl2", { alpha: false, antialias: false, depth: true, preserveDrawingBuffer: true, powerPreference: "high-performance" });
}

export function makeProgram(gl: WebGL2RenderingContext, vertex: string, fragment: string): Program {
  const program = gl.createProgram()!;
  for (const [type, source] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]] as const) {
    const shader = gl.createShader(type)!;
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
    if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS) && !gl.isContextLost()) throw new Error(gl.getShaderInfoLog(shader) ?? "shader");
  }
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS) && !gl.isContextLost()) throw new Error(gl.getProgramInfoLog(program) ?? "program");
  const uniforms = new Map<string, WebGLUniformLocation | null>();
  return {
    program,
    uniform(name) {
      if (!uniforms.has(name)) uniforms.set(name, gl.getUniformLocation(program, name));
      return uniforms.get(name)!;
    },
    attribute: (name) => gl.getAttribLocation(program, name),
  };
}

/** Coordinates on the GPU, one buffer per layout and table; those longest unused go first. */
export class BufferPool {
  private readonly map = new Map<string, { buffer: WebGLBuffer; data: unknown; bytes: number }>();
  private total = 0;
  constructor(private readonly gl: WebGL2RenderingContext, private readonly limit: number) {}

  get(key: string, data: ArrayBufferView): WebGLBuffer {
    const { gl } = this;
    const known = this.map.get(key);
    if (known !== undefined && known.data === data.buffer) {
      this.map.delete(key);
      this.map.set(key, known);
      return known.buffer;
    }
    if (known !== undefined) { gl.deleteBuffer(known.buffer); this.total -= known.bytes; this.map.delete(key); }
    const buffer = gl.createBuffer()!;
    gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
    gl.bufferData(gl.ARRAY_BUFFER, data, gl.STATIC_DRAW);
    this.map.set(key, { buffer, data: data.buffer, bytes: data.byteLength });
    this.total += data.byteLength;
    for (const [old, entry] of this.map) {
      // The newest few may be part of the picture being drawn.
      if (this.total <= this.limit || this.map.size <= 6) break;
      gl.deleteBuffer(entry.buffer);
      this.total -= entry.bytes;
      this.map.delete(old);
    }
    return buffer;
  }
}
