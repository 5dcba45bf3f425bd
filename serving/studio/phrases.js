// The phrases of the library that a take began from.

export function showPhrases(place, take) {
  const meta = take?.dance?.meta;
  const phrases = Array.isArray(meta?.phrases) ? meta.phrases : [];
  if (!phrases.length) {
    const why = meta ? (meta.prior?.reason ? `None: ${meta.prior.reason}.` : "None.") : "Nothing yet.";
    place.replaceChildren(item(why));
    return;
  }
  place.replaceChildren(...phrases.map((phrase) => {
    const share = Math.round(100 * phrase.weight);
    const row = item(phrase.caption || phrase.genre || phrase.id);
    const bar = document.createElement("meter");
    bar.value = phrase.weight;
    bar.setAttribute("aria-label", `${share} % of the dance`);
    const about = document.createElement("small");
    about.textContent = `${share} % · ${phrase.genre || "no genre"} · ${phrase.source} at ${Number(phrase.start).toFixed(1)} s · ${phrase.licence}`;
    row.append(bar, about);
    return row;
  }));
}

function item(text) {
  return Object.assign(document.createElement("li"), { textContent: text });
}
