// Owns the notice of a reset: somebody said that everything is lost and wants a new start without this device. Whoever
// holds it has not lost everything, and can stop that.

import type { Reset, Session } from "../api.ts";
import type { Live } from "../live.ts";
import { moment, texts } from "../texts.ts";
import { useAction } from "./action.ts";
import { Icon } from "./icons.tsx";
import { problemText } from "./notice.tsx";
import { announce } from "./status.ts";

type ResetsProps = { session: Session; live: Live; now: number };

/** Every reset that is under way for an account of this device. */
export function Resets({ session, live, now }: ResetsProps) {
  return (
    <>
      {live.state.resets.map((reset) => (
        <ResetNotice key={reset.grant} reset={reset} session={session} live={live} now={now} />
      ))}
    </>
  );
}

function ResetNotice({ reset, session, live, now }: ResetsProps & { reset: Reset }) {
  const { application, account, due_at } = reset;
  const stop = useAction(async () => {
    await session.stopReset(reset.grant);
    announce(texts.reset.stopped(application));
    live.refresh();
  });
  return (
    <div class="notice notice--bad" role="alert" data-testid="reset-notice">
      <Icon name="warning" />
      <div class="notice__body">
        <p class="notice__title">{texts.reset.title(application)}</p>
        <p>
          {due_at === 0 ? texts.reset.asked(account) : texts.reset.allowed(account, moment(due_at, now / 1000))} {texts.reset.advice(application)}
        </p>
        {stop.problem && <p role="alert">{problemText(stop.problem)}</p>}
        <button type="button" class="button button--outline" disabled={stop.busy} onClick={() => stop.run()} data-testid="reset-stop">
          {stop.busy ? texts.reset.stopping : texts.reset.stop}
        </button>
      </div>
    </div>
  );
}
