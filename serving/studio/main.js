// The studio: what belongs together of the parts of the page, and nothing that one of them can do alone.

import { Camera, DISTANCE } from "./camera.js";
import { Dance } from "./dance.js";
import { Directing } from "./directing.js";
import { showDownloads } from "./downloads.js";
import { listenToKeys } from "./keys.js";
import { Jobs } from "./jobs.js";
import { npzOf } from "./npz.js";
import { showPhrases } from "./phrases.js";
import { Player } from "./player.js";
import { blame, formOf, readRequest, seedOf, showRequest } from "./request.js";
import { apiKey, ask, askPatiently } from "./server.js";
import { linkOf, requestOf } from "./share.js";
import { Song } from "./song.js";
import { Takes } from "./takes.js";
import { Timeline } from "./timeline.js";

const $ = (id) => document.getElementById(id);

export const camera = new Camera();
export const player = new Player();
export const takes = new Takes($("stage"), camera);
export const timeline = new Timeline($("wave"), player);
export const directing = new Directing($("holds"), $("poses"), player);
const jobs = new Jobs($("jobs"), showJobResult, tell);

let song = null; // Song
let formats = [];
let running = null; // AbortController of what is being generated
let refused = null; // why the server could not be asked what it has
let wanted = 0; // animation frame that was asked for

// ---- pictures -------------------------------------------------------------------------------------------------------

function repaint() {
  wanted ||= requestAnimationFrame(() => {
    wanted = 0;
    player.tick();
    takes.paint(player.time);
    timeline.paint();
    $("time").textContent = `${clock(player.time)} / ${clock(player.seconds)}`;
    if (player.playing) repaint();
  });
}

function clock(seconds) {
  const minutes = Math.floor(seconds / 60);
  return `${minutes}:${(seconds - 60 * minutes).toFixed(2).padStart(5, "0")}`;
}

// ---- words ----------------------------------------------------------------------------------------------------------

/** Say what went wrong; null takes the message away. */
function tell(error) {
  if (error?.name === "AbortError") return;
  $("problem").hidden = !error;
  $("problem").querySelector("p").textContent = error?.message ?? "";
  blame(error?.field ?? (error?.status === 401 ? "Authorization" : null));
}

// ---- song -----------------------------------------------------------------------------------------------------------

async function useSong(file) {
  song?.close();
  song = file ? new Song(file) : null;
  const mine = song;
  [timeline.song, timeline.beats, timeline.downbeats] = [song, [], []];
  $("no-song").hidden = !file;
  $("song-name").textContent = file?.name ?? "Drop a song";
  $("song-about").textContent = file ? "reading …" : "or choose a file; it is played from your own disk";
  if (!takes.take) player.length = 0;
  player.useSong(song?.audio ?? null);
  repaint();
  if (!mine) {
    $("song").value = "";
    return;
  }
  try {
    await mine.ready();
    if (song !== mine) return;
    $("song-about").textContent = clock(song.seconds);
    if (!takes.take) player.length = song.seconds;
  } catch (error) {
    if (song === mine) $("song-about").textContent = `${error.message}; the server may`;
  }
  await mine.outline();
  repaint();
}

// ---- generating -----------------------------------------------------------------------------------------------------

async function generate() {
  running?.abort();
  const mine = (running = new AbortController());
  tell(null);
  const request = readRequest(directing.constraints());
  const clip = clipOf(request);
  const made = Array.from({ length: Number($("takes").value) }, (_, index) => {
    const seed = seedOf(request.seed, index);
    return { seed, request: { ...request, seed }, song: song?.file ?? null, clip };
  });
  const began = performance.now();
  player.pause();
  takes.show(made);
  $("cancel").hidden = false;
  $("progress").textContent = "Dancing …";
  await Promise.all(made.map((take) => dance(take, mine.signal)));
  if (running !== mine) return;
  running = null;
  $("cancel").hidden = true;
  const done = made.filter((take) => take.dance).length;
  const seconds = ((performance.now() - began) / 1000).toFixed(1);
  $("progress").textContent = done ? `${done} of ${made.length} in ${seconds} s` : "";
  if (done && takes.list === made) begin(made);
}

async function dance(take, signal) {
  const waiting = (seconds) => takes.tell(take, `the server is busy, waiting ${seconds} s`);
  try {
    const answer = await askPatiently("v1/generate", { method: "POST", body: formOf(take.request, take), signal }, waiting);
    take.text = await answer.text();
    take.dance = new Dance(JSON.parse(take.text));
    takes.tell(take, take.dance.meta.model ?? "");
  } catch (error) {
    take.problem = error;
    takes.tell(take, error.name === "AbortError" ? "cancelled" : "failed");
    tell(error);
  }
}

/** The take that holds are of, as a file; null where nothing is held. */
function clipOf(request) {
  if (!request.constraints?.hold) return null;
  const { dancers, fps } = directing.source.dance;
  return npzOf(dancers[0], fps);
}

/** Play takes that have come: as long as the longest of them. */
function begin(list) {
  player.length = Math.max(...list.map((take) => take.dance?.seconds ?? 0));
  const first = list.findIndex((take) => take.dance);
  takes.choose(first);
  player.seek(0);
  player.play();
}

function showJobResult(text, seed) {
  const dance = new Dance(JSON.parse(text));
  const take = { seed: seed ?? dance.meta.seed, request: {}, song: null, clip: null, dance, text, link: true };
  takes.show([take]);
  takes.tell(take, `${dance.meta.model ?? ""} · from a job`);
  begin([take]);
}

// ---- what the server has --------------------------------------------------------------------------------------------

async function meetServer() {
  try {
    const about = await (await ask("studio/about.json")).json();
    formats = about.formats;
    fill($("preset"), about.presets, $("preset").dataset.chosen ?? "fast");
    showDownloads($("downloads"), formats, takes.take, tell);
    document.querySelector(".key").hidden = !about.needs_key;
    if (about.needs_key && !apiKey.get()) {
      $("server").textContent = `choreo ${about.version} · needs an API key`;
      return;
    }
    const { models } = await (await ask("v1/models")).json();
    fill($("model"), models.map((model) => model.name), $("model").value || models[0]?.name);
    $("server").textContent = `choreo ${about.version} · ${models.length} model${models.length === 1 ? "" : "s"}`;
    if (refused) tell((refused = null));
  } catch (error) {
    refused = error;
    $("server").textContent = error.status === 401 ? "the API key is not known" : "not ready";
    tell(error);
  }
}

function fill(select, names, chosen) {
  select.replaceChildren(...names.map((name) => new Option(name, name)));
  if (names.includes(chosen)) select.value = chosen;
}

// ---- wiring ---------------------------------------------------------------------------------------------------------

function wire() {
  $("request").addEventListener("submit", (event) => {
    event.preventDefault();
    generate();
  });
  $("cancel").addEventListener("click", () => running?.abort());
  $("submit-job").addEventListener("click", async () => {
    tell(null);
    const request = readRequest(directing.constraints());
    try {
      await jobs.submit(formOf(request, { song: song?.file, clip: clipOf(request) }));
    } catch (error) {
      tell(error);
    }
  });
  $("share").addEventListener("click", () => {
    const link = linkOf(readRequest(directing.constraints()));
    history.replaceState(null, "", link);
    const said = (text) => ($("progress").textContent = text);
    navigator.clipboard?.writeText(link).then(() => said("The link is copied. A song is not in it."), () => said("The link is in the address bar."));
  });
  $("refresh-jobs").addEventListener("click", () => jobs.refresh());
  $("problem").querySelector("button").addEventListener("click", () => tell(null));
  $("key").value = apiKey.get();
  $("key").addEventListener("change", () => {
    apiKey.set($("key").value.trim());
    meetServer();
  });
  wireSong();
  wirePlayback();
  wireDirecting();
  listenToKeys({ player, takes, toggleLoop: () => $("loop").click(), toggleJoints: () => $("joints").click(), hold: () => $("add-hold").click(), pose: () => $("add-pose").click() });
}

function wireSong() {
  $("song").addEventListener("change", () => $("song").files[0] && useSong($("song").files[0]));
  $("no-song").addEventListener("click", () => useSong(null));
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    $("drop").classList.add("over");
  });
  document.addEventListener("dragleave", () => $("drop").classList.remove("over"));
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    $("drop").classList.remove("over");
    const [file] = event.dataTransfer.files;
    if (file) useSong(file);
  });
}

function wirePlayback() {
  player.addEventListener("change", () => {
    $("play").textContent = player.playing ? "❚❚" : "▶";
    $("play").setAttribute("aria-label", player.playing ? "Pause" : "Play");
    repaint();
  });
  player.addEventListener("silent", () => tell(new Error("The browser does not play this song; the dance goes on without it.")));
  takes.addEventListener("look", repaint);
  takes.addEventListener("choose", () => {
    const { take } = takes;
    [timeline.beats, timeline.downbeats] = [take?.dance?.beats ?? [], take?.dance?.downbeats ?? []];
    directing.offer(take);
    showDownloads($("downloads"), formats, take, tell);
    showPhrases($("phrases"), take);
    repaint();
  });
  $("play").addEventListener("click", () => player.toggle());
  $("rate").addEventListener("change", () => (player.rate = Number($("rate").value)));
  $("loop").addEventListener("click", () => {
    player.loop = !player.loop;
    $("loop").setAttribute("aria-pressed", String(player.loop));
  });
  $("joints").addEventListener("click", () => {
    takes.showJoints = !takes.showJoints;
    $("joints").setAttribute("aria-pressed", String(takes.showJoints));
    repaint();
  });
  $("camera").addEventListener("change", () => {
    camera.follow = $("camera").value === "follow";
    const reach = Math.max(...takes.list.map((take) => take.dance?.reach ?? 0), 0);
    camera.distance = camera.follow ? DISTANCE : Math.max(DISTANCE, 4 + 1.8 * reach);
    repaint();
  });
  $("view").addEventListener("change", () => {
    camera.look($("view").value);
    repaint();
  });
}

function wireDirecting() {
  $("add-hold").addEventListener("click", () => {
    const frame = player.time * 30;
    directing.addHold(frame, frame + 29);
  });
  $("add-pose").addEventListener("click", () => directing.addPose(takes.take, player.time));
  $("clear").addEventListener("click", () => {
    directing.clear();
    directing.offer(takes.take);
  });
  directing.addEventListener("change", () => {
    $("clear").hidden = directing.empty;
    $("directing-about").textContent = directing.empty
      ? "Drag over a lane to keep a part of the chosen take; everything else is danced anew."
      : `Kept of seed ${directing.source?.seed ?? "a shared request"}. Generate to dance the rest anew.`;
  });
  window.addEventListener("resize", () => {
    directing.show();
    repaint();
  });
}

function openShared() {
  try {
    const request = requestOf(location.hash);
    if (!request) return;
    showRequest(request);
    $("preset").dataset.chosen = request.preset ?? "";
    directing.restore(request.constraints, request.duration);
  } catch (error) {
    tell(error);
  }
}

wire();
openShared();
repaint();
export const ready = meetServer();
