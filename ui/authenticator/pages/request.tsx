// Owns the page of one request: finding it, deciding it, and what became of it.

import { useEffect, useState } from "preact/hooks";
import { shownOf, useAnswering, type Ending } from "../answering.ts";
import { asProblem, type Approval, type Problem, type Session } from "../api.ts";
import { useNow, type Clock } from "../clock.ts";
import type { Live } from "../live.ts";
import { Heading } from "../parts/heading.tsx";
import { Icon } from "../parts/icons.tsx";
import { Link } from "../parts/link.tsx";
import { Loading } from "../parts/loading.tsx";
import { Symbol } from "../parts/mark.tsx";
import { ErrorNotice, problemText } from "../parts/notice.tsx";
import { useTitle } from "../parts/status.ts";
import { texts } from "../texts.ts";
import { Decide } from "./decide.tsx";
import { Outcome, type OutcomeName } from "./outcome.tsx";
import { TimeLeft } from "./timeleft.tsx";
import "./request.css";

type RequestProps = {
  uuid: string;
  session: Session;
  live: Live;
  clock: Clock;
  /** This device's id and signing key. */
  device: string;
  signingKey: CryptoKey;
};

/** One request, by its id. */
export function Request(props: RequestProps) {
  const { uuid, session, live } = props;
  const listed = live.state.approvals?.find((approval) => approval.uuid === uuid);
  const [fetched, setFetched] = useState<Approval>();
  const [problem, setProblem] = useState<Problem>();
  const [tries, setTries] = useState(0);
  // A request on the list is pending, and the list is kept fresh. One that is not, or no longer, on a
  // list that was read, has to be asked for.
  const read = live.state.approvals !== undefined || live.state.link === "reconnecting";
  const fetchIt = read && !listed && (!fetched || fetched.status === "pending");
  useEffect(() => {
    if (!fetchIt) return;
    let current = true;
    session.approval(uuid).then(
      (approval) => current && (setFetched(approval), setProblem(undefined)),
      (error: unknown) => current && setProblem(asProblem(error)),
    );
    return () => void (current = false);
  }, [fetchIt, uuid, tries, live.state]);
  useEffect(() => {
    if (listed) setFetched(listed);
  }, [listed]);

  const approval = listed ?? fetched;
  if (approval) return <Known {...props} approval={approval} />;
  if (!problem) return <Loading text={texts.request.loading} />;
  return <NotFound problem={problem} onRetry={() => setTries(tries + 1)} />;
}

function Known(props: RequestProps & { approval: Approval }) {
  const { approval, session, live, clock } = props;
  const now = useNow(clock, 500);
  const answering = useAnswering(session, props.signingKey, props.device, approval);
  const ended = answering.state.step === "ended" ? answering.state.ending : undefined;
  useEffect(() => {
    if (ended) live.settle(approval.uuid);
  }, [ended]);

  const left = approval.expires_at === 0 ? Infinity : approval.expires_at * 1000 - now;
  const outcome = outcomeOf(approval, ended, left <= 0);
  useEffect(() => {
    if (outcome === "expired") live.refresh();
  }, [outcome]);
  const shown = shownOf(approval);
  const others = (live.state.approvals ?? []).filter(({ uuid }) => uuid !== approval.uuid);
  return (
    <section class="request" data-testid="request-state" data-state={outcome ?? stepName(answering.state.step)}>
      <div class="request__top">
        <Link class="request__back" href="/">
          <Icon name="back" size={20} />
          {texts.request.back}
        </Link>
        {!outcome && <TimeLeft approval={approval} left={left} />}
      </div>
      {outcome ? (
        <Outcome name={outcome} shown={shown} approval={approval} others={others} now={now / 1000} />
      ) : (
        <Decide approval={approval} shown={shown} answering={answering} now={now / 1000} />
      )}
    </section>
  );
}

/** What became of a request; undefined while it can still be decided here. */
function outcomeOf(approval: Approval, ended: Ending | undefined, late: boolean): OutcomeName | undefined {
  if (ended && ended !== "overtaken") return ended;
  switch (approval.status) {
    case "approved":
      return "elsewhere-approved";
    case "denied":
      return "elsewhere-denied";
    case "expired":
    case "cancelled":
      return approval.status;
    case "pending":
      return late ? "expired" : undefined;
  }
}

function stepName(step: string): string {
  return step === "open" ? "pending" : step;
}

function NotFound({ problem, onRetry }: { problem: Problem; onRetry: () => void }) {
  const unknown = problem.code === "unknown";
  const title = unknown ? texts.request.unknownTitle : texts.requests.offlineTitle;
  useTitle(title);
  return (
    <section class="centered" data-testid="request-state" data-state={unknown ? "unknown" : "offline"}>
      <Symbol name={unknown ? "unknown" : "offline"} />
      <Heading>{title}</Heading>
      {unknown ? (
        <p class="soft">{texts.request.unknown}</p>
      ) : (
        <ErrorNotice onRetry={onRetry}>{problemText(problem)}</ErrorNotice>
      )}
      <Link class="button button--quiet" href="/">
        {texts.request.back}
      </Link>
    </section>
  );
}
