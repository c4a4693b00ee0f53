/** What an engine does beside its answers, counted for whoever measures it. */
export class Tally {
  healthChecks = 0;
  /** Checks that could not even be run. */
  failedHealthChecks = 0;
  /** Those who read events now. */
  eventReaders: () => number = () => 0;
  /** Told of each: "network" allocate and release, and how long a "health" check took to start. */
  onDuration: (subject: "network" | "health", action: string, seconds: number) => void = () => {};

  /** Tells how long a task took, whatever came of it. */
  async timed<T>(
    subject: "network" | "health",
    action: string,
    task: () => Promise<T>,
  ): Promise<T> {
    const fromMs = performance.now();
    try {
      return await task();
    } finally {
      this.onDuration(subject, action, (performance.now() - fromMs) / 1_000);
    }
  }
}
