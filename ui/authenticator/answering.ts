// Owns giving an answer: signing it once, sending it, and keeping it while the network is away.

import { useEffect, useRef, useState } from "preact/hooks";
import { asProblem, type Approval, type Problem, type Session, type SignedAnswer } from "./api.ts";
import { answerValue, shownDigest, type Decision, type Shown } from "./canonical.ts";
import { sign } from "./keys.ts";

/** What the page draws of an approval, and so what is signed as shown. */
export function shownOf(approval: Approval): Shown {
  const { application, message, details, logo, context } = approval;
  return { application: application.name, message, details, logo, context };
}

/** Signs a decision about what was shown. */
export async function signAnswer(
  key: CryptoKey,
  device: string,
  approval: Approval,
  shown: Shown,
  decision: Decision,
  match: string,
): Promise<SignedAnswer> {
  const { hidden, issued_at, nonce, user } = approval.sign;
  const answer = answerValue({
    application: approval.application.id,
    approval: approval.uuid,
    decision,
    device,
    expires_at: approval.expires_at,
    hidden,
    issued_at,
    match,
    nonce,
    origin: location.origin, // ours, not the one we are told
    shown: await shownDigest(shown),
    user,
  });
  return { decision, match, signature: await sign(key, answer) };
}

/** How an answer ended: as decided, or overtaken by something else. */
export type Ending = "approved" | "denied" | "not-me" | "mismatch" | "expired" | "cancelled" | "overtaken";

export type Answering =
  | { readonly step: "open" }
  | { readonly step: "sending"; readonly decision: Decision }
  /** Signed, not delivered: the very same answer can be sent again. */
  | { readonly step: "kept"; readonly decision: Decision; readonly problem: Problem }
  /** Refused for a reason that sending again does not mend. */
  | { readonly step: "refused"; readonly problem: Problem }
  | { readonly step: "ended"; readonly ending: Ending };

const ENDINGS: Readonly<Record<string, Ending>> = {
  "number-mismatch": "mismatch",
  expired: "expired",
  cancelled: "cancelled",
  "already-decided": "overtaken",
};

/** Problems after which the same answer may be sent again. */
const PASSING = new Set(["network", "unavailable", "limited", "internal"]);

type Sender = {
  readonly state: Answering;
  readonly decide: (shown: Shown, decision: Decision, match: string) => void;
  readonly resend: () => void;
};

/** Answers one approval. However often it is pressed, one answer is signed and sent. */
export function useAnswering(session: Session, key: CryptoKey, device: string, approval: Approval): Sender {
  const [state, setState] = useState<Answering>({ step: "open" });
  // Refs, not state: a double tap comes before the next render.
  const signed = useRef<SignedAnswer | undefined>(undefined);
  const busy = useRef(false);

  const deliver = async (make: () => Promise<SignedAnswer>, decision: Decision) => {
    if (busy.current) return;
    busy.current = true;
    setState({ step: "sending", decision });
    try {
      signed.current ??= await make();
      const { status } = await session.answer(approval.uuid, signed.current);
      setState({ step: "ended", ending: decision === "not-me" && status === "denied" ? "not-me" : status });
    } catch (error) {
      const problem = asProblem(error);
      const ending = ENDINGS[problem.code];
      if (ending) setState({ step: "ended", ending });
      else if (PASSING.has(problem.code)) setState({ step: "kept", decision, problem });
      else {
        signed.current = undefined;
        setState({ step: "refused", problem });
      }
    } finally {
      busy.current = false;
    }
  };

  const decide: Sender["decide"] = (shown, decision, match) =>
    void deliver(() => signAnswer(key, device, approval, shown, decision, match), decision);
  const resend = () => {
    const kept = signed.current;
    if (kept) void deliver(() => Promise.resolve(kept), kept.decision);
  };

  const waiting = state.step === "kept";
  useEffect(() => {
    if (!waiting) return;
    addEventListener("online", resend);
    return () => removeEventListener("online", resend);
  }, [waiting]);

  return { state, decide, resend };
}
