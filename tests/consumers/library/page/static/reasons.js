// Why an upload failed, for people: by the code of the problem document, else by its own sentence.

import { inMegabytes, inMegapixels, inNames, inWords } from "./policy.js";

const SENTENCES = {
  "too-large": ({ max_bytes }) =>
    max_bytes ? `The picture is too large: at most ${inMegabytes(max_bytes)} are taken.` : "The picture is too large.",
  "media-type-not-allowed": ({ found, allowed }) =>
    found ? `The file is ${inNames([found])}. A cover can be ${inWords(inNames(allowed))}.` : null,
  "media-type-mismatch": ({ found, claimed }) => `The file calls itself ${inNames([claimed])} but is ${inNames([found])}.`,
  "dimensions-exceeded": ({ width, height, max_pixels }) =>
    max_pixels ? `The picture has ${width} × ${height} pixels; at most ${inMegapixels(max_pixels)} are taken.` : null,
  "unreadable-media": () => "The picture is damaged or incomplete.",
  "quota-exceeded": () => "There is no room left for pictures of this library.",
  "on-hold": () => "This picture may not be used.",
  "media-unavailable": () => "Pictures cannot be changed at the moment.",
  "bad-form": () => "The picture did not arrive whole.",
};

export function reason({ outcome, status, problem = {} }) {
  if (outcome === "broken") return "The connection broke off.";
  const told = SENTENCES[problem.code]?.(problem) ?? problem.detail;
  if (told) return told;
  if (status === 409) return "Somebody else is changing this cover.";
  return `The service answered with ${status} and did not say why.`;
}
