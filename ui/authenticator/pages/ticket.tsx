// Owns confirming a ticket: which application and account it would add, and a clear yes.

import { useEffect, useState } from "preact/hooks";
import { asProblem, lookAt, type Problem } from "../api.ts";
import { useAction } from "../parts/action.ts";
import { AppLogo } from "../parts/applogo.tsx";
import { Heading } from "../parts/heading.tsx";
import { InstallFirst } from "../parts/install.tsx";
import { Loading } from "../parts/loading.tsx";
import { Symbol } from "../parts/mark.tsx";
import { ErrorNotice, problemText } from "../parts/notice.tsx";
import { useTitle } from "../parts/status.ts";
import { texts } from "../texts.ts";
import { NameField } from "./namefield.tsx";
import "./ticket.css";

type Offer = { readonly application: string; readonly account: string };

type TicketProps = {
  ticket: string;
  naming: boolean;
  deviceName: string;
  onConfirm: (name: string) => Promise<void>;
  onBack: () => void;
};

/** Looks the ticket up and asks. */
export function Ticket({ ticket, naming, deviceName, onConfirm, onBack }: TicketProps) {
  const [offer, setOffer] = useState<Offer>();
  const [problem, setProblem] = useState<Problem>();
  const [tries, setTries] = useState(0);
  useEffect(() => {
    let current = true;
    setProblem(undefined);
    lookAt(ticket).then(
      (found) => current && setOffer(found),
      (error: unknown) => current && setProblem(asProblem(error)),
    );
    return () => void (current = false);
  }, [ticket, tries]);

  if (offer) return <Confirm offer={offer} {...{ naming, deviceName, onConfirm, onBack }} />;
  if (!problem) return <Loading text={texts.ticket.looking} />;
  if (problem.code === "ticket-invalid") return <Gone onBack={onBack} />;
  return <Failed problem={problem} onRetry={() => setTries(tries + 1)} onBack={onBack} />;
}

function Confirm({ offer, naming, deviceName, onConfirm, onBack }: Omit<TicketProps, "ticket"> & { offer: Offer }) {
  const [name, setName] = useState(deviceName);
  const confirm = useAction(onConfirm);
  useTitle(texts.ticket.title(offer.application));
  if (confirm.problem?.code === "ticket-invalid") return <Gone onBack={onBack} />;
  const submit = (event: Event) => {
    event.preventDefault();
    if (name.trim()) confirm.run(name.trim());
  };
  return (
    <form class="narrow" onSubmit={submit} noValidate>
      <div class="ticket__head">
        <AppLogo name={offer.application} digest="" size={64} />
        <Heading>{texts.ticket.title(offer.application)}</Heading>
      </div>
      <div class="card">
        <dl class="ticket__facts">
          <dt>{texts.ticket.application}</dt>
          <dd dir="auto">{offer.application}</dd>
          <dt>{texts.ticket.account}</dt>
          <dd dir="auto">{offer.account}</dd>
        </dl>
        <p class="soft small">{texts.ticket.check}</p>
        {naming && <NameField name={name} onName={setName} />}
      </div>
      {naming && <InstallFirst />}
      {confirm.problem && <ErrorNotice>{problemText(confirm.problem)}</ErrorNotice>}
      <div class="ticket__buttons">
        <button class="button button--primary button--wide" disabled={confirm.busy} data-testid="enrol-confirm">
          {confirm.busy ? texts.ticket.confirming : texts.ticket.confirm}
        </button>
        <button type="button" class="button button--quiet button--wide" onClick={onBack}>
          {texts.ticket.not}
        </button>
      </div>
    </form>
  );
}

/** A ticket that was used or is too old. */
function Gone({ onBack }: { onBack: () => void }) {
  return <DeadEnd title={texts.ticket.goneTitle} text={texts.ticket.gone} onBack={onBack} />;
}

/** A link whose words are incomplete or damaged. */
export function OddTicket({ onBack }: { onBack: () => void }) {
  return <DeadEnd title={texts.ticket.oddTitle} text={texts.ticket.odd} onBack={onBack} />;
}

function DeadEnd({ title, text, onBack }: { title: string; text: string; onBack: () => void }) {
  useTitle(title);
  return (
    <div class="centered" data-testid="ticket-invalid">
      <Symbol name="expired" />
      <Heading>{title}</Heading>
      <p class="soft">{text}</p>
      <button type="button" class="button button--primary" onClick={onBack}>
        {texts.ticket.other}
      </button>
    </div>
  );
}

function Failed({ problem, onRetry, onBack }: { problem: Problem; onRetry: () => void; onBack: () => void }) {
  useTitle(texts.ticket.problemTitle);
  return (
    <div class="centered">
      <Symbol name="offline" />
      <Heading>{texts.ticket.problemTitle}</Heading>
      <p class="soft" role="alert">
        {problemText(problem)}
      </p>
      <button type="button" class="button button--primary" onClick={onRetry} data-testid="retry">
        {texts.retry}
      </button>
      <button type="button" class="button button--quiet" onClick={onBack}>
        {texts.ticket.not}
      </button>
    </div>
  );
}
