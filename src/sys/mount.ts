/** A mount as the OCI runtime specification writes it; what snapshot and volume give to runtime. */
export interface Mount {
  readonly type: string;
  readonly source: string;
  /** Absolute path inside the container. */
  readonly target: string;
  readonly options: readonly string[];
}
