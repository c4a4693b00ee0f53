import { Failure } from "../base/mod.ts";
import { numberOf, textOf, type Value } from "./values.ts";

const widthMax = 1_000;

/** Go's `fmt`, as far as bake files need it: `%s %q %v %d %t %f %x %X %o %b %e %%`, width and precision. */
export function format(text: string, args: readonly Value[]): string {
  let next = 0;
  const result = text.replace(
    /%(%|([-+0 #]*)(\d*)(?:\.(\d+))?([a-zA-Z]))/g,
    (_, whole: string, flags = "", width = "", precision: string | undefined, verb = "") => {
      if (whole === "%") return "%";
      if (next >= args.length) throw new Failure("invalid", `there is no value for %${verb}`);
      const shown = verbText(verb, args[next++]!, precision);
      const signed = flags.includes("+") && /^\d/.test(shown) ? `+${shown}` : shown;
      const size = Math.min(Number(width), widthMax);
      if (flags.includes("-")) return signed.padEnd(size);
      return signed.padStart(size, flags.includes("0") ? "0" : " ");
    },
  );
  if (next < args.length)
    throw new Failure("invalid", `${args.length - next} values are left over`);
  return result;
}

function verbText(verb: string, value: Value, precision: string | undefined): string {
  const digits = precision === undefined ? undefined : Math.min(Number(precision), 100);
  const number = () => {
    const found = numberOf(value);
    if (found === undefined) throw new Failure("invalid", `%${verb} needs a number`);
    return found;
  };
  switch (verb) {
    case "v":
      return textOf(value) ?? JSON.stringify(value);
    case "s":
    case "t":
      return (textOf(value) ?? JSON.stringify(value)).slice(0, digits);
    case "q":
      return JSON.stringify(textOf(value) ?? value);
    case "d":
      return String(Math.trunc(number()));
    case "f":
      return number().toFixed(digits ?? 6);
    case "e":
      return number().toExponential(digits ?? 6);
    case "g":
      return String(number());
    case "x":
      return Math.trunc(number()).toString(16);
    case "X":
      return Math.trunc(number()).toString(16).toUpperCase();
    case "o":
      return Math.trunc(number()).toString(8);
    case "b":
      return Math.trunc(number()).toString(2);
    default:
      throw new Failure("invalid", `%${verb} is no verb`);
  }
}
