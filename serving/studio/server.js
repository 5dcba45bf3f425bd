// Questions to the server, with the API key, and its refusals in words.

const KEY = "choreo-api-key";

/** The names of fields as the page shows them. */
const LABELS = {
  text_prompt: "What to dance", audio: "Song", duration: "Seconds", seed: "Seed", model: "Model", preset: "Quality",
  guidance_scale: "Guidance", bpm: "Tempo", "constraints.hold": "Holds", "constraints.keyframes": "Poses",
  constraints: "Holds and poses", clip: "Holds", Authorization: "API key",
};

/** A refusal: `message` is a sentence for people, `field` the field at fault if there is one. */
export class Problem extends Error {
  constructor(message, { status = 0, field = null, retryAfter = null } = {}) {
    super(message);
    Object.assign(this, { status, field, retryAfter });
  }
}

/** The key lasts as long as the tab and is sent to this server only. */
export const apiKey = {
  get: () => sessionStorage.getItem(KEY) ?? "",
  set: (value) => value ? sessionStorage.setItem(KEY, value) : sessionStorage.removeItem(KEY),
};

/** Ask; an answer that is no success is thrown as a `Problem`. Paths are relative, so that a proxy may add a prefix. */
export async function ask(path, options = {}) {
  const headers = new Headers(options.headers);
  if (apiKey.get()) headers.set("Authorization", `Bearer ${apiKey.get()}`);
  let answer;
  try {
    answer = await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem("The server does not answer. Is it running? Try again in a moment.");
  }
  if (!answer.ok) throw await problemOf(answer);
  return answer;
}

/** As `ask`, but waits and asks again a few times where the server is busy and says for how long. */
export async function askPatiently(path, options, onWait, times = 3) {
  for (let left = times; ; left--) {
    try {
      return await ask(path, options);
    } catch (error) {
      if (!left || !error.retryAfter || ![429, 503].includes(error.status)) throw error;
      onWait(error.retryAfter);
      await pause(1000 * Math.min(error.retryAfter, 30), options.signal);
    }
  }
}

function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(new DOMException("cancelled", "AbortError"));
    }, { once: true });
  });
}

async function problemOf(answer) {
  const document = await answer.json().catch(() => ({}));
  const field = document.field ?? null;
  const retryAfter = Number(answer.headers.get("Retry-After")) || null;
  return new Problem(sentence(answer.status, document, retryAfter), { status: answer.status, field, retryAfter });
}

function sentence(status, document, retryAfter) {
  const told = document.detail ?? document.title ?? `the server answered ${status}`;
  const detail = document.field && told.startsWith(`${document.field}: `) ? told.slice(document.field.length + 2) : told;
  const later = retryAfter ? ` Try again in ${retryAfter} s.` : " Try again in a moment.";
  if (status === 401) return "This server needs an API key, and this one is not known. Enter it above, on the right.";
  if (status === 413) return "That is too large for this server. Choose a shorter song.";
  if (status === 429) return `The server is busy: ${detail}.${later}`;
  if (status === 503) return `The server is not ready: ${detail}.${later}`;
  if (status === 504) return `It took too long: ${detail}. Choose fewer seconds or the fast quality.`;
  if (status >= 500) return `Something went wrong in the server: ${detail}.`;
  return `${label(document.field)}${detail}.`;
}

function label(field) {
  if (!field) return "";
  const known = LABELS[field] ?? LABELS[field.split(".").slice(0, 2).join(".")] ?? LABELS[field.split(".")[0]] ?? field;
  return `${known}: `;
}
