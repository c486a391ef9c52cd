// np.matmul's inner loop for float32, for a NumPy that was built without a BLAS. It computes in Pyodide's own memory.
//
// C (m, p) = A (m, n) B (n, p), all with any strides in bytes. A is copied once into panels of four rows, B into panels
// of eight columns, so that the innermost loop reads both in order: for each of the n terms, eight vector products
// update a 4 x 8 block of C that stays in registers. The terms of each entry are added in order, one by one.
@external("env", "malloc") declare function malloc(bytes: i32): usize;
@external("env", "free") declare function free(at: usize): void;

let held: usize = 0, size: i32 = 0;

// Memory for the panels, kept from call to call.
function scratch(bytes: i32): usize {
  if (bytes > size) {
    if (held) free(held);
    size = bytes * 2;
    held = malloc(size);
  }
  return held;
}

function gemm(a: usize, am: i32, an: i32, b: usize, bn: i32, bp: i32, c: usize, cm: i32, cp: i32, m: i32, n: i32, p: i32): void {
  const mp = (m + 3) >> 2;
  const A = (scratch(((mp * 4 + 8) * n + 64) * 4) + 15) & ~15, B = A + ((mp * 4 * n) << 2), T = B + ((8 * n) << 2);
  for (let i = 0; i < mp; i++) {
    let to = A + ((i * 4 * n) << 2);
    for (let r = 0; r < 4; r++) {
      const row = i * 4 + r, ok = row < m;
      let from = a + row * am, dst = to + (r << 2);
      for (let k = 0; k < n; k++) { store<f32>(dst, ok ? load<f32>(from) : 0); dst += 16; from += an; }
    }
  }
  for (let j = 0; j < p; j += 8) {
    const w = min(8, p - j);
    if (bp == 4 && w == 8) {
      let from = b + j * 4, dst = B;
      for (let k = 0; k < n; k++) { v128.store(dst, v128.load(from)); v128.store(dst, v128.load(from, 16), 16); dst += 32; from += bn; }
    } else for (let q = 0; q < 8; q++) {
      let from = b + (j + q) * bp, dst = B + (q << 2);
      const ok = q < w;
      for (let k = 0; k < n; k++) { store<f32>(dst, ok ? load<f32>(from) : 0); dst += 32; from += bn; }
    }
    for (let i = 0; i < mp; i++) {
      let pa = A + ((i * 4 * n) << 2), pb = B;
      let c00 = f32x4.splat(0), c01 = c00, c10 = c00, c11 = c00, c20 = c00, c21 = c00, c30 = c00, c31 = c00;
      for (let k = 0; k < n; k++) {
        const b0 = v128.load(pb), b1 = v128.load(pb, 16);
        let x = v128.load_splat<f32>(pa); c00 = f32x4.add(c00, f32x4.mul(x, b0)); c01 = f32x4.add(c01, f32x4.mul(x, b1));
        x = v128.load_splat<f32>(pa, 4); c10 = f32x4.add(c10, f32x4.mul(x, b0)); c11 = f32x4.add(c11, f32x4.mul(x, b1));
        x = v128.load_splat<f32>(pa, 8); c20 = f32x4.add(c20, f32x4.mul(x, b0)); c21 = f32x4.add(c21, f32x4.mul(x, b1));
        x = v128.load_splat<f32>(pa, 12); c30 = f32x4.add(c30, f32x4.mul(x, b0)); c31 = f32x4.add(c31, f32x4.mul(x, b1));
        pa += 16; pb += 32;
      }
      const h = min(4, m - i * 4);
      if (cp == 4 && w == 8 && h == 4) {
        let o = c + i * 4 * cm + j * 4;
        v128.store(o, c00); v128.store(o, c01, 16); o += cm; v128.store(o, c10); v128.store(o, c11, 16); o += cm;
        v128.store(o, c20); v128.store(o, c21, 16); o += cm; v128.store(o, c30); v128.store(o, c31, 16);
      } else { // an edge of C, or a C with gaps: by way of the scratch memory
        v128.store(T, c00); v128.store(T, c01, 16); v128.store(T, c10, 32); v128.store(T, c11, 48);
        v128.store(T, c20, 64); v128.store(T, c21, 80); v128.store(T, c30, 96); v128.store(T, c31, 112);
        for (let r = 0; r < h; r++) for (let q = 0; q < w; q++) store<f32>(c + (i * 4 + r) * cm + (j + q) * cp, load<f32>(T + ((r * 8 + q) << 2)));
      }
    }
  }
}

// A loop of NumPy's C interface, PyUFuncGenericFunction: N products, with the core dimensions m, n, p behind N in `dims`
// and, in `steps`, the strides from product to product before those within each operand.
export function loop(args: usize, dims: usize, steps: usize, data: usize): void {
  const N = load<i32>(dims), m = load<i32>(dims, 4), n = load<i32>(dims, 8), p = load<i32>(dims, 12);
  let a = load<usize>(args), b = load<usize>(args, 4), c = load<usize>(args, 8);
  for (let i = 0; i < N; i++) {
    gemm(a, load<i32>(steps, 12), load<i32>(steps, 16), b, load<i32>(steps, 20), load<i32>(steps, 24), c, load<i32>(steps, 28), load<i32>(steps, 32), m, n, p);
    a += load<i32>(steps); b += load<i32>(steps, 4); c += load<i32>(steps, 8);
  }
}
