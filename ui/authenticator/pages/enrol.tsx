// Owns the way to an account on this device: by phone number and sent code, or by a ticket's words.

import { useEffect, useState } from "preact/hooks";
import { enrolHere } from "../enrolment.ts";
import { load, update, type Pending } from "../store.ts";
import type { Claim } from "../api.ts";
import { readWords } from "../words.ts";
import { SentCode } from "./sentcode.tsx";
import { OddTicket, Ticket } from "./ticket.tsx";
import { Start } from "./start.tsx";

type Step =
  | { readonly name: "start" }
  | { readonly name: "code"; readonly pending: Pending }
  | { readonly name: "ticket"; readonly ticket: string }
  | { readonly name: "odd" };

/** Words from a link, as they were in the address; each opening of it is one of its own. */
export type TicketLink = { readonly words: string; readonly opened: number };

type EnrolProps = {
  /** True when this device has accounts already: its name is known, and there is a way back. */
  adding: boolean;
  /** This device's name, or what to propose. */
  deviceName: string;
  link: TicketLink | undefined;
  onEnrolled: (applications: readonly string[]) => void;
};

/** All steps of adding an account. */
export function Enrol({ adding, deviceName, link, onEnrolled }: EnrolProps) {
  const [step, setStep] = useState<Step>(() => firstStep(link));
  const [phone, setPhone] = useState("");
  const restart = () => setStep({ name: "start" });

  useEffect(() => {
    if (link) return setStep(firstStep(link));
    // Back from the messages, to a page that the browser had thrown out meanwhile.
    void load().then(({ pending }) => {
      if (!pending || pending.expires_at * 1000 < Date.now()) return;
      setPhone(pending.phone);
      setStep({ name: "code", pending });
    });
  }, [link]);

  const confirm = async (claim: Claim, name: string) => onEnrolled(await enrolHere(claim, name));
  const sent = async (pending: Pending) => {
    await update(() => ({ pending }));
    setStep({ name: "code", pending });
  };

  switch (step.name) {
    case "start":
      return (
        <Start
          adding={adding}
          phone={phone}
          onPhone={setPhone}
          onSent={sent}
          onTicket={(ticket) => setStep({ name: "ticket", ticket })}
        />
      );
    case "code":
      return (
        <SentCode
          key={step.pending.phone}
          pending={step.pending}
          naming={!adding}
          deviceName={deviceName}
          onSent={sent}
          onConfirm={(code, name) => confirm({ enrollment: step.pending.enrollment, code }, name)}
          onBack={() => {
            void update(() => ({ pending: undefined }));
            restart();
          }}
        />
      );
    case "ticket":
      return (
        <Ticket
          key={`${step.ticket} ${link?.opened}`}
          ticket={step.ticket}
          naming={!adding}
          deviceName={deviceName}
          onConfirm={(name) => confirm({ ticket: step.ticket }, name)}
          onBack={restart}
        />
      );
    case "odd":
      return <OddTicket onBack={restart} />;
  }
}

function firstStep(link: TicketLink | undefined): Step {
  if (!link) return { name: "start" };
  const words = readWords(link.words);
  return words.ok ? { name: "ticket", ticket: words.ticket } : { name: "odd" };
}
