import { expect, test } from "bun:test";
import { applyChanges } from "./change.ts";

test("applyChanges() applies instructions to a config", () => {
  const changes = ['CMD ["a", "b"]', "ENV x=1 y=$z\nEXPOSE 80-81", "WORKDIR /w", 'LABEL a="b c"'];
  expect(applyChanges({ Env: ["z=Z", "x=0"], User: "me" }, changes)).toEqual({
    Env: ["z=Z", "x=1", "y=Z"],
    User: "me",
    Cmd: ["a", "b"],
    ExposedPorts: { "80/tcp": {}, "81/tcp": {} },
    WorkingDir: "/w",
    Labels: { a: "b c" },
  });
});

test("applyChanges() keeps the config's CMD when ENTRYPOINT changes", () => {
  expect(applyChanges({ Cmd: ["x"] }, ["ENTRYPOINT y"])).toEqual({
    Cmd: ["x"],
    Entrypoint: ["/bin/sh", "-c", "y"],
  });
});

test.each(["RUN x", "COPY a b", "FROM a", "ARG a"])("applyChanges() refuses %s", (change) => {
  expect(() => applyChanges({}, [change])).toThrow("is not a valid change command");
});
