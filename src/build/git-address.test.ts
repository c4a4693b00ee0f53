import { describe, expect, test } from "bun:test";
import { type GitAddress, isGit, parseGit } from "./git-address.ts";

const plain = { ref: "", folder: "", checksum: "", keepGitDir: undefined, submodules: true };

describe("parseGit()", () => {
  const good: [text: string, address: Partial<GitAddress>][] = [
    ["https://h/r.git", { remote: "https://h/r.git", protocol: "https" }],
    ["HTTPS://h/r.git#v1", { remote: "https://h/r.git", ref: "v1" }],
    ["https://h/r.git#v1:a/b/", { ref: "v1", folder: "a/b" }],
    ["https://h/r.git#:a/./b", { folder: "a/b" }],
    ["git@h:o/r.git#main", { remote: "git@h:o/r.git", protocol: "ssh", ref: "main" }],
    ["ssh://git@h:22/r#x", { remote: "ssh://git@h:22/r", protocol: "ssh", ref: "x" }],
    ["https://h/r.git?ref=v1&subdir=d", { remote: "https://h/r.git", ref: "v1", folder: "d" }],
    ["https://h/r.git?tag=v1", { ref: "refs/tags/v1" }],
    ["https://h/r.git?branch=b", { ref: "refs/heads/b" }],
    ["https://h/r.git?tag=v1#refs/tags/v1", { ref: "refs/tags/v1" }],
    ["https://h/r.git?commit=0123456789", { ref: "0123456789", checksum: "0123456789" }],
    ["https://h/r.git?checksum=0123456789&ref=v1", { ref: "v1", checksum: "0123456789" }],
    ["https://h/r.git?keep-git-dir", { keepGitDir: true }],
    ["https://h/r.git?keep-git-dir=false&submodules=0", { keepGitDir: false, submodules: false }],
    ["file:///srv/r.git#x", { remote: "file:///srv/r.git", protocol: "file", ref: "x" }],
  ];
  test.each(good)("reads %s", (text, address) => {
    expect(parseGit(text)).toMatchObject({ ...plain, ...address });
  });

  const bad: [text: string, problem: string][] = [
    ["https://h/r.git?tag=a#refs/heads/b", 'ref conflicts: "refs/heads/b" vs "refs/tags/a"'],
    ["https://h/r.git?tag=a&branch=b", "branch conflicts with tag"],
    ["https://h/r.git?rev=a", 'unexpected query "rev"'],
    ["https://h/r.git?ref=", 'query "ref" has no value'],
    ["https://h/r.git?ref=a&ref=b", 'query "ref" has multiple values'],
    ["https://h/r.git?keep-git-dir=x", "invalid keep-git-dir value"],
    ["https://h/r.git#:../x", "leads out of the repository"],
    ["https://h/r.git#:.git", "git's own"],
    ["https://h/r.git#--upload-pack=x", "is no name of a commit"],
    ["https://h/r.git#a..b", "is no name of a commit"],
    ["ssh://-oProxyCommand=x/r", "forbidden character"],
    ["git@-oProxyCommand=x:r", "forbidden character"],
    ["https://h/r.git?checksum=xyz", 'invalid checksum "xyz"'],
  ];
  test.each(bad)("refuses %s: %s", (text, problem) => {
    expect(() => parseGit(text)).toThrow(problem);
  });
});

test("isGit() tells repositories from files and from other addresses", () => {
  const all = {
    "https://h/r.git": true,
    "https://h/r.git?ref=x": true,
    "https://h/r.git#x:y": true,
    "https://h/r.tar": false,
    "https://h/x?a=.git": false,
    "git@h:r.git": true,
    "me@h:r": true,
    "ssh://h/r": true,
    "git://h/r": true,
    "file:///r.git": true,
    "file:///r": false,
    "a/b.git": false,
    "a@b": false,
  };
  expect(Object.fromEntries(Object.keys(all).map((word) => [word, isGit(word)]))).toEqual(all);
});
