// Owns a request that waits: what is asked, the number, and the two buttons.

import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import type { useAnswering } from "../answering.ts";
import type { Approval, Problem } from "../api.ts";
import type { Decision, Shown } from "../canonical.ts";
import { Icon } from "../parts/icons.tsx";
import { ErrorNotice, problemText } from "../parts/notice.tsx";
import { useTitle } from "../parts/status.ts";
import { moment, texts } from "../texts.ts";
import { Slip } from "./slip.tsx";
import "./decide.css";

type DecideProps = {
  approval: Approval;
  shown: Shown;
  answering: ReturnType<typeof useAnswering>;
  /** Unix seconds. */
  now: number;
};

/** Asks for the decision. */
export function Decide({ approval, shown, answering, now }: DecideProps) {
  const [digits, setDigits] = useState("");
  const [denying, setDenying] = useState(false);
  const { state, decide, resend } = answering;
  useTitle(texts.request.from(shown.application));

  const { mode, digits: length } = approval.match;
  const typed = mode === "type";
  const known = typed || mode === "off";
  const rightOrigin = approval.sign.origin === location.origin;
  const complete = !typed || digits.length === length;
  const busy = state.step !== "open" && state.step !== "refused";
  const approve = (event: Event) => {
    event.preventDefault();
    if (complete && known && rightOrigin && !busy) decide(shown, "approve", typed ? digits : "");
  };
  const sending = state.step === "sending" ? state.decision : undefined;

  return (
    <form class="decide" onSubmit={approve}>
      <div class="decide__body">
        <Slip shown={shown} account={approval.account} asked={moment(approval.created_at, now)} />
        {typed && <MatchField length={length} value={digits} onValue={setDigits} disabled={busy} />}
        {!known && <ErrorNotice>{texts.request.unsupported}</ErrorNotice>}
        {!rightOrigin && <ErrorNotice>{texts.request.wrongOrigin(approval.sign.origin)}</ErrorNotice>}
        {state.step === "refused" && <ErrorNotice>{problemText(state.problem)}</ErrorNotice>}
        {state.step === "kept" && <Kept decision={state.decision} problem={state.problem} />}
      </div>
      {state.step === "kept" ? (
        <div class="decide__buttons decide__buttons--one">
          <button type="button" class="button button--primary" onClick={resend} data-testid="retry">
            {texts.retry}
          </button>
        </div>
      ) : denying ? (
        <Why
          application={shown.application}
          busy={busy}
          sending={sending}
          onWhy={(decision) => decide(shown, decision, "")}
          onBack={() => setDenying(false)}
        />
      ) : (
        <div class="decide__buttons">
          <button
            type="button"
            class="button button--refuse"
            disabled={busy}
            onClick={(event) => event.detail < 2 && setDenying(true)}
            data-testid="deny"
          >
            {texts.request.deny}
          </button>
          {/* The second tap of a double tap, begun on the page before, decides nothing here. */}
          <button
            class="button button--primary"
            disabled={busy || !complete || !known || !rightOrigin}
            onClick={(event) => event.detail > 1 && event.preventDefault()}
            data-testid="approve"
          >
            {sending === "approve" ? texts.request.approving : texts.request.approve}
          </button>
        </div>
      )}
    </form>
  );
}

type WhyProps = {
  application: string;
  busy: boolean;
  sending: Decision | undefined;
  onWhy: (decision: "deny" | "not-me") => void;
  onBack: () => void;
};

/** Asks why before a denial is signed, because the reason is inside the signature. Nothing is approved meanwhile. */
function Why({ application, busy, sending, onWhy, onBack }: WhyProps) {
  const question = useRef<HTMLParagraphElement>(null);
  useLayoutEffect(() => question.current?.focus(), []);
  const button = (decision: "deny" | "not-me", look: string, text: string) => (
    <button
      type="button"
      class={`button ${look}`}
      disabled={busy}
      onClick={(event) => event.detail < 2 && onWhy(decision)}
      data-testid={decision === "deny" ? "deny-mistake" : "deny-not-me"}
    >
      {sending === decision ? texts.request.denying : text}
    </button>
  );
  return (
    <div class="why" role="group" aria-labelledby="why" aria-describedby="why-hint">
      <p class="why__question" id="why" tabIndex={-1} ref={question}>
        {texts.request.why}
      </p>
      <p class="why__hint" id="why-hint">
        {texts.request.whyHint(application)}
      </p>
      {button("not-me", "button--refuse", texts.request.notMe)}
      {button("deny", "button--outline", texts.request.mistake)}
      <button type="button" class="button button--quiet" disabled={busy} onClick={onBack} data-testid="deny-back">
        {texts.request.notYet}
      </button>
    </div>
  );
}

/** An answer that is signed and has not arrived. It cannot be changed: it may have been received. */
function Kept({ decision, problem }: { decision: Decision; problem: Problem }) {
  const notice = useRef<HTMLDivElement>(null);
  useEffect(() => notice.current?.scrollIntoView({ block: "nearest" }), []);
  return (
    <div ref={notice}>
      <ErrorNotice title={texts.request.failed}>
        {problemText(problem)} {decision === "approve" ? texts.request.failedApprove : texts.request.failedDeny}
      </ErrorNotice>
    </div>
  );
}

type MatchProps = { length: number; value: string; onValue: (digits: string) => void; disabled: boolean };

/** The number that the other screen shows. It is inside the signature. */
function MatchField({ length, value, onValue, disabled }: MatchProps) {
  return (
    <div class="match">
      <label class="match__label" for="match">
        {texts.request.match(length)}
      </label>
      <input
        id="match"
        class="match__input"
        inputMode="numeric"
        autocomplete="off"
        enterkeyhint="done"
        style={{ "--digits": length }}
        value={value}
        disabled={disabled}
        onInput={(event) => {
          // Written back at once, so that a letter never stays in the field.
          const digits = event.currentTarget.value.replace(/[^0-9]/g, "").slice(0, length);
          event.currentTarget.value = digits;
          onValue(digits);
        }}
        aria-describedby="match-hint"
        data-testid="match"
      />
      <p class="match__hint" id="match-hint">
        <Icon name="warning" size={18} />
        {texts.request.matchHint}
      </p>
    </div>
  );
}
