// Owns reading a phone number as people write it. Whether it exists is for the server to find out.

/** The number in E.164 ("+12025550123"); undefined when it cannot be one. */
export function e164(typed: string): string | undefined {
  const digits = typed.replace(/[\s().\/\p{Dash}]/gu, "").replace(/^00/, "+");
  return /^\+[1-9][0-9]{6,14}$/.test(digits) ? digits : undefined;
}
