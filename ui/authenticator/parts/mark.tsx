// Owns the mark: a C, and the counter-C that closes it. Also the symbols of outcomes, which are the
// same ring with what happened inside.

import { texts } from "../texts.ts";
import "./mark.css";

/** The mark, as wide as the text around it. */
export function Mark({ size = 32 }: { size?: number }) {
  return (
    <svg class="mark" width={size} height={size} viewBox="0 0 32 32" aria-hidden="true">
      <path class="mark__first" d="M25.77 8.37A12.4 12.4 0 1 0 25.77 23.63" />
      <path class="mark__second" d="M12.53 20.14A5.4 5.4 0 1 0 12.53 11.86" />
    </svg>
  );
}

/** Mark and name. */
export function Wordmark() {
  return (
    <span class="wordmark">
      <Mark size={28} />
      <span class="wordmark__name">{texts.product.toLowerCase()}</span>
    </span>
  );
}

export type SymbolName = "approved" | "denied" | "mismatch" | "expired" | "cancelled" | "offline" | "empty" | "unknown" | "removed";

const inside: Record<SymbolName, string> = {
  approved: "M21 33.5l8 8 15-17",
  denied: "M23.5 23.5l17 17M40.5 23.5l-17 17",
  mismatch: "M22 28h20M22 36h20M37 21l-10 22",
  expired: "M32 20v13l8 5",
  cancelled: "M22 32h20",
  offline: "M32 21v14M32 42.5h.01",
  empty: "M28.5 37.5A7 7 0 1 0 28.5 26.5",
  unknown: "M26.5 26.5a5.5 5.5 0 1 1 7.5 5.5c-1.5.600-2 1.5-2 3M32 42.5h.01",
  removed: "M24 32h16",
};

/** The ring with what happened inside; closed when the second signature is there. */
export function Symbol({ name }: { name: SymbolName }) {
  return (
    <svg class={`symbol symbol--${name}`} viewBox="0 0 64 64" aria-hidden="true">
      <circle class="symbol__ground" cx="32" cy="32" r="31" />
      <path class="symbol__first" d="M48.69 17.98A21.8 21.8 0 1 0 48.69 46.02" />
      {name === "approved" && <path class="symbol__close" d="M48.69 46.02A21.8 21.8 0 0 0 48.69 17.98" />}
      <path class="symbol__inside" d={inside[name]} pathLength={1} />
    </svg>
  );
}
