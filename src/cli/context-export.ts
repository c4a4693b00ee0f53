import { existsSync, writeFileSync } from "node:fs";
import { writeTar } from "../archive/mod.ts";
import { Failure } from "../base/mod.ts";
import { defineCommand } from "./command.ts";
import { ContextStore, checkContextName, metaOf } from "./contexts.ts";
import { configFolder } from "./engine.ts";
import { complain, write } from "./output.ts";

export const command = defineCommand({
  usage: "CONTEXT [FILE|-]",
  flags: {},
  arguments: { min: 1, max: 2 },
  async run({ args, globals }) {
    const [name, file = `${args[0]}.dockercontext`] = args as [string, string?];
    checkContextName(name);
    const store = new ContextStore(configFolder(globals));
    const entries = [
      ["meta.json", JSON.stringify(metaOf(store.get(name)))] as const,
      ...Object.entries(store.tls(name)).map(
        ([tlsFile, text]) => [`tls/docker/${tlsFile}`, text] as const,
      ),
    ].map(([path, text]) => {
      const body = Buffer.from(text);
      return { header: { path, type: "file" as const, mode: 0o600, sizeBytes: body.length }, body };
    });
    const parts: Uint8Array[] = [];
    for await (const part of writeTar(entries)) parts.push(part);
    if (file === "-") {
      if (process.stdout.isTTY) {
        throw new Failure(
          "invalid",
          "cowardly refusing to export to a terminal, specify a file path",
        );
      }
      await write(Buffer.concat(parts));
      return 0;
    }
    if (existsSync(file)) throw new Failure("conflict", `Cannot write ${file}: it exists`);
    writeFileSync(file, Buffer.concat(parts), { mode: 0o600 }); // keys are in it
    complain(`Written file "${file}"`);
    return 0;
  },
});
