/** RUN on real stores, a row for each flag and form, as in language.root.test.ts. */
import { describe, test } from "bun:test";
import { check, rows, useLanguage } from "./language-laboratory.ts";

useLanguage();

describe("RUN", () => {
  test.each(
    rows({
      "runs a shell": { text: "FROM busybox\nRUN echo $((1 + 1)) | cat", prints: "2" },
      "runs a list without a shell": {
        text: 'FROM busybox\nRUN ["echo", "$HOME"]',
        prints: "$HOME",
      },
      "goes on over lines and comments": {
        text: "FROM busybox\nRUN echo a \\\n# comment\n  b \\\n\n  c",
        prints: "a b c",
        warns: "NoEmptyContinuation",
      },
      "tells the exit code": { text: "FROM busybox\nRUN exit 3", fails: "non-zero code: 3" },
      "uses SHELL, more than once": {
        text: 'FROM busybox\nSHELL ["/bin/echo", "one"]\nRUN a\nSHELL ["/bin/sh", "-ec"]\nRUN echo two',
        prints: "one a\ntwo",
        config: { Shell: ["/bin/sh", "-ec"] },
      },
      "has no network with none": {
        text: "FROM busybox\nRUN --network=none ls /sys/class/net",
        prints: "lo",
      },
      "has the host's network when that is allowed": {
        text: "FROM busybox\nRUN --network=host ls /sys/class/net | grep -c ladlang0",
        allow: ["network.host"],
        prints: "1",
      },
      "refuses the host's network else": {
        text: "FROM busybox\nRUN --network=host true",
        fails: "network.host is not allowed",
      },
      "has all capabilities with --security=insecure when that is allowed": {
        text: "FROM busybox\nRUN --security=insecure mkdir /mnt && mount -t tmpfs x /mnt && echo mounted",
        allow: ["security.insecure"],
        prints: "mounted",
      },
      "is sandboxed else": {
        text: "FROM busybox\nRUN --security=sandbox mount -t tmpfs x /tmp 2>/dev/null || echo refused",
        prints: "refused",
      },
      "gets a device when that is allowed": {
        text: "FROM busybox\nRUN --device=/dev/zero,required ls /dev | grep -c zero",
        allow: ["device"],
        prints: "1",
      },
      "goes without a device that is not required": {
        text: "FROM busybox\nRUN --device=example.org/none=x echo without",
        allow: ["device"],
        prints: "without",
      },
      "fails without one that is": {
        text: "FROM busybox\nRUN --device=example.org/none=x,required true",
        allow: ["device"],
        fails: "device example.org/none=x is requested by the build but not available",
      },
      "has the host name that is asked for": {
        text: "FROM busybox\nRUN hostname",
        buildArgs: { BUILDKIT_SANDBOX_HOSTNAME: "here" },
        prints: "here",
        warns: "",
      },
    }),
  )("%s", async (_, row) => await check(row));
});

describe("RUN --mount", () => {
  test.each(
    rows({
      "binds the context, read-only": {
        text: "FROM busybox\nRUN --mount=target=/m { cat /m/f; echo x > /m/f || echo ro; ls /m; } 2>&1",
        files: { f: "file\n", ".dockerignore": "Dockerfile" },
        prints: "file\n/bin/sh: can't create /m/f: Read-only file system\nro\nf",
      },
      "binds a part of a stage, and throws away what is written": {
        text: "FROM busybox AS s\nRUN mkdir /d; echo s > /d/f\nFROM busybox\nRUN --mount=type=bind,from=s,source=d,dst=/m,rw echo new > /m/f; cat /m/f\nRUN --mount=from=s,src=/d,target=/m cat /m/f",
        prints: "new\ns",
      },
      "binds an image": {
        text: "FROM scratch\nCOPY --from=busybox /bin /bin\nRUN --mount=from=busybox,target=/m ls /m/etc/passwd",
        prints: "/m/etc/passwd",
      },
      "keeps a cache from step to step": {
        text: "FROM busybox\nRUN --mount=type=cache,target=/c,id=kept echo kept > /c/f\nRUN --mount=type=cache,target=/d,id=kept,readonly { cat /d/f; echo x > /d/f || true; } 2>&1",
        prints: "kept\n/bin/sh: can't create /d/f: Read-only file system",
      },
      "makes a cache with owner and mode, from a stage, locked": {
        text: "FROM busybox AS s\nRUN mkdir /d; echo s > /d/f\nFROM busybox\nRUN --mount=type=cache,target=/c,id=made,mode=0700,uid=7,gid=8,sharing=locked stat -c '%a %u:%g' /c\nRUN --mount=type=cache,target=/c,id=filled,from=s,source=/d,sharing=private cat /c/f",
        prints: "700 7:8\ns",
      },
      "keeps caches of other name spaces apart": {
        text: "FROM busybox\nRUN --mount=type=cache,target=/c,id=kept ls /c",
        buildArgs: { BUILDKIT_CACHE_MOUNT_NS: "other" },
        prints: "",
      },
      "mounts a tmpfs of a size": {
        text: "FROM busybox\nRUN --mount=type=tmpfs,target=/t,size=4m df -m /t | tail -1 | awk '{print $2}'; touch /t/x\nRUN ls / | grep -cx t || true",
        prints: "4\n0",
      },
      "shows a secret as a file, with owner and mode": {
        text: "FROM busybox\nRUN --mount=type=secret,id=s cat /run/secrets/s; stat -c '%a %u' /run/secrets/s\nRUN --mount=type=secret,id=s,target=/x,mode=0444,uid=9,gid=9 cat /x; stat -c '%a %u:%g' /x",
        secrets: new Map([["s", Buffer.from("hidden\n")]]),
        prints: "hidden\n400 0\nhidden\n444 9:9",
      },
      "shows a secret as a variable, alone or beside the file": {
        text: "FROM busybox\nRUN --mount=type=secret,id=s,env=V echo $V; ls /run/secrets 2>/dev/null || true\nRUN --mount=type=secret,id=s,env=V,target=/x echo $V $(cat /x)",
        secrets: new Map([["s", Buffer.from("v")]]),
        prints: "v\nv v",
      },
      "goes without a secret, unless it is required": {
        text: "FROM busybox\nRUN --mount=type=secret,id=s echo without\nRUN --mount=type=secret,id=s,required=true true",
        fails: "secret s: not found",
      },
      "gives an SSH agent's socket, with owner and mode": {
        text: "FROM busybox\nRUN --mount=type=ssh stat -c '%F %a' $SSH_AUTH_SOCK; echo $SSH_AUTH_SOCK\nRUN --mount=type=ssh,id=default,target=/s,mode=0666,uid=5,gid=6 stat -c '%a %u:%g' /s",
        agents: new Map([["default", { ask: async () => new Uint8Array([5]) }]]),
        prints: "socket 600\n/run/buildkit/ssh_agent.0\n666 5:6",
      },
      "goes without an agent, unless it is required": {
        text: "FROM busybox\nRUN --mount=type=ssh echo without $SSH_AUTH_SOCK\nRUN --mount=type=ssh,required true",
        fails: "ssh agent default: not found",
      },
      "leaves nothing of mounts in the image": {
        text: "FROM busybox\nRUN --mount=type=cache,target=/a/b --mount=type=tmpfs,target=/c --mount=target=/d true\nRUN ls -d /a /c /d 2>&1 | wc -l",
        prints: "3",
      },
      "tells of types that are none": {
        text: "FROM busybox\nRUN --mount=type=cach,target=/x true",
        fails: 'unsupported mount type "cach"\n --> Dockerfile:2:18',
      },
    }),
  )("%s", async (_, row) => await check(row));
});

describe("here-documents of RUN", () => {
  test.each(
    rows({
      "are a script for the shell": {
        text: "FROM busybox\nRUN <<EOF\na=1\necho $a\nEOF",
        prints: "1",
      },
      "go to a program": {
        text: "FROM busybox\nRUN <<EOF cat\ntext $HOME\nEOF",
        prints: "text /root",
      },
      "are quoted": { text: "FROM busybox\nRUN cat <<'EOF'\n$HOME\nEOF", prints: "$HOME" },
      "lose their tabs": { text: "FROM busybox\nRUN <<-EOF\n\techo a\n\tEOF", prints: "a" },
      "run by their first line": {
        text: "FROM busybox\nRUN <<EOF\n#!/bin/cat\nself\nEOF",
        prints: "#!/bin/cat\nself",
      },
      "may be several": {
        text: "FROM busybox\nRUN cat <<A && cat <<B\na\nA\nb\nB",
        prints: "a\nb",
      },
      "need an end": { text: "FROM busybox\nRUN <<EOF\necho", fails: "unterminated heredoc" },
    }),
  )("%s", async (_, row) => await check(row));
});
