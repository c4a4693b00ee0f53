/**
 * The three Dockerfiles that newcomers learn from: nginx on Debian with apt-get, a Python app with
 * requirements, a Go program in two stages. Built with every client, twice, and run.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { TestEngine, whyNot as whyNoEngine, whyNotBuildx } from "./engine.ts";
import { debianTar, goTar, pythonTar, whyNoBases } from "./newcomers-bases.ts";

const whyNot = whyNoEngine ?? whyNoBases;

describe.skipIf(whyNot !== undefined)(
  `Dockerfiles of newcomers${whyNot ? ` (skipped: ${whyNot})` : ""}`,
  () => {
    let engine: TestEngine;

    beforeAll(async () => {
      engine = await TestEngine.openUnrecorded("newcomers");
      const folder = join(engine.folder, "bases");
      const bases = { "debian:12": debianTar, "python:3": pythonTar, "golang:1.24": goTar };
      for (const [name, tarOf] of Object.entries(bases)) {
        await engine.ok(
          ["import", "-c", "ENV PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "-", name],
          {
            input: tarOf(folder),
          },
        );
      }
    }, 60_000);
    afterAll(async () => {
      expect(await engine.close()).toEqual([]);
    });

    const cases: [
      name: string,
      files: Record<string, string>,
      run: (image: string) => Promise<void>,
    ][] = [
      [
        "nginx",
        {
          Dockerfile: `FROM debian:12
RUN apt-get update && apt-get install -y --no-install-recommends nginx \\
    && rm -rf /var/lib/apt/lists/* /var/log/apt /var/log/dpkg.log /var/cache/apt /var/cache/ldconfig
COPY index.html /usr/share/nginx/html/
EXPOSE 80
CMD ["nginx", "-g", "daemon off;"]`,
          "index.html": "<h1>hello</h1>\n",
        },
        async (image) => {
          const id = await engine.ok(["run", "-d", "-P", image]);
          const port = (await engine.ok(["port", id, "80"])).split("\n")[0]!.split(":").at(-1);
          let page = "";
          for (let count = 0; count < 100 && page === ""; count++) {
            page = await fetch(`http://127.0.0.1:${port}/`).then(
              (answer) => answer.text(),
              () => "",
            );
            if (page === "") await Bun.sleep(50);
          }
          expect(page).toBe("<h1>hello</h1>\n");
          await engine.ok(["rm", "-f", id]);
        },
      ],
      [
        "python",
        {
          Dockerfile: `FROM python:3
WORKDIR /app
COPY requirements.txt .
RUN pip install --no-cache-dir -r requirements.txt
COPY . .
CMD ["python", "app.py"]`,
          "requirements.txt": "greeting==1.2\n",
          "app.py": 'from greeting import greet\nprint(greet("newcomer"))\n',
        },
        async (image) => expect(await engine.ok(["run", "--rm", image])).toBe("hello newcomer"),
      ],
      [
        "go",
        {
          Dockerfile: `FROM golang:1.24 AS build
WORKDIR /src
COPY go.mod main.go ./
RUN CGO_ENABLED=0 go build -o /app .
FROM scratch
COPY --from=build /app /app
ENTRYPOINT ["/app"]`,
          "go.mod": "module example.org/app\n\ngo 1.24\n",
          "main.go":
            'package main\n\nimport "fmt"\n\nfunc main() { fmt.Println("hello from two stages") }\n',
        },
        async (image) =>
          expect(await engine.ok(["run", "--rm", image])).toBe("hello from two stages"),
      ],
    ];

    const clients = ["docker", "lading", ...(whyNotBuildx ? [] : ["buildx" as const])] as const;
    for (const [name, files, run] of cases) {
      test(`${name} builds and runs through every client, twice, to the same digest`, async () => {
        const contexts = [`${name}-one`, `${name}-two`].map((folder) => {
          const path = join(engine.folder, folder);
          mkdirSync(path);
          for (const [file, text] of Object.entries(files)) writeFileSync(join(path, file), text);
          return path;
        });
        const ids = new Set<string>();
        for (const [at, context] of contexts.entries()) {
          for (const client of clients) {
            const fresh = at === 1 ? ["--no-cache"] : [];
            const built = await engine[client](["build", ...fresh, "-t", name, context]);
            if (built.code !== 0) throw new Error(`${built.stdout}${built.stderr}`);
            ids.add(await engine.ok(["inspect", "-f", "{{.Id}}", name]));
          }
        }
        expect([...ids]).toHaveLength(1);
        await run(name);
      }, 60_000);
    }
  },
);
