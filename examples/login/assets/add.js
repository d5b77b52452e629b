// Watches until one more device has been added, or the code to scan has run out.
(() => {
  "use strict";
  const told = document.getElementById("add");
  if (!told) return;
  const known = new Set(told.dataset.known.split(","));
  const end = Date.now() + told.dataset.minutes * 60000;

  const look = async () => {
    try {
      const answer = await fetch("/account/devices", { cache: "no-store" });
      if (answer.redirected) { location.replace("/security/device"); return; } // signed out meanwhile
      if (!answer.ok) throw new Error(answer.status);
      const { devices } = await answer.json();
      told.hidden = true;
      if (devices.some((id) => !known.has(String(id)))) { location.replace("/security?notice=added"); return; }
      if (Date.now() > end) { location.replace("/security/device?notice=late"); return; }
    } catch {
      told.textContent = told.dataset.lost;
      told.hidden = false;
    }
    setTimeout(look, 1500);
  };
  setTimeout(look, 1000);
})();
