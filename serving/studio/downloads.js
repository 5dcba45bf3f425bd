// Downloads of the chosen take in every format that the server writes: the same request with the same seed is the same dance.

import { askPatiently } from "./server.js";
import { formOf } from "./request.js";

/** Buttons for all formats; films with sound need the song, others do not. */
export function showDownloads(place, formats, take, onProblem) {
  if (!take?.dance) {
    place.replaceChildren(Object.assign(document.createElement("p"), { textContent: "Nothing yet." }));
    return;
  }
  place.replaceChildren(...formats.map((format) => {
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: format.name });
    button.title = `motion-${take.seed}${format.suffix}`;
    button.addEventListener("click", () => download(button, format, take, onProblem));
    return button;
  }));
}

async function download(button, format, take, onProblem) {
  button.disabled = true;
  button.setAttribute("aria-busy", "true");
  try {
    const blob = format.name === "json" ? new Blob([take.text], { type: "application/json" }) : await made(format, take);
    save(blob, `motion-${take.seed}${format.suffix}`);
  } catch (error) {
    onProblem(error);
  } finally {
    button.disabled = false;
    button.removeAttribute("aria-busy");
  }
}

async function made(format, take) {
  if (take.link) throw new Error("This take comes from a job, which has its file. Generate it here for other formats.");
  const { song, clip } = take;
  const body = formOf(take.request, { song, clip, format: format.name });
  const answer = await askPatiently("v1/generate", { method: "POST", body }, () => {});
  return answer.blob();
}

/** Hand a file to the browser's downloads. */
export function save(blob, name) {
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}
