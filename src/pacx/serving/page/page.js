// The page: takes a film, asks the server, shows what it answers. The token lives in a variable of this file and
// nowhere else; nothing is written to the browser's storage, and no address but this server's is ever asked.
import { showAnswer, showEncoders, showNotLearnt } from "./answer.js";
import { showLooks } from "./looks.js";

const MAX_WAIT_MS = 120_000;
const byId = (id) => document.getElementById(id);

let token = "";
let waiting = null; // the film that is being read, or that waits for a token
let request = new AbortController(); // to stop asking when another film comes

class Refusal extends Error {
  constructor(sentence, status) {
    super(sentence);
    this.status = status;
  }
}

const asSentence = (text) => {
  const trimmed = String(text).trim();
  const capital = trimmed.charAt(0).toUpperCase() + trimmed.slice(1);
  return /[.!?]$/.test(capital) ? capital : `${capital}.`;
};

async function ask(address, options = {}) {
  const headers = { ...options.headers, ...(token && { Authorization: `Bearer ${token}` }) };
  const signal = AbortSignal.any([options.signal, AbortSignal.timeout(MAX_WAIT_MS)]);
  let response, answer;
  try {
    response = await fetch(address, { cache: "no-store", credentials: "omit", redirect: "error", ...options, headers, signal });
    answer = await response.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    if (error.name === "TimeoutError") throw new Refusal("The server did not answer within two minutes; try again, or look at its log");
    if (response) throw new Refusal(`The server answered ${response.status} without a sentence; look at its log`, response.status);
    throw new Refusal("The server cannot be reached, or hung up on the film; check that pacx serve is running, then choose the film again");
  }
  if (response.ok) return answer;
  const later = response.headers.get("Retry-After");
  const advice = later && response.status === 429 ? `. Try again in ${later} s` : "";
  throw new Refusal((answer.error ?? `The server refused with ${response.status}`) + advice, response.status);
}

// What the bytes are, not what the name says: DICOM files often have no suffix.
async function kindOf(file) {
  const head = new Uint8Array(await file.slice(0, 132).arrayBuffer());
  const at = (start, ...bytes) => bytes.every((byte, index) => head[start + index] === byte);
  if (at(0, 0x89, 0x50, 0x4e, 0x47)) return "image/png";
  if (at(0, 0xff, 0xd8, 0xff)) return "image/jpeg";
  if (at(128, 0x44, 0x49, 0x43, 0x4d)) return "application/dicom";
  return "application/octet-stream";
}

function say(status, { isBusy = false } = {}) {
  byId("status").textContent = status;
  byId("busy").hidden = !isBusy;
}

function complain(error) {
  say("");
  byId("error").textContent = asSentence(error.message);
}

function askForToken() {
  byId("token-form").hidden = false;
  byId("token").focus();
  if (token) return complain(new Error("The server does not know this token; give the one it was started with"));
  say(waiting ? `The server asks for its token; ${waiting.name} will be read then.` : "The server asks for its token.");
}

// An old answer must never stand beside a new film or its error.
function clear() {
  byId("error").textContent = "";
  byId("looks").replaceChildren();
  byId("answer").replaceChildren();
  byId("overlay").hidden = true;
}

async function loadModels(signal) {
  const { models } = await ask("v1/models", { signal });
  if (byId("token-form").contains(document.activeElement)) byId("choose").focus();
  byId("token-form").hidden = true;
  showNotLearnt(byId("not-learnt"), models);
  showEncoders(byId("encoders"), models);
  return models;
}

async function predict(file, models, signal) {
  const names = models.map((model) => model.name);
  say(`${names.join(" and ")} ${names.length > 1 ? "are" : "is"} reading ${file.name} ...`, { isBusy: true });
  const wanted = new URLSearchParams({ models: names.join(","), film: true, embedding: false });
  wanted.set("attention", models.some((model) => model.has_attention));
  const headers = { "Content-Type": await kindOf(file) };
  return ask(`v1/predict?${wanted}`, { method: "POST", body: file, headers, signal });
}

function whatWasRead(file, answer, milliseconds) {
  const unusual = Object.keys(answer.models).filter((name) => answer.models[name].out_of_distribution?.is_unusual);
  const warning = unusual.length ? ` Unusual film for ${unusual.join(" and ")}.` : "";
  return `${file.name} was read in ${(milliseconds / 1000).toFixed(1)} s.${warning}`;
}

async function start(file = waiting) {
  request.abort();
  request = new AbortController();
  const { signal } = request;
  waiting = file;
  clear();
  try {
    say("Asking the server what it holds ...", { isBusy: true });
    const models = await loadModels(signal);
    if (!file) return say("");
    const began = performance.now();
    const answer = await predict(file, models, signal);
    showLooks(byId("looks"), answer, models);
    byId("overlay").hidden = !Object.values(answer.models).some((model) => model.attention);
    showAnswer(byId("answer"), answer, models);
    setOpacity();
    waiting = null;
    say(whatWasRead(file, answer, performance.now() - began));
  } catch (error) {
    if (signal.aborted) return;
    if (error.status === 401) return askForToken();
    waiting = null;
    complain(error);
  }
}

function take(files) {
  const [file, ...others] = files;
  if (file && !others.length) return start(file);
  if (!file) return; // pasted text, say
  request.abort();
  clear();
  complain(new Error(`${files.length} files were given; give one film at a time`));
}

function setOpacity() {
  const percent = byId("opacity").value;
  byId("opacity-value").textContent = `${percent} %`;
  byId("opacity").setAttribute("aria-valuetext", `${percent} percent`);
  document.querySelectorAll(".attention").forEach((map) => (map.style.opacity = percent / 100));
}

function listen() {
  byId("opacity").addEventListener("input", setOpacity);
  byId("choose").addEventListener("click", () => byId("file").click());
  byId("file").addEventListener("change", (event) => {
    take([...event.target.files]);
    event.target.value = ""; // so that the same file can be chosen again
  });
  byId("token-form").addEventListener("submit", (event) => {
    event.preventDefault();
    token = byId("token").value.trim();
    byId("token").value = "";
    start();
  });
  document.addEventListener("paste", (event) => take([...event.clipboardData.files]));
  const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
  const over = (isOver) => (byId("drop-here").hidden = !isOver);
  document.addEventListener("dragover", (event) => hasFiles(event) && (event.preventDefault(), over(true)));
  document.addEventListener("dragleave", (event) => event.relatedTarget === null && over(false));
  document.addEventListener("drop", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    over(false);
    take([...event.dataTransfer.files]);
  });
}

listen();
start();
