// A link that holds the request as JSON, after the #: it reaches no server until somebody generates.

const PREFIX = "#request=";
const MAX_CHARS = 64 << 10;

/** The address of this page with a request. Holds are left out: they need the take that they are of. */
export function linkOf(request) {
  const shared = structuredClone(request);
  if (shared.constraints) delete shared.constraints.hold;
  if (shared.constraints && !Object.keys(shared.constraints).length) delete shared.constraints;
  return `${location.href.split("#")[0]}${PREFIX}${encodeURIComponent(JSON.stringify(shared))}`;
}

/** The request of an address; null without one. Throws where it cannot be read. */
export function requestOf(hash) {
  if (!hash.startsWith(PREFIX)) return null;
  const broken = new Error("This link is damaged: the request in it cannot be read.");
  if (hash.length > MAX_CHARS) throw broken;
  let request;
  try {
    request = JSON.parse(decodeURIComponent(hash.slice(PREFIX.length)));
  } catch {
    throw broken;
  }
  if (typeof request !== "object" || request === null || Array.isArray(request)) throw broken;
  return request;
}
