// Owns the list of devices, for each account, and taking one away.

import type { ComponentChildren } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { asProblem, type OtherDevice, type Problem, type Session } from "../api.ts";
import type { Clock } from "../clock.ts";
import { useAction } from "../parts/action.ts";
import { AppLogo } from "../parts/applogo.tsx";
import { Heading } from "../parts/heading.tsx";
import { Icon, type IconName } from "../parts/icons.tsx";
import { Link } from "../parts/link.tsx";
import { Loading } from "../parts/loading.tsx";
import { ErrorNotice, problemText } from "../parts/notice.tsx";
import { PushSetting, type Push } from "../parts/push.tsx";
import { announce, useTitle } from "../parts/status.ts";
import type { KeptGrant, Platform } from "../store.ts";
import { ago, texts } from "../texts.ts";
import "./devices.css";

const icons: Record<Platform, IconName> = {
  android: "devices",
  iphone: "devices",
  ipad: "tablet",
  desktop: "desktop",
  terminal: "terminal",
};

type DevicesProps = {
  session: Session;
  clock: Clock;
  /** This device's accounts; the list is read again when they change. */
  grants: readonly KeptGrant[];
  /** Removes a device on the server, and here when it is this one. */
  onRemove: (device: OtherDevice) => Promise<void>;
  push: Push;
  children?: ComponentChildren;
};

/** Devices by account. */
export function Devices({ session, clock, grants, onRemove, push, children }: DevicesProps) {
  const [devices, setDevices] = useState<readonly OtherDevice[]>();
  const [problem, setProblem] = useState<Problem>();
  const [tries, setTries] = useState(0);
  useTitle(texts.devices.title);
  useEffect(() => {
    let current = true;
    session.devices().then(
      (answer) => current && (setDevices(answer.devices), setProblem(undefined)),
      (error: unknown) => current && setProblem(asProblem(error)),
    );
    return () => void (current = false);
  }, [session, grants, tries]);

  const retry = () => {
    setTries(tries + 1);
    push.look();
  };
  const remove = async (device: OtherDevice) => {
    await onRemove(device);
    announce(texts.devices.removed(device.name));
    setDevices((list) => list?.filter(({ grant }) => grant !== device.grant));
  };

  return (
    <div class="devices">
      <Heading focusKey={String(devices?.length)}>{texts.devices.title}</Heading>
      <p class="soft">{texts.devices.lead}</p>
      {problem && <ErrorNotice onRetry={retry}>{problemText(problem)}</ErrorNotice>}
      {!devices && !problem && <Loading text={texts.devices.loading} />}
      {byAccount(devices ?? []).map((account) => (
        <Account key={account.key} devices={account.devices} now={clock.now() / 1000} onRemove={remove} />
      ))}
      <Link class="button button--outline button--wide" href="/enroll" data-testid="add-account">
        <Icon name="plus" size={20} />
        {texts.nav.add}
      </Link>
      <PushSetting push={push} told={problem?.code} />
      {children}
    </div>
  );
}

type Group = { readonly key: string; readonly devices: OtherDevice[] };

/** Devices of one account together, accounts in the order in which they are first named. */
function byAccount(devices: readonly OtherDevice[]): readonly Group[] {
  const groups = new Map<string, OtherDevice[]>();
  for (const device of devices) {
    const key = `${device.application.id} ${device.account}`;
    groups.set(key, [...(groups.get(key) ?? []), device]);
  }
  return [...groups].map(([key, devices]) => ({ key, devices }));
}

type Remove = (device: OtherDevice) => Promise<void>;

function Account({ devices, now, onRemove }: { devices: readonly OtherDevice[]; now: number; onRemove: Remove }) {
  const { application, account } = devices[0]!;
  return (
    <section class="account">
      <header class="account__head">
        <AppLogo name={application.name} digest="" size={36} />
        <h2 class="account__name">
          <bdi>{application.name}</bdi>
          <bdi class="account__user">{account}</bdi>
        </h2>
      </header>
      <ul>
        {devices.map((device) => (
          <li key={device.grant} class="device">
            <Device device={device} now={now} onRemove={onRemove} />
          </li>
        ))}
      </ul>
    </section>
  );
}

function Device({ device, now, onRemove }: { device: OtherDevice; now: number; onRemove: Remove }) {
  const [asking, setAsking] = useState(false);
  return (
    <>
      <div class="device__row">
        <Icon name={icons[device.platform] ?? "devices"} />
        <div class="device__what">
          <p class="device__name">
            <bdi>{device.name}</bdi>
            {device.this && <span class="device__this">{texts.devices.this}</span>}
          </p>
          <p class="soft small">
            {device.last_seen_at > 0 && !device.this
              ? texts.devices.seen(ago(device.last_seen_at, now))
              : texts.devices.added(ago(device.enrolled_at, now))}
          </p>
        </div>
        {!asking && (
          <button
            type="button"
            class="button button--quiet device__remove"
            aria-label={texts.devices.removeNamed(device.name)}
            onClick={() => setAsking(true)}
            data-testid="device-remove"
            data-grant={device.grant}
          >
            {texts.devices.remove}
          </button>
        )}
      </div>
      {asking && <ConfirmRemove device={device} onRemove={onRemove} onKeep={() => setAsking(false)} />}
    </>
  );
}

/** Asks once more, in place; the focus goes to the question. */
function ConfirmRemove({ device, onRemove, onKeep }: { device: OtherDevice; onRemove: Remove; onKeep: () => void }) {
  const remove = useAction(() => onRemove(device));
  const question = useRef<HTMLParagraphElement>(null);
  useLayoutEffect(() => question.current?.focus(), []);
  return (
    <div class="device__confirm" onKeyDown={(event) => event.key === "Escape" && onKeep()}>
      <p tabIndex={-1} ref={question}>
        {device.this ? texts.devices.confirmThis(device.application.name) : texts.devices.confirmOther(device.name)}
      </p>
      {remove.problem && <ErrorNotice>{problemText(remove.problem)}</ErrorNotice>}
      <div class="device__choice">
        <button type="button" class="button button--outline" disabled={remove.busy} onClick={onKeep}>
          {texts.devices.keep}
        </button>
        <button
          type="button"
          class="button button--danger"
          disabled={remove.busy}
          onClick={() => remove.run()}
          data-testid="device-remove-confirm"
          data-grant={device.grant}
        >
          {remove.busy ? texts.devices.confirming : texts.devices.confirm}
        </button>
      </div>
    </div>
  );
}
