// Owns the pages on which nothing can go on as it was: a removed device, a browser that cannot keep
// keys, an address that names no page.

import { useAction } from "../parts/action.ts";
import { Heading } from "../parts/heading.tsx";
import { Link } from "../parts/link.tsx";
import { Symbol } from "../parts/mark.tsx";
import { useTitle } from "../parts/status.ts";
import { texts } from "../texts.ts";

/** The server no longer knows this device. */
export function Removed({ onAfresh }: { onAfresh: () => Promise<void> }) {
  const afresh = useAction(onAfresh);
  useTitle(texts.removed.title);
  return (
    <div class="centered" data-testid="device-removed">
      <Symbol name="removed" />
      <Heading>{texts.removed.title}</Heading>
      <p class="soft">{texts.removed.text}</p>
      <button type="button" class="button button--primary" disabled={afresh.busy} onClick={() => afresh.run()} data-testid="start-afresh">
        {texts.removed.afresh}
      </button>
      <p class="soft small">{texts.removed.note}</p>
    </div>
  );
}

/** This browser, or this address, cannot do what is needed. */
export function Trouble({ kind }: { kind: keyof typeof texts.trouble }) {
  const { title, text } = texts.trouble[kind];
  useTitle(title);
  return (
    <div class="centered">
      <Symbol name="offline" />
      <Heading>{title}</Heading>
      <p class="soft">{text}</p>
    </div>
  );
}

/** No page has this address. */
export function Unknown() {
  useTitle(texts.unknown.title);
  return (
    <div class="centered">
      <Symbol name="unknown" />
      <Heading>{texts.unknown.title}</Heading>
      <Link class="button button--primary" href="/">
        {texts.unknown.home}
      </Link>
    </div>
  );
}
