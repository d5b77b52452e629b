// Owns the start of the app and which page is shown. The parts beside it: api.ts talks to the server,
// live.ts keeps the lists fresh, store.ts keeps keys, canonical.ts builds what is signed.

import "../shared/tokens.css";
import "../shared/base.css";
import "./app.css";
import { render } from "preact";
import { useEffect, useMemo, useReducer, useRef, useState } from "preact/hooks";
import { Session, type OtherDevice } from "./api.ts";
import { Clock } from "./clock.ts";
import { nameOf } from "./enrolment.ts";
import { Live, type LiveState } from "./live.ts";
import { closeEnded, notifyHidden } from "./notifying.ts";
import { Codes } from "./pages/codes.tsx";
import { Removed, Trouble, Unknown } from "./pages/deadends.tsx";
import { Devices } from "./pages/devices.tsx";
import { Enrol, type TicketLink } from "./pages/enrol.tsx";
import { Request } from "./pages/request.tsx";
import { Requests } from "./pages/requests.tsx";
import { Install, useInstallOffer } from "./parts/install.tsx";
import { Loading } from "./parts/loading.tsx";
import { PushOffer, usePush } from "./parts/push.tsx";
import { Resets } from "./parts/reset.tsx";
import { announce } from "./parts/status.ts";
import { navigate, pageOf, usePath } from "./router.ts";
import { Bare, Shell } from "./shell.tsx";
import { forget, load, type Device, type Kept } from "./store.ts";
import { texts } from "./texts.ts";

/** What is kept on a device that is set up. */
type Ready = Partial<Kept> & Pick<Kept, "device" | "key">;

type Start =
  | { readonly name: "loading" }
  | { readonly name: "new" }
  | { readonly name: "ready"; readonly kept: Ready }
  | { readonly name: "trouble"; readonly kind: "insecure" | "storage" };

async function begin(): Promise<Start> {
  if (!isSecureContext || !globalThis.crypto?.subtle) return { name: "trouble", kind: "insecure" };
  try {
    const kept = await load();
    return kept.device && kept.key ? { name: "ready", kept: kept as Ready } : { name: "new" };
  } catch {
    return { name: "trouble", kind: "storage" };
  }
}

function App() {
  const [start, setStart] = useState<Start>({ name: "loading" });
  const [added, setAdded] = useState<readonly string[]>([]);
  const [link, clearLink] = useTicketLink();
  const again = () => begin().then(setStart);
  useEffect(() => void again(), []);

  const enrolled = async (applications: readonly string[]) => {
    clearLink();
    setAdded(applications);
    announce(texts.added(applications));
    navigate("/");
    if (start.name === "new") await again();
  };
  switch (start.name) {
    case "loading":
      return (
        <Bare>
          <Loading text={texts.loading} />
        </Bare>
      );
    case "trouble":
      return (
        <Bare>
          <Trouble kind={start.kind} />
        </Bare>
      );
    case "new":
      return (
        <Bare>
          <Enrol adding={false} deviceName={nameOf(navigator)} link={link} onEnrolled={enrolled} />
        </Bare>
      );
    case "ready":
      return (
        <Enrolled
          key={start.kept.device.id}
          kept={start.kept}
          link={link}
          added={added}
          onEnrolled={enrolled}
          onAddedSeen={() => setAdded([])}
          onAfresh={async () => {
            await forget();
            setAdded([]);
            navigate("/");
            await again();
          }}
        />
      );
  }
}

type EnrolledProps = {
  kept: Ready;
  link: TicketLink | undefined;
  added: readonly string[];
  onEnrolled: (applications: readonly string[]) => Promise<void>;
  onAddedSeen: () => void;
  onAfresh: () => Promise<void>;
};

/** A device that is set up: it follows its requests whatever page is open. */
function Enrolled({ kept, link, added, onEnrolled, onAddedSeen, onAfresh }: EnrolledProps) {
  const page = pageOf(usePath());
  const offer = useInstallOffer();
  const { session, clock, live } = useDevice(kept.device, kept);
  const state = live.state;
  const { remove, leaving } = useRemoval(session, live, onAfresh);
  const push = usePush(session);

  if (state.removed && !leaving.current) {
    return (
      <Bare>
        <Removed onAfresh={onAfresh} />
      </Bare>
    );
  }
  const pages = {
    requests: () => (
      <Requests
        live={state}
        clock={clock}
        added={added}
        onAddedSeen={onAddedSeen}
        notices={(now) => <Resets session={session} live={live} now={now} />}
      >
        <PushOffer push={push} />
      </Requests>
    ),
    codes: () => <Codes grants={state.grants} clock={clock} />,
    devices: () => (
      <Devices session={session} clock={clock} grants={state.grants} onRemove={remove} push={push}>
        <Install offer={offer} />
      </Devices>
    ),
    enrol: () => (
      <Enrol
        adding={true}
        deviceName={kept.device.name}
        link={link}
        onEnrolled={async (applications) => {
          live.refresh();
          await onEnrolled(applications);
        }}
      />
    ),
    unknown: () => <Unknown />,
  };
  return (
    <Shell page={page.name} live={state} clock={clock}>
      {page.name === "request" ? (
        <Request
          key={page.uuid}
          uuid={page.uuid}
          session={session}
          live={live}
          clock={clock}
          device={kept.device.id}
          signingKey={kept.key.privateKey}
        />
      ) : (
        pages[page.name]()
      )}
    </Shell>
  );
}

/** Removing devices. With this device's last account goes the device, and the app begins anew. */
function useRemoval(session: Session, live: Live, onAfresh: () => Promise<void>) {
  // Set while this device takes itself away: the server's "unknown device" is then no news.
  const leaving = useRef(false);
  const remove = async (device: OtherDevice) => {
    leaving.current = device.this && live.state.grants.length <= 1;
    try {
      await session.removeGrant(device.grant);
    } catch (error) {
      leaving.current = false;
      throw error;
    }
    if (!leaving.current) return live.refresh();
    live.stop();
    await session.signOut().catch(() => undefined); // the session ends with the device anyway
    await onAfresh();
  };
  return { remove, leaving };
}

/** The parts that work for one device, as long as it is on the page. */
function useDevice(device: Device, kept: Ready): { session: Session; clock: Clock; live: Live } {
  const [, changed] = useReducer<number, void>((n) => n + 1, 0);
  const parts = useMemo(() => {
    const session = new Session(device, kept.key.privateKey);
    const clock = new Clock(kept.offset ?? 0);
    return { session, clock, live: new Live(session, clock, kept.grants ?? []) };
  }, [device.id]);
  const known = useRef<ReadonlySet<string> | undefined>(undefined);
  const seen = useRef<LiveState["approvals"]>(undefined);
  useEffect(() => {
    const { live } = parts;
    const unsubscribe = live.subscribe(() => {
      const { approvals } = live.state;
      const news = approvals?.find(({ uuid }) => known.current && !known.current.has(uuid));
      if (news) announce(texts.requests.arrived(news.application.name));
      if (news && document.hidden) void notifyHidden(news);
      if (approvals && approvals !== seen.current) void closeEnded(() => live.state.approvals ?? approvals);
      seen.current = approvals;
      if (approvals) known.current = new Set(approvals.map(({ uuid }) => uuid));
      changed();
    });
    live.start();
    return () => {
      unsubscribe();
      live.stop();
    };
  }, [parts]);
  return parts;
}

/**
 * The words of a ticket link (`/enroll#words`). They are taken out of the address at once, so that
 * they stay neither in the history nor in a screenshot.
 */
function useTicketLink(): [TicketLink | undefined, () => void] {
  const [link, setLink] = useState(takeTicket);
  useEffect(() => {
    const read = () => {
      const next = takeTicket();
      if (next) setLink(next);
    };
    addEventListener("hashchange", read);
    read(); // a link that was opened since the page appeared, which nobody listened for
    return () => removeEventListener("hashchange", read);
  }, []);
  return [link, () => setLink(undefined)];
}

function takeTicket(): TicketLink | undefined {
  const words = location.hash.slice(1);
  if (pageOf(location.pathname).name !== "enrol" || !words) return undefined;
  history.replaceState(null, "", location.pathname);
  return { words, opened: Date.now() };
}

// A notification that was clicked opens its request here.
navigator.serviceWorker?.addEventListener("message", ({ data }: MessageEvent<{ open?: string }>) => {
  if (data.open) navigate(data.open);
});

/**
 * The service worker keeps the app itself for the time without a network; never an answer of the server.
 * A content policy that asks for Trusted Types has to allow the policy named "countersign".
 */
async function keepShell(): Promise<void> {
  const script = "/sw.js";
  const policy = window.trustedTypes?.createPolicy("countersign", {
    createScriptURL: (url) => (url === script ? url : ""),
  });
  await navigator.serviceWorker.register((policy?.createScriptURL(script) ?? script) as string);
}

render(<App />, document.getElementById("app")!);
keepShell().catch(() => {
  // The app works without it; only not offline.
});
