// Owns what a stream says when its server stops.

/**
 * When to come back to a server that said goodbye, in milliseconds: when it told, which is the later the more there are, so that those who take
 * them are not met by all at once. A page that is told nothing it understands does as it would by itself.
 */
export function comeBack(told: string, otherwise: number): number {
  try {
    const { after } = JSON.parse(told) as { after?: unknown };
    if (typeof after === "number" && after >= 0 && after <= 60_000) return after;
  } catch {
    // an older server told nothing
  }
  return otherwise;
}
