// Python in a worker: boots Pyodide, imports one module of `course` and calls its functions by name.
//
//   in   {boot: {module, packages, simd}}      out  {bytes} while it loads, then {ready: {version, simd}} or {failed}
//   in   {id, call, args}                      out  {id, result} or {id, error}, and {line} for what Python prints
import { loadPyodide } from "./pyodide/pyodide.mjs";

const indexURL = new URL("./pyodide/", import.meta.url).href;
let python, module;

// Counts the bytes that arrive, for the bar that a page shows. A file that comes with an error stops the boot.
const fetchPlain = self.fetch.bind(self);
let bytes = 0;
self.fetch = async (...request) => {
  const answer = await fetchPlain(...request);
  if (!answer.ok) throw new Error(`${answer.url}: ${answer.status}`);
  if (!answer.body) return answer;
  const counted = answer.body.pipeThrough(new TransformStream({
    transform(chunk, out) { bytes += chunk.byteLength; self.postMessage({ bytes }); out.enqueue(chunk); },
  }));
  return new Response(counted, { headers: answer.headers, status: answer.status });
};

async function boot({ module: name, packages = [], simd = true }) {
  const say = (line) => self.postMessage({ line });
  python = await loadPyodide({ indexURL, stdout: say, stderr: say });
  const errors = []; // loadPackage tells of a file that did not arrive, and goes on
  await python.loadPackage(["course", ...packages], { messageCallback() {}, errorCallback: (line) => errors.push(line) });
  if (errors.length) throw new Error(errors.join(" "));
  const fast = simd && python.pyimport("course.fast_matmul").install();
  module = python.pyimport(`course.${name}`).Page();
  self.postMessage({ ready: { version: python.version, simd: fast } });
}

self.onmessage = async ({ data: { boot: wanted, id, call, args = [] } }) => {
  if (wanted) {
    try { await boot(wanted); } catch (error) { self.postMessage({ failed: String(error.message ?? error) }); }
    return;
  }
  try {
    const given = args.map((one) => python.toPy(one));
    const answer = module[call](...given);
    const result = answer?.toJs ? answer.toJs({ dict_converter: Object.fromEntries, create_pyproxies: false }) : answer;
    answer?.destroy?.();
    self.postMessage({ id, result });
  } catch (error) {
    self.postMessage({ id, error: String(error.message ?? error) });
  }
};
