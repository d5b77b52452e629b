// Owns links within the app: they change the page without loading the document again.

import type { AnchorHTMLAttributes } from "preact";
import { navigate } from "../router.ts";

/** A link to a path of the app. Held keys and other buttons do what the browser does. */
export function Link({ href, ...rest }: AnchorHTMLAttributes & { href: string; [data: `data-${string}`]: string }) {
  const go = (event: MouseEvent) => {
    if (event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    navigate(href);
  };
  return <a {...rest} href={href} onClick={go} />;
}
