/**
 * Base images for the Dockerfiles that newcomers learn from, made of what this Debian has installed, with
 * stand-ins for what would come from the network: a repository of packages, a folder of wheels, a compiler.
 */
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { busyboxTar } from "./engine.ts";

const status = "/var/lib/dpkg/status";
const info = "/var/lib/dpkg/info";

/** Why the bases cannot be made here; undefined when they can. */
export const whyNoBases: string | undefined =
  !existsSync("/etc/debian_version") || !existsSync("/usr/bin/apt-get")
    ? "needs Debian"
    : !Bun.which("dpkg-deb")
      ? "needs dpkg-deb"
      : !existsSync("/usr/bin/python3")
        ? "needs python3"
        : process.arch !== "x64"
          ? "the stand-in for a compiler writes amd64"
          : undefined;

/** Installed packages by name: their own stanza, and what they need. */
function installed(): Map<string, { stanza: string; needs: string[] }> {
  const found = new Map<string, { stanza: string; needs: string[] }>();
  for (const stanza of readFileSync(status, "utf8").split("\n\n")) {
    const field = (name: string) => new RegExp(`^${name}: (.*)$`, "m").exec(stanza)?.[1] ?? "";
    if (!field("Status").endsWith(" installed")) continue;
    const needs = `${field("Pre-Depends")},${field("Depends")}`
      .split(",")
      .map((each) => each.split("|")[0]!.trim().split(/[ :(]/)[0]!)
      .filter((name) => name !== "");
    found.set(field("Package"), { stanza, needs });
  }
  return found;
}

const left = /^\/usr\/share\/(?:doc|man|locale|info|lintian|bash-completion|zoneinfo|bug)\//;

/** A tar of these packages and all that they need, with dpkg's own database of them. */
function packagesTar(names: readonly string[], more: string): Uint8Array {
  const all = installed();
  const chosen = new Set<string>();
  const visit = (name: string) => {
    const found = all.get(name);
    if (!found || chosen.has(name)) return;
    chosen.add(name);
    for (const each of found.needs) visit(each);
  };
  for (const name of names) visit(name);
  const files = new Set<string>();
  const database = join(more, "var/lib/dpkg");
  mkdirSync(join(database, "info"), { recursive: true });
  const lists = new Set(readdirSync(info));
  for (const name of chosen) {
    const list = [`${name}.list`, `${name}:amd64.list`].find((each) => lists.has(each));
    if (!list) continue;
    const text = readFileSync(join(info, list), "utf8");
    writeFileSync(join(database, "info", list), text);
    for (const path of text.split("\n")) if (path !== "/." && !left.test(path)) files.add(path);
  }
  const stanzas = [...chosen].map((name) => all.get(name)!.stanza);
  writeFileSync(join(database, "status"), `${stanzas.join("\n\n")}\n`);
  writeFileSync(join(database, "available"), "");
  const present = [...files].filter((path) => path !== "" && existsSync(path)).sort();
  // What is merged into /usr stands there once.
  const merged = ["--transform", "s,^\\./\\(bin\\|sbin\\|lib\\|lib64\\)/,./usr/\\1/,S"];
  const tar = spawnSync(
    "tar",
    ["-C", "/", "--no-recursion", "--numeric-owner", ...merged, "-T", "-", "-cf", "-"],
    { input: [...present.map((path) => `.${path}`), ""].join("\n"), maxBuffer: 1 << 30 },
  );
  const own = spawnSync("tar", ["-C", more, "--owner=0", "--group=0", "-cf", "-", "."], {
    maxBuffer: 1 << 28,
  });
  // The second archive goes on where the first one ends.
  return Buffer.concat([tar.stdout.subarray(0, endOf(tar.stdout)), own.stdout]);
}

/** Where the zeros begin that end an archive. */
function endOf(tar: Buffer): number {
  let end = tar.length;
  while (end >= 512 && tar.subarray(end - 512, end).every((byte) => byte === 0)) end -= 512;
  return end;
}

function put(folder: string, path: string, text: string | Uint8Array, mode = 0o644): void {
  mkdirSync(dirname(join(folder, path)), { recursive: true });
  writeFileSync(join(folder, path), text);
  chmodSync(join(folder, path), mode);
}

function tree(folder: string): string {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  chmodSync(folder, 0o755);
  for (const name of ["bin", "sbin", "lib", "lib64"]) {
    mkdirSync(join(folder, "usr", name), { recursive: true });
    if (statSync(`/${name}`, { throwIfNoEntry: false }))
      symlinkSync(`usr/${name}`, join(folder, name));
  }
  mkdirSync(join(folder, "tmp"));
  chmodSync(join(folder, "tmp"), 0o1777);
  put(
    folder,
    "etc/passwd",
    "root:x:0:0:root:/root:/bin/bash\n_apt:x:42:65534::/nonexistent:/bin/false\nwww-data:x:33:33::/var/www:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n",
  );
  put(folder, "etc/group", "root:x:0:\nshadow:x:42:\nwww-data:x:33:\nnogroup:x:65534:\n");
  return folder;
}

/** Debian with apt-get, and a repository in /repository that has a small web server by nginx's name. */
export function debianTar(folder: string): Uint8Array {
  const base = tree(join(folder, "debian"));
  const deb = join(folder, "nginx-deb");
  put(
    deb,
    "DEBIAN/control",
    "Package: nginx\nVersion: 1.22.1-1\nArchitecture: all\nMaintainer: Nobody <nobody@example.org>\nDescription: serves files\n",
  );
  put(
    deb,
    "usr/sbin/nginx",
    '#!/bin/sh\n[ "$1" = -g ] && echo serving && exec /usr/lib/nginx/httpd httpd -f -p 80 -h /usr/share/nginx/html\necho "nginx version: nginx/1.22.1"\n',
    0o755,
  );
  put(deb, "usr/lib/nginx/httpd", readFileSync(Bun.which("busybox")!), 0o755);
  put(deb, "usr/share/nginx/html/index.html", "Welcome\n");
  mkdirSync(join(base, "repository"));
  const file = join(base, "repository/nginx.deb");
  const env = { ...process.env, SOURCE_DATE_EPOCH: "1700000000" };
  spawnSync("dpkg-deb", ["--root-owner-group", "-Znone", "-b", deb, file], { env });
  const bytes = readFileSync(file);
  const sum = new Bun.CryptoHasher("sha256").update(bytes).digest("hex");
  const control = readFileSync(join(deb, "DEBIAN/control"), "utf8");
  put(
    base,
    "repository/Packages",
    `${control}Filename: ./nginx.deb\nSize: ${bytes.length}\nSHA256: ${sum}\n`,
  );
  put(base, "etc/apt/sources.list", "deb [trusted=yes] file:/repository ./\n");
  put(base, "etc/apt/apt.conf.d/sandbox", 'APT::Sandbox::User "root";\n');
  mkdirSync(join(base, "var/lib/apt/lists/partial"), { recursive: true });
  mkdirSync(join(base, "var/cache/apt/archives/partial"), { recursive: true });
  const names = [
    "mawk",
    "apt",
    "bash",
    "coreutils",
    "dpkg",
    "grep",
    "sed",
    "tar",
    "gzip",
    "findutils",
    "libc-bin",
    "diffutils",
    "perl-base",
    "debianutils",
    "dash",
    "hostname",
    "base-files",
  ];
  return packagesTar(names, base);
}

/** Python, with a `pip` that installs from the wheels in /wheels. */
export function pythonTar(folder: string): Uint8Array {
  const base = tree(join(folder, "python"));
  const module = 'def greet(name):\n    return f"hello {name}"\n';
  const wheel = join(folder, "wheel");
  put(wheel, "greeting.py", module);
  put(
    wheel,
    "greeting-1.2.dist-info/METADATA",
    "Metadata-Version: 2.1\nName: greeting\nVersion: 1.2\n",
  );
  put(wheel, "greeting-1.2.dist-info/RECORD", "greeting.py,,\n");
  mkdirSync(join(base, "wheels"));
  const zip =
    "import sys, zipfile, os\nz = zipfile.ZipFile(sys.argv[1], 'w')\nfor d, _, fs in sorted(os.walk(sys.argv[2])):\n    for f in sorted(fs):\n        p = os.path.join(d, f)\n        i = zipfile.ZipInfo(os.path.relpath(p, sys.argv[2]))\n        z.writestr(i, open(p, 'rb').read())\nz.close()\n";
  spawnSync("/usr/bin/python3", [
    "-c",
    zip,
    join(base, "wheels/greeting-1.2-py3-none-any.whl"),
    wheel,
  ]);
  const pip = `#!/usr/bin/python3
import compileall, glob, re, sys, zipfile
names = []
args = [a for a in sys.argv[2:] if a != "--no-cache-dir"]
if args[0] == "-r":
    names = [l.strip() for l in open(args[1]) if l.strip() and not l.startswith("#")]
site = "/usr/lib/python3/dist-packages"
for name in names or args:
    project, version = re.match(r"([\\w.-]+)(?:==(.*))?$", name).groups()
    found = glob.glob(f"/wheels/{project}-{version or '*'}-*.whl")
    if not found: sys.exit(f"ERROR: No matching distribution found for {name}")
    z = zipfile.ZipFile(found[0])
    z.extractall(site)
    for f in z.namelist():
        if f.endswith(".py"): compileall.compile_file(f"{site}/{f}", quiet=1)
    print(f"Successfully installed {name}")
`;
  put(base, "usr/local/bin/pip", pip, 0o755);
  put(base, "usr/local/bin/python", '#!/bin/sh\nexec /usr/bin/python3 "$@"\n', 0o755);
  mkdirSync(join(base, "usr/lib/python3/dist-packages"), { recursive: true });
  return packagesTar(
    ["python3-minimal", "libpython3-stdlib", "dash", "coreutils", "libc-bin", "base-files"],
    base,
  );
}

/** busybox with a `go` that makes a program which prints the one text of main.go. */
export function goTar(folder: string): Uint8Array {
  const base = join(folder, "go");
  // mov eax,1; mov edi,eax; lea rsi,[rip+15]; mov edx,N; syscall; mov eax,60; xor edi,edi; syscall
  const go = `#!/bin/sh
[ "$1" = build ] || { echo "go version go1.24 linux/amd64"; exit; }
while [ $# -gt 0 ]; do [ "$1" = -o ] && out=$2; shift; done
text=$(sed -n 's/.*Println("\\(.*\\)").*/\\1/p' main.go)
size=$(( \${#text} + 1 ))
le() { printf "\\\\$(printf %03o $(( $1 & 255 )))\\\\$(printf %03o $(( $1 >> 8 & 255 )))"; }
{ printf '\\177ELF\\002\\001\\001\\000\\000\\000\\000\\000\\000\\000\\000\\000\\002\\000\\076\\000\\001\\000\\000\\000'
  printf '\\170\\000\\100\\000\\000\\000\\000\\000\\100\\000\\000\\000\\000\\000\\000\\000\\000\\000\\000\\000\\000\\000\\000\\000\\000\\000\\000\\000\\100\\000\\070\\000\\001\\000\\000\\000\\000\\000\\000\\000'
  printf '\\001\\000\\000\\000\\005\\000\\000\\000\\000\\000\\000\\000\\000\\000\\000\\000\\000\\000\\100\\000\\000\\000\\000\\000\\000\\000\\100\\000\\000\\000\\000\\000'
  le $(( 157 + size )); printf '\\000\\000\\000\\000\\000\\000'; le $(( 157 + size )); printf '\\000\\000\\000\\000\\000\\000\\000\\020\\000\\000\\000\\000\\000\\000'
  printf '\\270\\001\\000\\000\\000\\211\\307\\110\\215\\065\\020\\000\\000\\000\\272'; le $size; printf '\\000\\000\\017\\005\\270\\074\\000\\000\\000\\061\\377\\017\\005'
  printf '%s\\n' "$text"; } > "$out"
chmod 755 "$out"
`;
  put(base, "usr/local/bin/go", go, 0o755);
  const own = spawnSync("tar", ["-C", base, "--owner=0", "--group=0", "-cf", "-", "."]);
  const busybox = Buffer.from(busyboxTar());
  return Buffer.concat([busybox.subarray(0, endOf(busybox)), own.stdout]);
}
