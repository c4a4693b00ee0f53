import { expect, test } from "bun:test";
import { hears, readListeners } from "./listeners.ts";

const tcp = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid
   0: 0100007F:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0
   1: 0200A8C0:0050 0300A8C0:1F90 01 00000000:00000000 00:00000000 00000000     0
   2: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0
`;
const tcp6 = `   0: 00000000000000000000000001000000:0050 00000000000000000000000000000000:0000 0A 0 0
   1: 000000FD000000000000000002000000:0051 00000000000000000000000000000000:0000 0A 0 0
   2: 0000000000000000FFFF00000100007F:0052 00000000000000000000000000000000:0000 0A 0 0
`;

test.each([
  [tcp, 80, ["127.0.0.1"]],
  [tcp, 8080, ["0.0.0.0"]],
  [tcp, 81, []],
  [tcp6, 80, ["::1"]],
  [tcp6, 81, ["fd00::2"]],
  [tcp6, 82, ["::ffff:7f00:1"]],
  ["nonsense", 80, []],
])("readListeners() finds who listens: %#", (text, port, expected) => {
  expect(readListeners(text, { port, protocol: "tcp" })).toEqual(expected);
});

test.each([
  [["127.0.0.1"], "10.0.0.2", false],
  [["10.0.0.2"], "10.0.0.2", true],
  [["0.0.0.0"], "10.0.0.2", true],
  [["::"], "10.0.0.2", true],
  [["0.0.0.0"], "fd00::2", false],
  [["::ffff:a00:2"], "10.0.0.2", true],
  [[], "10.0.0.2", false],
])("hears() of %p for %s is %p", (listeners, address, expected) => {
  expect(hears(listeners, address)).toBe(expected);
});
