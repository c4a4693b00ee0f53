import { expect, test } from "bun:test";
import { maskSecrets } from "./doctor-bundle.ts";

const cases: [string, string][] = [
  ["http://me:pa%20ss@proxy.lan:3128/x", "http://***@proxy.lan:3128/x"],
  ['"splunk-token": "abc\\"def", "tag": "x"', '"splunk-token": "***", "tag": "x"'],
  ["registry_password=hunter2 next", 'registry_password="***" next'],
  ['{"identitytoken":"abc"}', '{"identitytoken":"***"}'],
  ["nothing to hide at https://hub.lan/v2/", "nothing to hide at https://hub.lan/v2/"],
];
for (const [text, masked] of cases) {
  test(`maskSecrets() makes ${masked} of it`, () => {
    expect(maskSecrets(text)).toBe(masked);
  });
}
