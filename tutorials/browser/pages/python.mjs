// The page's side of worker.mjs: a Python whose functions are called by name and answered by a promise.
export class Python {
  // onProgress(megabytes, ofMegabytes) while it loads; `ready` resolves to {version, simd} or rejects with the reason.
  constructor({ module, packages = [], simd = !new URLSearchParams(location.search).has("plain"), onProgress = () => {}, onLine = () => {} }) {
    this.waiting = new Map();
    this.count = 0;
    this.worker = new Worker(new URL("./worker.mjs", import.meta.url), { type: "module" });
    this.ready = new Promise((resolve, reject) => {
      this.worker.onerror = (event) => reject(new Error(event.message || "the worker did not start"));
      this.worker.onmessage = ({ data }) => {
        if (data.bytes !== undefined) onProgress(data.bytes / 1e6);
        else if (data.ready) resolve(data.ready);
        else if (data.failed) reject(new Error(data.failed));
        else if (data.line !== undefined) onLine(data.line);
        else this.answered(data);
      };
    });
    this.ready.catch(() => this.stop());
    this.worker.postMessage({ boot: { module, packages, simd } });
  }

  answered({ id, result, error }) {
    const { resolve, reject } = this.waiting.get(id);
    this.waiting.delete(id);
    if (error === undefined) resolve(result); else reject(new Error(error));
  }

  call(name, ...args) {
    const id = this.count++;
    this.worker.postMessage({ id, call: name, args });
    return new Promise((resolve, reject) => this.waiting.set(id, { resolve, reject }));
  }

  // Ends the worker whatever it is doing; calls that wait for an answer are rejected.
  stop() {
    this.worker.terminate();
    for (const { reject } of this.waiting.values()) reject(new Error("stopped"));
    this.waiting.clear();
  }
}
