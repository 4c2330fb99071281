// Builds the component of one staged plugin: `build.mjs TOOLS_DIR STAGE_DIR WIT_DIR OUT.wasm`, run by `build.sh`.
//
// The engine lacks two things that a plugin may use. Both are made good in the staged copy of its modules:
// - it finds modules by relative paths only, so the names of packages are replaced by paths;
// - it knows no Unicode properties, so `\p{…}` in a regular expression is replaced by the characters that have it.

import { access, readFile, realpath, writeFile } from "node:fs/promises";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const [tools, stage, wit, out] = process.argv.slice(2).map((path) => resolve(path));
const load = (file) => import(pathToFileURL(join(tools, "node_modules", file)));

// The tool passes the paths of its files on as words divided by spaces, and cuts the working folder off them. So all its
// files are where `build.sh` has seen to it that the path has no spaces, and it works there.
process.chdir(await realpath(stage));
process.env.TMPDIR = dirname(process.cwd());

const { componentize } = await load("@bytecodealliance/componentize-js/src/componentize.js");
const { default: parser } = await load("oxc-parser/index.js");
const { default: rewritePattern } = await load("regexpu-core/rewrite-pattern.js");

try {
  await adaptModules(resolve("plugin.js"));
  const { component } = await componentize({
    sourcePath: "plugin.js",
    witPath: wit,
    worldName: "plugin",
    // What the host does not offer is left out: a component that imports `wasi:http` could not be installed.
    disableFeatures: ["http", "fetch-event"],
  });
  await writeFile(out, component);
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}

/** Adapts a module and those that it imports. */
async function adaptModules(entry) {
  const paths = new Set([entry]);
  // A set is walked in the order of insertion, also through what is added meanwhile.
  for (const path of paths) {
    const { adapted, imported } = await adaptModule(path, await readFile(path, "utf8"));
    await writeFile(path, adapted);
    for (const module of imported) paths.add(module);
  }
}

/** The adapted text of a module, and the paths of the modules that it imports. */
async function adaptModule(path, source) {
  const { program, errors } = parser.parseSync(relative(".", path), source);
  if (errors.length > 0) throw new Error(`${errors[0].message}${errors[0].codeframe}`);
  const imported = [];
  let adapted = "";
  let end = 0;
  const replace = (node, text) => {
    adapted += source.slice(end, node.start) + text;
    end = node.end;
  };
  for (const node of literalsOf(program)) {
    if (node.regex && hasProperties(node.regex)) {
      replace(node, withoutProperties(node.regex));
    } else if (node.isModuleName && !node.value.startsWith("tradewind:")) {
      const module = await findModule(node.value, path);
      replace(node, JSON.stringify(`./${relative(dirname(path), module)}`));
      imported.push(module);
    }
  }
  return { adapted: adapted + source.slice(end), imported };
}

/** The literals of a syntax tree in the order of the text; those that name a module are marked. */
function literalsOf(program) {
  const literals = [];
  const visit = (node) => {
    if (node === null || typeof node !== "object") return;
    if (node.type === "Literal") literals.push(node);
    else Object.values(node).forEach(visit);
    // `import … from`, `export … from` and `import(…)`.
    if (node.source?.type === "Literal") node.source.isModuleName = true;
  };
  visit(program);
  return literals.sort((a, b) => a.start - b.start);
}

/** Where a module that another one imports is, by the rules of Node.js. */
async function findModule(name, importer) {
  // Node.js answers this for the place of the module that asks.
  const asker = join(dirname(importer), ".asker.mjs");
  await writeFile(asker, "export const find = (name) => import.meta.resolve(name);");
  try {
    const { find } = await import(pathToFileURL(asker));
    const path = fileURLToPath(find(name));
    await access(path);
    return path;
  } catch {
    throw new Error(`${relative(".", importer)} imports \`${name}\`, which was not found`);
  }
}

function hasProperties({ pattern, flags }) {
  return /\\p\{/i.test(pattern) && /[uv]/.test(flags);
}

function withoutProperties({ pattern, flags }) {
  const options = { unicodePropertyEscapes: "transform", onNewFlags: (changed) => (flags = changed) };
  if (flags.includes("v")) options.unicodeSetsFlag = "transform";
  const rewritten = rewritePattern(pattern, flags, options);
  return `/${rewritten}/${flags}`;
}
