/** Text that is HTML already. */
export class Html {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

type Value = string | number | Html | readonly Html[];

/** Builds HTML; whatever is put in is text, unless it was built here as well. */
export function html(parts: TemplateStringsArray, ...values: readonly Value[]): Html {
  const pieces = values.map((value, at) => `${show(value)}${parts[at + 1]}`);
  return new Html(`${parts[0]}${pieces.join("")}`);
}

function show(value: Value): string {
  if (value instanceof Html) return value.text;
  if (typeof value === "object") return value.map(({ text }) => text).join("");
  return String(value).replace(/[&<>"']/g, (sign) => `&#${sign.charCodeAt(0)};`);
}

const style = `body{font:16px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;
color:#1b1f24;background:#fff}a{color:#0b57b0}table{border-collapse:collapse;width:100%}
th,td{text-align:left;padding:.35rem .75rem .35rem 0;border-bottom:1px solid #d8dde3;vertical-align:top}
code{font-size:.9em;overflow-wrap:anywhere}h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2rem}
.n{text-align:right;white-space:nowrap}button{font:inherit;color:#a11;background:none;
border:1px solid #a11;border-radius:4px;padding:.2rem .8rem}nav{display:flex;justify-content:space-between}
@media(prefers-color-scheme:dark){body{color:#e6e9ed;background:#15181c}a{color:#7db4ff}
th,td{border-color:#333a42}button{color:#ff8a80;border-color:#ff8a80}}`;

const nonce = "lading-style"; // there is no script, and no other style: nothing to guess

/** A whole page. It loads nothing, from nowhere. */
export function page(title: string, who: string, body: Html, status = 200): Response {
  const text = html`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>${title}</title>
<meta name="viewport" content="width=device-width,initial-scale=1">
<style nonce="${nonce}">${new Html(style)}</style></head>
<body><nav><a href="/">Lading registry</a><span>${who === "anonymous" ? html`<a href="/?login=1">Log in</a>` : who}</span></nav>
<main><h1>${title}</h1>${body}</main></body></html>`;
  return new Response(text.text, {
    status,
    headers: {
      "Content-Type": "text/html; charset=utf-8",
      "Content-Security-Policy": `default-src 'none'; style-src 'nonce-${nonce}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'`,
      "X-Content-Type-Options": "nosniff",
      "Referrer-Policy": "same-origin", // with "no-referrer" a browser hides its Origin from us as well
      "Cache-Control": "no-store",
    },
  });
}

/** `1.5 MB` */
export function size(bytes: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let at = 0;
  let value = bytes;
  while (value >= 1000 && at < units.length - 1) {
    value /= 1000;
    at++;
  }
  return `${at === 0 ? value : value.toPrecision(3)} ${units[at]}`;
}

/** `2026-11-21 12:00:00` in UTC. */
export function time(ms: number): string {
  return new Date(ms).toISOString().slice(0, 19).replace("T", " ");
}
