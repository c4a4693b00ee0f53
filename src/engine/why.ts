import { isIP } from "node:net";
import { Failure, isFailure } from "../base/mod.ts";
import type { Party, WhyStep } from "../network/mod.ts";
import type { Core } from "./core.ts";
import { donorOf, networkModeOf } from "./sandbox.ts";
import type { Container } from "./types.ts";

const textMax = 300;

/** As `Engine.why`: who is meant, and then the network's walk. */
export async function why(core: Core, from: string, to: string): Promise<WhyStep[]> {
  const { name, port, protocol } = parseTarget(to);
  const source = partyOf(core, from) ?? partyOfContainer(core, core.records.resolve(from));
  return await core.networks.explain({
    from: source,
    to: partyOf(core, name) ?? { kind: "name", name },
    port,
    protocol,
  });
}

/** `db:5432`, `[fd00::2]:80/tcp`, `10.0.0.1:53/udp`. @throws "invalid" */
export function parseTarget(text: string) {
  const [, bracketed, plain, number, named = "tcp"] =
    /^(?:\[([0-9a-fA-F:.]+)\]|([^[\]/:]+)):(\d{1,5})(?:\/(\w+))?$/.exec(text) ?? [];
  const name = bracketed ?? plain ?? "";
  const port = Number(number);
  const protocol = named.toLowerCase();
  const isWhole = name !== "" && port >= 1 && port <= 65_535 && text.length <= textMax;
  if (isWhole && (protocol === "tcp" || protocol === "udp")) {
    return { name, port, protocol } as const;
  }
  throw new Failure("invalid", `Cannot look for a way to "${text.slice(0, textMax)}"`, {
    hint: "Write NAME:PORT, ADDRESS:PORT or [ADDRESS]:PORT, with /udp for UDP",
  });
}

/** Undefined for what is no container and not said to be one. */
function partyOf(core: Core, text: string): Party | undefined {
  if (text === "host") return { kind: "host" };
  if (text === "localhost") return { kind: "address", address: "127.0.0.1" };
  if (isIP(text) !== 0) return { kind: "address", address: text };
  try {
    return partyOfContainer(core, core.records.resolve(text));
  } catch (error) {
    if (isFailure(error, "not_found")) return undefined;
    throw error;
  }
}

/** Who has the network that the container is on: itself, another one, or the host. */
function partyOfContainer(core: Core, container: Container): Party {
  const mode = networkModeOf(container.hostConfig);
  if (mode === "host") return { kind: "host" };
  const { id, name } = donorOf(core, mode) ?? container;
  return { kind: "container", id, name };
}
