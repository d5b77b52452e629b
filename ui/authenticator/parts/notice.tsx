// Owns notices: what went wrong and what to do, or that something is done.

import type { ComponentChildren } from "preact";
import type { Problem } from "../api.ts";
import { problem as words, texts } from "../texts.ts";
import { Icon } from "./icons.tsx";
import "./notice.css";

/** Words for a problem. */
export function problemText(problem: Problem): string {
  return words(problem.code, problem.detail, problem.retryAfter);
}

/** An error, spoken at once; with a way to try again when there is one. */
export function ErrorNotice(props: { title?: string; children: ComponentChildren; onRetry?: () => void }) {
  return (
    <div class="notice notice--bad" role="alert">
      <Icon name="warning" />
      <div class="notice__body">
        {props.title && <p class="notice__title">{props.title}</p>}
        <p>{props.children}</p>
        {props.onRetry && (
          <button type="button" class="button button--outline" onClick={props.onRetry} data-testid="retry">
            {texts.retry}
          </button>
        )}
      </div>
    </div>
  );
}

/** Good news, with a button to put it away. */
export function DoneNotice(props: { children: ComponentChildren; onDismiss: () => void }) {
  return (
    <div class="notice notice--good">
      <Icon name="check" />
      <p class="notice__body">{props.children}</p>
      <button type="button" class="notice__close" aria-label={texts.dismiss} onClick={props.onDismiss}>
        <Icon name="cross" size={20} />
      </button>
    </div>
  );
}
