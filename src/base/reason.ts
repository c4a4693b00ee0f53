/** What the system says of files, as the C library words it. */
const wordsOf: Readonly<Record<string, string>> = {
  EACCES: "permission denied",
  EDQUOT: "disk quota exceeded",
  EEXIST: "file exists",
  EISDIR: "is a directory",
  ELOOP: "too many levels of symbolic links",
  ENAMETOOLONG: "file name too long",
  ENOENT: "no such file or directory",
  ENOSPC: "no space left on device",
  ENOTDIR: "not a directory",
  EPERM: "operation not permitted",
  EROFS: "read-only file system",
};

/** Why something failed, to end a message with: of Node's `ENOENT: …, open 'x'` the words alone. */
export function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const words = wordsOf[errnoBehind(error)];
  return words ?? /^E[A-Z0-9]+: (.+?)(, \w+( '.*')?)?$/s.exec(error.message)?.[1] ?? error.message;
}

/** `Cannot mkdir "x": not a directory` for Node's `ENOTDIR: …, mkdir 'x'`; else the error's own words. */
export function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { syscall, path } = error as { syscall?: string; path?: unknown };
  if (!syscall || !error.message.startsWith(`${errnoIn(error)}: `)) return error.message;
  const what = typeof path === "string" ? `${syscall} "${path}"` : syscall;
  return `Cannot ${what}: ${reasonOf(error)}`;
}

/** `ENOENT` of an error, or of the cause of a Failure; "" where the system has no part in it. */
export function errnoBehind(error: unknown): string {
  return errnoIn(error) || errnoIn((error as { cause?: unknown } | undefined)?.cause);
}

function errnoIn(error: unknown): string {
  const { code } = (error ?? {}) as { code?: unknown };
  return typeof code === "string" && /^E[A-Z0-9]+$/.test(code) ? code : "";
}
