/**
 * Go templates, as `--format` and the tags of log drivers take them. Pure: text and a value in, text out.
 * Spec: https://pkg.go.dev/text/template
 */
export { parseTemplate, Row, runTemplate, type Template } from "./template.ts";
export { goJson } from "./values.ts";
