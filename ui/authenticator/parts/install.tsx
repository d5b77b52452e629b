// Owns putting the app on the home screen.

import { useEffect, useState } from "preact/hooks";
import { platformOf } from "../enrolment.ts";
import { texts } from "../texts.ts";
import { Icon } from "./icons.tsx";

/** Whether the app runs from the home screen. */
export const onHomeScreen = () =>
  matchMedia("(display-mode: standalone)").matches || ("standalone" in navigator && navigator.standalone === true);

/**
 * On iPhone and iPad a web page and the same page on the home screen keep separate keys, and Safari
 * clears a page's data after a week without a visit. So installing comes before setting up.
 */
export function InstallFirst() {
  const apple = ["iphone", "ipad"].includes(platformOf(navigator));
  if (!apple || onHomeScreen()) return null;
  return (
    <div class="notice">
      <Icon name="plus" />
      <p class="notice__body small">{texts.install.ios}</p>
    </div>
  );
}

/** The browser's offer to install, which only some browsers make. */
export type InstallOffer = Event & { prompt(): Promise<unknown> };

/** Takes the offer, which comes once, soon after the page is loaded, and keeps it for `Install`. */
export function useInstallOffer(): InstallOffer | undefined {
  const [offer, setOffer] = useState<InstallOffer>();
  useEffect(() => {
    const take = (event: Event) => {
      event.preventDefault();
      setOffer(event as InstallOffer);
    };
    const done = () => setOffer(undefined);
    addEventListener("beforeinstallprompt", take);
    addEventListener("appinstalled", done);
    return () => {
      removeEventListener("beforeinstallprompt", take);
      removeEventListener("appinstalled", done);
    };
  }, []);
  return offer;
}

/** Offers to install, where the browser can be asked to. */
export function Install({ offer }: { offer: InstallOffer | undefined }) {
  if (!offer) return null;
  return (
    <div class="notice">
      <Icon name="plus" />
      <div class="notice__body">
        <p class="notice__title">{texts.install.title}</p>
        <p class="small">{texts.install.text}</p>
        <button type="button" class="button button--outline" onClick={() => void offer.prompt()}>
          {texts.install.button}
        </button>
      </div>
    </div>
  );
}
