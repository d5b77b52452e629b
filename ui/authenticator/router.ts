// Owns which page the address names. Plain paths, no fragments: a fragment carries ticket words.

import { useEffect, useState } from "preact/hooks";

const CHANGED = "countersign:path";

export type Page =
  | { readonly name: "requests" | "codes" | "devices" | "enrol" | "unknown" }
  | { readonly name: "request"; readonly uuid: string };

/** The page for a path. */
export function pageOf(path: string): Page {
  const request = /^\/approvals\/([0-9a-zA-Z-]+)\/?$/.exec(path);
  if (request) return { name: "request", uuid: request[1]! };
  switch (path.replace(/\/+$/, "")) {
    case "":
    case "/approvals":
      return { name: "requests" };
    case "/codes":
      return { name: "codes" };
    case "/devices":
      return { name: "devices" };
    case "/enroll":
      return { name: "enrol" };
    default:
      return { name: "unknown" };
  }
}

/** Goes to a path within the app. */
export function navigate(path: string): void {
  if (path !== location.pathname) history.pushState(null, "", path);
  scrollTo(0, 0);
  dispatchEvent(new Event(CHANGED));
}

/** The current path; renders again when it changes. */
export function usePath(): string {
  const [path, setPath] = useState(location.pathname);
  useEffect(() => {
    const read = () => setPath(location.pathname);
    addEventListener("popstate", read);
    addEventListener(CHANGED, read);
    read(); // it may have changed between the first drawing and now
    return () => {
      removeEventListener("popstate", read);
      removeEventListener(CHANGED, read);
    };
  }, []);
  return path;
}
