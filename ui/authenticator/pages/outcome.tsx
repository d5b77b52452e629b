// Owns what became of a request, whoever decided it.

import { useEffect } from "preact/hooks";
import type { Approval } from "../api.ts";
import type { Shown } from "../canonical.ts";
import { Heading } from "../parts/heading.tsx";
import { Link } from "../parts/link.tsx";
import { Symbol, type SymbolName } from "../parts/mark.tsx";
import { announce, useTitle } from "../parts/status.ts";
import { moment, texts } from "../texts.ts";
import { Slip } from "./slip.tsx";
import "./outcome.css";

export type OutcomeName = keyof typeof texts.outcome;

const symbols: Record<OutcomeName, SymbolName> = {
  approved: "approved",
  denied: "denied",
  "not-me": "denied",
  mismatch: "mismatch",
  expired: "expired",
  cancelled: "cancelled",
  "elsewhere-approved": "approved",
  "elsewhere-denied": "denied",
};

type OutcomeProps = {
  name: OutcomeName;
  shown: Shown;
  approval: Approval;
  /** Other requests that wait. */
  others: readonly Approval[];
  /** Unix seconds. */
  now: number;
};

/** The end of a request. */
export function Outcome({ name, shown, approval, others, now }: OutcomeProps) {
  const { title, text } = texts.outcome[name];
  useTitle(`${title}: ${shown.application}`);
  useEffect(() => announce(title), [title]);
  const next = others[0];
  return (
    <div class="outcome">
      <div class="outcome__head">
        <Symbol name={symbols[name]} />
        <Heading focusKey={name} class="outcome__title">
          {title}
        </Heading>
        <p class="outcome__text">{text(shown.application)}</p>
      </div>
      <Slip shown={shown} account={approval.account} asked={moment(approval.created_at, now)} done />
      <div class="outcome__buttons">
        {name === "not-me" && (
          <Link class="button button--primary button--wide" href="/devices" data-testid="look-devices">
            {texts.request.lookDevices}
          </Link>
        )}
        {next && (
          <Link class="button button--primary button--wide" href={others.length === 1 ? `/approvals/${next.uuid}` : "/"}>
            {texts.request.next(others.length)}
          </Link>
        )}
        <Link class="button button--outline button--wide" href="/" data-testid="done">
          {texts.request.done}
        </Link>
      </div>
    </div>
  );
}
