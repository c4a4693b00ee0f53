/** Somebody else's registry for tests: Debian's docker-registry, on this host alone. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { command, lading } from "./engine.ts";

/** Why tests with other registries cannot run here; undefined when they can. */
export const whyNoPeer: string | undefined = ["docker-registry", "skopeo", "htpasswd"]
  .filter((name) => !Bun.which(name))
  .map((name) => `needs ${name}`)
  .at(0);

export class PeerRegistry {
  readonly address: string;
  readonly port: number;
  readonly #folder: string;
  readonly #child: ReturnType<typeof Bun.spawn>;

  private constructor(port: number, folder: string, child: ReturnType<typeof Bun.spawn>) {
    this.port = port;
    this.address = `127.0.0.1:${port}`;
    this.#folder = folder;
    this.#child = child;
  }

  /** With `users` (`name: password`) it wants Basic. */
  static async open(users?: Readonly<Record<string, string>>): Promise<PeerRegistry> {
    const folder = mkdtempSync(join(tmpdir(), "lading-peer-"));
    mkdirSync(join(folder, "data"));
    const port = await freePort();
    const config: Record<string, unknown> = {
      version: 0.1,
      log: { level: "error", accesslog: { disabled: true } },
      storage: {
        filesystem: { rootdirectory: join(folder, "data") },
        delete: { enabled: true },
        maintenance: { uploadpurging: { enabled: false } },
      },
      http: { addr: `127.0.0.1:${port}` },
    };
    if (users) {
      const lines = Object.entries(users).map(([name, password]) =>
        command(["htpasswd", "-Bbn", name, password]),
      );
      const path = join(folder, "htpasswd");
      writeFileSync(path, (await Promise.all(lines)).map(({ stdout }) => stdout.trim()).join("\n"));
      config["auth"] = { htpasswd: { realm: "peer", path } };
    }
    writeFileSync(join(folder, "config.yml"), JSON.stringify(config)); // JSON is YAML
    const child = Bun.spawn(["docker-registry", "serve", join(folder, "config.yml")], {
      stdout: "ignore",
      stderr: "ignore",
    });
    const peer = new PeerRegistry(port, folder, child);
    for (let count = 0; count < 200; count++) {
      const isUp = await fetch(`http://${peer.address}/v2/`).then(
        () => true,
        () => false,
      );
      if (isUp) return peer;
      await Bun.sleep(50);
    }
    await peer.close();
    throw new Error("docker-registry did not start");
  }

  async close(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#child.exited;
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** Our own registry, as a process of its own. */
export class OwnRegistry {
  readonly folder: string = mkdtempSync(join(tmpdir(), "lading-own-"));
  address = "";
  #child: ReturnType<typeof Bun.spawn> | undefined;

  /** `config` as the manual has it; its paths are seen from `folder`, which `prepare` may fill. */
  static async open(
    config: object = {},
    prepare: (folder: string) => Promise<void> = async () => {},
  ): Promise<OwnRegistry> {
    const registry = new OwnRegistry();
    await prepare(registry.folder);
    writeFileSync(join(registry.folder, "config.json"), JSON.stringify(config));
    await registry.start();
    return registry;
  }

  /** At the address that it had, if it ran before. */
  async start(): Promise<void> {
    const address = this.address || "127.0.0.1:0";
    const [root, config] = [join(this.folder, "data"), join(this.folder, "config.json")];
    const argv = [
      ...["registry", "serve", "--addr", address],
      ...["--data-root", root, "--config", config],
    ];
    const child = Bun.spawn([lading, ...argv], { stdout: "pipe", stderr: "ignore" });
    this.#child = child;
    for await (const chunk of child.stdout) {
      this.address = /https?:\/\/(\S+)/.exec(Buffer.from(chunk).toString())?.[1] ?? "";
      if (this.address) return;
    }
    throw new Error("lading registry serve did not start");
  }

  async kill(): Promise<void> {
    this.#child?.kill("SIGKILL");
    await this.#child?.exited;
  }

  async close(): Promise<void> {
    await this.kill();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** A wire to a port that breaks, counts and slows on request. */
export class FaultProxy {
  readonly address: string;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  /** Bytes that came from the registry. */
  receivedBytes = 0;
  /** Bytes that went to it. */
  sentBytes = 0;
  /** Each connection is cut after so many bytes in either direction; undefined never. */
  cutAfterBytes: number | undefined;
  /** Cut as when the other side ends: what has passed arrives. Otherwise what is on its way is lost. */
  cutsGently = false;
  /** How many connections are still to be cut. */
  cuts = Number.POSITIVE_INFINITY;
  /** All connections are cut, once, when so many bytes have passed in both directions. */
  breakAtBytes: number | undefined;
  /** Bytes a second towards us; undefined unbounded. */
  bytesPerSecond: number | undefined;

  private constructor(server: Server, port: number) {
    this.#server = server;
    this.address = `127.0.0.1:${port}`;
  }

  static async open(target: number): Promise<FaultProxy> {
    const server = createServer({ allowHalfOpen: true });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const proxy = new FaultProxy(server, (server.address() as { port: number }).port);
    server.on("connection", (socket) => proxy.#join(socket, target));
    return proxy;
  }

  #join(near: Socket, target: number): void {
    const far = connect(target, "127.0.0.1");
    let count = 0;
    let isCut = false;
    const both = [near, far];
    for (const socket of both) {
      this.#sockets.add(socket);
      socket.on("close", () => {
        this.#sockets.delete(socket);
        for (const other of both) other.destroy();
      });
      socket.on("error", () => socket.destroy());
    }
    const pass = (from: Socket, to: Socket, told: (bytes: number) => void) => {
      from.on("data", (bytes) => {
        if (isCut) return;
        count += bytes.length;
        told(bytes.length);
        if (this.receivedBytes + this.sentBytes > (this.breakAtBytes ?? Number.POSITIVE_INFINITY)) {
          this.breakAtBytes = undefined;
          for (const socket of this.#sockets) socket.resetAndDestroy();
          return;
        }
        if (this.cutAfterBytes !== undefined && count > this.cutAfterBytes && this.cuts > 0) {
          this.cuts--;
          if (!this.cutsGently) near.resetAndDestroy();
          else {
            isCut = true;
            near.end(from === far ? bytes : "");
          }
          return;
        }
        if (!to.write(bytes)) {
          from.pause();
          to.once("drain", () => from.resume());
        }
        if (this.bytesPerSecond !== undefined && from === far) {
          from.pause();
          setTimeout(() => from.resume(), (bytes.length / this.bytesPerSecond) * 1000);
        }
      });
      from.on("end", () => to.end());
    };
    pass(near, far, (bytes) => {
      this.sentBytes += bytes;
    });
    pass(far, near, (bytes) => {
      this.receivedBytes += bytes;
    });
  }

  /** Counts from 0 again, and breaks as said. */
  reset(breakAtBytes?: number): void {
    this.receivedBytes = 0;
    this.sentBytes = 0;
    this.breakAtBytes = breakAtBytes;
  }

  close(): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }
}
