import { expect } from "bun:test";
import { digestBy, digestOf, mediaTypes } from "../oci/mod.ts";
import { codeOf, imageOf, onEachStorage } from "./laboratory.ts";
import { check } from "./store-check.ts";
import { collect } from "./store-collect.ts";

const long = (text: string) => digestBy("sha512", text);

onEachStorage("blobs are pushed by sha512 in every way, and mounted", async (openLaboratory) => {
  await using lab = await openLaboratory();
  const text = "bytes of a blob";
  const ways = {
    whole: async (name: string) =>
      lab.call("POST", `/v2/${name}/blobs/uploads/?digest=${long(text)}`, { body: text }),
    pieces: async (name: string) => {
      const begun = await lab.call("POST", `/v2/${name}/blobs/uploads/?digest-algorithm=sha512`);
      const path = begun.headers.get("Location")!;
      expect((await lab.call("PATCH", path, { body: text.slice(0, 5) })).status).toBe(202);
      return lab.call("PUT", `${path}?digest=${long(text)}`, { body: text.slice(5) });
    },
    unsaid: async (name: string) => {
      const begun = await lab.call("POST", `/v2/${name}/blobs/uploads/`);
      return lab.call("PUT", `${begun.headers.get("Location")}?digest=${long(text)}`, {
        body: text,
      });
    },
  };
  for (const [name, push] of Object.entries(ways)) {
    expect((await push(name)).status).toBe(201);
    const got = await lab.call("GET", `/v2/${name}/blobs/${long(text)}`);
    expect([await got.text(), got.headers.get("Docker-Content-Digest")]).toEqual([
      text,
      long(text),
    ]);
    expect((await lab.call("GET", `/v2/${name}/blobs/${digestOf(text)}`)).status).toBe(404);
  }
  const mount = `/v2/other/blobs/uploads/?mount=${long(text)}&from=whole`;
  expect((await lab.call("POST", mount)).status).toBe(201);
  const wrong = await lab.call("POST", `/v2/a/blobs/uploads/?digest=${long("x")}`, { body: text });
  expect(await codeOf(wrong)).toBe("400 DIGEST_INVALID");
  const unknown = await lab.call("POST", "/v2/a/blobs/uploads/?digest-algorithm=md5");
  expect(await codeOf(unknown)).toBe("400 UNSUPPORTED");
});

onEachStorage(
  "an image known by sha512 is pushed, tagged, referred to, checked and collected",
  async (openLaboratory) => {
    await using lab = await openLaboratory();
    const part = (mediaType: string, text: string) => ({
      mediaType,
      digest: long(text),
      size: text.length,
    });
    for (const text of ["{}", "layer"]) {
      await lab.call("POST", `/v2/a/blobs/uploads/?digest=${long(text)}`, { body: text });
    }
    const body = JSON.stringify({
      ...{ schemaVersion: 2, mediaType: mediaTypes.ociManifest },
      config: part(mediaTypes.ociConfig, "{}"),
      layers: [part(mediaTypes.ociLayer, "layer")],
    });
    const headers = { "Content-Type": mediaTypes.ociManifest };
    const put = (path: string) => lab.call("PUT", `/v2/a/manifests/${path}`, { body, headers });
    expect(await codeOf(await put(long("other")))).toBe("400 DIGEST_INVALID");
    expect(await codeOf(await put(`${long(body)}?tag=../x`))).toBe("400 TAG_INVALID");
    const pushed = await put(`${long(body)}?tag=v1&tag=v2`);
    expect([pushed.status, pushed.headers.get("OCI-Tag")]).toEqual([201, "v1, v2"]);
    const got = await lab.call("GET", "/v2/a/manifests/v2");
    expect([await got.text(), got.headers.get("Docker-Content-Digest")]).toEqual([
      body,
      long(body),
    ]);

    const subject = { digest: long(body), size: body.length, mediaType: mediaTypes.ociManifest };
    await lab.push.blob("a", "sig");
    await lab.push.blob("a", "{}");
    const signature = imageOf("{}", ["sig"], { artifactType: "x/sig", subject });
    const attached = await lab.push.manifest("a", "", signature);
    expect(attached.answer.headers.get("OCI-Subject")).toBe(long(body));
    const referrers = await lab.call("GET", `/v2/a/referrers/${long(body)}`);
    expect(await referrers.json()).toMatchObject({ manifests: [{ digest: attached.digest }] });

    expect(await check(lab.store)).toMatchObject({ checked: { blobs: 6 }, damaged: [] });
    lab.damage(long("layer"), "later");
    expect((await check(lab.store)).damaged).toMatchObject([
      { digest: long("layer"), what: "corrupt" },
    ]);
    expect((await lab.call("DELETE", `/v2/a/manifests/${long(body)}`)).status).toBe(202);
    await Bun.sleep(2); // all of it is older than now
    const { removed } = await collect(lab.store, { graceMs: 0, historyMs: 0 });
    expect(removed.blobs).toBe(3);
  },
);
