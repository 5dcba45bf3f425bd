// The keys of the whole page. Where something is typed or chosen, keys belong to what they are typed into.

/** `actions`: player, takes, and functions for what buttons do. */
export function listenToKeys({ player, takes, toggleLoop, toggleJoints, hold, pose }) {
  const frame = () => 1 / (takes.take?.dance?.fps ?? 30);
  const letters = { l: toggleLoop, j: toggleJoints, h: hold, k: pose };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select")) return;
    const isButton = event.target.closest("button, summary, a");
    if (event.key === " " && !isButton) player.toggle();
    else if (event.key === "ArrowLeft") player.seek(player.time - (event.shiftKey ? 1 : frame()));
    else if (event.key === "ArrowRight") player.seek(player.time + (event.shiftKey ? 1 : frame()));
    else if (event.key === "Home") player.seek(0);
    else if (event.key === "End") player.seek(player.seconds);
    else if (letters[event.key.toLowerCase()]) letters[event.key.toLowerCase()]();
    else if (/^[1-4]$/.test(event.key)) takes.choose(Number(event.key) - 1);
    else return;
    event.preventDefault();
  });
}
