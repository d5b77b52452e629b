// Owns what is said and not shown: the one live region for screen readers, and the document's title.

import { useEffect } from "preact/hooks";
import { texts } from "../texts.ts";

/** Says a text through the role=status region that is in the page from its first byte. */
export function announce(text: string): void {
  const region = document.getElementById("status");
  if (!region) return;
  // The same words twice are a change only if they differ: a trailing space is not spoken.
  region.textContent = region.textContent === text ? `${text}\u00a0` : text;
}

/** Names the page's state in the document's title while the component is on the page. */
export function useTitle(title: string): void {
  useEffect(() => {
    document.title = title ? `${title} · ${texts.product}` : texts.product;
  }, [title]);
}
