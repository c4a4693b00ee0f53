/** The registry's page in a real browser: Debian's chromium. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { type Browser, chromium, type Page } from "playwright-core";
import { lading } from "./engine.ts";

const executablePath = "/usr/bin/chromium";
const whyNot = existsSync(executablePath) ? undefined : "needs Debian's chromium";
/** Where to put screenshots for people; usually none are taken. */
const shots = process.env["LADING_TEST_SHOTS"];

const digestOf = (text: string) => `sha256:${createHash("sha256").update(text).digest("hex")}`;
const types = {
  index: "application/vnd.oci.image.index.v1+json",
  manifest: "application/vnd.oci.image.manifest.v1+json",
  config: "application/vnd.oci.image.config.v1+json",
  layer: "application/vnd.oci.image.layer.v1.tar",
};

/** Pushes as a client does. */
class Pusher {
  readonly #address: string;
  readonly #headers: Record<string, string>;

  constructor(address: string, user: string) {
    this.#address = address;
    this.#headers = { Authorization: `Basic ${btoa(`${user}:${user}`)}` };
  }

  async blob(name: string, mediaType: string, body: string) {
    const digest = digestOf(body);
    const url = `${this.#address}/v2/${name}/blobs/uploads/?digest=${digest}`;
    const answer = await fetch(url, { method: "POST", body, headers: this.#headers });
    expect(answer.status).toBe(201);
    return { mediaType, digest, size: Buffer.byteLength(body) };
  }

  async manifest(name: string, reference: string, value: { mediaType: string }) {
    const body = JSON.stringify({ schemaVersion: 2, ...value });
    const url = `${this.#address}/v2/${name}/manifests/${reference || digestOf(body)}`;
    const headers = { ...this.#headers, "Content-Type": value.mediaType };
    const answer = await fetch(url, { method: "PUT", body, headers });
    expect(answer.status).toBe(201);
    return { mediaType: value.mediaType, digest: digestOf(body), size: body.length };
  }

  async image(name: string, reference: string, architecture: string) {
    const layers = await Promise.all(
      [3_400_000, 12_000, 910_000].map((bytes) =>
        this.blob(name, types.layer, `${architecture}${"x".repeat(bytes)}`),
      ),
    );
    const history = ["ADD rootfs.tar.gz /", "COPY package.json /app/", "RUN npm ci --omit=dev"];
    const config = {
      ...{ architecture, os: "linux", created: "2026-11-20T08:00:00Z" },
      config: {
        Entrypoint: ["node"],
        Cmd: ["server.js"],
        ExposedPorts: { "8080/tcp": {} },
        Labels: { "org.opencontainers.image.title": "<b>The app</b>" },
      },
      rootfs: { type: "layers", diff_ids: layers.map(({ digest }) => digest) },
      history: history.map((created_by) => ({ created_by })),
    };
    return await this.manifest(name, reference, {
      mediaType: types.manifest,
      config: await this.blob(name, types.config, JSON.stringify(config)),
      layers,
    } as { mediaType: string });
  }
}

describe.skipIf(whyNot !== undefined)(
  `the registry's page${whyNot ? ` (skipped: ${whyNot})` : ""}`,
  () => {
    const root = mkdtempSync("/tmp/lading-registry-page-");
    let registry: Bun.Subprocess<"ignore", "pipe", "inherit">;
    let browser: Browser;
    let address = "";

    beforeAll(async () => {
      const hash = (text: string) => Bun.password.hashSync(text, { algorithm: "bcrypt", cost: 4 });
      const config = {
        users: { anna: hash("anna"), ben: hash("ben") },
        rules: [
          { repositories: ["public/**"], who: ["anonymous"], actions: ["pull"] },
          { repositories: ["**"], who: ["users"], actions: ["pull"] },
          { repositories: ["**"], who: ["anna"], actions: ["push", "delete"] },
        ],
      };
      writeFileSync(`${root}/config.json`, JSON.stringify(config));
      const words = [
        "--addr=127.0.0.1:0",
        `--data-root=${root}/data`,
        `--config=${root}/config.json`,
      ];
      registry = Bun.spawn([lading, "registry", "serve", ...words], {
        stdout: "pipe",
        stdin: "ignore",
      });
      for await (const part of registry.stdout) {
        address = /http:\/\/\S+/.exec(Buffer.from(part).toString())?.[0] ?? "";
        if (address) break;
      }
      const pusher = new Pusher(address, "anna");
      await pusher.image("public/tool", "latest", "amd64");
      const manifests = [];
      for (const architecture of ["amd64", "arm64"]) {
        const image = await pusher.image("team/app", "", architecture);
        manifests.push({ ...image, platform: { architecture, os: "linux" } });
      }
      const index = { mediaType: types.index, manifests };
      const subject = await pusher.manifest("team/app", "v1.4.2", index);
      await pusher.manifest("team/app", "latest", index);
      const empty = await pusher.blob("team/app", "application/vnd.oci.empty.v1+json", "{}");
      const signature = {
        mediaType: types.manifest,
        artifactType: "application/vnd.example.signature",
        config: empty,
        layers: [empty],
        subject,
      };
      await pusher.manifest("team/app", "", signature);
      browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-gpu"] });
    });
    afterAll(async () => {
      await browser?.close();
      registry?.kill();
      await registry?.exited;
      rmSync(root, { recursive: true, force: true });
    });

    /** A page of a reader's own; it fails the test when it asks anybody but the registry. */
    async function open(
      reader: { user?: string; width?: number; isDark?: boolean },
      task: (page: Page) => Promise<void>,
    ) {
      const { user, width = 1200, isDark = false } = reader;
      const context = await browser.newContext({
        viewport: { width, height: 850 },
        colorScheme: isDark ? "dark" : "light",
        ...(user ? { httpCredentials: { username: user, password: user } } : {}),
      });
      const page = await context.newPage();
      page.setDefaultTimeout(10_000);
      const problems: string[] = [];
      page.on("console", (message) => void problems.push(message.text()));
      page.on("pageerror", (error) => void problems.push(error.message));
      page.on("request", (request) => {
        const url = request.url();
        if (!url.startsWith(`${address}/`) && !url.startsWith("data:"))
          problems.push(`asked ${url}`);
      });
      await page.goto(user ? `${address}/?login=1` : address);
      await task(page);
      expect(problems).toEqual([]);
      await context.close();
    }

    async function shoot(page: Page, name: string): Promise<void> {
      if (shots) await page.screenshot({ path: `${shots}/${name}.png`, fullPage: true });
    }

    test("a reader goes from repositories to tags, platforms, layers and what is attached", async () => {
      await open({ user: "ben" }, async (page) => {
        expect(await page.locator("tbody tr").allInnerTexts()).toEqual([
          expect.stringMatching(/public\/tool\s+1\s+4.32 MB/),
          expect.stringMatching(/team\/app\s+2\s+8.65 MB/),
        ]);
        await shoot(page, "repositories");
        await page.getByRole("link", { name: "team/app" }).click();
        expect(await page.locator("tbody tr").count()).toBe(2);
        await shoot(page, "tags");
        await page.getByRole("link", { name: "v1.4.2" }).click();
        const text = await page.locator("main").innerText();
        expect(text).toContain(`docker pull ${address.slice("http://".length)}/team/app:v1.4.2`);
        expect(text).toContain("application/vnd.example.signature");
        expect(text).toContain("anna");
        expect(await page.locator("form").count()).toBe(0); // Ben may not delete
        await shoot(page, "index");
        await page.getByRole("link", { name: "linux/arm64" }).click();
        const image = await page.locator("main").innerText();
        for (const part of [
          "RUN npm ci --omit=dev",
          "3.40 MB",
          "node",
          "8080/tcp",
          "<b>The app</b>",
        ]) {
          expect(image).toContain(part);
        }
        await shoot(page, "image");
        await page.getByRole("link", { name: "team/app" }).click();
        expect(await page.locator("h1").innerText()).toBe("team/app");
      });
    });

    test("it fits a phone, light and dark", async () => {
      await open({ user: "ben", width: 360, isDark: true }, async (page) => {
        const fits = () =>
          page.evaluate("document.documentElement.scrollWidth <= window.innerWidth");
        for (const name of ["team/app", "v1.4.2", "linux/amd64"]) {
          expect(await fits()).toBe(true);
          await page.getByRole("link", { name }).first().click();
          await shoot(page, `phone-${name.replace("/", "-")}`);
        }
        expect(await fits()).toBe(true);
        const back = await page.evaluate("getComputedStyle(document.body).backgroundColor");
        expect(back).toBe("rgb(17, 21, 26)");
      });
    });

    test("who is not logged in sees what is public; who may delete does so and is told", async () => {
      await open({}, async (page) => {
        expect(await page.locator("tbody tr").count()).toBe(1);
        expect(await page.getByRole("link", { name: "Log in" }).count()).toBe(1);
      });
      await open({ user: "anna" }, async (page) => {
        await page.getByRole("link", { name: "team/app" }).click();
        await page.getByRole("link", { name: "latest" }).click();
        expect(await page.getByRole("button").isVisible()).toBe(false);
        await page.getByText("Delete…").click();
        await shoot(page, "delete");
        await page.getByRole("button", { name: "Delete tag latest" }).click();
        expect(await page.locator("h1").innerText()).toBe("team/app");
        expect(await page.locator("tbody tr").count()).toBe(1);
        await page.goto(`${address}/?repository=team/app&reference=v1.4.2`);
        expect(await page.locator("h1").innerText()).toBe("v1.4.2");
      });
    });
  },
);
