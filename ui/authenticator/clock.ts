// Owns time: the server's clock as seen from this device, and a hook that makes a page tick.

import { useEffect, useState } from "preact/hooks";

/** A reading that took longer than this, in milliseconds, says too little about the server's clock. */
const SLOW = 5_000;

/** The server's time, computed from this device's clock and the last known distance between the two. */
export class Clock {
  constructor(
    /** Server time minus device time, milliseconds. */
    public offset: number,
    private readonly deviceTime: () => number = Date.now,
  ) {}

  /** Unix milliseconds by the server's clock. */
  now(): number {
    return this.deviceTime() + this.offset;
  }

  /** Runs a call that tells `server_time` and takes the distance from it. */
  async measure<T extends { readonly server_time: number }>(act: () => Promise<T>): Promise<T> {
    const before = this.deviceTime();
    const answer = await act();
    const after = this.deviceTime();
    if (after - before < SLOW) this.offset = Math.round(answer.server_time - (before + after) / 2);
    return answer;
  }
}

/** The clock's time, renewed every `every` milliseconds while the component is on the page. */
export function useNow(clock: Clock, every: number): number {
  const [now, setNow] = useState(clock.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(clock.now()), every);
    return () => clearInterval(timer);
  }, [clock, every]);
  return now;
}
