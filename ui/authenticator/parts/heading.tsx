// Owns the heading that takes the focus when a page or a state begins, so that people who listen or
// use the keyboard are where the news is.

import type { ComponentChildren } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";

/** The page's h1. A changed `focusKey` brings the focus back to it. */
export function Heading(props: { focusKey?: string; class?: string; children: ComponentChildren }) {
  const ref = useRef<HTMLHeadingElement>(null);
  // With the page, not after it was painted: whoever is quick is in a field by then.
  useLayoutEffect(() => {
    ref.current?.focus({ preventScroll: true });
  }, [props.focusKey]);
  return (
    <h1 ref={ref} tabIndex={-1} class={props.class}>
      {props.children}
    </h1>
  );
}
