// A take as a NumPy archive, which is what the server takes spans of: a zip of stored .npy members.

const encoder = new TextEncoder();

/** `positions` float32 (T, 22, 3) and `fps` of one dancer, as a Blob. */
export function npzOf(motion, fps) {
  const positions = new Float32Array(motion.length * 66);
  motion.forEach((pose, t) => pose.forEach((joint, j) => positions.set(joint, t * 66 + j * 3)));
  return zipOf([
    ["positions.npy", npy("<f4", `(${motion.length}, 22, 3)`, positions.buffer)],
    ["fps.npy", npy("<f8", "()", new Float64Array([fps]).buffer)],
  ]);
}

/** NumPy format 1.0: magic, length of the header, the header padded to a multiple of 64, the numbers. */
function npy(kind, shape, numbers) {
  const header = `{'descr': '${kind}', 'fortran_order': False, 'shape': ${shape}, }`;
  const padded = header.padEnd(Math.ceil((header.length + 11) / 64) * 64 - 11) + "\n";
  const bytes = new Uint8Array(10 + padded.length + numbers.byteLength);
  bytes.set([0x93, ...encoder.encode("NUMPY"), 1, 0, padded.length & 255, padded.length >> 8]);
  bytes.set(encoder.encode(padded), 10);
  bytes.set(new Uint8Array(numbers), 10 + padded.length);
  return bytes;
}

function zipOf(members) {
  const parts = [], directory = [];
  let offset = 0;
  for (const [name, content] of members) {
    const title = encoder.encode(name);
    const about = [20, 0, 0, 0, 0x21].flatMap(two).concat(four(crc32(content)), four(content.length), four(content.length));
    const local = Uint8Array.from([...four(0x04034b50), ...about, ...two(title.length), ...two(0), ...title]);
    directory.push(Uint8Array.from([
      ...four(0x02014b50), ...two(20), ...about, ...two(title.length), ...[0, 0, 0, 0].flatMap(two), ...four(0),
      ...four(offset), ...title,
    ]));
    parts.push(local, content);
    offset += local.length + content.length;
  }
  const size = directory.reduce((sum, entry) => sum + entry.length, 0);
  const count = two(members.length);
  const end = [...four(0x06054b50), ...two(0), ...two(0), ...count, ...count, ...four(size), ...four(offset), ...two(0)];
  return new Blob([...parts, ...directory, Uint8Array.from(end)], { type: "application/x-npz" });
}

const two = (value) => [value & 255, (value >> 8) & 255];
const four = (value) => [...two(value & 0xffff), ...two(value >>> 16)];

const TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let bit = 0; bit < 8; bit++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n;
});

function crc32(bytes) {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = TABLE[(crc ^ byte) & 255] ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}
