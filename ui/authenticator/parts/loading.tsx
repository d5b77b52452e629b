// Owns the look of waiting. It shows only after a moment, so that quick answers do not flicker.

import { Mark } from "./mark.tsx";
import "./loading.css";

/** The mark, turning, and what is waited for. */
export function Loading({ text }: { text: string }) {
  return (
    <div class="loading">
      <Mark size={44} />
      <p class="soft">{text}</p>
    </div>
  );
}
