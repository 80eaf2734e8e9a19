// The browser's end of a trace (W3C Trace Context): the upload's parent is made here and told to the service afterwards.

export const random = (bytes) =>
  Array.from(crypto.getRandomValues(new Uint8Array(bytes)), (byte) => byte.toString(16).padStart(2, "0")).join("");

const now = () => performance.timeOrigin + performance.now();

export function beginSpan() {
  const span = { trace_id: random(16), span_id: random(8), began: now() };
  return {
    traceparent: `00-${span.trace_id}-${span.span_id}-01`,
    end({ outcome, status, bytes }) {
      const body = JSON.stringify({ ...span, ended: now(), outcome, status, bytes });
      navigator.sendBeacon("/page-spans", new Blob([body], { type: "application/json" }));
    },
  };
}
