// How long a picture took, split by who took it: Refkeep (its Server-Timing), the way with its bytes, the browser.

const PATIENCE_MS = 1000;
const painted = new Map();
let repaint = () => {};

if (PerformanceObserver.supportedEntryTypes?.includes("element")) {
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) painted.set(entry.url, entry.renderTime);
    repaint();
  }).observe({ type: "element", buffered: true });
}

/** Milliseconds by part and the bytes that came, once the image is on the screen; null where nothing tells of it. */
export async function timesOf(image) {
  const url = image.src;
  await image.decode();
  await nextFrame();
  await nextFrame();
  const seen = (await paintOf(url)) ?? performance.now();
  const entry = performance.getEntriesByName(url, "resource").at(-1);
  if (!entry || !entry.responseStart) return null;
  const told = entry.serverTiming.find(({ name }) => name === "total");
  const isKept = entry.transferSize === 0 && entry.decodedBodySize > 0;
  const server = isKept || !told ? 0 : Math.min(told.duration, entry.duration);
  return {
    server,
    network: Math.max(entry.responseEnd - entry.startTime - server, 0),
    showing: Math.max(seen - entry.responseEnd, 0),
    bytes: entry.encodedBodySize,
    isKept,
    isTold: Boolean(told),
  };
}

const nextFrame = () => new Promise((resolve) => requestAnimationFrame(resolve));

/** When the browser says that it painted it; null where it does not say. */
function paintOf(url) {
  if (!PerformanceObserver.supportedEntryTypes?.includes("element")) return null;
  return new Promise((resolve) => {
    const look = () => painted.has(url) && resolve(painted.get(url) || null);
    repaint = look;
    setTimeout(resolve, PATIENCE_MS, null);
    look();
  });
}
