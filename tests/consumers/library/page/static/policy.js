// What a cover may be, in words, and what speaks against a file. The rules are Refkeep's; here they only save a wait.

const NAMES = {
  "image/jpeg": "JPEG", "image/png": "PNG", "image/apng": "PNG", "image/webp": "WebP", "image/gif": "GIF",
  "image/avif": "AVIF", "image/*": "any picture", "*/*": "any file",
};
const SNIFFED_AS = { "image/apng": "image/png" }; // browsers know no type of its own for animated PNG

export async function readPolicy() {
  const answer = await fetch("/policies/cover", { headers: { accept: "application/json" } });
  if (!answer.ok) throw new Error(`the policy was answered with ${answer.status}`);
  return answer.json();
}

export const inMegabytes = (bytes) => `${decimal(Math.floor(bytes / 1e5) / 10)} MB`;
const inMegabytesUp = (bytes) => `${decimal(Math.ceil(bytes / 1e5) / 10)} MB`;
export const inMegapixels = (pixels) => `${decimal(Math.floor(pixels / 1e5) / 10)} megapixels`;
export const inWords = (names) => new Intl.ListFormat("en-GB", { type: "disjunction" }).format(names);
const decimal = (number) => number.toLocaleString("en", { maximumFractionDigits: 1 });
export const inNames = (types) => [...new Set(types.map((type) => NAMES[type] ?? type))];

export function sentence(policy) {
  const limits = [`up to ${inMegabytes(policy.max_bytes)}`];
  if (policy.max_pixels) limits.push(`${inMegapixels(policy.max_pixels)}`);
  if (policy.max_edge) limits.push(`${decimal(policy.max_edge)} pixels along the longer side`);
  return `${inWords(inNames(policy.media_types))}, ${new Intl.ListFormat("en-GB").format(limits)}.`;
}

export const accepted = (policy) => policy.media_types.map((type) => SNIFFED_AS[type] ?? type).join(",");

export function objectionToFile(policy, file) {
  if (file.size === 0) return `“${file.name}” is empty.`;
  if (file.type && !policy.media_types.some((type) => covers(type, file.type))) {
    return `“${file.name}” is ${describedType(file.type)}. A cover can be ${inWords(inNames(policy.media_types))}.`;
  }
  if (file.size > policy.max_bytes) {
    const limit = inMegabytes(policy.max_bytes);
    return `“${file.name}” has ${inMegabytesUp(file.size)}. A cover may have at most ${limit}.`;
  }
  return null;
}

export function objectionToSize(policy, { width, height }) {
  const size = `The picture has ${decimal(width)} × ${decimal(height)} pixels`;
  if (policy.max_pixels && width * height > policy.max_pixels) {
    return `${size}. A cover may have at most ${inMegapixels(policy.max_pixels)}.`;
  }
  if (policy.max_edge && Math.max(width, height) > policy.max_edge) {
    return `${size}. The longer side of a cover may have at most ${decimal(policy.max_edge)}.`;
  }
  return null;
}

function covers(allowed, type) {
  const [top] = allowed.split("/");
  return allowed === "*/*" || SNIFFED_AS[allowed] === type || allowed === type ||
    (allowed.endsWith("/*") && type.startsWith(`${top}/`));
}

function describedType(type) {
  const name = NAMES[type] ?? type;
  return type.startsWith("image/") ? `a ${name} picture` : `no picture but ${name}`;
}
