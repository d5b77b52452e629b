// Owns drawing what an application asks. Everything that the application can choose comes from one
// `Shown`, whose digest is signed: nothing is shown that is not in the digest. It is plain text, in
// its own direction, wrapped and never cut.

import type { Shown } from "../canonical.ts";
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
