import { pageStyle } from "./page-style.ts";

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

/** A column's name, and whether it holds numbers. */
export type Column = string | { readonly number: string };

/** A table in a card. On a narrow screen each row is a list, with the names of the columns. */
export function table(
  title: Html | undefined,
  columns: readonly Column[],
  rows: readonly (readonly (string | Html)[])[],
): Html {
  const nameOf = (column: Column) => (typeof column === "string" ? column : column.number);
  const kindOf = (column: Column) => (typeof column === "string" ? "" : "n");
  const head = columns.map((each) => html`<th class="${kindOf(each)}">${nameOf(each)}</th>`);
  const body = rows.map((cells) => {
    const shown = cells.map((cell, at) => {
      const column = columns[at]!;
      return html`<td class="${kindOf(column)}" data-of="${nameOf(column)}"><span>${cell}</span></td>`;
    });
    return html`<tr>${shown}</tr>`;
  });
  return html`<section class="card">${title ? html`<h2>${title}</h2>` : html``}
<table><thead><tr>${head}</tr></thead><tbody>${body}</tbody></table></section>`;
}

const nonce = "lading-style"; // there is no script, and no other style: nothing to guess

const sign = new Html(
  '<svg viewBox="0 0 24 24" aria-hidden="true"><path d="M3 8l9-5 9 5v8l-9 5-9-5zM3 8l9 5 9-5M12 13v8"/></svg>',
);

export interface Shown {
  readonly title: string;
  /** Above the title: where it is. */
  readonly path?: Html;
  readonly body: Html;
  readonly status?: number;
}

/** A whole page for `who`, who is "" where nobody can log in. It loads nothing, from nowhere. */
export function page(who: string, { title, path, body, status = 200 }: Shown): Response {
  const login =
    who === "anonymous"
      ? html`<a href="/?login=1">Log in</a>`
      : html`<span class="soft">${who}</span>`;
  const text = html`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>${title} – Lading registry</title>
<meta name="viewport" content="width=device-width,initial-scale=1">
<link rel="icon" href="data:,"><style nonce="${nonce}">${new Html(pageStyle)}</style></head>
<body><header><div><a class="home" href="/">${sign}Lading registry</a>${login}</div></header>
<main>${path ? html`<p class="path">${path}</p>` : html``}<h1>${title}</h1>${body}</main></body></html>`;
  return new Response(text.text, {
    status,
    headers: {
      "Content-Type": "text/html; charset=utf-8",
      "Content-Security-Policy": `default-src 'none'; img-src data:; style-src 'nonce-${nonce}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'`,
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

/** `2026-11-21 12:00` in UTC, to the second for who points at it. */
export function time(ms: number): Html {
  const text = new Date(ms).toISOString();
  const shown = text.slice(0, 16).replace("T", " ");
  return html`<time class="t" datetime="${text}" title="${text}">${shown}</time>`;
}

/** An address of the page. */
export function link(fields: Record<string, string>): string {
  return `/?${new URLSearchParams(fields)}`;
}

/** The start of a digest, the whole for who points at it. */
export function short(digest: string): Html {
  return html`<code title="${digest}">${digest.slice(0, "sha256:".length + 12)}</code>`;
}
