// Starts Python and shows how far it has come; if it fails, why, and a button to try again.
import { Python } from "./python.mjs";

const site = fetch(new URL("./site.json", import.meta.url)).then((answer) => answer.json());

// Resolves to a Python that is ready. `status` is the element that tells of it, emptied at the end. The page says when it
// is ready itself.
export async function boot(status, options) {
  const { megabytes } = await site;
  const whole = megabytes[options.module];
  const bar = document.createElement("progress");
  const text = document.createElement("span");
  bar.max = whole;
  status.replaceChildren(bar, text);
  status.hidden = false;
  document.body.dataset.state = "loading";
  const python = new Python({
    ...options,
    onProgress(megabytes) {
      bar.value = megabytes;
      text.textContent = megabytes < 0.98 * whole
        ? ` Loading Python: ${megabytes.toFixed(1)} of ${whole.toFixed(1)} MB`
        : " Starting Python";
    },
  });
  try {
    python.about = await python.ready;
  } catch (error) {
    document.body.dataset.state = "failed";
    const again = document.createElement("button");
    again.textContent = "Try again";
    status.replaceChildren(`Python did not load: ${error.message}. Is the network there? `, again);
    await new Promise((resolve) => again.addEventListener("click", resolve, { once: true }));
    return boot(status, options);
  }
  status.hidden = true;
  status.replaceChildren();
  // After Python has come, so that what the service worker keeps is taken from the browser's cache and not loaded twice.
  navigator.serviceWorker?.register(new URL("./sw.js", import.meta.url)).catch(() => {});
  return python;
}
