import { Failure } from "../base/mod.ts";

const shape = /^[a-zA-Z0-9][a-zA-Z0-9_.-]{1,254}$/;

/** What becomes part of a path. @throws "invalid" in Docker's words */
export function checkName(name: string): void {
  if (name.length === 1) {
    const why = "volume name is too short, names should be at least two alphanumeric characters";
    throw new Failure("invalid", `create ${name}: ${why}`);
  }
  if (shape.test(name)) return;
  const shown = name.slice(0, 300);
  throw new Failure(
    "invalid",
    `create ${shown}: "${shown}" includes invalid characters for a local volume name, only ` +
      '"[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, ' +
      "use absolute path",
  );
}

/** @throws "invalid" */
export function checkSnapshotName(name: string): void {
  if (/^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$/.test(name)) return;
  const shown = JSON.stringify(name.slice(0, 300));
  throw new Failure("invalid", `Cannot name a snapshot ${shown}: only [a-zA-Z0-9][a-zA-Z0-9_.-]*`);
}
