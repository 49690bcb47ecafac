// Copies the libraries of the HTML report, unchanged, into the Python package.
//
//   npm ci --ignore-scripts && node vendor.mjs [--out DIR]
//
// vendor.json says of every file where it comes from, under which licence, and its SHA-256; the
// registry's own digest of the package stands in package-lock.json and is repeated there.
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const HERE = dirname(fileURLToPath(import.meta.url));
const PACKAGE = join(HERE, "..", "toolkit", "espcert", "fleet", "reports", "static");

// Chart.js carries @kurkle/color inside its file, so that package's notice comes along.
const FILES = {
  "chart.js": { "dist/chart.umd.min.js": "chart.min.js", "LICENSE.md": "chart.LICENSE" },
  "@kurkle/color": { "LICENSE.md": "color.LICENSE" },
  "tabulator-tables": {
    "dist/js/tabulator.min.js": "tabulator.min.js",
    "dist/css/tabulator.min.css": "tabulator.min.css",
    LICENSE: "tabulator.LICENSE",
  },
};

const read = (...parts) => readFileSync(join(HERE, ...parts));

function vendored(name, files, lock, out) {
  const { version, integrity, license } = lock.packages[`node_modules/${name}`];
  const digests = {};
  for (const [source, target] of Object.entries(files)) {
    const bytes = read("node_modules", name, source);
    writeFileSync(join(out, target), bytes);
    digests[target] = { source, sha256: createHash("sha256").update(bytes).digest("hex") };
  }
  return { version, license, integrity, files: digests };
}

const { values } = parseArgs({ options: { out: { type: "string", default: PACKAGE } } });
mkdirSync(values.out, { recursive: true });
const lock = JSON.parse(read("package-lock.json"));
const manifest = Object.fromEntries(
  Object.entries(FILES).map(([name, files]) => [name, vendored(name, files, lock, values.out)]),
);
writeFileSync(join(values.out, "vendor.json"), `${JSON.stringify(manifest, null, 2)}\n`);
