// Compiles the Kaitai Struct specs of this directory.
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const HERE = dirname(fileURLToPath(import.meta.url));
const PACKAGE = join(HERE, "..", "formats", "espcert_formats", "_ksy");
const PACKAGE_DOC = '"""Parsers of the layouts, generated from ksy/ by compile.mjs; do not edit."""\n';
const USAGE = `Usage: node compile.mjs [--out DIR] [--language LANG | --all-languages]
       node compile.mjs --json

Compiles all specs to Python, into the package that uses them or into DIR.
  --out DIR        write here; each language gets its own folder with --all-languages
  --language LANG  another language, for instance java; needs --out
  --all-languages  every language that the compiler knows; needs --out
  --json           print all specs as one JSON object, by file name, and compile nothing
  --help           print this`;

class UsageError extends Error {}

function readOptions() {
  const options = {
    out: { type: "string" },
    language: { type: "string" },
    "all-languages": { type: "boolean" },
    json: { type: "boolean" },
    help: { type: "boolean", short: "h" },
  };
  let values;
  try {
    ({ values } = parseArgs({ options }));
  } catch (error) {
    throw new UsageError(error.message);
  }
  const elsewhere = values["all-languages"] || (values.language ?? "python") !== "python";
  if (elsewhere && values.out === undefined) {
    throw new UsageError("--out is missing: only Python has a place of its own");
  }
  if (values["all-languages"] && values.language !== undefined) {
    throw new UsageError("--language and --all-languages exclude each other");
  }
  return values;
}

async function loadTools() {
  try {
    const [compiler, yaml] = await Promise.all([
      import("kaitai-struct-compiler"),
      import("js-yaml"),
    ]);
    return { compiler: compiler.default, yaml: yaml.default };
  } catch (error) {
    throw new Error(`the compiler is not installed, run "npm ci" in ksy/ (${error.message})`);
  }
}

function readSpecs(yaml) {
  const names = readdirSync(HERE).filter((name) => name.endsWith(".ksy"));
  return names.sort().map((name) => {
    try {
      return { name, spec: yaml.load(readFileSync(join(HERE, name), "utf8")) };
    } catch (error) {
      throw new Error(`${name}: ${error.message}`);
    }
  });
}

// Specs are self-contained, so that each can be used on its own.
const importer = {
  importYaml(name) {
    return Promise.reject(new Error(`it imports ${name}, but specs must not import others`));
  },
};

// With the comment "type: ignore" on top, mypy finds no class at all in a module.
function tidy(text) {
  return text.replaceAll("\r\n", "\n").replace(/^# type: ignore\n/m, "");
}

async function compileTo(compiler, language, specs, directory) {
  const files = new Map();
  for (const { name, spec } of specs) {
    try {
      const output = await compiler.compile(language, spec, importer, false);
      Object.entries(output).forEach(([file, text]) => files.set(file, text));
    } catch (error) {
      throw new Error(`${name}, to ${language}: ${error.message ?? error}`);
    }
  }
  if (language === "python") {
    files.set("__init__.py", PACKAGE_DOC);
  }
  for (const [file, text] of files) {
    const path = join(directory, file);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, tidy(text));
  }
}

async function main() {
  const options = readOptions();
  if (options.help) {
    console.log(USAGE);
    return;
  }
  const { compiler, yaml } = await loadTools();
  const specs = readSpecs(yaml);
  if (options.json) {
    const byName = Object.fromEntries(specs.map(({ name, spec }) => [name, spec]));
    console.log(JSON.stringify(byName, null, 2));
  } else if (options["all-languages"]) {
    for (const language of compiler.languages) {
      await compileTo(compiler, language, specs, join(options.out, language));
    }
  } else {
    await compileTo(compiler, options.language ?? "python", specs, options.out ?? PACKAGE);
  }
}

try {
  await main();
} catch (error) {
  console.error(`compile.mjs: ${error.message}`);
  if (error instanceof UsageError) {
    console.error(USAGE);
  }
  process.exitCode = 1;
}
