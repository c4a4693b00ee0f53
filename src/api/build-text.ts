/** What a build tells, in the words of Docker's classic builder, which clients and scripts read. */
import { type BuildEvent, reasonText } from "../build/mod.ts";
import { hexOf } from "../oci/mod.ts";

const shortDigits = 12;

/** Twelve digits of an ID, with or without `sha256:`. */
export function shortId(id: string): string {
  return id.replace(/^sha256:/, "").slice(0, shortDigits);
}

/** Turns events into text. Output bytes of the two streams may be cut within a character. */
export function buildTexts(explains: boolean): (event: BuildEvent) => string {
  const decoders = { 1: new TextDecoder(), 2: new TextDecoder() };
  return (event) => {
    switch (event.kind) {
      case "step":
        return `Step ${event.number}/${event.total} : ${event.text}\n`;
      case "begun":
        return "";
      case "settled":
        return settledText(event, explains);
      case "skipped":
        return explains ? `Stage ${event.stage} is not needed: ${event.steps} steps skipped\n` : "";
      case "cached":
        return " ---> Using cache\n";
      case "output":
        return decoders[event.stream].decode(event.bytes, { stream: true });
      case "done":
        return ` ---> ${shortId(event.id)}\n`;
      case "note":
        return `${event.text}\n`;
      case "warning":
        return `[Warning] ${event.text}\n`;
      case "pull":
        return ""; // told as it is: see ProgressAnswer.report
      case "image":
        return `Successfully built ${hexOf(event.id).slice(0, shortDigits)}\n`;
    }
  };
}

function settledText(
  { outcome, reasons }: Extract<BuildEvent, { kind: "settled" }>,
  explains: boolean,
): string {
  if (outcome === "reused") return " ---> Reused from a build at the same time\n";
  if (!explains || reasons.length === 0) return "";
  return ` ---> Not in the cache: ${reasons.map(reasonText).join("; ")}\n`;
}
