// The form as a request, which has the fields of POST /v1/generate, and a request as the form that is sent.

const TEXTS = ["text_prompt", "model"];
const NUMBERS = ["duration", "guidance_scale", "bpm"];
const MAX_RANDOM_SEED = 2 ** 31;
const SEED = /^\d{1,19}$/;

const control = (id) => document.getElementById(id);

/** Fields of the request; a seed that was left open is drawn here, so that a take can be made again. */
export function readRequest(constraints) {
  const request = { preset: control("preset").value };
  for (const name of TEXTS) if (control(name).value.trim()) request[name] = control(name).value.trim();
  for (const name of NUMBERS) {
    const text = control(name).value.trim().replace(",", ".");
    if (text) request[name] = number(text);
  }
  const seed = control("seed").value.trim();
  request.seed = seed ? number(seed) : Math.floor(Math.random() * MAX_RANDOM_SEED);
  if (!control("use_rag").checked) request.use_rag = false;
  const made = { ...constraints };
  if (control("loop-dance").checked) made.loop = true;
  if (control("in_place").checked) made.in_place = true;
  if (Object.keys(made).length) request.constraints = made;
  return request;
}

/** A number where the text is one that JSON can hold exactly; other text is left for the server to refuse. */
function number(text) {
  const value = Number(text);
  return Number.isFinite(value) && (!Number.isInteger(value) || Number.isSafeInteger(value)) ? value : text;
}

/** Show a request in the form; what is no field of it is left out. */
export function showRequest(request) {
  const shown = (value) => (["string", "number"].includes(typeof value) ? String(value) : "");
  for (const name of [...TEXTS, ...NUMBERS, "seed"]) {
    if (control(name).tagName === "SELECT") offer(control(name), shown(request[name]));
    else control(name).value = shown(request[name]);
  }
  if (request.preset) offer(control("preset"), shown(request.preset));
  control("use_rag").checked = request.use_rag !== false;
  control("loop-dance").checked = request.constraints?.loop === true;
  control("in_place").checked = request.constraints?.in_place === true;
}

/** Choose a value of a list, which may not have arrived yet. */
function offer(select, value) {
  if (value && ![...select.options].some((option) => option.value === value)) select.add(new Option(value, value));
  select.value = value;
}

/** The seed of take `index`: successive ones. */
export function seedOf(seed, index) {
  return SEED.test(seed) ? number(String(BigInt(seed) + BigInt(index))) : seed;
}

/** The body that is sent: a form, with the song and the clip as files. */
export function formOf(request, { song = null, clip = null, format = "json" } = {}) {
  const form = new FormData();
  for (const [name, value] of Object.entries(request)) {
    form.append(name, typeof value === "object" ? JSON.stringify(value) : String(value));
  }
  form.append("format", format);
  if (song) form.append("audio", song, song.name || "song");
  if (clip && request.constraints?.hold) form.append("clip", clip, "take.npz");
  return form;
}

/** Mark the control of a field that was refused, and go there. */
export function blame(field) {
  for (const marked of document.querySelectorAll("[aria-invalid]")) marked.removeAttribute("aria-invalid");
  if (!field) return;
  const id = { audio: "song", Authorization: "key" }[field] ?? field.split(".")[0];
  const found = control(id);
  if (!found?.matches("input, select, textarea")) return;
  found.setAttribute("aria-invalid", "true");
  const folded = found.closest("details");
  if (folded) folded.open = true;
  found.focus();
}
