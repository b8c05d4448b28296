"use strict";
// The mesh viewer and the small behaviours of an OpenExPose page. No library, no network, no storage.

const byId = (id) => document.getElementById(id);
const calm = window.matchMedia("(prefers-reduced-motion: reduce)");

function bytesOf(base64) {
  const text = atob(base64), bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes.buffer;
}

// ---- data: quantised positions back to metres, normals from faces -------------------------------------------------

function decode(data) {
  const topologies = data.topologies.map((t) =>
    t.wide ? new Uint32Array(bytesOf(t.faces)) : new Uint16Array(bytesOf(t.faces)));
  const meshes = data.meshes.map((m) => {
    const q = new Uint16Array(bytesOf(m.positions)), positions = new Float32Array(q.length);
    for (let i = 0; i < q.length; i++) positions[i] = m.low[i % 3] + m.step[i % 3] * q[i];
    return { name: m.name, note: m.note, topology: m.topology, faces: topologies[m.topology], positions,
             colours: new Uint8Array(bytesOf(m.colours)) };
  });
  return data.together ? [joined(data.together, meshes), ...meshes] : meshes;
}

function joined(name, meshes) {  // one mesh of all of them
  const total = (key) => meshes.reduce((n, m) => n + m[key].length, 0), vertices = total("positions") / 3;
  const positions = new Float32Array(3 * vertices), colours = new Uint8Array(4 * vertices);
  const faces = new (vertices > 65535 ? Uint32Array : Uint16Array)(total("faces"));
  let v = 0, f = 0;
  for (const m of meshes) {
    positions.set(m.positions, 3 * v);
    colours.set(m.colours, 4 * v);
    for (let i = 0; i < m.faces.length; i++) faces[f + i] = m.faces[i] + v;
    v += m.positions.length / 3;
    f += m.faces.length;
  }
  return { name, note: "", topology: "together", faces, positions, colours };
}

function normalsOf(p, faces, n) {
  n.fill(0);
  for (let i = 0; i < faces.length; i += 3) {
    const a = 3 * faces[i], b = 3 * faces[i + 1], c = 3 * faces[i + 2];
    const ux = p[b] - p[a], uy = p[b + 1] - p[a + 1], uz = p[b + 2] - p[a + 2];
    const vx = p[c] - p[a], vy = p[c + 1] - p[a + 1], vz = p[c + 2] - p[a + 2];
    const x = uy * vz - uz * vy, y = uz * vx - ux * vz, z = ux * vy - uy * vx;
    n[a] += x; n[a + 1] += y; n[a + 2] += z;
    n[b] += x; n[b + 1] += y; n[b + 2] += z;
    n[c] += x; n[c + 1] += y; n[c + 2] += z;
  }
  return n;  // lengths do not matter: the shader makes them one
}

function boundsOf(p) {
  const low = [Infinity, Infinity, Infinity], high = [-Infinity, -Infinity, -Infinity];
  for (let i = 0; i < p.length; i++) {
    const k = i % 3;
    if (p[i] < low[k]) low[k] = p[i];
    if (p[i] > high[k]) high[k] = p[i];
  }
  return { low, high };
}

// ---- shaders: the three-point studio of the still pictures ---------------------------------------------------------

const BODY_VERTEX = `
attribute vec3 position; attribute vec3 normal; attribute vec4 colour;
uniform mat4 view; uniform mat4 projection;
varying vec3 n; varying vec3 eye; varying vec4 paint;
void main() {
  vec4 p = view * vec4(position, 1.0);
  n = mat3(view) * normal; eye = -p.xyz; paint = colour; gl_Position = projection * p;
}`;
const BODY_FRAGMENT = `
precision mediump float;
varying vec3 n; varying vec3 eye; varying vec4 paint;
uniform vec3 up;
vec3 light(vec3 N, vec3 E, vec3 d, vec3 colour, vec3 albedo) {
  vec3 wrap = vec3(0.24, 0.14, 0.11);
  vec3 soft = max((vec3(dot(N, d)) + wrap) / ((1.0 + wrap) * (1.0 + wrap)), 0.0);
  float shine = 0.13 * pow(max(dot(N, normalize(d + E)), 0.0), 18.0) * step(0.0, dot(N, d));
  return colour * (albedo * soft + shine);
}
void main() {
  vec3 E = normalize(eye), N = normalize(n);
  if (dot(N, E) < 0.0) N = gl_FrontFacing ? N : -N;
  vec3 albedo = pow(paint.rgb, vec3(2.2));
  vec3 c = albedo * mix(vec3(0.21, 0.19, 0.18), vec3(0.37, 0.38, 0.41), 0.5 + 0.5 * dot(N, up)) * paint.a;
  c += light(N, E, normalize(vec3(-0.55, 0.65, 0.75)), vec3(1.10, 1.06, 1.0), albedo) * mix(0.45, 1.0, paint.a);
  c += light(N, E, normalize(vec3(0.9, 0.1, 0.6)), vec3(0.22, 0.25, 0.30), albedo) * paint.a;
  c += light(N, E, normalize(vec3(0.55, 0.55, -0.85)), vec3(0.42, 0.44, 0.48), albedo) * paint.a;
  c += albedo * 0.10 * pow(1.0 - clamp(dot(N, E), 0.0, 1.0), 3.0);
  gl_FragColor = vec4(pow(min(c, 1.0), vec3(1.0 / 2.2)), 1.0);
}`;
const FLOOR_VERTEX = `
attribute vec3 position; uniform mat4 view; uniform mat4 projection; uniform vec3 centre; uniform float size;
varying vec2 place;
void main() { place = position.xz; gl_Position = projection * view * vec4(centre + position * size, 1.0); }`;
const FLOOR_FRAGMENT = `
#extension GL_OES_standard_derivatives : enable
precision mediump float;
varying vec2 place; uniform vec3 ink; uniform float cells;
void main() {
  float r = length(place);
  vec2 g = abs(fract(place * cells - 0.5) - 0.5) / fwidth(place * cells);
  float line = 1.0 - min(min(g.x, g.y), 1.0);
  float fade = smoothstep(1.0, 0.25, r);
  float shadow = 0.26 * smoothstep(0.42, 0.0, r) * smoothstep(0.42, 0.1, r);
  float a = fade * max(0.16 * line, shadow);
  gl_FragColor = vec4(mix(vec3(0.0), ink, step(shadow, 0.16 * line)) * a, a);  // premultiplied, as the canvas is
}`;

function programOf(gl, vertex, fragment) {
  const program = gl.createProgram();
  for (const [kind, text] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, text);
    gl.compileShader(shader);
    if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS)) throw new Error(gl.getShaderInfoLog(shader));
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program));
  return program;
}

// ---- the viewer ----------------------------------------------------------------------------------------------------

class Viewer {
  constructor(root) {
    this.root = root;
    this.canvas = root.querySelector("canvas");
    this.gl = this.canvas.getContext("webgl", { antialias: true, alpha: true });
    if (!this.gl) throw new Error("WebGL is not available");
    if (!this.gl.getExtension("OES_standard_derivatives")) throw new Error("WebGL without derivatives");
    this.wideIndices = this.gl.getExtension("OES_element_index_uint");
    const data = JSON.parse(root.querySelector("script[type='application/json']").textContent);
    this.meshes = decode(data);
    this.camera = data.camera;
    this.body = programOf(this.gl, BODY_VERTEX, BODY_FRAGMENT);
    this.floor = programOf(this.gl, FLOOR_VERTEX, FLOOR_FRAGMENT);
    this.buffers = Object.fromEntries(
      ["position", "normal", "colour", "faces", "floor"].map((name) => [name, this.gl.createBuffer()]));
    this.gl.bindBuffer(this.gl.ARRAY_BUFFER, this.buffers.floor);
    const square = new Float32Array([-1, 0, -1, 1, 0, -1, -1, 0, 1, 1, 0, 1]);
    this.gl.bufferData(this.gl.ARRAY_BUFFER, square, this.gl.STATIC_DRAW);
    this.pointers = new Map();
    this.spinning = false;
    this.show(0, false);
    this.frame();
    this.listen();
    new ResizeObserver(() => this.draw()).observe(this.canvas); // in this very frame: never shown stretched
  }

  show(index, glide) {
    const mesh = this.meshes[index], from = this.shown;
    this.shown = mesh;
    this.root.querySelectorAll(".chip").forEach((chip, k) => chip.setAttribute("aria-pressed", String(k === index)));
    const counts = [mesh.positions.length, mesh.faces.length].map((n) => (n / 3).toLocaleString("en"));
    this.root.querySelector(".viewer-note").textContent =
      `${mesh.name}${mesh.note ? " · " + mesh.note : ""} · ${counts[0]} vertices · ${counts[1]} faces`;
    this.index = index;
    this.bounds = boundsOf(mesh.positions);
    this.glide = null;
    if (glide && from && from.topology === mesh.topology && !calm.matches) {
      this.glide = { from: Float32Array.from(this.positions), begin: performance.now() };
    } else {
      this.positions = Float32Array.from(mesh.positions);
      this.normals = new Float32Array(this.positions.length);
    }
    this.upload();
    this.redraw();
  }

  upload() {
    const gl = this.gl, { faces, colours } = this.shown;
    normalsOf(this.positions, faces, this.normals);
    for (const [name, data] of [["position", this.positions], ["normal", this.normals], ["colour", colours]]) {
      gl.bindBuffer(gl.ARRAY_BUFFER, this.buffers[name]);
      gl.bufferData(gl.ARRAY_BUFFER, data, gl.DYNAMIC_DRAW);
    }
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, this.buffers.faces);
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, faces, gl.STATIC_DRAW);
  }

  through() {  // look through the photo's camera: it stands at the origin and looks along -z
    const { low, high } = this.bounds, { tanX, tanY } = this.camera;
    const distance = Math.max(0.1, -0.5 * (low[2] + high[2]));
    const aspect = this.canvas.clientWidth / Math.max(1, this.canvas.clientHeight);
    this.angle = 2 * Math.atan(Math.max(tanY, tanX / Math.max(aspect, 0.1)));
    this.view = { azimuth: 0, elevation: 0, distance, target: [0, 0, -distance] };
    this.redraw();
  }

  frame() {  // look at the whole mesh from the front, a little from its left and above
    this.angle = 0.5;
    const { low, high } = this.bounds, aspect = this.canvas.clientWidth / Math.max(1, this.canvas.clientHeight);
    const wide = Math.hypot(high[0] - low[0], 0.4 * (high[2] - low[2])), tan = Math.tan(0.5 * this.fov());
    this.view = {
      azimuth: 0.35, elevation: 0.1,
      distance: 0.54 * Math.max((high[1] - low[1]) / tan, wide / tan / Math.max(aspect, 0.1)) + 0.5 * (high[2] - low[2]),
      target: low.map((x, k) => 0.5 * (x + high[k])),
    };
    this.redraw();
  }

  fov() { return this.angle; }

  redraw() {
    if (this.asked) return;
    this.asked = true;
    requestAnimationFrame((now) => { this.asked = false; this.step(now); this.draw(); });
  }

  step(now) {
    if (this.glide) {
      const s = Math.min(1, Math.max(0, now - this.glide.begin) / 320), ease = s * s * (3 - 2 * s);
      const to = this.shown.positions, from = this.glide.from;
      for (let i = 0; i < to.length; i++) this.positions[i] = from[i] + ease * (to[i] - from[i]);
      this.upload();
      if (s >= 1) this.glide = null;
      this.redraw();
    }
    if (this.spinning) {
      this.view.azimuth -= 0.0006 * Math.min(50, now - (this.last ?? now));
      this.redraw();
    }
    this.last = now;
  }

  matrices() {
    const { azimuth: a, elevation: e, distance, target: t } = this.view;
    const [sa, ca, se, ce] = [Math.sin(a), Math.cos(a), Math.sin(e), Math.cos(e)];
    const x = [ca, 0, -sa], z = [sa * ce, se, ca * ce], y = [-sa * se, ce, -ca * se];
    const dot = (u) => u[0] * t[0] + u[1] * t[1] + u[2] * t[2];
    const view = [x[0], y[0], z[0], 0, x[1], y[1], z[1], 0, x[2], y[2], z[2], 0, -dot(x), -dot(y), -dot(z) - distance, 1];
    const f = 1 / Math.tan(0.5 * this.fov()), aspect = this.canvas.width / Math.max(1, this.canvas.height);
    const near = 0.02 * distance, far = 20 * distance;
    const projection = [f / aspect, 0, 0, 0, 0, f, 0, 0, 0, 0, (far + near) / (near - far), -1,
                        0, 0, (2 * far * near) / (near - far), 0];
    return { view, projection, axes: { x, y } };
  }

  draw() {
    const gl = this.gl, ratio = Math.min(2, window.devicePixelRatio || 1);
    const [w, h] = [Math.round(this.canvas.clientWidth * ratio), Math.round(this.canvas.clientHeight * ratio)];
    if (!w || !h) return;
    if (this.canvas.width !== w || this.canvas.height !== h) [this.canvas.width, this.canvas.height] = [w, h];
    gl.viewport(0, 0, w, h);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    gl.enable(gl.DEPTH_TEST);
    const m = this.matrices();
    this.drawBody(m);
    this.drawFloor(m);
    this.root.dataset.state = "drawn";
  }

  attribute(program, name, buffer, size, type, normalized) {
    const gl = this.gl, at = gl.getAttribLocation(program, name);
    gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
    gl.enableVertexAttribArray(at);
    gl.vertexAttribPointer(at, size, type, normalized, 0, 0);
    return at;
  }

  drawBody({ view, projection }) {
    const gl = this.gl, p = this.body;
    gl.useProgram(p);
    gl.disable(gl.BLEND);
    gl.uniformMatrix4fv(gl.getUniformLocation(p, "view"), false, view);
    gl.uniformMatrix4fv(gl.getUniformLocation(p, "projection"), false, projection);
    gl.uniform3f(gl.getUniformLocation(p, "up"), view[4], view[5], view[6]);
    const used = [
      this.attribute(p, "position", this.buffers.position, 3, gl.FLOAT, false),
      this.attribute(p, "normal", this.buffers.normal, 3, gl.FLOAT, false),
      this.attribute(p, "colour", this.buffers.colour, 4, gl.UNSIGNED_BYTE, true),
    ];
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, this.buffers.faces);
    const faces = this.shown.faces, wide = faces instanceof Uint32Array;
    gl.drawElements(gl.TRIANGLES, faces.length, wide ? gl.UNSIGNED_INT : gl.UNSIGNED_SHORT, 0);
    used.forEach((at) => gl.disableVertexAttribArray(at));
  }

  drawFloor({ view, projection }) {
    const gl = this.gl, p = this.floor, { low, high } = this.bounds;
    const size = 1.6 * Math.max(high[0] - low[0], high[2] - low[2], 0.5 * (high[1] - low[1]));
    gl.useProgram(p);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    gl.depthMask(false);
    gl.uniformMatrix4fv(gl.getUniformLocation(p, "view"), false, view);
    gl.uniformMatrix4fv(gl.getUniformLocation(p, "projection"), false, projection);
    const dark = getComputedStyle(document.documentElement).colorScheme.trim() === "dark";
    gl.uniform3fv(gl.getUniformLocation(p, "ink"), dark ? [1, 1, 1] : [0.15, 0.17, 0.2]);
    gl.uniform3f(gl.getUniformLocation(p, "centre"), 0.5 * (low[0] + high[0]), low[1], 0.5 * (low[2] + high[2]));
    gl.uniform1f(gl.getUniformLocation(p, "size"), size);
    gl.uniform1f(gl.getUniformLocation(p, "cells"), Math.max(2, Math.round(size / 0.25)));
    const at = this.attribute(p, "position", this.buffers.floor, 3, gl.FLOAT, false);
    gl.drawArrays(gl.TRIANGLE_STRIP, 0, 4);
    gl.disableVertexAttribArray(at);
    gl.depthMask(true);
  }

  // ---- hands on it: drag turns, shift or right button or two fingers move, wheel and pinch zoom, double click resets

  orbit(dx, dy) {
    this.view.azimuth -= 0.008 * dx;
    this.view.elevation = Math.max(-1.5, Math.min(1.5, this.view.elevation + 0.008 * dy));
    this.redraw();
  }

  pan(dx, dy) {
    const { x, y } = this.matrices().axes;
    const metres = (2 * this.view.distance * Math.tan(0.5 * this.fov())) / Math.max(1, this.canvas.clientHeight);
    this.view.target = this.view.target.map((t, k) => t - metres * (dx * x[k] - dy * y[k]));
    this.redraw();
  }

  zoom(factor) {
    const { low, high } = this.bounds, size = Math.hypot(...high.map((x, k) => x - low[k]));
    this.view.distance = Math.max(0.12 * size, Math.min(12 * size, this.view.distance * factor));
    this.redraw();
  }

  listen() {
    const c = this.canvas;
    c.addEventListener("contextmenu", (e) => e.preventDefault());
    c.addEventListener("dblclick", () => this.frame());
    c.addEventListener("pointerdown", (e) => {
      c.setPointerCapture(e.pointerId);
      this.pointers.set(e.pointerId, [e.clientX, e.clientY]);
      this.setSpin(false);
    });
    for (const kind of ["pointerup", "pointercancel"]) c.addEventListener(kind, (e) => this.pointers.delete(e.pointerId));
    c.addEventListener("pointermove", (e) => this.dragged(e));
    c.addEventListener("wheel", (e) => {
      if (document.activeElement !== c) return;  // scroll the page until the viewer is clicked
      e.preventDefault();
      this.zoom(Math.exp(0.0015 * Math.max(-200, Math.min(200, e.deltaY))));
    }, { passive: false });
    c.addEventListener("keydown", (e) => {
      const turn = { ArrowLeft: [-12, 0], ArrowRight: [12, 0], ArrowUp: [0, -12], ArrowDown: [0, 12] }[e.key];
      const zoom = { "+": 0.9, "=": 0.9, "-": 1.1 }[e.key];
      if (turn) this.orbit(...turn);
      else if (zoom) this.zoom(zoom);
      else if (e.key === "0") this.frame();
      else return;
      e.preventDefault();
    });
    c.addEventListener("webglcontextlost", () => fail(this.root, "The browser took the graphics context away: reload."));
    this.root.querySelectorAll(".chip").forEach((chip, k) => chip.addEventListener("click", () => this.show(k, true)));
    this.root.querySelector(".do-reset").addEventListener("click", () => this.frame());
    this.root.querySelector(".do-photo")?.addEventListener("click", () => { this.setSpin(false); this.through(); });
    this.root.querySelector(".do-spin").addEventListener("click", () => this.setSpin(!this.spinning));
  }

  dragged(e) {
    const before = this.pointers.get(e.pointerId);
    if (!before) return;
    const [dx, dy] = [e.clientX - before[0], e.clientY - before[1]];
    if (this.pointers.size === 2) {
      const other = [...this.pointers].find(([id]) => id !== e.pointerId)[1];
      const apart = (p) => Math.max(1, Math.hypot(p[0] - other[0], p[1] - other[1]));
      this.zoom(apart(before) / apart([e.clientX, e.clientY]));
      this.pan(0.5 * dx, 0.5 * dy);
    } else if (e.shiftKey || e.buttons & 6) this.pan(dx, dy);
    else this.orbit(dx, dy);
    this.pointers.set(e.pointerId, [e.clientX, e.clientY]);
  }

  setSpin(on) {
    this.spinning = on;
    this.last = undefined;
    this.root.querySelector(".do-spin").setAttribute("aria-pressed", String(on));
    this.redraw();
  }
}

function fail(root, why) {
  root.dataset.state = "failed";
  root.querySelector(".viewer-fallback").hidden = false;
  root.querySelector(".viewer-why").textContent = why;
}

// ---- the page ------------------------------------------------------------------------------------------------------

const viewers = [];
document.querySelectorAll(".viewer").forEach((root) => {
  try {
    viewers.push(new Viewer(root));
  } catch (error) {
    fail(root, `The 3D view cannot start here (${error.message}).`);
  }
});

document.querySelectorAll(".compare").forEach((root) => {
  const range = root.querySelector("input"), set = () => root.style.setProperty("--cut", `${range.value}%`);
  range.addEventListener("input", set);
  set();
});

const dialog = byId("enlarged");
document.querySelectorAll(".enlarge").forEach((button) => button.addEventListener("click", () => {
  const image = button.querySelector("img"), large = dialog.querySelector("img");
  [large.src, large.alt] = [image.src, image.alt];
  dialog.querySelector("p").textContent = button.parentElement.querySelector("figcaption")?.textContent ?? "";
  dialog.showModal();
}));
dialog.addEventListener("click", () => dialog.close());

// Files that the page carries: pieces, deflated, in base64; several files may share one.
async function unpacked(base64) {
  const stream = new DecompressionStream("deflate"), writer = stream.writable.getWriter(), chunks = [];
  writer.write(bytesOf(base64));
  writer.close();
  const reader = stream.readable.getReader();  // Safari's streams cannot be looped over
  for (let step = await reader.read(); !step.done; step = await reader.read()) chunks.push(step.value);
  return new Blob(chunks);
}

document.querySelectorAll(".carried").forEach((root) => {
  const text = root.querySelector("script").textContent;
  root.querySelectorAll("button").forEach((button) => button.addEventListener("click", async () => {
    const { name, type, parts } = button.dataset, link = document.createElement("a"), packed = JSON.parse(text);
    try {
      const pieces = await Promise.all(JSON.parse(parts).map((k) => unpacked(packed[k])));
      link.href = URL.createObjectURL(new Blob(pieces, { type }));
    } catch (error) {
      button.querySelector("span").textContent = `This browser cannot unpack it (${error.message}).`;
      return;
    }
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  }));
});

byId("theme").addEventListener("click", () => {
  const html = document.documentElement, dark = getComputedStyle(html).colorScheme.trim() === "dark";
  html.dataset.theme = dark ? "light" : "dark";
  viewers.forEach((viewer) => viewer.redraw());
});
