// Owns a labelled input with its hint and its error, tied together for screen readers.

import type { InputHTMLAttributes, Ref } from "preact";
import { useId } from "preact/hooks";

type FieldProps = {
  label: string;
  hint?: string;
  /** Shown under the input and read with it; "" when there is none. */
  error?: string;
  value: string;
  onValue: (value: string) => void;
  testid: string;
  inputRef?: Ref<HTMLInputElement>;
  input?: InputHTMLAttributes;
};

/** One input. */
export function Field({ label, hint, error, value, onValue, testid, inputRef, input }: FieldProps) {
  const id = useId();
  const described = [hint && `${id}-hint`, error && `${id}-error`].filter(Boolean).join(" ");
  return (
    <div class="field">
      <label class="field__label" for={id}>
        {label}
      </label>
      {hint && (
        <p class="field__hint" id={`${id}-hint`}>
          {hint}
        </p>
      )}
      <input
        {...input}
        id={id}
        ref={inputRef ?? null}
        class={`field__input ${input?.class ?? ""}`}
        value={value}
        onInput={(event) => onValue(event.currentTarget.value)}
        aria-invalid={error ? "true" : undefined}
        aria-describedby={described || undefined}
        data-testid={testid}
      />
      {error && (
        <p class="field__error" id={`${id}-error`} role="alert">
          {error}
        </p>
      )}
    </div>
  );
}
