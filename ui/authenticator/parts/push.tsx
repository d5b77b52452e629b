// Owns notifications as a person meets them: the offer to turn them on, and their true state in the list
// of devices. Nobody is asked by the browser before he pressed a button that says what for.

import { useEffect, useState } from "preact/hooks";
import { asProblem, type Problem, type Session } from "../api.ts";
import { platformOf } from "../enrolment.ts";
import { end, inTime, renew } from "../push.ts";
import { load, update } from "../store.ts";
import { texts } from "../texts.ts";
import { useAction, type Action } from "./action.ts";
import { Icon } from "./icons.tsx";
import { onHomeScreen } from "./install.tsx";
import { problemText } from "./notice.tsx";
import { announce } from "./status.ts";
import "./push.css";

/**
 * How things stand. off: can be turned on; `asked` when it was decided so. install: only from the home
 * screen. unable: not in this browser. blocked: forbidden in its settings. never: the server sends none.
 */
type State =
  | { readonly name: "unknown" | "on" | "install" | "unable" | "blocked" | "never" }
  | { readonly name: "off"; readonly asked: boolean };

export interface Push {
  readonly state: State;
  /** Why it is not known how things stand, or why they are off though they should be on. */
  readonly problem: Problem | undefined;
  /** Looks once more how things stand. */
  readonly look: () => void;
  readonly turnOn: Action<[]>;
  readonly turnOff: Action<[]>;
  readonly later: () => void;
}

const able = () => "serviceWorker" in navigator && "PushManager" in window && "Notification" in window;

/** What can be said without the server: undefined when it is needed. */
function obstacle(): State | undefined {
  if (!able()) {
    const apple = ["iphone", "ipad"].includes(platformOf(navigator));
    return { name: apple && !onHomeScreen() ? "install" : "unable" };
  }
  return Notification.permission === "denied" ? { name: "blocked" } : undefined;
}

/** Where the worker cannot be had (a private window), it never becomes ready. */
const registered = () => inTime(navigator.serviceWorker.ready);

/** Finds out how things stand, and sets right what has changed since: a key, a subscription that ended. */
async function look(session: Session): Promise<State> {
  const { notifications } = await load();
  const stopped = obstacle();
  if (stopped) return stopped;
  if (notifications !== "on" || Notification.permission !== "granted") {
    const { enabled } = await session.push();
    return enabled ? { name: "off", asked: notifications !== undefined } : { name: "never" };
  }
  return { name: (await renew(await registered(), session)) ? "on" : "never" };
}

/** Whether the server did not answer, so that nothing is known about how things stand. */
const unanswered = ({ code }: Problem) => ["network", "unavailable", "limited", "internal"].includes(code);

/** Notifications of this device. */
export function usePush(session: Session): Push {
  const [state, setState] = useState<State>({ name: "unknown" });
  const [problem, setProblem] = useState<Problem>();
  const watch = () =>
    look(session).then(
      (found) => (setState(found), setProblem(undefined)),
      (error: unknown) => {
        const found = asProblem(error);
        setState(unanswered(found) ? { name: "unknown" } : { name: "off", asked: true });
        setProblem(found);
      },
    );
  useEffect(() => {
    void watch();
    addEventListener("online", watch);
    // A permission can be given or taken in the browser's own settings, at any time.
    let permission: PermissionStatus | undefined;
    let left = false;
    navigator.permissions?.query({ name: "notifications" }).then(
      (status) => {
        if (left) return;
        permission = status;
        status.addEventListener("change", watch);
      },
      () => undefined,
    );
    return () => {
      left = true;
      removeEventListener("online", watch);
      permission?.removeEventListener("change", watch);
    };
  }, [session]);

  const turnOn = useAction(async () => {
    setProblem(undefined);
    if ((await Notification.requestPermission()) !== "granted") {
      if (Notification.permission === "default") await update(() => ({ notifications: "off" })); // put away, so not asked again
      setState(obstacle() ?? { name: "off", asked: true });
      return;
    }
    await update(() => ({ notifications: "on" })); // first: a subscription that comes late is found at the next start
    const works = await renew(await registered(), session);
    setState({ name: works ? "on" : "never" });
    if (works) announce(texts.push.nowOn);
  });
  const turnOff = useAction(async () => {
    setProblem(undefined);
    await update(() => ({ notifications: "off" }));
    await end(await registered(), session);
    setState({ name: "off", asked: true });
    announce(texts.push.nowOff);
  });
  const later = () => {
    void update(() => ({ notifications: "off" }));
    setState({ name: "off", asked: true });
    announce(texts.push.laterDone);
  };
  return { state, problem, look: watch, turnOn, turnOff, later };
}

/** The offer, made once, where requests are awaited. */
export function PushOffer({ push }: { push: Push }) {
  const { state, turnOn, later } = push;
  if (state.name !== "off" || state.asked) return null;
  return (
    <section class="pushoffer" data-testid="push-offer">
      <Icon name="bell" size={28} />
      <h2 class="pushoffer__title">{texts.push.offer}</h2>
      <p class="soft small">{texts.push.why}</p>
      {turnOn.problem && (
        <p class="push__problem" role="alert">
          {pushProblem(turnOn.problem)}
        </p>
      )}
      <div class="pushoffer__choice">
        <button type="button" class="button button--outline" disabled={turnOn.busy} onClick={() => turnOn.run()} data-testid="push-on">
          {turnOn.busy ? texts.push.turningOn : texts.push.turnOn}
        </button>
        <button type="button" class="button button--quiet" onClick={later} data-testid="push-later">
          {texts.push.later}
        </button>
      </div>
    </section>
  );
}

type PushSettingProps = {
  push: Push;
  /** The code of a problem that the page tells of already. */
  told: string | undefined;
};

/** The row among the devices: how things are, and how to change them. */
export function PushSetting({ push, told }: PushSettingProps) {
  const { state, turnOn, turnOff } = push;
  const found = push.problem?.code === told ? undefined : push.problem;
  const problem = turnOn.problem ?? turnOff.problem ?? found;
  return (
    <section class="pushrow" data-testid="push-state" data-state={state.name}>
      <div class="pushrow__head">
        <Icon name="bell" />
        <div class="pushrow__what">
          <h2 class="pushrow__title">{texts.push.title}</h2>
          <p class="soft small">{texts.push.state[state.name]}</p>
        </div>
        {state.name === "off" && (
          <button type="button" class="button button--outline pushrow__switch" disabled={turnOn.busy} onClick={() => turnOn.run()} data-testid="push-on">
            {turnOn.busy ? texts.push.turningOn : texts.push.turnOn}
          </button>
        )}
        {state.name === "on" && (
          <button type="button" class="button button--quiet pushrow__switch" disabled={turnOff.busy} onClick={() => turnOff.run()} data-testid="push-off">
            {turnOff.busy ? texts.push.turningOff : texts.push.turnOff}
          </button>
        )}
      </div>
      {problem && (
        <p class="push__problem" role="alert" data-testid="push-problem">
          {pushProblem(problem)}
        </p>
      )}
    </section>
  );
}

/** What went wrong, and that all else works. A browser's own refusal has no code of ours. */
function pushProblem(problem: Problem): string {
  if (problem.code === "push-silent" || problem.code === "unexpected") return texts.push.silent;
  if (problem.code === "push-host") return texts.push.host;
  return problemText(problem);
}
