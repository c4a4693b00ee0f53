/**
 * The kernel and other programs: the only folder that knows system calls, and that it runs on Bun.
 * Data in, data or `Failure` out; each function names its man page.
 */

export {
  type Cgroups,
  cgroupDirectories,
  cgroupDirectory,
  delegatedCgroups,
  dividableGroup,
  engineGroup,
  findCgroups,
  groupDirectory,
  makeCgroup,
  noCgroups,
  readCgroup,
  removeCgroup,
  writeCgroup,
} from "./cgroup.ts";
export { GroupMoves } from "./cgroup-move.ts";
export { realTimeNs } from "./clock.ts";
export { dropCode } from "./code.ts";
export { forgetFlows } from "./conntrack.ts";
export { armEpoll, createEpoll, disarmEpoll, epollEvent, waitEpoll } from "./epoll.ts";
export { createEvent } from "./eventfd.ts";
export {
  enlargePipe,
  makeFifo,
  openFifo,
  readAvailable,
  readCached,
  type Transfer,
  writeAvailable,
} from "./fifo.ts";
export {
  atCwd,
  chmodAt,
  chmodFile,
  chownAt,
  chownFile,
  closeFile,
  linkAt,
  makeDirectoryAt,
  makeNodeAt,
  open,
  openAt,
  openPath,
  openWithin,
  pathOf,
  readLinkAt,
  renameAt,
  resolve,
  setTime,
  setTimeAt,
  symlinkAt,
  truncateFile,
  unlinkAt,
} from "./files.ts";
export {
  cloneFile,
  copyRange,
  nextData,
  punchHole,
  readInto,
  readNext,
  spreadBelow,
  syncFileSystem,
  writeAt,
  writeNext,
} from "./files-data.ts";
export { diskFailure } from "./files-failure.ts";
export { filterThrough } from "./filter.ts";
export { Inflater } from "./inflate.ts";
export { check, cstr, errnoName, errnoOf, failureOf, lastErrno, libcPath } from "./libc.ts";
export {
  listMounts,
  type Mount,
  type MountPoint,
  mountDataBytesMax,
  mountFlag,
  mountNow,
  mountOf,
  openReadOnly,
  parseMountInfo,
  unmountNow,
} from "./mount.ts";
export { Netlink, type NetlinkSocket } from "./netlink.ts";
export {
  type ChildKind,
  createChild,
  createDummy,
  createVlan,
  type IpvlanFlag,
  type IpvlanMode,
  type MacvlanMode,
} from "./netlink-child.ts";
export {
  addAddress,
  addRoute,
  changeLink,
  changePort,
  createBridge,
  createVeth,
  decodeAddress,
  decodeLink,
  decodeRoute,
  deleteLink,
  getLink,
  getRoute,
  type Link,
  listAddresses,
  listLinks,
  listRoutes,
  removeAddress,
  removeDefaultRoute,
  setDefaultRoute,
  setDirectRoute,
} from "./netlink-link.ts";
export type { NetlinkMessage, NetlinkRequest } from "./netlink-message.ts";
export { executeSlowly } from "./netlink-slow.ts";
export { openNetlink } from "./netlink-socket.ts";
export {
  closeNamespace,
  createNamespace,
  currentNamespace,
  enterNamespace,
  findNamespaces,
  interfaceIndex,
  type NetworkNamespace,
  openNamespace,
  withinNamespace,
} from "./netns.ts";
export { changeRules, readTable, removeTables } from "./nft.ts";
export {
  addElement,
  type BaseChain,
  decodeChain,
  decodeHandle,
  decodeKeys,
  decodeTable,
  flushSet,
  getChain,
  getTable,
  interfaceName,
  listChains,
  listElements,
  listTables,
  type NftElement,
  nftBatch,
  portNumber,
  removeElement,
} from "./nft-element.ts";
export { type Redirect, redirectRequests } from "./nft-redirect.ts";
export { adoptOrphans } from "./orphans.ts";
export { openProcess, signalProcess, takeFile } from "./pidfd.ts";
export { closeOnExec, groupIdMax, isNamespaced, lockFile, replaceProcess } from "./process.ts";
export { neverWait, openTerminal, openTerminalPeer, resizeTerminal } from "./pty.ts";
export { type Outcome, run, runAny } from "./run.ts";
export { compileSyscallFilter, type SyscallCondition, type SyscallRule } from "./seccomp.ts";
export { spliceAvailable } from "./splice.ts";
export {
  type DirectoryEntry,
  type FileType,
  fileSystemMagic,
  findAt,
  listDirectory,
  type Stat,
  statAt,
} from "./stat.ts";
export {
  acceptConnection,
  bindDatagrams,
  connectDatagrams,
  listenAt,
  receiveFile,
  sendDatagram,
  sendFile,
  socketPair,
} from "./unix-socket.ts";
export {
  asRootOf,
  attachTree,
  attributeInside,
  attributeOutside,
  canMapOwners,
  createUserNamespace,
  type IdMap,
  type IdRange,
  makeFilesAs,
  type NamespacePair,
  nobody,
  type Owner,
  type OwnerMap,
  openMapped,
  ownerInside,
  ownerOutside,
  readIdMap,
} from "./userns.ts";
export { getXattr, listXattrs, removeXattr, setFileXattr, setXattr } from "./xattr.ts";
