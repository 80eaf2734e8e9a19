// The page: a picture is chosen or dropped, looked at, sent; what happens meanwhile stands in data-doing of the body,
// which is one of showing, chosen, sending. Until a new cover is really there, nothing takes the old one away.

import { accepted, inMegabytes, objectionToFile, objectionToSize, readPolicy, sentence } from "./policy.js";
import { reason } from "./reasons.js";
import { timesOf } from "./timing.js";
import { beginSpan, random } from "./trace.js";
import { upload } from "./upload.js";

const part = Object.fromEntries([...document.querySelectorAll("[id]")].map((each) => [each.id, each]));
const library = part.form.dataset.library;
let policy = null;
let chosen = null; // { file, key, address, size }: one key for all attempts, so that it is sent once whatever happens
let running = null;

// --- what is seen ---------------------------------------------------------------------------------------------------

function become(doing) {
  document.body.dataset.doing = doing;
  const isChosen = doing !== "showing";
  const hasCover = part.cover.hasAttribute("src");
  part.preview.hidden = !isChosen || !chosen?.size;
  part.unseen.hidden = !isChosen || Boolean(chosen?.size);
  part.cover.hidden = isChosen || !hasCover;
  part.none.hidden = isChosen || hasCover;
  part.badge.hidden = part.preview.hidden;
  part.badge.textContent = doing === "sending" ? "Not the cover yet" : "Preview";
  part.chosen.hidden = !isChosen;
  part.rules.hidden = isChosen;
  part.sending.hidden = doing !== "sending";
  part.send.hidden = doing !== "chosen";
  part.cancel.hidden = !isChosen;
  part.cancel.disabled = false;
  part.file.disabled = doing === "sending";
  part.choose.hidden = doing === "sending";
  part.choose.textContent = isChosen ? "Choose another" : hasCover ? "Choose another picture" : "Choose a picture";
  part.form.ariaBusy = String(doing === "sending");
}

function complain(text) {
  part.problem.textContent = text;
  part.problem.hidden = !text;
}

function say(text) {
  part.status.textContent = text;
}

function forget() {
  if (chosen) URL.revokeObjectURL(chosen.address);
  chosen = null;
  part.preview.removeAttribute("src");
  part.file.value = "";
  part.send.textContent = "Upload";
}

// --- choosing -------------------------------------------------------------------------------------------------------

async function choose(files) {
  if (files.length === 0 || running) return;
  forget();
  say("");
  complain("");
  const [file] = files;
  const objection = files.length > 1 ? "A library has one cover: give one picture." : await objectionTo(file);
  if (objection) {
    become("showing");
    complain(objection);
    part.file.focus();
    return;
  }
  part.chosen.textContent = `${file.name}, ${described(chosen)}`;
  become("chosen");
  say("Nothing has been sent yet.");
  part.send.focus();
}

/** Why the file cannot be a cover, null when it is chosen now. Where a browser cannot read it, Refkeep will tell. */
async function objectionTo(file) {
  await learnPolicy();
  const objection = policy && objectionToFile(policy, file);
  if (objection) return objection;
  const address = URL.createObjectURL(file);
  const size = await sizeOf(address);
  const tooMuch = policy && size && objectionToSize(policy, size);
  if (tooMuch) {
    URL.revokeObjectURL(address);
    part.preview.removeAttribute("src");
    return tooMuch;
  }
  chosen = { file, key: random(16), address, size };
  return null;
}

function sizeOf(address) {
  return new Promise((resolve) => {
    part.preview.onload = () => resolve({ width: part.preview.naturalWidth, height: part.preview.naturalHeight });
    part.preview.onerror = () => resolve(null);
    part.preview.src = address;
  });
}

function described({ file, size }) {
  const bytes = file.size < 1e5 ? `${Math.ceil(file.size / 1000)} kB` : inMegabytes(file.size);
  return size ? `${size.width} × ${size.height} pixels, ${bytes}` : bytes;
}

// --- sending --------------------------------------------------------------------------------------------------------

async function send() {
  const { file, key } = chosen;
  const span = beginSpan();
  complain("");
  say("The picture is being sent.");
  progress(0);
  become("sending");
  part.cancel.focus();
  const headers = { "idempotency-key": key, traceparent: span.traceparent };
  running = upload(`${library}/cover`, file, { headers, onProgress: progress });
  const result = await running.outcome;
  running = null;
  span.end({ outcome: result.outcome, status: result.status, bytes: file.size });
  await settle(result);
}

function progress(share) {
  const percent = Math.floor(share * 100);
  part.percent.textContent = `${percent} %`;
  part.progress.value = percent;
  if (share < 1) return;
  part.progress.removeAttribute("value"); // from here on nobody knows how long
  part.percent.textContent = "";
  part.cancel.disabled = true; // all is sent: whether it becomes the cover is no longer ours to say
  say("The picture has been sent and is being stored.");
}

async function settle(result) {
  if (result.outcome === "success") return showNew(result.document);
  if (result.outcome === "cancelled") {
    forget();
    become("showing");
    part.file.focus();
    return say("Cancelled. Nothing has changed.");
  }
  if (result.outcome === "broken" && (await hasArrived())) return null;
  return fallBack(result);
}

async function showNew({ decision, picture }) {
  await show(picture.url);
  forget();
  become("showing");
  part.file.focus();
  say(decision === "noop" ? "This picture is the cover already." : "This is the cover now.");
}

/** An answer can be lost when what it tells has happened. */
async function hasArrived() {
  try {
    const { cover } = await (await fetch(library)).json();
    if (!cover || sameAddress(cover.url)) return false;
    await showNew({ decision: "replace", picture: cover });
    return true;
  } catch {
    return false;
  }
}

function fallBack(result) {
  const stays = part.cover.hasAttribute("src") ? "The cover stays as it was." : "There is still no cover.";
  const kept = chosen;
  become("showing");
  say("");
  complain(`${reason(result)} ${stays}`);
  if (!result.retryable) {
    forget();
    policy = null; // what was refused here was not said there: the rules may be others by now
    learnPolicy();
    part.file.focus();
    return;
  }
  chosen = kept;
  part.send.textContent = "Try again";
  part.send.hidden = false;
  part.send.focus();
}

// --- showing --------------------------------------------------------------------------------------------------------

const sameAddress = (url) => part.cover.src === new URL(url, document.baseURI).href;

async function show(url) {
  if (sameAddress(url)) return;
  part.cover.src = url;
  part.cover.hidden = false; // beneath the preview until it is there
  tellTimes();
  await part.cover.decode().catch(() => {});
}

async function tellTimes() {
  const url = part.cover.src;
  part.times.hidden = true;
  const times = await timesOf(part.cover).catch(() => "unseen");
  if (part.cover.src !== url || !times) return; // another one came meanwhile, or nothing tells of it
  if (times === "unseen") complain("The cover cannot be shown at the moment.");
  else write(times);
}

function write(times) {
  const rounded = (ms) => (ms < 10 ? ms.toFixed(1) : Math.round(ms));
  const words = { server: "Refkeep", network: "the network", showing: "showing it" };
  const total = times.server + times.network + times.showing;
  const [most] = Object.keys(words).sort((a, b) => times[b] - times[a]);
  for (const name of Object.keys(words)) {
    part[name].textContent = `${rounded(times[name])} ms`;
    part[name].dataset.ms = times[name];
    part[`bar-${name}`].style.flexGrow = times[name] / total;
  }
  if (times.isKept) part.server.textContent = "not asked";
  else if (!times.isTold) part.server.textContent = "not told";
  const size = `${Math.ceil(times.bytes / 1000)} kB`;
  part.network.textContent += times.isKept ? ` (${size}, kept by the browser)` : ` for ${size}`;
  part.verdict.textContent = `The cover took ${rounded(total)} ms to be seen, most of it for ${words[most]}.`;
  part.times.hidden = false;
}

// --- what people do -------------------------------------------------------------------------------------------------

async function learnPolicy() {
  try {
    policy ??= await readPolicy();
    part.rules.textContent = sentence(policy);
    part.file.accept = accepted(policy);
  } catch {
    part.rules.textContent = "What a cover may be cannot be said now. It is checked after sending.";
  }
}

const bringsFiles = (event) => event.dataTransfer?.types.includes("Files");

for (const name of ["dragenter", "dragover"]) {
  addEventListener(name, (event) => {
    if (!bringsFiles(event)) return;
    event.preventDefault(); // else the browser would leave the page and open the file
    event.dataTransfer.dropEffect = running ? "none" : "copy";
    document.body.toggleAttribute("data-dragging", !running);
  });
}
addEventListener("dragleave", (event) => event.relatedTarget ?? document.body.removeAttribute("data-dragging"));
addEventListener("drop", (event) => {
  document.body.removeAttribute("data-dragging");
  if (!bringsFiles(event)) return;
  event.preventDefault();
  choose([...event.dataTransfer.files]);
});
part.file.addEventListener("change", () => choose([...part.file.files]));
part.form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (chosen && !running) send();
});
part.cancel.addEventListener("click", () => {
  if (running) return running.cancel();
  forget();
  complain("");
  become("showing");
  say("Nothing was sent.");
  part.file.focus();
});

part.choose.before(part.send); // with a script, sending comes behind choosing, and is what one wants first then
part.file.required = false; // a dropped picture is none of the field's
become("showing");
learnPolicy();
if (part.cover.hasAttribute("src")) tellTimes();
