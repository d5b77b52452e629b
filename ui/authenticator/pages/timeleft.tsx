// Owns the time that is left for a decision: a ring and a number for the eye, and at a few moments
// words for the ear.

import { useEffect, useRef } from "preact/hooks";
import type { Approval } from "../api.ts";
import { Ring } from "../parts/ring.tsx";
import { announce } from "../parts/status.ts";
import { moment, texts, timeLeft } from "../texts.ts";

/** Seconds left at which the time is said aloud. */
const SAID = [60, 30, 10];

/** Below this many milliseconds the time is shown as urgent. */
const URGENT = 30_000;

/** `left` in milliseconds; Infinity when there is no limit. */
export function TimeLeft({ approval, left }: { approval: Approval; left: number }) {
  const seconds = Math.ceil(left / 1000);
  const last = useRef(seconds);
  useEffect(() => {
    if (SAID.some((mark) => last.current > mark && seconds <= mark)) announce(texts.request.secondsLeft(seconds));
    last.current = seconds;
  }, [seconds]);

  if (left === Infinity) return <p class="timeleft timeleft--never">{texts.request.never}</p>;
  const urgent = left < URGENT;
  const total = (approval.expires_at - approval.created_at) * 1000;
  return (
    <p class={`timeleft ${urgent ? "timeleft--urgent" : ""}`}>
      <span class="unseen">{texts.request.expiresAt(moment(approval.expires_at, approval.created_at))}</span>
      <span aria-hidden="true">{timeLeft(left / 1000)}</span>
      <Ring run={approval.uuid} total={total} left={left} size={26} urgent={urgent} />
    </p>
  );
}
