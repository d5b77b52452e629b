// Watches until a device has been added, and then asks it for the first approval by sending the form that is there for it.
(() => {
  "use strict";
  const page = document.getElementById("enrol");
  const told = document.getElementById("enrol-status");
  const prove = document.querySelector("#prove[data-auto]");
  if (!page.dataset.watch || !prove) return;
  const tell = (text) => { told.hidden = !text; told.textContent = text || ""; };
  let gone = false;
  addEventListener("submit", () => { gone = true; }); // the person chose another way

  const look = async () => {
    if (gone) return;
    try {
      const answer = await fetch("/enrol/status", { cache: "no-store" });
      if (gone) return;
      if (answer.redirected) { location.reload(); return; } // this enrolment is over
      if (!answer.ok) throw new Error(answer.status);
      const status = await answer.json();
      tell("");
      if (status.device) {
        gone = true;
        tell(told.dataset.found);
        prove.submit();
        return;
      }
      if (page.dataset.watch === "ticket" && !status.ticket) { location.reload(); return; } // it ran out
    } catch { tell(told.dataset.lost); }
    setTimeout(look, 1500);
  };
  setTimeout(look, 1000);
})();
