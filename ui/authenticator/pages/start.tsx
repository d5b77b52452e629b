// Owns the first page: what this is, and the two ways to begin.

import { useRef, useState } from "preact/hooks";
import { asProblem, requestCode } from "../api.ts";
import { Field } from "../parts/field.tsx";
import { e164 } from "../phone.ts";
import { Heading } from "../parts/heading.tsx";
import { Icon } from "../parts/icons.tsx";
import { InstallFirst } from "../parts/install.tsx";
import { ErrorNotice, problemText } from "../parts/notice.tsx";
import { useTitle } from "../parts/status.ts";
import { type Pending } from "../store.ts";
import { texts } from "../texts.ts";
import { readWords, type Words } from "../words.ts";
import { useAction } from "../parts/action.ts";
import "./start.css";

type StartProps = {
  adding: boolean;
  phone: string;
  onPhone: (phone: string) => void;
  onSent: (pending: Pending) => Promise<void>;
  onTicket: (ticket: string) => void;
};

/** Welcome, or "add an account" on a device that is set up. */
export function Start({ adding, phone, onPhone, onSent, onTicket }: StartProps) {
  const words = adding ? texts.add : texts.welcome;
  useTitle(words.title);
  return (
    <div class={`start ${adding ? "" : "start--first"}`}>
      <header class="start__intro">
        <Heading class="start__title">{words.title}</Heading>
        <p class="start__lead">{words.lead}</p>
      </header>
      <div class="start__ways">
        {!adding && <InstallFirst />}
        <PhoneForm phone={phone} onPhone={onPhone} onSent={onSent} />
        <p class="start__or">{texts.start.or}</p>
        <WordsForm onTicket={onTicket} />
      </div>
      {!adding && (
        <ul class="start__promises">
          {texts.welcome.promises.map((promise) => (
            <li>
              <Icon name="check" size={20} />
              {promise}
            </li>
          ))}
        </ul>
      )}
    </div>
  );
}

function PhoneForm({ phone, onPhone, onSent }: Pick<StartProps, "phone" | "onPhone" | "onSent">) {
  const input = useRef<HTMLInputElement>(null);
  const [bad, setBad] = useState("");
  const send = useAction(async (number: string) => {
    const answer = await requestCode(number);
    await onSent({ ...answer, phone: number });
  });
  const submit = (event: Event) => {
    event.preventDefault();
    const number = e164(phone);
    setBad(number ? "" : texts.start.phoneBad);
    if (number) send.run(number);
    else input.current?.focus();
  };
  const refused = send.problem && asProblem(send.problem);
  return (
    <form class="card" onSubmit={submit} noValidate>
      <Field
        label={texts.start.phone}
        hint={texts.start.phoneHint}
        error={bad}
        value={phone}
        onValue={onPhone}
        testid="enrol-phone"
        inputRef={input}
        input={{ type: "tel", autocomplete: "tel", inputMode: "tel", enterkeyhint: "send" }}
      />
      {refused && <ErrorNotice>{problemText(refused)}</ErrorNotice>}
      <button class="button button--primary button--wide" disabled={send.busy} data-testid="enrol-phone-submit">
        {send.busy ? texts.start.sending : texts.start.send}
      </button>
    </form>
  );
}

function WordsForm({ onTicket }: Pick<StartProps, "onTicket">) {
  const input = useRef<HTMLInputElement>(null);
  const [typed, setTyped] = useState("");
  const [bad, setBad] = useState("");
  const submit = (event: Event) => {
    event.preventDefault();
    const words = readWords(typed);
    if (words.ok) return onTicket(words.ticket);
    setBad(wordsProblem(words));
    input.current?.focus();
  };
  return (
    <form class="card" onSubmit={submit} noValidate>
      <Field
        label={texts.start.words}
        hint={texts.start.wordsHint}
        error={bad}
        value={typed}
        onValue={setTyped}
        testid="enrol-ticket"
        inputRef={input}
        input={{
          autocomplete: "off",
          autocapitalize: "none",
          spellcheck: false,
          enterkeyhint: "go",
          placeholder: texts.start.wordsPlaceholder,
        }}
      />
      <button class="button button--outline button--wide" data-testid="enrol-ticket-submit">
        {texts.start.continue}
      </button>
    </form>
  );
}

function wordsProblem(words: Words & { ok: false }): string {
  switch (words.problem) {
    case "empty":
      return texts.start.wordsEmpty;
    case "count":
      return texts.start.wordsCount(words.count);
    case "word":
      return texts.start.wordsOdd(words.word);
  }
}
