// Owns running one thing at a time from a button: a second press while the first is under way is
// nothing, and what goes wrong is kept to be shown.

import { useEffect, useRef, useState } from "preact/hooks";
import { asProblem, type Problem } from "../api.ts";

export interface Action<Args extends unknown[]> {
  readonly busy: boolean;
  /** Why the last run failed; gone when the next one begins. */
  readonly problem: Problem | undefined;
  readonly run: (...args: Args) => void;
}

/** An asynchronous act, guarded. The guard is a ref: state would let a double tap through. */
export function useAction<Args extends unknown[]>(act: (...args: Args) => Promise<void>): Action<Args> {
  const running = useRef(false);
  const mounted = useRef(true);
  const [state, setState] = useState<{ busy: boolean; problem?: Problem }>({ busy: false });
  useEffect(() => () => void (mounted.current = false), []);
  const run = (...args: Args) => {
    if (running.current) return;
    running.current = true;
    setState({ busy: true });
    act(...args).then(
      () => finish({ busy: false }),
      (error: unknown) => finish({ busy: false, problem: asProblem(error) }),
    );
  };
  const finish = (next: { busy: boolean; problem?: Problem }) => {
    running.current = false;
    if (mounted.current) setState(next);
  };
  return { busy: state.busy, problem: state.problem, run };
}
