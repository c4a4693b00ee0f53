/** Go's Printf (https://pkg.go.dev/fmt) for the values that templates have. */
import { goQuote, goText } from "./values.ts";

const verb = /%([-+# 0]*)(\d+|\*)?(?:\.(\d+|\*)?)?([a-zA-Z%])/g;

/** Formats as Go does, with its complaints inside the text: `%!d(string=x)`. */
export function formatText(format: string, args: readonly unknown[]): string {
  let at = 0;
  const text = format.replace(
    verb,
    (
      whole: string,
      flags: string,
      width: string | undefined,
      precision: string | undefined,
      letter: string,
    ) => {
      if (letter === "%") return "%";
      const wide = width === "*" ? Number(args[at++]) : Number(width ?? 0);
      const hasPoint = /\.\d*[a-zA-Z]|\.\*/.test(whole);
      const exact = precision === "*" ? Number(args[at++]) : Number(precision ?? 0);
      if (at >= args.length) return `%!${letter}(MISSING)`;
      const body = one(letter, args[at++], { flags, exact: hasPoint ? exact : undefined });
      return padded(body, { flags, wide });
    },
  );
  const extra = args
    .slice(at)
    .map((arg) => `${typeNames[typeof arg] ?? typeof arg}=${goText(arg)}`);
  return extra.length === 0 ? text : `${text}%!(EXTRA ${extra.join(", ")})`;
}

const typeNames: Record<string, string> = { string: "string", number: "int", boolean: "bool" };

interface How {
  readonly flags: string;
  readonly exact: number | undefined;
}

function one(letter: string, value: unknown, { flags, exact }: How): string {
  const cut = (text: string) => (exact === undefined ? text : [...text].slice(0, exact).join(""));
  const bad = () => `%!${letter}(${typeNames[typeof value] ?? typeof value}=${goText(value)})`;
  const signed = (text: string) => (flags.includes("+") && Number(value) >= 0 ? `+${text}` : text);
  if (letter === "v")
    return typeof value === "string" && flags.includes("#") ? goQuote(value) : goText(value);
  if (letter === "s")
    return typeof value === "string" || typeof value === "object" ? cut(goText(value)) : bad();
  if (letter === "q") return typeof value === "string" ? goQuote(cut(value)) : bad();
  if (letter === "t") return typeof value === "boolean" ? String(value) : bad();
  if (letter === "T") return typeNames[typeof value] ?? typeof value;
  if (letter === "x" || letter === "X") {
    const hex =
      typeof value === "number" ? value.toString(16) : Buffer.from(goText(value)).toString("hex");
    return letter === "X" ? hex.toUpperCase() : hex;
  }
  if (typeof value !== "number") return bad();
  if (letter === "d") return signed(String(Math.trunc(value)));
  if (letter === "f" || letter === "F") return signed(value.toFixed(exact ?? 6));
  if (letter === "e") return signed(value.toExponential(exact ?? 6));
  if (letter === "g")
    return signed(
      exact === undefined ? String(value) : String(Number(value.toPrecision(exact || 1))),
    );
  if (letter === "c") return String.fromCodePoint(value);
  if (letter === "o" || letter === "b") return value.toString(letter === "o" ? 8 : 2);
  return bad();
}

function padded(text: string, { flags, wide }: { flags: string; wide: number }): string {
  const missing = wide - [...text].length;
  if (missing <= 0) return text;
  if (flags.includes("-")) return text + " ".repeat(missing);
  if (!flags.includes("0")) return " ".repeat(missing) + text;
  const sign = /^[+-]/.exec(text)?.[0] ?? "";
  return sign + "0".repeat(missing) + text.slice(sign.length);
}
