// Owns every word that the app shows, in one place, ready for translation.

const language = "en";

const plural = new Intl.PluralRules(language);

function count(n: number, one: string, other: string): string {
  return `${n} ${plural.select(n) === "one" ? one : other}`;
}

/** "45 seconds", "3 minutes", "2 hours", "4 days": the largest unit, rounded to the nearest. */
export function duration(seconds: number): string {
  const s = Math.max(0, Math.round(seconds));
  if (s < 90) return count(s, "second", "seconds");
  if (s < 90 * 60) return count(Math.round(s / 60), "minute", "minutes");
  if (s < 36 * 3600) return count(Math.round(s / 3600), "hour", "hours");
  return count(Math.round(s / 86400), "day", "days");
}

/** Time left as a clock face shows it: "1:42", or in words when it is long. */
export function timeLeft(seconds: number): string {
  const s = Math.max(0, Math.ceil(seconds));
  if (s >= 3600) return duration(s);
  return `${Math.floor(s / 60)}:${String(s % 60).padStart(2, "0")}`;
}

const clockTime = new Intl.DateTimeFormat(language, { timeStyle: "short" });
const dayAndTime = new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "short" });
const day = new Intl.DateTimeFormat(language, { dateStyle: "medium" });

/** "14:31" for today, with the date for other days. Both times in Unix seconds. */
export function moment(time: number, now: number): string {
  const date = new Date(time * 1000);
  const today = date.toDateString() === new Date(now * 1000).toDateString();
  return (today ? clockTime : dayAndTime).format(date);
}

/** "just now", "20 seconds ago", "14 Nov 2026". Both times in Unix seconds. */
export function ago(time: number, now: number): string {
  const past = now - time;
  if (past < 5) return "just now";
  if (past < 30 * 86400) return `${duration(past)} ago`;
  return day.format(new Date(time * 1000));
}

const wait = (seconds: number) =>
  seconds > 0 ? `Try again in ${duration(seconds)}.` : "Wait a moment, then try again.";

/** What went wrong and what to do, by problem code. */
export function problem(code: string, detail: string, retryAfter: number): string {
  switch (code) {
    case "network":
      return "No connection to the server. Check that you are online, then try again.";
    case "invalid":
      return detail || "The server did not accept this. Check what you typed.";
    case "ticket-invalid":
      return texts.ticket.gone;
    case "code-wrong":
      return "That code is not right. Check the newest message and type it again.";
    case "code-expired":
      return "That code can no longer be used. Send a new one.";
    case "second-device":
      return "This number already has a device. Open the application on it, ask there to add a device, and type the words it shows.";
    case "key-in-use":
      return "This browser's key was already in use. It has made a new one: please try again.";
    case "bad-signature":
      return "The server could not check this device's signature. Load the page again and try once more.";
    case "limited":
      return `Too many tries. ${wait(retryAfter)}`;
    case "unavailable":
      return `The server is busy or starting. ${wait(retryAfter)}`;
    case "unknown":
      return "This is not here any more.";
    case "removed":
      return texts.removed.title;
    case "wrong-origin":
      return `This page was opened at another address than the server's own. Open ${detail} instead.`;
    default:
      return "Something went wrong on our side. Try again; if it stays, tell whoever runs this server.";
  }
}

/** What notifications say. They are read on locked screens: only which application asks. */
export const notification = {
  language,
  title: (application: string) => `${application} asks for your approval`,
  body: "Open to read it and decide. Not yours? Deny it.",
  unreadableTitle: "Something waits for you",
  unreadable: "Open Countersign to see what it is.",
};

export const texts = {
  language,
  product: "Countersign",
  back: "Back",
  cancel: "Cancel",
  retry: "Try again",
  dismiss: "Dismiss",
  loading: "Loading",

  nav: {
    label: "Main",
    requests: "Requests",
    codes: "Codes",
    devices: "Devices",
    add: "Add an account",
  },

  link: {
    connecting: "Connecting…",
    live: "Up to date",
    polling: "Checking every 3 s",
    reconnecting: "Reconnecting…",
    offline: "Offline",
  },

  reset: {
    title: (application: string) => `A new start at ${application} was asked for`,
    asked: (account: string) => `Somebody with the password of ${account} said that phone and recovery codes are lost.`,
    allowed: (account: string, due: string) => `After ${due} this device no longer answers for ${account}, because somebody with its password said that everything is lost.`,
    advice: (application: string) => `If it was not you, stop it here and change your password at ${application}.`,
    stop: "Stop it",
    stopping: "Stopping…",
    stopped: (application: string) => `The new start at ${application} was stopped.`,
  },

  trouble: {
    insecure: {
      title: "A secure address is needed",
      text: "Browsers allow device keys only on https pages and on localhost. Open this page at its https address.",
    },
    storage: {
      title: "This browser cannot keep a key",
      text: "It refused to store data for this page. Leave private browsing, allow storage for this site, or use another browser.",
    },
  },

  welcome: {
    title: "Set up this device",
    lead: "From now on you decide here: approve what you started yourself, deny everything else.",
    promises: [
      "Your key is made on this device and never leaves it.",
      "Every answer is signed by it and can be checked later.",
      "Codes work without a network.",
    ],
  },

  add: {
    title: "Add an account",
    lead: "Use the number that the application knows, or the words that it shows you.",
  },

  start: {
    phone: "Your phone number",
    phoneHint: "With the country code, as in +1 202 555 0123.",
    phoneBad: "Start with + and the country code, then the number.",
    send: "Text me a code",
    sending: "Sending…",
    or: "or",
    words: "Set-up words",
    wordsHint: "Eight short words that the application shows you.",
    wordsPlaceholder: "lusab-babad-gutih-…",
    continue: "Continue",
    checking: "Checking…",
    wordsEmpty: "Type the words that the application shows.",
    wordsCount: (n: number) => `Set-up words are eight. This has ${count(n, "word", "words")}.`,
    wordsOdd: (word: string) => `“${word}” is not a set-up word. Check its letters.`,
  },

  code: {
    title: "Type the code",
    sent: (phone: string) =>
      `If an application knows ${phone}, a text message with a code is on its way there.`,
    label: "Code from the message",
    bad: "The code has only digits, at least four.",
    confirm: "Set up this device",
    confirming: "Setting up…",
    resendIn: (s: number) => `Send again in ${s} s`,
    resend: "Send a new code",
    resent: "A new code is on its way. Older ones no longer work.",
    change: "Change number",
  },

  ticket: {
    title: (application: string) => `Add ${application}?`,
    account: "Account",
    application: "Application",
    check: "Only go on if you opened this yourself, from your own account.",
    confirm: "Add to this device",
    confirming: "Adding…",
    not: "Not now",
    goneTitle: "These words no longer work",
    gone: "Set-up words work once and for ten minutes. Go back to the application and ask for new ones.",
    other: "Type other words",
    oddTitle: "This link is not complete",
    odd: "Some of its words are missing or damaged. Open it again from the application, or type the words.",
    looking: "Looking up the set-up words",
    problemTitle: "Could not look up the words",
  },

  device: {
    name: "Name of this device",
    hint: "You will see it in lists, to tell your devices apart.",
    empty: "Give this device a name.",
    android: "Android phone",
    on: (browser: string, system: string) => `${browser} on ${system}`,
  },

  added: (names: readonly string[]) =>
    names.length === 1 ? `${names[0]} is set up on this device.` : `${names.length} accounts are set up on this device.`,

  install: {
    ios: "On this device, first add Countersign to the home screen: tap Share, then “Add to Home Screen”, and open it from there. The app on the home screen keeps its own key, and Safari may clear the one of a web page.",
    title: "Keep it at hand",
    text: "Put Countersign on the home screen, so that it opens like any other app.",
    button: "Install",
  },

  push: {
    title: "Notifications",
    offer: "Hear of requests at once?",
    why: "A notification tells you which application asks, also while this app is closed. It never says what is asked, and nothing can be approved from it.",
    turnOn: "Turn on",
    turningOn: "Turning on…",
    turnOff: "Turn off",
    turningOff: "Turning off…",
    later: "Not now",
    nowOn: "Notifications are on.",
    nowOff: "Notifications are off.",
    laterDone: "You can turn notifications on later, under Devices.",
    state: {
      unknown: "Not known yet.",
      on: "On. You hear of requests while the app is closed.",
      off: "Off. Open the app to see what waits.",
      install: "First add Countersign to the home screen: tap Share, then “Add to Home Screen”, and open it from there.",
      unable: "This browser cannot show them here. Open the app to see what waits.",
      blocked: "Blocked in the browser's settings for this site. Allow them there, then come back.",
      never: "This server sends none. Open the app to see what waits.",
    },
    silent: "The browser could not reach its push service; some networks and private windows prevent it. All else works: open the app to see what waits, and try again later.",
    host: "This server does not send to this browser's push service. Whoever runs the server can allow it.",
  },

  requests: {
    title: "Requests",
    heading: (n: number) => (n === 0 ? "Nothing to decide" : `${count(n, "request waits", "requests wait")} for you`),
    empty: "When something needs your approval, it appears here by itself.",
    emptyHint: "Waiting for one? Keep this page open, or ask the application to send it again.",
    arrived: (application: string) => `New request from ${application}`,
    review: "Look and decide",
    loading: "Looking for requests",
    offlineTitle: "Cannot reach the server",
    offline: "Requests appear as soon as the connection is back. Codes work meanwhile.",
    seeCodes: "See codes",
  },

  request: {
    title: "Decide",
    back: "All requests",
    fromWhom: "Request from",
    from: (application: string) => `Request from ${application}`,
    account: (account: string) => `for ${account}`,
    details: "Details",
    asked: "Asked",
    left: "Time left",
    expiresAt: (time: string) => `Open until ${time}`,
    never: "No time limit",
    secondsLeft: (s: number) => `${count(s, "second", "seconds")} left to decide`,
    match: (digits: number) => `Type the ${digits} digits you see where you started this`,
    matchHint: "No digits in front of you? Then this is not yours: deny it.",
    approve: "Approve",
    approving: "Approving…",
    deny: "Deny",
    denying: "Denying…",
    why: "Did you start this yourself?",
    whyHint: (application: string) =>
      `“It was not me” also stops requests of ${application} to you for 20 minutes, and tells it that somebody may know your password.`,
    mistake: "Yes, I changed my mind",
    notMe: "It was not me",
    notYet: "Back",
    told: "Where it was started, as told by",
    address: "Network address",
    place: "Place",
    placeUnknown: "not known",
    browser: "Browser",
    origin: "Page",
    lookalike: "The name of this page has letters of other alphabets. They can look like other letters.",
    reported: (application: string, until: string) => `${application} asks you nothing until ${until}`,
    reportedText: (device: string, at: string) =>
      `“It was not me” was said ${device === "" ? "" : `on ${device} `}at ${at}. If somebody may know your password, change it there.`,
    unsupported: "This request asks for a kind of check that this app does not know. Load the page again to get the newest app. You can always deny.",
    wrongOrigin: (origin: string) => `This request can only be approved at ${origin}.`,
    failed: "Your answer has not arrived yet",
    failedApprove: "Your approval is signed and kept here. Nothing is approved until it arrives.",
    failedDeny: "Your denial is signed and kept here, and can be sent again.",
    loading: "Opening the request",
    unknownTitle: "This request is not here",
    unknown: "It may belong to another account or device, or it was cleared away.",
    done: "Done",
    lookDevices: "Look through your devices",
    next: (n: number) => (n === 1 ? "Next request" : `${n} more requests`),
    signed: "Signed by this device",
  },

  outcome: {
    approved: {
      title: "Approved",
      text: (application: string) => `${application} has your signed answer. You can go on there.`,
    },
    denied: {
      title: "Denied",
      text: (application: string) =>
        `${application} was told no, and nothing was approved. If you want it after all, start again there.`,
    },
    "not-me": {
      title: "Denied and reported",
      text: (application: string) =>
        `${application} was told that this was not you, and asks you nothing for 20 minutes. Somebody may know your password: change it at ${application} now, and look whether you know all your devices.`,
    },
    mismatch: {
      title: "The digits did not match",
      text: (application: string) =>
        `The request was refused, to be safe. If it was yours, start again at ${application} and compare the digits there.`,
    },
    expired: {
      title: "Too late",
      text: (application: string) =>
        `The time for this request is over and nothing was approved. If it was yours, start again at ${application}.`,
    },
    cancelled: {
      title: "Withdrawn",
      text: (application: string) => `${application} no longer asks for this. There is nothing to do.`,
    },
    "elsewhere-approved": {
      title: "Already approved",
      text: () =>
        "This was approved before, perhaps on another of your devices. If that was not you, remove devices that you do not know.",
    },
    "elsewhere-denied": {
      title: "Already denied",
      text: () => "This was denied before, perhaps on another of your devices. There is nothing to do.",
    },
  },

  codes: {
    title: "Codes",
    lead: "Tap a code to copy it.",
    copy: "Copy",
    copyWhat: (application: string, account: string) => `code for ${application}, ${account}`,
    copied: "Copied",
    copyFailed: "Could not copy. Select the digits instead.",
    missing: "No code on this device. Add the account again to get one.",
    next: (s: number) => `New in ${s} s`,
    clock: (s: number) =>
      `This device's clock is ${duration(Math.abs(s))} ${s > 0 ? "behind" : "ahead"}. Codes are corrected for that.`,
  },

  devices: {
    title: "Devices",
    lead: "Who can approve and show codes, for each of your accounts.",
    this: "This device",
    seen: (when: string) => `Last active ${when}`,
    added: (when: string) => `Added ${when}`,
    remove: "Remove",
    removeNamed: (device: string) => `Remove ${device}`,
    confirmThis: (application: string) =>
      `Remove ${application} from this device? Its requests and codes will no longer work here.`,
    confirmOther: (device: string) =>
      `Remove ${device}? It can no longer approve or show codes for this account.`,
    confirm: "Remove",
    confirming: "Removing…",
    keep: "Keep",
    removed: (device: string) => `${device} was removed.`,
    loading: "Loading devices",
  },

  removed: {
    title: "This device was removed",
    text: "Its key is no longer accepted, and its codes and approvals do not work any more. If you did not do this, tell the application.",
    afresh: "Start afresh",
    note: "Start afresh deletes the old key and codes from this device.",
  },

  unknown: {
    title: "There is no such page",
    home: "Go to the requests",
  },
};
