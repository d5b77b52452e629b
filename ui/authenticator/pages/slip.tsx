// Owns drawing what an application asks. Everything that the application can choose comes from one
// `Shown`, whose digest is signed: nothing is shown that is not in the digest. It is plain text, in
// its own direction, wrapped and never cut.

import type { Context, Shown } from "../canonical.ts";
import { browserOf } from "../enrolment.ts";
import { Icon } from "../parts/icons.tsx";
import { AppLogo } from "../parts/applogo.tsx";
import { Heading } from "../parts/heading.tsx";
import { texts } from "../texts.ts";
import "./slip.css";

type SlipProps = {
  shown: Shown;
  /** This device's account, and when the request was made. They are signed as user and time. */
  account: string;
  asked: string;
  /** True when it is decided: another heading names the state, and the details are folded. */
  done?: boolean;
};

/** The request, as a slip of paper. */
export function Slip({ shown, account, asked, done }: SlipProps) {
  const name = (
    <>
      <span class="unseen">{texts.request.fromWhom} </span>
      <bdi>{shown.application}</bdi>
    </>
  );
  return (
    <article class="slip">
      <header class="slip__head">
        <AppLogo name={shown.application} digest={shown.logo} size={52} />
        <div class="slip__who">
          {done ? <h2 class="slip__app">{name}</h2> : <Heading class="slip__app">{name}</Heading>}
          <p class="slip__account">
            <bdi>{account}</bdi>
          </p>
        </div>
      </header>
      {shown.message && (
        <p class="slip__message" dir="auto">
          {shown.message}
        </p>
      )}
      {done ? (
        <details class="slip__fold">
          <summary>{texts.request.details}</summary>
          <Details shown={shown} asked={asked} />
        </details>
      ) : (
        <Details shown={shown} asked={asked} />
      )}
    </article>
  );
}

function Details({ shown, asked }: Pick<SlipProps, "shown" | "asked">) {
  return (
    <>
      <Asked shown={shown} asked={asked} />
      {shown.context && <Told application={shown.application} context={shown.context} />}
    </>
  );
}

/** Where it was started. It is the application's word; where an address is, nobody here looks up. */
function Told({ application, context }: { application: string; context: Context }) {
  const { address, browser, origin } = context;
  return (
    <section class="slip__told" data-testid="context">
      <h2 class="slip__told-by">
        {texts.request.told} <bdi>{application}</bdi>
      </h2>
      <dl class="slip__details">
        {address && <Line name={texts.request.address} value={address} />}
        {address && <Line name={texts.request.place} value={texts.request.placeUnknown} />}
        {browser && <Line name={texts.request.browser} value={browserOf(browser)} />}
        {origin && <Line name={texts.request.origin} value={origin} breaks />}
      </dl>
      {/[/.]xn--/.test(origin) && (
        <p class="slip__lookalike">
          <Icon name="warning" size={18} />
          {texts.request.lookalike}
        </p>
      )}
    </section>
  );
}

/** An address breaks after its scheme, before it breaks in the middle of a name. */
function Line({ name, value, breaks }: { name: string; value: string; breaks?: boolean }) {
  const host = breaks ? value.indexOf("://") + 3 : 0;
  return (
    <div class="slip__detail">
      <dt>{name}</dt>
      <dd dir="auto">
        {value.slice(0, host)}
        {host > 2 && <wbr />}
        {value.slice(host)}
      </dd>
    </div>
  );
}

function Asked({ shown, asked }: Pick<SlipProps, "shown" | "asked">) {
  return (
    <dl class="slip__details">
      {shown.details.map(({ name, value }) => (
        <div class="slip__detail">
          <dt dir="auto">{name}</dt>
          <dd dir="auto">{value}</dd>
        </div>
      ))}
      <div class="slip__detail slip__detail--own">
        <dt>{texts.request.asked}</dt>
        <dd>{asked}</dd>
      </div>
    </dl>
  );
}
