// Owns the field for this device's name, which every new device is asked for once.

import { Field } from "../parts/field.tsx";
import { texts } from "../texts.ts";

/** Longest name, characters. */
const LONGEST = 40;

/** The name; an empty one is refused where it stands. */
export function NameField({ name, onName }: { name: string; onName: (name: string) => void }) {
  return (
    <Field
      label={texts.device.name}
      hint={texts.device.hint}
      error={name.trim() ? "" : texts.device.empty}
      value={name}
      onValue={onName}
      testid="device-name"
      input={{ autocomplete: "off", maxLength: LONGEST }}
    />
  );
}
