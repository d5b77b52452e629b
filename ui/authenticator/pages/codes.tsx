// Owns the app codes. They are computed here and need no network.

import { useEffect, useState } from "preact/hooks";
import { useNow, type Clock } from "../clock.ts";
import { AppLogo } from "../parts/applogo.tsx";
import { Heading } from "../parts/heading.tsx";
import { Icon } from "../parts/icons.tsx";
import { Link } from "../parts/link.tsx";
import { Ring } from "../parts/ring.tsx";
import { announce, useTitle } from "../parts/status.ts";
import type { KeptGrant } from "../store.ts";
import { texts } from "../texts.ts";
import { groups, totp } from "../totp.ts";
import "./codes.css";

/** A clock that is further off than this is worth a word, milliseconds. */
const OFF = 10_000;

/** How long "Copied" stays, milliseconds. */
const COPIED = 2_000;

/** One code per account. */
export function Codes({ grants, clock }: { grants: readonly KeptGrant[]; clock: Clock }) {
  const now = useNow(clock, 250);
  useTitle(texts.codes.title);
  return (
    <div class="codes">
      <Heading>{texts.codes.title}</Heading>
      <p class="soft">{texts.codes.lead}</p>
      <ul class="codes__list">
        {grants.map((grant) => (
          <li key={grant.id}>
            {grant.secret ? <Code grant={grant} secret={grant.secret} now={now} /> : <Missing grant={grant} />}
          </li>
        ))}
      </ul>
      {Math.abs(clock.offset) > OFF && <p class="soft small">{texts.codes.clock(clock.offset / 1000)}</p>}
      <Link class="button button--quiet codes__add" href="/enroll">
        <Icon name="plus" size={20} />
        {texts.nav.add}
      </Link>
    </div>
  );
}

function Code({ grant, secret, now }: { grant: KeptGrant; secret: CryptoKey; now: number }) {
  const { application, account, digits, period } = grant;
  const counter = Math.floor(now / 1000 / period);
  const left = (counter + 1) * period * 1000 - now;
  const [code, setCode] = useState("");
  const [note, setNote] = useState("");
  useEffect(() => {
    let current = true;
    void totp(secret, counter * period * 1000, period, digits).then((fresh) => current && setCode(fresh));
    return () => void (current = false);
  }, [secret, counter, period, digits]);
  useEffect(() => {
    if (!note) return;
    const timer = setTimeout(() => setNote(""), COPIED);
    return () => clearTimeout(timer);
  }, [note]);

  const copy = async () => {
    const said = await navigator.clipboard.writeText(code).then(
      () => texts.codes.copied,
      () => texts.codes.copyFailed,
    );
    setNote(said);
    announce(said);
  };
  const [first, second] = groups(code);
  const urgent = left < 4_000;
  return (
    <article class="code">
      <Owner grant={grant} />
      <p class={`code__digits ${urgent ? "code__digits--urgent" : ""}`}>
        <span class="unseen">{[...code].join(" ")}</span>
        <span class="code__groups" aria-hidden="true" data-testid="code" data-grant={grant.id}>
          <span>{first}</span>
          <span>{second}</span>
        </span>
      </p>
      <div class="code__foot">
        {/* The button reaches over the whole card. */}
        <button type="button" class={`code__copy ${note ? "code__copy--done" : ""}`} onClick={copy} data-testid="code-copy">
          <Icon name={note === texts.codes.copied ? "check" : "copy"} size={18} />
          {note || texts.codes.copy} <span class="unseen">{texts.codes.copyWhat(application.name, account)}</span>
        </button>
        <span class="code__next" aria-hidden="true">
          {texts.codes.next(Math.ceil(left / 1000))}
          <Ring run={counter} total={period * 1000} left={left} size={24} urgent={urgent} />
        </span>
      </div>
    </article>
  );
}

/** An account whose secret never arrived. */
function Missing({ grant }: { grant: KeptGrant }) {
  return (
    <div class="code code--missing">
      <Owner grant={grant} />
      <p class="soft small">{texts.codes.missing}</p>
    </div>
  );
}

function Owner({ grant }: { grant: KeptGrant }) {
  return (
    <span class="code__owner">
      <AppLogo name={grant.application.name} digest="" size={36} />
      <span class="code__who">
        <bdi class="code__app">{grant.application.name}</bdi>
        <bdi class="soft small">{grant.account}</bdi>
      </span>
    </span>
  );
}
