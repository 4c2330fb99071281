// Builds the component of one staged plugin: `build.mjs TOOLS_DIR STAGE_DIR WIT_DIR OUT.wasm`, run by `build.sh`.

import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [tools, stage, witPath, out] = process.argv.slice(2);
const { componentize } = await import(pathToFileURL(join(tools, "node_modules/componentize-qjs/index.js")));

try {
  const jsPath = join(stage, "plugin.js");
  const { component } = await componentize({
    jsPath,
    jsSource: await readFile(jsPath, "utf8"),
    moduleRoot: stage,
    witPath,
    world: "plugin",
    // Hosts of WASI 0.2 do not run asynchronous components.
    sync: true,
  });
  await writeFile(out, component);
} catch (error) {
  console.error(error.message.replace(/^: /, ""));
  process.exitCode = 1;
}
