// Owns the second step by phone: the code from the message, and this device's name.

import { useEffect, useRef, useState } from "preact/hooks";
import { requestCode } from "../api.ts";
import { useAction } from "../parts/action.ts";
import { Field } from "../parts/field.tsx";
import { Heading } from "../parts/heading.tsx";
import { ErrorNotice, problemText } from "../parts/notice.tsx";
import { announce, useTitle } from "../parts/status.ts";
import type { Pending } from "../store.ts";
import { texts } from "../texts.ts";
import { NameField } from "./namefield.tsx";
import "./sentcode.css";

/** Seconds before another code may be asked for. */
const RESEND_AFTER = 30;

type SentCodeProps = {
  pending: Pending;
  /** True when this device has no name yet. */
  naming: boolean;
  deviceName: string;
  onSent: (pending: Pending) => Promise<void>;
  onConfirm: (code: string, name: string) => Promise<void>;
  onBack: () => void;
};

/** Asks for the sent code. */
export function SentCode({ pending, naming, deviceName, onSent, onConfirm, onBack }: SentCodeProps) {
  const input = useRef<HTMLInputElement>(null);
  const [code, setCode] = useState("");
  const [name, setName] = useState(deviceName);
  const [bad, setBad] = useState("");
  const confirm = useAction(onConfirm);
  useTitle(texts.code.title);

  const digits = code.replace(/[\s-]/g, "");
  const submit = (event: Event) => {
    event.preventDefault();
    const right = /^[0-9]{4,10}$/.test(digits);
    setBad(right ? "" : texts.code.bad);
    if (right && name.trim()) confirm.run(digits, name.trim());
    else input.current?.focus();
  };
  // What was typed is wrong: let the next key replace it.
  useEffect(() => {
    if (confirm.problem) input.current?.select();
  }, [confirm.problem]);

  return (
    <div class="narrow">
      <Heading>{texts.code.title}</Heading>
      <p class="soft">{texts.code.sent(pending.phone)}</p>
      <form class="card" onSubmit={submit} noValidate>
        <Field
          label={texts.code.label}
          error={bad}
          value={code}
          onValue={setCode}
          testid="enrol-code"
          inputRef={input}
          input={{ class: "field__input--digits", inputMode: "numeric", autocomplete: "one-time-code", maxLength: 12 }}
        />
        {naming && <NameField name={name} onName={setName} />}
        {confirm.problem && <ErrorNotice>{problemText(confirm.problem)}</ErrorNotice>}
        <button class="button button--primary button--wide" disabled={confirm.busy} data-testid="enrol-code-submit">
          {confirm.busy ? texts.code.confirming : texts.code.confirm}
        </button>
      </form>
      <div class="sentcode__other">
        <Resend
          key={pending.enrollment}
          phone={pending.phone}
          spent={confirm.problem?.code === "code-expired"}
          onSent={onSent}
        />
        <button type="button" class="button button--quiet" onClick={onBack} data-testid="enrol-change-number">
          {texts.code.change}
        </button>
      </div>
    </div>
  );
}

type ResendProps = {
  phone: string;
  /** True when the sent code cannot be used any more: then there is nothing to wait for. */
  spent: boolean;
  onSent: (pending: Pending) => Promise<void>;
};

/** Sends a new code, not before some time has passed. */
function Resend({ phone, spent, onSent }: ResendProps) {
  const [left, setLeft] = useState(RESEND_AFTER);
  useEffect(() => {
    const timer = setInterval(() => setLeft((n) => Math.max(0, n - 1)), 1000);
    return () => clearInterval(timer);
  }, []);
  const waiting = left > 0 && !spent;
  const resend = useAction(async () => {
    const answer = await requestCode(phone);
    announce(texts.code.resent);
    await onSent({ ...answer, phone });
  });
  return (
    <>
      {resend.problem && <ErrorNotice>{problemText(resend.problem)}</ErrorNotice>}
      <button
        type="button"
        class={`button ${spent ? "button--outline" : "button--quiet"}`}
        disabled={waiting || resend.busy}
        onClick={() => resend.run()}
        data-testid="enrol-resend"
      >
        {waiting ? texts.code.resendIn(left) : texts.code.resend}
      </button>
    </>
  );
}
