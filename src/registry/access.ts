/** What a client may want of a repository. "admin" is for work on the registry as a whole. */
export const actions = ["pull", "push", "delete", "admin"] as const;
export type Action = (typeof actions)[number];

/** Who asks. */
export interface Identity {
  /** `anonymous`, or the name of a user or robot. */
  readonly name: string;
  may(repository: string, action: Action): boolean;
}

/** One thing a request takes. Repository `""` is the registry itself. */
export interface Need {
  readonly repository: string;
  readonly action: Action;
}

/** A request by its headers and by where it comes from. */
export interface Asking {
  readonly request: Request;
  /** The client's address, without its port. */
  readonly peer: string;
}

/** Decides who asks. */
export interface Access {
  /**
   * @throws Refusal UNAUTHORIZED — with a challenge: wrong or missing credentials for `needs`
   * @throws Refusal DENIED — known, and not allowed
   * @throws Refusal TOOMANYREQUESTS — too many guesses of passwords
   */
  admit(asking: Asking, needs: readonly Need[]): Promise<Identity>;
  /** Who asks, if it is only to see what there is. @throws Refusal UNAUTHORIZED — wrong credentials */
  identify(asking: Asking): Promise<Identity>;
  /** Answers where tokens are given (`tokenPath`); absent when none are. */
  readonly giveToken?: (asking: Asking) => Promise<Response>;
}

export const anonymousName = "anonymous";

/** Everybody may do everything but administer: for a registry that only this host reaches. */
export const openAccess: Access = {
  admit: () => Promise.resolve(anyone),
  identify: () => Promise.resolve(anyone),
};

const anyone: Identity = {
  name: anonymousName,
  may: (_repository, action) => action !== "admin",
};

/** For the socket in the registry's own folder: who reaches it may do everything. */
export const ownerAccess: Access = {
  admit: () => Promise.resolve(owner),
  identify: () => Promise.resolve(owner),
};

const owner: Identity = { name: "owner", may: () => true };
