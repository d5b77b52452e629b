// Owns the ring that runs empty. The browser animates it from a start that is already past, so it
// stays right however seldom the page is drawn. It is decoration: the text beside it says the time.

import { useState } from "preact/hooks";
import "./ring.css";

type RingProps = {
  /** The whole run and what remains of it, milliseconds. */
  total: number;
  left: number;
  size: number;
  urgent?: boolean;
};

/** A ring that empties; a changed `run` starts it anew. */
export function Ring({ run, ...rest }: RingProps & { run: string | number }) {
  return <Running key={run} {...rest} />;
}

function Running({ total, left, size, urgent }: RingProps) {
  // Taken once: the animation goes on by itself, and a moved start would count the time twice.
  const [timing] = useState({ animationDuration: `${total}ms`, animationDelay: `${left - total}ms` });
  return (
    <svg class={`ring ${urgent ? "ring--urgent" : ""}`} width={size} height={size} viewBox="0 0 32 32" aria-hidden="true">
      <circle class="ring__track" cx="16" cy="16" r="13.5" />
      <circle class="ring__left" cx="16" cy="16" r="13.5" pathLength={1} style={timing} />
    </svg>
  );
}
