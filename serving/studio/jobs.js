// Requests that the server keeps and dances when it has time: sent, listed, watched, fetched, cancelled.

import { ask } from "./server.js";
import { save } from "./downloads.js";

const WATCH_MS = 2000;
const SHOWN = 12;

export class Jobs {
  #timer = null;

  /** `onDance(text, seed)` gets a result that can be shown; `onProblem(error)` what went wrong. */
  constructor(place, onDance, onProblem) {
    [this.place, this.onDance, this.onProblem] = [place, onDance, onProblem];
  }

  async submit(body) {
    await ask("v1/jobs", { method: "POST", body });
    await this.refresh();
  }

  /** Ask for the newest jobs, and again as long as one of them has not ended. */
  async refresh() {
    clearTimeout(this.#timer);
    try {
      const { jobs } = await (await ask(`v1/jobs?limit=${SHOWN}`)).json();
      this.place.replaceChildren(...(jobs.length ? jobs.map((job) => this.#row(job)) : [item("None.")]));
      if (jobs.some(({ state }) => state === "queued" || state === "running")) {
        this.#timer = setTimeout(() => this.refresh(), WATCH_MS);
      }
    } catch (error) {
      this.onProblem(error);
    }
  }

  #row(job) {
    const ended = !["queued", "running"].includes(job.state);
    const row = item("");
    const { total, succeeded, failed } = job.counts;
    const name = document.createElement("span");
    name.textContent = `${new Date(job.created_at).toLocaleTimeString()} · ${job.state}`
      + (total > 1 ? ` · ${succeeded} of ${total}` : "") + (failed ? ` · ${failed} failed` : "");
    row.append(name);
    if (!ended) row.append(Object.assign(document.createElement("progress"), { value: job.progress, max: 1 }));
    if (succeeded) row.append(this.#button("Open", `Open the results of the job of ${name.textContent}`, () => this.#open(job)));
    const verb = ended ? "Forget" : "Cancel";
    row.append(this.#button(verb, `${verb} the job of ${name.textContent}`, () => this.#remove(job, ended)));
    return row;
  }

  #button(text, label, act) {
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: text, className: "plain" });
    button.setAttribute("aria-label", label);
    button.addEventListener("click", () => act().catch(this.onProblem));
    return button;
  }

  /** JSON is shown on the stage, other formats are saved. */
  async #open(job) {
    const lines = (await (await ask(`v1/jobs/${job.id}/results?limit=4`)).text()).trim().split("\n");
    for (const result of lines.filter(Boolean).map((line) => JSON.parse(line))) {
      for (const file of result.response?.files ?? []) {
        const answer = await ask(file.url.replace(/^\//, ""));
        if (file.media_type === "application/json") this.onDance(await answer.text(), answer.headers.get("X-Seed"));
        else save(await answer.blob(), file.name);
      }
    }
  }

  async #remove(job, ended) {
    await ask(`v1/jobs/${job.id}?forget=${ended}`, { method: "DELETE" });
    await this.refresh();
  }
}

function item(text) {
  return Object.assign(document.createElement("li"), { textContent: text });
}
