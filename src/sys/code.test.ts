import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { codeMappings, dropCode } from "./code.ts";

test("codeMappings() finds the code of files, and neither data nor what was made at run time", () => {
  const maps = `00200000-01a39000 r--p 00000000 fe:00 1234                   /opt/bun
01a39000-06843000 r-xp 01839000 fe:00 1234                   /opt/bun
06843000-06863000 rw-p 06643000 fe:00 1234                   /opt/bun
7f575edec000-7f579eded000 rwxp 00000000 00:00 0
7f579f132000-7f579f133000 r-xp 00000000 00:00 0
7f579f158000-7f579f2ae000 r-xp 00026000 fe:00 99             /usr/lib/lib c.so (deleted)
7ffe5a3c0000-7ffe5a3c2000 r-xp 00000000 00:00 0              [vdso]
`;
  expect(codeMappings(maps)).toEqual([
    { address: 0x01a39000n, sizeBytes: 0x4e0a000n },
    { address: 0x7f579f158000n, sizeBytes: 0x156000n },
  ]);
});

test("dropCode() takes code out of memory, and what runs goes on", () => {
  const before = residentKilobytes();
  dropCode();
  const after = residentKilobytes();
  expect(before).toBeGreaterThan(10_000);
  expect(after).toBeLessThan(before / 2);
  expect(JSON.parse(JSON.stringify({ a: [1, 2] }))).toEqual({ a: [1, 2] });
});

/** How much code of files is in this process's memory. */
function residentKilobytes(): number {
  const parts = readFileSync("/proc/self/smaps", "latin1").split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m);
  const code = parts.filter((part) => codeMappings(part.slice(0, part.indexOf("\n"))).length > 0);
  return code.reduce((sum, part) => sum + Number(/^Rss: +(\d+)/m.exec(part)?.[1]), 0);
}
