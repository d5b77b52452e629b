// Owns the types of what TypeScript's own libraries do not describe.

/** The bundler turns an imported style sheet into a file of its own. */
declare module "*.css";

interface Window {
  /** Trusted Types (w3c.github.io/trusted-types), where the browser has them. */
  readonly trustedTypes?: {
    createPolicy(
      name: string,
      rules: { createScriptURL(url: string): string },
    ): { createScriptURL(url: string): { toString(): string } };
  };
}
