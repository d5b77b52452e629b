// Owns ticket words: 128 bits as eight proquints (arXiv 0901.4016). They are checked here only for
// typing errors; whether a ticket is good is for the server to say.

const PROQUINT = /^[bdfghjklmnprstvz][aiou][bdfghjklmnprstvz][aiou][bdfghjklmnprstvz]$/;

/** How many words a ticket has. */
export const TICKET_WORDS = 8;

export type Words =
  | { readonly ok: true; readonly ticket: string }
  | { readonly ok: false; readonly problem: "empty" }
  | { readonly ok: false; readonly problem: "count"; readonly count: number }
  | { readonly ok: false; readonly problem: "word"; readonly word: string };

/**
 * Reads words as typed, pasted or linked: any letter case, parted by spaces, dashes or commas. A whole
 * link is taken as well, since that is what people paste.
 */
export function readWords(typed: string): Words {
  const text = typed.slice(typed.lastIndexOf("#") + 1).toLowerCase();
  const words = text.split(/[\s,.\p{Dash}]+/u).filter((word) => word !== "");
  if (words.length === 0) return { ok: false, problem: "empty" };
  const odd = words.find((word) => !PROQUINT.test(word));
  if (odd !== undefined) return { ok: false, problem: "word", word: odd };
  if (words.length !== TICKET_WORDS) return { ok: false, problem: "count", count: words.length };
  return { ok: true, ticket: words.join("-") };
}
