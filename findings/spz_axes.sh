#!/usr/bin/env bash
# The .spz extension that names a file's axes (SPZ_ADOBE_coordinate_system): the official package @adobe/spz 0.2.2 turns
# RFD (right, front, down) the way that its letters mean for RBU, upside down, and its .d.ts numbers the rotated systems
# in another order (LBD = 9) than its module does (LFD = 9).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init -y >/dev/null
npm install --silent --no-fund --no-audit @adobe/spz@0.2.2
python3 - <<'PY'
import gzip
import struct

# One Gaussian at (1, 2, 3) in 12 fraction bits, all else in the middle; axes told after the Gaussians.
point = b"".join((value * 4096).to_bytes(3, "little") for value in (1, 2, 3))
rest = bytes([128]) + bytes([128] * 3) + bytes([128] * 3) + struct.pack("<I", 3 << 30)
for name, number in {"RUB": 4, "RDF": 6, "RFD": 10, "RFU": 12, "RBU": 16}.items():
    header = struct.pack("<IIIBBBB", 0x5053474E, 3, 1, 0, 12, 2, 0)
    extension = struct.pack("<III", 0xADBE0003, 4, number)
    open(f"{name}.spz", "wb").write(gzip.compress(header + point + rest + extension))
PY
cat >look.mjs <<'JS'
import fs from 'fs';
import createSpz from '@adobe/spz';
console.log = () => {};
const spz = await createSpz({ print: () => {}, printErr: () => {} });
// By the letters: height is the coordinate whose letter is U, or minus the one whose letter is D.
const height = { RUB: 2, RDF: -2, RFD: -3, RFU: 3, RBU: 3 };
const seen = {};
for (const name of Object.keys(height)) {
  const cloud = spz.loadSpzFromBuffer(new Uint8Array(fs.readFileSync(`${name}.spz`)), { to: spz.CoordinateSystem.RUB });
  seen[name] = cloud.positions[1];
}
const types = fs.readFileSync('node_modules/@adobe/spz/dist/spz.d.ts', 'utf8');
const order = types.slice(types.indexOf('enum CoordinateSystem')).match(/\w+(?=,)/g);
const version = JSON.parse(fs.readFileSync('node_modules/@adobe/spz/package.json')).version;
console.error(`@adobe/spz ${version}; height in RUB of (1, 2, 3) in each system`);
console.error(`a good guess: ${JSON.stringify(height)}; seen: ${JSON.stringify(seen)}`);
console.error(`number of LFD: in the .d.ts ${order.indexOf('LFD')}, in the module ${spz.CoordinateSystem.LFD.value}`);
const right = ['RUB', 'RDF', 'RFU'].every((name) => seen[name] === height[name]);
const wrong = ['RFD', 'RBU'].every((name) => seen[name] === -height[name]);
process.exit(right && wrong && order.indexOf('LFD') !== spz.CoordinateSystem.LFD.value ? 0 : 1);
JS
node look.mjs
